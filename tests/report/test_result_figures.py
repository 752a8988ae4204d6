"""Figures of a result for scripts and notebooks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from fake_result import axis, fake_result, fit
from matplotlib.figure import Figure

from fcinv_core.errors import FcinvError

AXES = [axis("[H,0,0]", -2, 2, 20), axis("[0,K,0]", -1, 1, 5), axis("DeltaE", -5, 70, 30)]


@pytest.fixture(scope="module")
def result():
    return fake_result(fits=(fit(AXES), fit(AXES[::2], seed=1)))


def drawn(panel):
    return np.ma.getdata(panel.collections[0].get_array()).reshape(
        len(panel.collections[0].get_coordinates()) - 1, -1
    )


def test_spectra_of_any_slice(result):
    figure = result.plot_spectra(axes=("[0,K,0]", "DeltaE"), at={"[H,0,0]": 0.5})
    panels = figure.axes
    assert panels[0].get_xlabel() == "[0,K,0] (r.l.u.)"
    assert panels[0].get_ylabel() == "Energy transfer (meV)"
    # H = 0.5 is the edge between bins 11 and 12 from -2 in steps of 0.2: the upper one.
    signal = result.fits[0].measured.signal[12]
    shown = drawn(panels[0])
    kept = np.isfinite(signal.T)
    np.testing.assert_allclose(shown[kept], signal.T[kept])
    assert "[H,0,0] from 0.4 to 0.6 r.l.u." in figure.get_supxlabel()


def test_axes_without_a_place_are_averaged_over(result):
    figure = result.plot_spectra(axes=("[H,0,0]", "DeltaE"))
    assert "average over [0,K,0] from -1 to 1 r.l.u." in figure.get_supxlabel()


def test_spectra_of_each_histogram(result):
    assert drawn(result.plot_spectra(0).axes[0]).shape == (30, 20)
    signal = result.fits[1].measured.signal
    shown = drawn(result.plot_spectra(1).axes[0])
    np.testing.assert_allclose(shown[:5], signal.T[:5])


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"number": 2}, "no histogram 2: choose 0 to 1"),
        ({"axes": ("[H,0,0]", "E")}, "no axis 'E': choose among [H,0,0], [0,K,0], DeltaE"),
        ({"axes": ("[H,0,0]", "[H,0,0]")}, "name each axis once"),
        ({"axes": ("[H,0,0]", "DeltaE"), "at": {"DeltaE": 5}}, "name each axis once"),
        ({"axes": ("[H,0,0]", "DeltaE"), "at": {"[0,K,0]": 1.5}}, "1.5 is outside of [0,K,0]"),
        ({"at": {"[0,K,0]": 0.5}}, "give its axes"),
    ],
)
def test_spectra_that_are_not_there(result, options, problem):
    with pytest.raises(FcinvError) as error:
        result.plot_spectra(**options)
    assert problem in str(error.value)


def test_dispersion_with_density_beside(result):
    panel, errors, beside = result.plot_dispersion().axes
    assert panel.get_ylabel() == "Phonon energy (meV)" and errors.get_ylabel() == "Error σ (meV)"
    assert panel.get_ylim() == beside.get_ylim()


def test_density_of_states(result):
    (panel,) = result.plot_density_of_states().axes
    states = result.density_of_states
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), states.density)
    band = panel.collections[0].get_paths()[0].vertices
    middle = len(states.energy_mev) // 2
    at = np.isclose(band[:, 0], states.energy_mev[middle])
    assert np.ptp(band[at, 1]) == pytest.approx(2 * states.sigma[middle])


def test_shells_with_errors_and_start(result):
    figure = result.plot_shells()
    assert isinstance(figure, Figure)
    for panel, kind in zip(figure.axes, ("longitudinal", "transverse"), strict=True):
        start, fitted = panel.containers
        for container, shells in ((fitted, result.shells), (start, result.start_shells)):
            points, _, (bars,) = container
            places = [(s.distance, getattr(s, kind)) for s in shells]
            np.testing.assert_allclose(points.get_xydata(), places)
            lengths = [np.ptp(bar[:, 1]) for bar in bars.get_segments()]
            np.testing.assert_allclose(lengths, [2 * getattr(s, f"{kind}_sigma") for s in shells])


def test_package_and_result_do_not_load_matplotlib():
    code = (
        "import sys, fcinv_core, fcinv_core.inversion.result; fcinv_core.InversionResult; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
