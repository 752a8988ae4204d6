"""Every comparison's gradient is the slope of its own cost, and counts reach the truth."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.inversion.nuisances import BACKGROUND
from fcinv_core.inversion.prior import FINAL, GUIDING, ForceConstantPrior
from fcinv_core.inversion.problem import FINE_SAMPLES, ROUGH_SAMPLES
from fcinv_core.inversion.refinement import RELIABLE, Refinement
from fcinv_core.inversion.stages import STAGES, Counts, poisson_deviance


@pytest.fixture
def known_multiphonon(problem, lattice, true_parameters, monkeypatch):
    """Scattering by several phonons as it is at the truth: derivatives take it as known."""
    several = problem.multiphonon(lattice.state(true_parameters), 1.0)
    monkeypatch.setattr(problem, "multiphonon", lambda state, resolution_scale: several)


@pytest.mark.parametrize("stage", [*STAGES, Counts()], ids=lambda stage: stage.name)
@pytest.mark.usefixtures("known_multiphonon")
def test_gradient_is_the_slope_of_the_cost(stage, problem, lattice, true_parameters):
    prior = ForceConstantPrior.around(lattice, true_parameters, GUIDING)
    refinement = Refinement(lattice, [problem], prior, lambda _: None)
    point = refinement.starting_point(0.93 * true_parameters)
    equations = refinement.evaluate(point, stage).equations
    rng = np.random.default_rng(3)
    for _ in range(4):
        step = rng.normal(size=len(equations.gradient))
        step[: len(true_parameters)] *= 0.02
        step *= 1e-4
        ahead = refinement.evaluate(point.moved(step), stage).equations.cost
        behind = refinement.evaluate(point.moved(-step), stage).equations.cost
        slope = equations.gradient @ step
        assert (ahead - behind) / 2 == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_counts_lead_back_from_a_background_that_is_too_low(problem, lattice, true_parameters):
    """Where signals are expected below 0 the cost has the slope that it says, too."""
    refinement = Refinement(lattice, [problem], None, lambda _: None)
    right = refinement.minimise(refinement.starting_point(true_parameters), Counts(), 20)
    low = np.zeros(right.equations.gradient.size)
    low[len(true_parameters) + BACKGROUND] = -right.point.nuisances[0, BACKGROUND] - 0.02
    point = right.point.moved(low)
    assert (refinement.evaluate(point, Counts()).expectations[0].signal < 0).mean() > 0.05
    equations, step = refinement.evaluate(point, Counts()).equations, 1e-3 * low
    ahead, behind = (
        refinement.evaluate(point.moved(s), Counts()).trial.cost for s in (step, -step)
    )
    assert (ahead - behind) / 2 == pytest.approx(equations.gradient @ step, rel=1e-4)
    back = refinement.minimise(point, Counts(), 20)
    assert back.equations.cost == pytest.approx(right.equations.cost, abs=0.1)


def test_no_step_raises_the_cost_by_scattering_that_derivatives_do_not_know(
    problem, lattice, true_parameters, monkeypatch
):
    """As near a mode that a step takes to zero energy: several phonons then scatter all."""
    prior = ForceConstantPrior.around(lattice, true_parameters, GUIDING)
    refinement = Refinement(lattice, [problem], prior, lambda _: None)
    begin = 0.93 * true_parameters
    point = refinement.starting_point(begin)
    calculated, first = problem.multiphonon, lattice.state(begin).tensors(300.0).abs().sum()

    def steep(state, resolution_scale):
        change = abs(float(state.tensors(300.0).abs().sum() / first) - 1)
        return calculated(state, resolution_scale) * np.exp(100 * change)

    monkeypatch.setattr(problem, "multiphonon", steep)
    monkeypatch.setattr("fcinv_core.inversion.refinement.FAR", 0.001)
    start = refinement.evaluate(point, Counts()).equations.cost
    end = refinement.descended(point, Counts(), 10, tolerance=RELIABLE)
    assert refinement.evaluate(end.point, Counts()).equations.cost < start


def test_nuisances_alone_have_the_derivatives_that_they_have_together(
    problem, lattice, true_parameters
):
    state = lattice.state(true_parameters)
    nuisance = np.array([2.3, 0.4, 0.1, 0.05, 0.02, -0.3, 0.2, 0.1])
    values = problem.values(state, np.exp(0.05))
    together, alone = (
        problem.expectation(values, nuisance, problem.vicinity(state, nuisance, values, most))
        for most in (FINE_SAMPLES, None)
    )
    np.testing.assert_allclose(alone.signal, together.signal, rtol=1e-9)
    assert alone.jacobian.shape[-1] == len(nuisance)
    columns = together.jacobian[..., -len(nuisance) :]
    size = np.abs(columns).max(axis=(0, 1))
    assert (np.abs(alone.jacobian - columns).max(axis=(0, 1)) < 0.03 * size).all()


@pytest.mark.usefixtures("known_multiphonon")
def test_fisher_information_is_the_mean_curvature_of_the_deviance(
    problem, lattice, true_parameters
):
    """At counts equal to their expectation the Gauss-Newton matrix is the exact Hessian."""
    prior = ForceConstantPrior.around(lattice, true_parameters, FINAL)
    refinement = Refinement(lattice, [problem], prior, lambda _: None)
    point = refinement.starting_point(true_parameters)
    expected = refinement.evaluate(point, Counts()).expectations[0]
    problem.counts = problem.exposure * expected.signal
    equations = refinement.evaluate(point, Counts()).equations
    step = np.zeros(len(equations.gradient))
    step[0] = 1e-3
    ahead = refinement.evaluate(point.moved(step), Counts()).equations.gradient
    behind = refinement.evaluate(point.moved(-step), Counts()).equations.gradient
    measured = (ahead - behind) / 2e-3
    scale = np.sqrt(np.diag(equations.curvature) * equations.curvature[0, 0])
    assert np.abs(measured - equations.curvature[0]).max() < 2e-3 * scale.max()
    assert np.all(np.abs(measured - equations.curvature[0]) < 5e-3 * scale)


def test_deviance_of_poisson_counts():
    counts, means = np.array([0.0, 3.0, 5.5]), np.array([2.0, 3.0, 4.0])
    expected = [4.0, 0.0, 2 * (5.5 * np.log(5.5 / 4) - 1.5)]
    assert np.allclose(poisson_deviance(counts, means), expected)


def test_prior_holds_what_it_says(lattice, true_parameters):
    """Draws of the stated distribution have Mahalanobis distances of their dimension."""
    prior = ForceConstantPrior.around(lattice, true_parameters, FINAL)
    draws = np.random.default_rng(0).multivariate_normal(prior.centre, prior.covariance, 2000)
    distances = [2 * prior.penalty(draw)[0] for draw in draws]
    n_par = len(true_parameters)
    assert np.mean(distances) == pytest.approx(n_par, rel=5 * np.sqrt(2 / n_par / 2000))
    softer, _ = prior.penalty(0.25 * true_parameters)
    assert 0.7 * 0.75**2 < 2 * softer < 0.75**2, "frequencies may halve freely"


def test_rough_slopes_are_near_the_fine_ones(problem, lattice, true_parameters):
    state, nuisance = lattice.state(true_parameters), np.zeros(8)
    values = problem.values(state, 1.0)
    fine, rough, single = (
        problem.vicinity(state, nuisance, values, n).parameters
        for n in (FINE_SAMPLES, ROUGH_SAMPLES, 1)
    )

    def errors(slopes):
        """By row, relative to the slopes there; root mean squares."""
        squares = ((slopes - fine) ** 2).mean(axis=(1, 2)) / (fine**2).mean(axis=(1, 2))
        return np.sqrt(squares)

    assert np.median(errors(single)) > 1
    assert 0 < np.median(errors(rough)) < 0.3
