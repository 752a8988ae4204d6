"""Random measurements with counting noise per second."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from benchmarks.measure import shortest
from benchmarks.table import Row, Section
from benchmarks.workload import crystal_of

from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.random_measurement import random_measurements
from fcinv_core.ensemble.samples import ForceFieldSample
from fcinv_core.scattering.forward import ForwardModel

N_Q = 256
N_POOL, N_MEASUREMENTS = 12, 1024
N_COMPARED = 4


def simulated_measurements(scale: float) -> Section:
    """Batches of noisy measurements next to noise-free ones by the forward model.

    All have `N_Q` Q bins in which something is seen: slabs and volumes.
    """
    truth = crystal_of("Ge")
    sample = ForceFieldSample(truth, "none", "relaxed cell", truth.crystal.lattice, 0.0, True)
    prior = Prior.from_samples(ForceConstantBasis.from_crystal(truth.crystal), [sample])
    ranges = MeasurementRanges(kinds=("slab", "volume"))
    n_pool = max(2, round(min(1.0, scale) * N_POOL))
    n = max(64, round(min(1.0, scale) * N_MEASUREMENTS))
    begin = time.perf_counter()
    pool = random_measurements(truth, n_pool, ranges)
    batches = MeasurementBatches(prior, pool, ranges=ranges, n_q=N_Q)
    planning = (time.perf_counter() - begin) / n_pool
    seconds, _ = shortest(lambda: batches.draw(n, seed=0), 3)
    own = 1e3 * seconds / n

    others = []
    values = prior.values(prior.sample(N_COMPARED, 0))
    for measurement in pool[:2]:
        template = measurement.template
        signal = np.full(template.spectra(template.signal).shape, np.nan)
        seen = np.flatnonzero(template.spectra(template.covered).any(axis=1))
        chosen = np.random.default_rng(0).choice(seen, min(N_Q, len(seen)), replace=False)
        signal[chosen] = template.spectra(template.signal)[chosen]
        bins = template.with_values(np.ascontiguousarray(template.from_spectra(signal)))
        model = ForwardModel(
            truth.crystal,
            replace(bins, mask=np.zeros(bins.shape, dtype=bool)),
            measurement.temperature,
            measurement.resolution,
            reference=truth,
            dtype=torch.float32,
        )
        others.append(shortest(lambda model=model: model(values), 1)[0] / N_COMPARED)
    return Section(
        f"Random measurements of {N_Q} Q × 64 energy bins with counting noise, germanium "
        f"({n_pool} geometries, each planned once in {planning:.2f} s)",
        (
            Row(
                f"one measurement ({1e3 / own:.0f} per second)",
                own,
                "forward model without noise",
                1e3 * float(np.mean(others)),
                "ms",
            ),
        ),
    )
