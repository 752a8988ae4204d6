"""Judging a fit: deviance at low counts, empty slivers, structure in residuals."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.inversion import invert
from fcinv_core.inversion.evaluation import Expectation
from fcinv_core.inversion.nuisances import pull
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.quality import (
    FitQuality,
    believed_exposure,
    expected_counts,
    expected_deviance,
)
from fcinv_core.inversion.refinement import Refinement
from fcinv_core.inversion.stages import Counts, poisson_deviance


@pytest.mark.parametrize("mean", [0.003, 0.1, 0.7, 1.0, 3.0, 20.0, 400.0, 5000.0])
def test_expected_deviance_against_draws(mean):
    n = 400_000
    draws = np.random.default_rng(1).poisson(mean, n)
    deviances = poisson_deviance(draws.astype(float), np.full(n, mean))
    error = deviances.std() / np.sqrt(n)
    assert expected_deviance(np.array([mean]))[0] == pytest.approx(
        deviances.mean(), abs=4 * error + 2e-3 * deviances.mean()
    )


@pytest.fixture
def drawn(problem, lattice, true_parameters):
    """The problem with counts drawn from its own expectation, and that expectation."""
    nuisance = np.array([2.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    state = lattice.state(true_parameters)
    values = problem.values(state, 1.0)
    vicinity = problem.vicinity(state, nuisance, values, None)
    expected = problem.expectation(values, nuisance, vicinity)
    means = expected_counts(problem, expected)
    rng = np.random.default_rng(5)

    def draw(factor=1.0):
        problem.prepared.counts[problem.bins] = rng.poisson(means * factor)
        return problem, expected

    kept = problem.prepared.counts.copy()
    yield draw
    problem.prepared.counts[:] = kept


def test_poisson_draws_are_a_good_fit(drawn):
    quality = FitQuality.of(*drawn(), n_fitted=0)
    spread = np.sqrt(2 / quality.n_bins)
    assert quality.deviance_per_dof == pytest.approx(1, abs=5 * spread)
    assert quality.pearson_per_dof == pytest.approx(1, abs=5 * spread)
    assert abs(quality.correlation) < 5 / np.sqrt(quality.n_bins)
    assert quality.explained > 0.95
    assert quality.scatter < 1.3


def test_excess_scatter_and_structure_are_told_apart(drawn):
    rng = np.random.default_rng(6)
    shape = drawn()[1].signal[drawn()[0].row].shape
    scattered = FitQuality.of(*drawn(rng.lognormal(0, 1.0, shape)), n_fitted=0)
    assert scattered.pearson_per_dof > 2
    assert scattered.correlation < 0.3
    wavy = 1 + 0.9 * np.sin(np.arange(shape[1]) / 6)
    structured = FitQuality.of(*drawn(wavy), n_fitted=0)
    assert structured.correlation > 0.3
    assert structured.scatter > structured.pearson_per_dof


def test_slivers_of_coverage_are_recognised_by_their_emptiness(drawn):
    problem, expected = drawn()
    means = expected_counts(problem, expected)
    slivers = np.random.default_rng(2).random(means.shape) < 0.05
    problem.prepared.counts[problem.bins] *= ~slivers
    believed = believed_exposure(problem, expected)
    used = problem.prepared.used[problem.bins]
    clear = slivers & used & (means > 8)
    assert clear.sum() > 5
    assert (believed[clear] < 0.05).all()
    counted = problem.prepared.counts[problem.bins] > 0
    assert (believed[counted] == 1).all()
    chance = used & ~counted & (means < 0.3)
    assert (believed[chance] > 0.5).all()


def test_a_model_that_explains_nothing_is_found_out(problem, prepared):
    flat = Expectation(np.full(problem.counts.shape, problem.typical_signal), np.empty(0))
    quality = FitQuality.of(problem, flat, n_fitted=1)
    assert quality.explained < 0.1
    assert quality.pearson_per_dof > 1.3


def test_few_bins_determine_few_force_constants(load, silicon, truth):
    """41 bins and 25 force constants, most of which the prior alone holds."""
    data = load("one_orientation_HHL0_slice_clean")
    result = invert([data], silicon, start=truth, refine=True)
    (fit,) = result.fits
    assert fit.used.sum() < 50
    assert fit.deviance_per_dof < 1 + 4 * np.sqrt(2 / fit.used.sum())


def test_effective_number_of_parameters(problem, lattice, true_parameters):
    """Against its definition: how far fitted values follow the data that they are fitted to."""
    prior = ForceConstantPrior.around(lattice, true_parameters, FINAL)
    refinement = Refinement(lattice, [problem], prior, lambda _: None)
    point = refinement.starting_point(true_parameters)
    found = refinement.evaluate(point, Counts())
    assert np.all((found.informed >= 0) & (found.informed <= 1))
    (expected,) = found.expectations
    used = problem.exposure > 0
    signal = expected.signal[used]
    jacobian = expected.jacobian[used] * np.sqrt(problem.exposure[used] / signal)[:, None]
    n_par, size = len(true_parameters), jacobian.shape[1]
    precision = np.zeros((size, size))
    precision[:n_par, :n_par] = prior.precision
    precision[n_par:, n_par:] = np.diag(pull(point.nuisances[0], None, "linear")[2])
    leverage = np.einsum(
        "bi,ij,bj->", jacobian, np.linalg.inv(jacobian.T @ jacobian + precision), jacobian
    )
    assert found.informed.sum() == pytest.approx(leverage, rel=1e-3)
    assert 10 < leverage < size - 2


@pytest.mark.parametrize(
    ("deviance", "counts_per_bin", "leaves_nothing"),
    [
        (1.02, 1.9, True),  # chance
        (1.0506, 1.9, False),  # a wrong valley of 7377 bins of germanium had this
        (1.0506, 115, True),  # faults of 2 % of the counts
        (1.35, 115, False),
    ],
)
def test_few_counts_hide_wrong_valleys(deviance, counts_per_bin, leaves_nothing):
    """A little excess is no reason for mistrust, but one for another look."""
    quality = FitQuality(
        residuals=np.zeros((1, 1)),
        deviance_per_dof=deviance,
        pearson_per_dof=deviance,
        explained=1.0,
        correlation=0.03,
        n_bins=7377,
        counts_per_bin=counts_per_bin,
    )
    assert quality.leaves_nothing_to_find == leaves_nothing
    assert quality.is_at_counting_limit == (deviance < 1.06)


@pytest.mark.parametrize(("is_shifted", "leaves_none"), [(False, True), (True, False)])
def test_small_faults_at_many_counts_are_told_from_lines_in_wrong_places(
    problem, lattice, true_parameters, is_shifted, leaves_none
):
    nuisance = np.array([2.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    def expectation(parameters):
        state = lattice.state(parameters)
        values = problem.values(state, 1.0)
        return problem.expectation(
            values, nuisance, problem.vicinity(state, nuisance, values, None)
        )

    means = expected_counts(problem, expectation(true_parameters))
    many = 400 / means.max()
    rng = np.random.default_rng(5)
    fault = 1 + 0.06 * np.sin(np.arange(means.size)).reshape(means.shape)
    counts, exposure = problem.prepared.counts, problem.prepared.exposure
    kept = counts.copy(), exposure.copy()
    try:
        counts[problem.bins] = rng.poisson(many * means * fault)
        exposure[problem.bins] *= many
        fitted = expectation(true_parameters * (1.05 if is_shifted else 1.0))
        quality = FitQuality.of(problem, fitted, n_fitted=0)
    finally:
        counts[:], exposure[:] = kept
    assert quality.deviance_per_dof > 1.05
    assert quality.leaves_nothing_to_find == leaves_none
