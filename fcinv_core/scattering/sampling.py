"""How finely bins must be sampled in Q."""

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
