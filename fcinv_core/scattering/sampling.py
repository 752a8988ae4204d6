"""How finely bins must be sampled in Q.

A first guess follows from the slopes of the bands, the width of the resolution and the extent of
a bin. Where a tolerance is asked for, spectra of some bins decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fcinv_core.scattering.resolution import EnergyResolution

STEP_OVER_WIDTH = 1.3
"""Largest energy change of a mode from one sample to the next, over the line's width.

Three-dimensional bins then err by about 1e-3 of the strongest intensity, and by 1e-2 at worst
where a band is steep along one axis only or one wide bin holds all energies.
"""

COARSEST_STEP = 2.6
"""The same where numbers of samples are raised until spectra have converged."""

LARGEST_STEP = 0.06
"""Reciprocal-lattice units of the primitive cell: structure factors vary inside a zone too."""

_PROBES = 256

_DIFFERENCE = 0.01
"""Reciprocal-lattice units over which slopes are taken."""

_BIN_OVER_WIDTH = 6.0
"""What the width of an energy bin is divided by: less than its √12 of a standard deviation would
need, because the edges of a wide bin stay as sharp as the resolution."""


def sample_counts(
    energies: Callable[[np.ndarray], np.ndarray],
    bin_vectors: np.ndarray,
    energy_edges: np.ndarray,
    resolution: EnergyResolution,
    step_over_width: float = STEP_OVER_WIDTH,
) -> tuple[int, int, int]:
    """Number of samples along each edge of a Q bin.

    Parameters
    ----------
    energies
        Phonon energies (n, n_modes) in meV at q points (n, 3); slopes of the bands at random
        points decide.
    bin_vectors
        (3, 3) columns span the bin, in reciprocal coordinates of the primitive cell.
    energy_edges
        (n + 1,) meV.
    step_over_width
        Allowed energy change per step over the combined width of resolution and energy bin.
    """
    centre = torch.tensor([0.5 * (energy_edges[0] + energy_edges[-1])], dtype=torch.float64)
    sigma = float(resolution.sigma(centre)[0])
    width = np.hypot(sigma, np.diff(energy_edges).mean() / _BIN_OVER_WIDTH)
    probes = np.random.default_rng(0).random((_PROBES, 3))
    lengths = np.abs(bin_vectors).max(axis=0)
    # Central differences: the same when an axis is turned round.
    steps = (np.minimum(1.0, _DIFFERENCE / lengths) * bin_vectors).T / 2
    ends = [probes + sign * step for step in steps for sign in (1, -1)]
    values = energies(np.concatenate(ends)).reshape(3, 2, _PROBES, -1)
    change = np.abs(values[:, 0] - values[:, 1]).reshape(3, -1)
    per_bin = np.quantile(change, 0.98, axis=1) / np.minimum(1.0, _DIFFERENCE / lengths)
    by_energy = per_bin / (step_over_width * width)
    by_zone = lengths / (LARGEST_STEP * step_over_width)
    # Slack, so that rounding does not decide between two numbers.
    counts = np.ceil(np.maximum(by_energy, by_zone) - 1e-6).astype(int).clip(min=1)
    return int(counts[0]), int(counts[1]), int(counts[2])


def converged_counts(
    spectra: Callable[[tuple[int, int, int]], np.ndarray],
    counts: tuple[int, int, int],
    tolerance: float,
) -> tuple[int, int, int]:
    """Smallest numbers of samples found with which spectra no longer change.

    Half as many samples again along one edge at a time: what that changes is the error of the
    samples along this edge.

    Parameters
    ----------
    spectra
        Spectra (n, n_energy) of a few bins for given numbers of samples.
    counts
        Where to begin.
    tolerance
        Largest error along each edge, relative to the largest intensity.
    """
    known: dict[tuple[int, int, int], np.ndarray] = {}

    def evaluate(numbers: tuple[int, int, int]) -> np.ndarray:
        if numbers not in known:
            known[numbers] = spectra(numbers)
        return known[numbers]

    open_edges = {0, 1, 2}
    while open_edges:
        # All edges from the same numbers: which edge comes first does not matter.
        base, next_counts = evaluate(counts), list(counts)
        for edge in sorted(open_edges):
            finer = list(counts)
            finer[edge] += max(1, counts[edge] // 2)
            refined = evaluate((finer[0], finer[1], finer[2]))
            if np.abs(refined - base).max() <= tolerance * np.abs(refined).max():
                open_edges.discard(edge)
            else:
                next_counts[edge] = finer[edge]
        counts = (next_counts[0], next_counts[1], next_counts[2])
    return counts
