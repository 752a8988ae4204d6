"""Width of the resolution: polynomials, tables, and spectrometers against ResINS itself."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import resins
import torch
from numpy.polynomial import Polynomial
from scipy.interpolate import PchipInterpolator

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.resolution import EnergyResolution

FWHM_PER_SIGMA = 2.3548200450309493
ARCS = {"chopper_package": "ARCS-100-1.5-AST", "chopper_frequency": 300}
SPECTROMETERS = {
    "ARCS": (60.0, ARCS),
    "SEQUOIA": (110.0, {"chopper_package": "High-Resolution", "chopper_frequency": 420}),
    "CNCS": (
        12.0,
        {
            "chopper_package": "High Flux",
            "resolution_disk_frequency": 300,
            "fermi_frequency": 60,
        },
    ),
    "LET": (
        8.0,
        {
            "chopper_package": "High Resolution",
            "resolution_frequency": 240,
            "pulse_remover_frequency": 120,
        },
    ),
    "MERLIN": (45.0, {"chopper_package": "G", "chopper_frequency": 300}),
    "HYSPEC": (27.0, {"chopper_frequency": 180}),
    "PANTHER": (76.0, {}),
}
ENERGIES = (-60.0, -20.0, -5.0, 0.0, 12.0, 40.0, 45.0)
WIDTHS = (5.0, 3.1, 2.6, 2.5, 2.5, 1.2, 1.3)


def doubles(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


@pytest.fixture
def resolutions():
    return [
        EnergyResolution.constant(2.0),
        EnergyResolution.polynomial([2.0, -0.03, 1e-4, 2e-7]),
        EnergyResolution.tabulated(ENERGIES, WIDTHS),
        EnergyResolution.from_instrument("ARCS", 60.0, **ARCS),
    ]


def test_polynomial_is_evaluated_as_numpy_does():
    coefficients = [2.4, -0.02, 3e-4, -1e-6]
    energy = np.linspace(-80.0, 80.0, 23)
    sigma, slope = EnergyResolution.polynomial(coefficients).sigma(doubles(energy))
    polynomial = Polynomial(coefficients)
    np.testing.assert_allclose(sigma * FWHM_PER_SIGMA, polynomial(energy), rtol=1e-12)
    np.testing.assert_allclose(slope * FWHM_PER_SIGMA, polynomial.deriv()(energy), atol=1e-12)


def test_table_is_the_monotone_interpolation_of_scipy_inside_and_constant_outside():
    """The first and last interval end flat and differ from SciPy's; they stay between nodes."""
    resolution = EnergyResolution.tabulated(ENERGIES, WIDTHS)
    inner = np.linspace(ENERGIES[1], ENERGIES[-2], 200)
    sigma, _ = resolution.sigma(doubles(inner))
    expected = PchipInterpolator(ENERGIES, WIDTHS)(inner)
    np.testing.assert_allclose(sigma * FWHM_PER_SIGMA, expected, rtol=1e-12)
    nodes, _ = resolution.sigma(doubles(ENERGIES))
    np.testing.assert_allclose(nodes * FWHM_PER_SIGMA, WIDTHS, rtol=1e-12)
    for low, high in zip(ENERGIES, ENERGIES[1:], strict=False):
        fwhm = resolution.sigma(doubles(np.linspace(low, high, 50)))[0].numpy() * FWHM_PER_SIGMA
        steps = np.diff(fwhm)
        assert (steps >= -1e-12).all() or (steps <= 1e-12).all()
    far, slope = resolution.sigma(doubles([-1e4, -60.1, 45.1, 1e4]))
    np.testing.assert_allclose(far * FWHM_PER_SIGMA, [5.0, 5.0, 1.3, 1.3], rtol=1e-12)
    assert not slope.any()


def test_slope_is_the_derivative_and_continuous(resolutions):
    edges = np.array([-66.0, -60.6, -60.0, -20.0, 0.0, 45.0, 58.8])
    inside = np.random.default_rng(1).uniform(-70, 70, 500)
    energy = doubles(np.concatenate([edges, edges - 1e-7, edges + 1e-7, inside]))
    step = 1e-5
    for resolution in resolutions:
        sigma, slope = resolution.sigma(energy)
        above, below = (resolution.sigma(energy + s)[0] for s in (step, -step))
        np.testing.assert_allclose(slope, (above - below) / (2 * step), atol=3e-6)
        leaf = energy.clone().requires_grad_()
        resolution.sigma(leaf)[0].sum().backward()
        np.testing.assert_allclose(leaf.grad, slope, atol=1e-12)
        assert (sigma > 0).all()


