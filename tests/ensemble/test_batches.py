"""Batches of measurements against the forward model."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from fcinv_core import ForwardModel
from fcinv_core.ensemble.batches import MATCHED_TOPS, MeasurementBatches
from fcinv_core.ensemble.measured_rows import BRAGG_DISTANCE, MeasuredRows
from fcinv_core.ensemble.random_measurement import random_measurements
from fcinv_core.errors import FcinvError
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.resolution import TabulatedWidth

N_Q = 96


@pytest.fixture(scope="module")
def batches(germanium_prior, germanium_pool, quick_ranges):
    return MeasurementBatches(
        germanium_prior, germanium_pool, ranges=quick_ranges, n_q=N_Q, group_size=3
    )


def equal(first, second):
    return all(
        torch.equal(getattr(first, field.name), getattr(second, field.name))
        for field in fields(first)
    )


def test_shapes_and_consistency(batches, germanium_prior):
    batch = batches.draw(7, seed=0)
    assert len(batch) == 7
    assert batch.counts.shape == batch.exposure.shape == batch.covered.shape == (7, N_Q, 64)
    assert batch.q_points.shape == (7, N_Q, 3) and batch.energy_edges.shape == (7, 65)
    tops = germanium_prior.extremes(batch.parameters)[1]
    assert torch.equal(tops, tops.sort().values)
    covered = batch.covered
    assert torch.equal(covered, batch.exposure > 0)
    assert not batch.counts[~covered].any()
    assert torch.equal(batch.counts, batch.counts.round())
    assert torch.equal(torch.isfinite(batch.signal), covered)
    counted = batch.counts > 0
    ratio = (batch.signal / batch.variance)[counted]
    torch.testing.assert_close(ratio, batch.exposure[counted], rtol=1e-4, atol=0)


def test_groups_differ_and_so_do_members(batches):
    batch = batches.draw(9, seed=3)
    assert len(torch.unique(batch.temperature)) == 3
    assert len(torch.unique(batch.scale)) == 9
    assert len(torch.unique(batch.parameters, dim=0)) == 9
    totals = batch.counts.sum(dim=(1, 2))
    assert len(torch.unique(totals)) == 9


def test_seeds(batches):
    first, again, other = batches.draw(6, 1), batches.draw(6, 1), batches.draw(6, 2)
    assert equal(first, again)
    assert not equal(first, other)


def test_signal_is_that_of_the_forward_model(germanium_prior, germanium_pool, quick_ranges):
    """Counts over many bins scatter about the forward model as Poisson counts do.

    χ² per bin about the forward model at the drawn force constants, at 300 counts in strong
    peaks; what it exceeds 1 by is the square of the error of bin averages over the counting noise.
    A few bins on steep bands decide: 0.81 to 1.78 for 30 single measurements, 1.12 in the middle;
    1.07 to 1.32 for three of the same bins together.
    """
    ranges = replace(
        quick_ranges,
        peak_counts=(300, 300),
        flat_background=(0.02, 0.02),
        background_slope=(0, 0),
        elastic_tail=(1e-9, 1e-9),
        temperature=(10, 11),
        width_excess=(1, 1),
    )
    one = germanium_pool[:1]
    batch = MeasurementBatches(germanium_prior, one, ranges=ranges, n_q=N_Q, group_size=3).draw(
        3, seed=0
    )
    template = one[0].template
    width = one[0].resolution.width
    assert isinstance(width, TabulatedWidth)
    stated = EnergyResolution.tabulated(
        width.energies, [fwhm / one[0].width_excess for fwhm in width.fwhm]
    )
    places = {tuple(q): i for i, q in enumerate(np.round(template.q_bin_centres(), 4).tolist())}
    rows = [places[tuple(q)] for q in np.round(batch.q_points[0].double().numpy(), 4).tolist()]
    # Only the bins that are compared.
    signal = np.full(template.spectra(template.signal).shape, np.nan)
    signal[rows] = template.spectra(template.signal)[rows]
    bins = template.with_values(np.ascontiguousarray(template.from_spectra(signal)))
    model = ForwardModel(
        germanium_prior.crystal, bins, float(batch.temperature[0]), stated, multiphonon=True
    )
    centres = template.q_bin_centres()[rows]
    # Si and Ge: reciprocal-lattice points of the conventional cell have all even or all odd hkl.
    nearest = np.rint(centres)
    distances = 2 * np.pi * np.linalg.norm((centres - nearest) @ template.ub.T, axis=1)
    far = torch.from_numpy(distances > BRAGG_DISTANCE)
    pulls = []
    for k in range(len(batch)):
        force_constants = germanium_prior.force_constants(batch.parameters[k])
        signal = np.ascontiguousarray(bins.spectra(model(force_constants))[rows])
        intensity = torch.from_numpy(signal) + float(batch.flat_background[k])
        mean = batch.exposure[k].double() * batch.scale[k].double() * intensity
        chosen = batch.covered[k] & far[:, None] & (mean > 0)
        counts = batch.counts[k].double()[chosen]
        pulls.append((counts - mean[chosen]) / mean[chosen].sqrt())
        total = (counts.sum() - mean[chosen].sum()) / mean[chosen].sum()
        n = int(chosen.sum())
        assert n > 1000
        assert pulls[-1].square().mean() > 1 - 4 * np.sqrt(2 / n)
        assert abs(total) < 0.015 + 4 / np.sqrt(float(counts.sum()))
    squares = torch.cat(pulls).square()
    scatter = 4 * np.sqrt(2 / len(squares))
    assert 1 - scatter < squares.mean() < 1.4 + scatter


def test_bins_are_chosen_so_that_they_share_wave_vectors(germanium, germanium_pool, monkeypatch):
    largest = max(germanium_pool, key=lambda measurement: measurement.template.signal.size)
    monkeypatch.setattr("fcinv_core.ensemble.measured_rows.MOST_WAVE_VECTORS", 20)
    rows = MeasuredRows.of(largest, germanium)
    random = np.random.default_rng(0)
    first, second = rows.choose(64, random), rows.choose(64, random)
    assert len(np.unique(first)) == 64 and not np.array_equal(first, second)
    blind = random.choice(len(rows.centres), 64, replace=False)
    n_shared, n_blind = (len(np.unique(rows.kind[x])) for x in (first, blind))
    assert n_shared < n_blind
    assert len(rows.choose(10**9, random)) == len(rows.centres)


def test_most_groups_have_a_measurement_that_fits_their_bands(
    germanium_prior, germanium_pool, quick_ranges
):
    """Experimenters see the top of the spectrum, and little beyond."""
    stiff = germanium_prior.force_constants(4 * germanium_prior.centre)
    pool = [*germanium_pool, *random_measurements(stiff, 2, quick_ranges, seed=1)]

    def windows(matched):
        ranges = replace(quick_ranges, matched=matched)
        batches = MeasurementBatches(germanium_prior, pool, ranges=ranges, n_q=4, group_size=1)
        groups = batches.simulate(24, seed=0)
        tops = germanium_prior.extremes(torch.cat([group.parameters for group in groups]))[1]
        ends = torch.tensor([float(group.geometry.edges[-1]) for group in groups])
        ratios = ends / tops
        possible = [
            any(low < rows.edges[-1] / top < high for rows in batches._rows)
            for top in tops.tolist()
        ]
        return ((ratios > low) & (ratios < high))[possible].double().mean()

    low, high = MATCHED_TOPS
    assert windows(1.0) == 1.0
    assert windows(0.0) < 0.8


def test_pools_must_fit_together(germanium_prior, germanium_pool):
    with pytest.raises(FcinvError, match="energy bins"):
        MeasurementBatches(germanium_prior, [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu(germanium_prior, germanium_pool, quick_ranges):
    """On the device from end to end; its generator draws other numbers than the processor's."""
    batches = MeasurementBatches(
        germanium_prior, germanium_pool, ranges=quick_ranges, n_q=N_Q, device="cuda"
    )
    batch = batches.draw(6, 1)
    assert all(getattr(batch, field.name).is_cuda for field in fields(batch))
    assert equal(batch, batches.draw(6, 1))
    assert batch.counts.sum() > 0
