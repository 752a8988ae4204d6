"""A network's estimate: draws from it, and the same in another description of the crystal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fcinv_core import Crystal
from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.networks.estimate import APART, ForceConstantEstimate

STRUCTURES = Path(__file__).parents[1] / "data/structures"


@pytest.fixture
def estimate(germanium_prior):
    drawn = germanium_prior.sample(2000, 3).numpy()
    return ForceConstantEstimate(germanium_prior, drawn.mean(axis=0), 0.1 * np.cov(drawn.T))


def test_draws_are_stable(estimate, germanium_prior):
    draws, again = estimate.draws(6, seed=4), estimate.draws(6, seed=4)
    assert len(draws) == 6
    parameters = np.array([estimate.basis.parameters_of(drawn) for drawn in draws])
    assert (germanium_prior.extremes(torch.from_numpy(parameters))[0] > 0).all()
    assert all(np.array_equal(a.values, b.values) for a, b in zip(draws, again, strict=True))
    assert not np.allclose(estimate.draws(1, seed=5)[0].values, draws[0].values)


def test_of_several_estimates_those_that_differ_are_kept(germanium_prior):
    """In their order; a change of a tenth of APART is none."""
    centre = germanium_prior.centre
    several = np.array([1.0, 1 + APART / 10, 1.5, 1.5 * (1 + APART / 10), 0.7])[:, None] * centre
    covariance = np.arange(1.0, 6.0)[:, None, None] * np.eye(len(centre))
    estimate = ForceConstantEstimate.of_several(germanium_prior, several, covariance)
    np.testing.assert_array_equal(estimate.parameters, centre)
    np.testing.assert_array_equal(estimate.covariance, covariance[0])
    np.testing.assert_array_equal(estimate.others, several[[2, 4]])
    found = [estimate.basis.parameters_of(other) for other in estimate.alternatives]
    np.testing.assert_allclose(found, several[[2, 4]], atol=1e-12)


def test_draws_have_the_stated_covariance(estimate):
    offsets = np.array([estimate.basis.parameters_of(c) for c in estimate.draws(400, seed=1)])
    offsets -= estimate.parameters
    # The largest eigenvalues only, which few unstable draws bend.
    variances, axes = np.linalg.eigh(estimate.covariance)
    found = (offsets @ axes[:, -5:]).var(axis=0)
    np.testing.assert_allclose(found, variances[-5:], rtol=0.35)


def test_where_nothing_is_stable_there_are_no_draws(germanium_prior):
    n = germanium_prior.basis.n_parameters
    estimate = ForceConstantEstimate(germanium_prior, -germanium_prior.centre, 1e-6 * np.eye(n))
    assert estimate.draws(3) == []


@pytest.mark.parametrize("supercell", [(2, 2, 2), (1, 1, 2)])
def test_covariance_in_another_cell_is_that_of_carried_draws(estimate, supercell):
    crystal = Crystal.from_file(STRUCTURES / "Ge.cif").with_supercell(supercell)
    basis = ForceConstantBasis.from_crystal(crystal, 5.0)
    generator = np.random.default_rng(0)
    drawn = generator.multivariate_normal(estimate.parameters, estimate.covariance, 60)
    carried = [
        basis.parameters_of(carried_to(estimate.prior.force_constants(p), crystal)) for p in drawn
    ]
    expected = np.cov(np.array(carried).T)
    slopes = np.linalg.lstsq(np.column_stack([drawn, np.ones(60)]), np.array(carried), rcond=None)[
        0
    ][:-1].T
    np.testing.assert_allclose(
        estimate.covariance_in(basis),
        slopes @ estimate.covariance @ slopes.T,
        atol=1e-6 * np.abs(expected).max(),
    )


def test_covariance_in_its_own_basis_is_itself(estimate):
    np.testing.assert_allclose(
        estimate.covariance_in(estimate.basis), estimate.covariance, atol=1e-12
    )