def test_any_precision_and_shape(resolutions):
    energy = torch.linspace(-70.0, 70.0, 60, dtype=torch.float64)
    for resolution in resolutions:
        exact = resolution.sigma(energy)
        for shape in [(60,), (3, 4, 5), (0,), ()]:
            part = energy[: int(np.prod(shape))].reshape(shape).to(torch.float32)
            for single, double in zip(resolution.sigma(part), exact, strict=True):
                assert single.dtype == torch.float32 and single.shape == shape
                expected = double[: part.numel()].reshape(shape)
                np.testing.assert_allclose(single, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", SPECTROMETERS)
def test_spectrometer_has_the_width_of_resins(name):
    incident_energy, settings = SPECTROMETERS[name]
    resolution = EnergyResolution.from_instrument(name.lower(), incident_energy, **settings)
    model = resins.Instrument.from_default(name).get_resolution_function(
        e_init=incident_energy, **settings
    )
    fractions = np.concatenate([np.arange(-100, 98) / 100, np.linspace(-1, 0.97, 777)])
    energy = fractions * incident_energy
    expected = model.get_characteristics(energy[:, None])["sigma"]
    np.testing.assert_allclose(resolution.sigma(doubles(energy))[0], expected, rtol=1e-4)
    elastic = model.get_characteristics(np.zeros((1, 1)))["sigma"][0] * FWHM_PER_SIGMA
    assert resolution.elastic_fwhm == pytest.approx(elastic, rel=1e-9)


def test_json_round_trip(resolutions):
    for resolution in resolutions:
        again = EnergyResolution.from_dict(json.loads(json.dumps(resolution.to_dict())))
        assert again == resolution
        energy = torch.linspace(-70.0, 70.0, 11)
        assert torch.equal(again.sigma(energy)[0], resolution.sigma(energy)[0])


def test_a_polynomial_that_turns_negative_is_held_and_named():
    resolution = EnergyResolution.polynomial([2.0, -0.05])
    sigma, slope = resolution.sigma(doubles([30.0, 37.9, 38.1, 45.0, 1e6]))
    np.testing.assert_allclose(sigma * FWHM_PER_SIGMA, [0.5, 0.105, 0.1, 0.1, 0.1], rtol=1e-9)
    np.testing.assert_allclose(slope * FWHM_PER_SIGMA, [-0.05, -0.05, 0, 0, 0], rtol=1e-9)
    resolution.check([-10.0, 37.0])
    with pytest.raises(FcinvError, match=r"falls to -0\.25 meV at an energy transfer of 45 meV"):
        resolution.check([-10.0, 45.0])
    dip = EnergyResolution.polynomial([2.0, -0.2, 0.005])  # zero at 20 meV, 2 meV at 40 meV
    with pytest.raises(FcinvError, match="at an energy transfer of 20 meV"):
        dip.check([0.0, 40.0])
    EnergyResolution.tabulated(ENERGIES, WIDTHS).check([-1e3, 1e3])
    EnergyResolution.constant(1e-3).check([-1e3, 1e3])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EnergyResolution.constant(0.0), "no positive width"),
        (lambda: EnergyResolution.polynomial([]), "no positive width"),
        (lambda: EnergyResolution.polynomial([2.0, float("nan")]), "no positive width"),
        (lambda: EnergyResolution.tabulated([0.0], [1.0]), "at least two"),
        (lambda: EnergyResolution.tabulated([0.0, 1.0], [1.0]), "2 energies and 1 widths"),
        (lambda: EnergyResolution.tabulated([0.0, 0.0], [1.0, 1.0]), "do not increase"),
        (lambda: EnergyResolution.tabulated([0.0, float("inf")], [1.0, 1.0]), "do not increase"),
        (lambda: EnergyResolution.tabulated([0.0, 7.0], [1.0, -1.0]), "-1.0 meV.* of 7 meV"),
        (lambda: EnergyResolution.from_dict({"kind": "box"}), "kind 'box'"),
        (lambda: EnergyResolution.from_dict({"kind": "table"}), "cannot be read"),
        (lambda: EnergyResolution.from_dict({"kind": "table", "energies": 3}), "cannot be read"),
    ],
)
def test_what_is_no_width_is_refused(make, words):
    with pytest.raises(FcinvError, match=words):
        make()


@pytest.mark.parametrize(
    ("instrument", "incident_energy", "settings", "words"),
    [
        ("AMATERAS", 60.0, {}, "'AMATERAS'; it has ARCS, CNCS, HYSPEC, LET, MAPS, MARI, MERLIN"),
        ("TOSCA", 60.0, {}, "no direct-geometry spectrometer 'TOSCA'"),
        ("ARCS", 60.0, {"chopper": "A"}, "settings chopper_package, chopper_frequency"),
        ("ARCS", 60.0, {"chopper_frequency": 300}, "needs chopper_package, one of .*ARCS-700"),
        ("ARCS", 60.0, ARCS | {"chopper_package": "A"}, "chopper_package 'A'; it has .*ARCS-700"),
        ("ARCS", 60.0, {"chopper_package": "ARCS-100-1.5-AST"}, "needs chopper_freq.*60, 120"),
        ("ARCS", 60.0, ARCS | {"chopper_frequency": 310}, "310; it has 60, 120"),
        ("ARCS", 15.0, ARCS, "incident energy 15.0 meV.* 20 to 1500 meV"),
        ("ARCS", float("nan"), ARCS, "incident energy nan meV of ARCS"),
        (
            "MERLIN",
            200.0,
            {"chopper_package": "G", "chopper_frequency": 300},
            "has 0 to 181",
        ),
        ("PANTHER", 0.0, {}, "incident energy 0.0 meV of PANTHER"),
        ("PANTHER", 500.0, {}, "not positive at an energy transfer of 155 meV"),
        ("ARCS", 1500.0, ARCS | {"chopper_frequency": 60}, "transmits nothing"),
    ],
)
def test_unknown_instruments_and_settings_are_named(instrument, incident_energy, settings, words):
    with pytest.raises(FcinvError, match=words):
        EnergyResolution.from_instrument(instrument, incident_energy, **settings)


def test_missing_resins_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "resins", None)
    with pytest.raises(FcinvError, match="needs the package ResINS.*pip install"):
        EnergyResolution.from_instrument("ARCS", 60.0, **ARCS)
