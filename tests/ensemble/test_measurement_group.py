"""Observations of simulated groups."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_group import IDEAL_COUNTS, OBSERVED

N_Q = 40


@pytest.fixture(scope="module")
def group(germanium_prior, germanium_pool, quick_ranges):
    batches = MeasurementBatches(germanium_prior, germanium_pool, ranges=quick_ranges, n_q=N_Q)
    (simulated,) = batches.simulate(3, seed=4)
    return simulated


def equal(first, second):
    pairs = ((getattr(first, each.name), getattr(second, each.name)) for each in fields(first))
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def observed(group, seed, n_q=None):
    return group.observe(np.random.default_rng(seed), n_q)


def test_shapes(group):
    seen = observed(group, 0, 16)
    assert len(seen) == 3
    assert seen.counts.shape == seen.exposure.shape == (3, 16, 64)
    assert seen.centres.shape == seen.q_points.shape == (16, 3)
    assert seen.bin_vectors.shape == seen.hkl_bin_vectors.shape == (3, 3)
    assert seen.energy_edges.shape == (65,) and seen.scale.shape == seen.flat_background.shape
    assert not seen.counts[seen.exposure == 0].any()
    assert len(observed(group, 0, 10**6).centres) == len(group.chosen)


def test_bins_belong_together(group, germanium_prior):
    """hkl and reciprocal coordinates of the primitive cell, by lengths in 1/Å."""
    seen = observed(group, 0)
    crystal = germanium_prior.crystal
    conventional = torch.linalg.inv(torch.tensor(crystal.lattice)).T
    primitive = torch.tensor(crystal.reciprocal_lattice)
    torch.testing.assert_close(
        2 * np.pi * (seen.q_points @ conventional).norm(dim=1),
        (seen.centres @ primitive).norm(dim=1),
    )
    rows = group.chosen[np.isin(group.geometry.q_points[group.chosen], seen.q_points).all(axis=1)]
    assert set(map(tuple, seen.q_points.tolist())) <= set(
        map(tuple, group.geometry.q_points[rows].tolist())
    )


def test_observations_differ_by_their_random_numbers_only(group):
    first, again, other = observed(group, 1), observed(group, 1), observed(group, 2)
    assert equal(first, again)
    assert torch.equal(first.parameters, other.parameters)
    assert first.temperature == other.temperature
    assert len({len(observed(group, seed).centres) for seed in range(20)}) >= len(set(OBSERVED)) - 1
    full, fuller = observed(group, 3, N_Q), observed(group, 4, N_Q)
    assert torch.equal(full.centres, fuller.centres)
    assert not torch.equal(full.counts, fuller.counts)
    assert not torch.equal(full.scale, fuller.scale)
    assert not torch.equal(full.flat_background, fuller.flat_background)


def test_noise_is_that_of_counting(group):
    """Of many observations of one expectation: variance of the counts = mean."""
    settled = {"peak_counts": (50, 50), "flat_background": (0.1, 0.1), "scale": (2, 2)}
    settled |= {"background_slope": (0, 0), "elastic_tail": (1, 1), "elastic_decay": (1, 1)}
    fixed = replace(group, ranges=replace(group.ranges, **settled))
    counts = torch.stack([observed(fixed, seed, N_Q).counts for seed in range(200)]).double()
    mean, variance = counts.mean(dim=0), counts.var(dim=0)
    likely = mean > 1
    assert likely.sum() > 300
    assert (variance / mean)[likely].mean() == pytest.approx(1.0, abs=0.02)


def test_idealised(group):
    """Counts are the expected intensity in all bins, up to one factor each."""
    ideal = replace(group, ranges=replace(group.ranges, idealised=1.0))
    seen = observed(ideal, 0, N_Q)
    assert seen.idealised and not observed(group, 0).idealised
    assert (seen.exposure > 0).all() and not seen.flat_background.any()
    signal = seen.counts / seen.exposure / seen.scale[:, None, None]
    torch.testing.assert_close(signal, group.intensity, rtol=1e-4, atol=1e-9)
    highest = seen.counts.amax(dim=2)
    assert ((highest > IDEAL_COUNTS).float().mean(dim=1) <= 0.11).all()
    assert (highest > 0.9 * IDEAL_COUNTS).any()
    shares = replace(group, ranges=replace(group.ranges, idealised=0.5))
    assert 10 < sum(observed(shares, seed, 4).idealised for seed in range(40)) < 30
