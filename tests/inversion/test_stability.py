"""Stable crystals in place of imaginary modes that the data do not ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from fcinv_core.inversion.counts_fit import CountsFit
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.quality import expected_counts
from fcinv_core.inversion.stability import (
    MOST_MISFIT,
    least_distance,
    step_to_stability,
    watched_points,
)
from fcinv_core.inversion.starts import Start

UNSTABLE = 1.0
"""meV."""


@pytest.fixture(scope="module")
def q_points(lattice):
    return watched_points(lattice)


@pytest.fixture(scope="module")
def unstable(lattice, true_parameters, q_points):
    """Silicon whose transverse acoustic modes are imaginary, and a prior."""
    random = np.random.default_rng(3)
    prior = ForceConstantPrior.around(lattice, true_parameters, FINAL)
    direction = np.linalg.cholesky(prior.covariance) @ random.standard_normal(len(true_parameters))
    for size in np.arange(0.02, 10, 0.02):
        parameters = true_parameters + size * direction
        if lattice.energies(parameters, q_points).min() < -UNSTABLE:
            return parameters, prior.precision
    raise AssertionError("no such direction")


def test_least_distance_against_a_general_minimiser():
    random = np.random.default_rng(1)
    for n_bounds in (1, 4, 9):
        matrix, bounds = random.standard_normal((n_bounds, 5)), random.uniform(0, 1, n_bounds)
        found = least_distance(matrix, bounds)
        expected = minimize(
            lambda x: 0.5 * x @ x,
            np.linalg.pinv(matrix) @ bounds,
            jac=lambda x: x,
            constraints=LinearConstraint(matrix, lb=bounds),
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert expected.success
        assert found == pytest.approx(expected.x, abs=1e-5)
    assert least_distance(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])) is None


def test_the_nearest_stable_crystal(lattice, unstable, q_points, true_parameters):
    parameters, precision = unstable
    step = step_to_stability(lattice, parameters, precision, q_points)
    moved = parameters + step
    assert lattice.energies(moved, q_points).min() > -0.1
    # The truth is stable, too, and farther; half of the way there is not enough of it.
    to_truth = true_parameters - parameters
    assert step @ precision @ step < to_truth @ precision @ to_truth
    assert lattice.energies(parameters + 0.5 * step, q_points).min() < -0.5


def test_a_stable_crystal_stays(lattice, unstable, q_points, true_parameters):
    assert step_to_stability(lattice, true_parameters, unstable[1], q_points) is None


def test_nuisances_follow(lattice, unstable, q_points):
    """One that is correlated with force constants moves as the misfit has it."""
    parameters, precision = unstable
    n = len(parameters)
    curvature = np.zeros((n + 1, n + 1))
    curvature[:n, :n] = precision
    curvature[n, n] = 4.0
    curvature[:n, n] = curvature[n, :n] = 0.3 * np.sqrt(4.0 * np.diag(precision)) / np.sqrt(n)
    step = step_to_stability(lattice, parameters, curvature, q_points)
    assert curvature[n] @ step == pytest.approx(0, abs=1e-6 * np.abs(curvature[n] * step).max())
    assert step[n] != 0


@pytest.mark.parametrize(
    ("most_misfit", "excess", "is_held"),
    [(np.inf, 1, True), (MOST_MISFIT, 1, False), (np.inf, 2, False)],
)
def test_data_decide(
    most_misfit, excess, is_held, prepared, lattice, unstable, q_points, monkeypatch
):
    """Counted on a crystal whose soft modes scatter nothing, which no stable one does as well;
    what is not described to counting statistics stays at any price."""
    monkeypatch.setattr("fcinv_core.inversion.counts_fit.MOST_MISFIT", most_misfit)
    monkeypatch.setattr("fcinv_core.inversion.problem.SAMPLING_OVER_COUNTING", 1e6)
    problem = HistogramProblem(prepared, lattice, unstable[0])
    state = lattice.state(unstable[0])
    nuisances = np.array([[2.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    values = problem.values(state, 1.0)
    around = problem.vicinity(state, nuisances[0], values, None)
    means = expected_counts(problem, problem.expectation(values, nuisances[0], around))
    random, per_bin = np.random.default_rng(2), 0.8
    counts = np.zeros_like(prepared.counts)
    counts[problem.bins] = excess * random.poisson(per_bin / excess * means / means.mean())
    few = replace(prepared, counts=counts, exposure=prepared.exposure * per_bin / means.mean())
    start = Start(unstable[0], unstable[0], nuisances)
    with pytest.MonkeyPatch.context() as patch:  # it stays where it is
        patch.setattr("fcinv_core.inversion.counts_fit._LAST_ITERATIONS", 0)
        fit = CountsFit.from_start(start, [few], lattice, True, 0, lambda _: None)
    assert (fit.deviance < 1.3) == (excess == 1)
    lowest = lattice.energies(fit.best.point.parameters, q_points).min()
    assert lowest < -UNSTABLE
    again, held = fit.held_stable(lattice, lambda _: None)
    if not is_held:
        assert again is fit and held is None
        return
    assert held.imaginary_mev == pytest.approx(-lowest)
    assert held.chi_squared == pytest.approx(
        2 * (again.best.equations.cost - fit.best.equations.cost)
    )
    assert held.chi_squared > 2 * MOST_MISFIT
    assert lattice.energies(again.best.point.parameters, q_points).min() > -0.3
