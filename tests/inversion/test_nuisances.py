"""Background, widths and scattering by several phonons, fitted beside force constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fcinv_core.ensemble.background import Background as SimulatedBackground
from fcinv_core.ensemble.measurement import expected_signal
from fcinv_core.inversion.multiphonon import Multiphonon
from fcinv_core.inversion.nuisances import (
    BACKGROUND,
    DECAY,
    MULTIPHONON,
    NUISANCES,
    SLOPE,
    TAIL,
    Background,
    estimates,
    pull,
)
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.refinement import Refinement
from fcinv_core.inversion.stages import Counts

NUISANCE = np.array([2.3, 0.4, 0.1, 0.05, 0.02, -0.3, 0.6, 0.2])


def test_slopes_of_the_background_are_those_of_its_values(prepared):
    background = Background.of(prepared, 3.0)
    columns = np.zeros((len(prepared.energies), len(NUISANCES)))
    background.fill_slopes(columns, NUISANCE)
    for place in range(len(NUISANCES)):
        step = 1e-5 * np.eye(len(NUISANCES))[place]
        ahead, behind = background.values(NUISANCE + step), background.values(NUISANCE - step)
        np.testing.assert_allclose(columns[:, place], (ahead - behind) / 2e-5, atol=1e-7)


def test_all_nuisances_have_the_slopes_of_the_signal(problem, lattice, true_parameters):
    state = lattice.state(true_parameters)
    values = problem.values(state, np.exp(NUISANCE[3]))
    vicinity = problem.vicinity(state, NUISANCE, values, None)
    jacobian = problem.expectation(values, NUISANCE, vicinity).jacobian
    for place in set(range(len(NUISANCES))) - {3}:  # the resolution changes values, too
        step = 1e-5 * np.eye(len(NUISANCES))[place]
        ahead = problem.signal(values, NUISANCE + step, vicinity)
        behind = problem.signal(values, NUISANCE - step, vicinity)
        found = (ahead - behind) / 2e-5
        np.testing.assert_allclose(jacobian[..., place], found, atol=1e-6 * np.abs(found).max())


def test_few_modes_are_enough_for_several_phonons(prepared, lattice, true_parameters, monkeypatch):
    """Within a percent of many more: the approximation itself is far worse."""
    state, centres = lattice.state(true_parameters), prepared.centres[::20]
    few = Multiphonon(prepared, lattice).spectra(state, centres, 1.0)
    monkeypatch.setattr("fcinv_core.inversion.multiphonon.N_MODES", 50_000)
    many = Multiphonon(prepared, lattice).spectra(state, centres, 1.0)
    assert few.max() > 0 and np.abs(few - many).max() < 1e-2 * many.max()
    assert not np.array_equal(few, many)


def test_a_map_at_one_energy_has_no_tail(load, silicon):
    data = PreparedHistogram.from_histogram(load("HK0_map_30meV_clean"), silicon, energy_fwhm=2.4)
    tail = Background.of(data, 1.0).values(5.0 * np.eye(len(NUISANCES))[TAIL])
    np.testing.assert_array_equal(tail, 0.0)


@pytest.mark.parametrize("several", [True, False])
def test_several_phonons_and_tails_are_told_from_a_flat_background(
    several, load, truth, lattice, true_parameters, prepared
):
    """Data of the forward model with or without them; force constants are known."""
    data = load("one_orientation_4d_clean")
    elastic, decay = 4.0, 1.8
    simulated = expected_signal(
        truth,
        data,
        np.where(np.isfinite(data.signal), 1.0, np.nan),
        energy_fwhm=2.4,
        background=SimulatedBackground(0.05, 0.0, elastic, decay, several),
        scale=10.0,
    )
    rng = np.random.default_rng(3)
    exposure = 10.0
    counts = rng.poisson(exposure * np.nan_to_num(simulated.signal))
    counted = simulated.with_values(
        np.where(np.isnan(simulated.signal), np.nan, counts / exposure),
        np.where(np.isnan(simulated.signal), np.nan, counts / exposure**2),
    )
    item = PreparedHistogram.from_histogram(counted, truth.crystal, energy_fwhm=2.4)
    problem = HistogramProblem(item, lattice, true_parameters)
    refinement = Refinement(lattice, [problem], None, lambda _: None)
    end = refinement.minimise(refinement.starting_point(true_parameters), Counts(), 20)
    (values,) = end.point.nuisances
    sigmas = np.sqrt(np.diag(np.linalg.inv(end.equations.curvature)))[-len(NUISANCES) :]
    found = estimates(values, sigmas, problem.typical_signal, item)
    wanted = {
        "scale": 10.0,
        "multiphonon_scale": 1.0 if several else 0.0,
        "elastic_decay": decay,
        # stated at 1.5 elastic widths
        "elastic_tail": 10 * elastic * np.exp(-1.5 * 2.4 / decay),
    }
    for name, value in wanted.items():
        assert abs(found[name].value - value) < 4 * found[name].sigma + 0.01 * value, name
    assert found["multiphonon_scale"].sigma < 0.2, "known better than beforehand"


def test_the_pull_is_that_of_a_gaussian():
    cost, gradient, curvature = pull(NUISANCE, None, "linear")
    assert cost == pytest.approx(0.5 * NUISANCE @ (curvature * NUISANCE))
    np.testing.assert_allclose(gradient, curvature * NUISANCE)
    assert curvature[MULTIPHONON] == pytest.approx(4) and curvature[DECAY] == pytest.approx(4)
    held = pull(NUISANCE, NUISANCE, "linear")
    assert held[0] == 0 and not held[1].any() and (held[2] >= curvature).all()


@pytest.mark.parametrize("background", ["flat", "none"])
def test_a_background_that_is_held_stays_at_zero(background, prepared, lattice, true_parameters):
    problem = HistogramProblem(
        replace(prepared, background=background), lattice, true_parameters, largest_rows=40
    )
    refinement = Refinement(lattice, [problem], None, lambda _: None)
    fitted = refinement.descended(refinement.starting_point(true_parameters), Counts(), 15)
    nuisance = fitted.point.nuisances[0]
    assert np.abs(nuisance[[SLOPE, TAIL]]).max() < 1e-6
    assert (abs(nuisance[BACKGROUND]) < 1e-6) == (background == "none")
