"""How finely bins must be sampled in Q."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.dynamical import FourierSum, Modes
from fcinv_core.scattering.resolution import EnergyResolution

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

STEP_OVER_WIDTH = 1.3
"""Largest energy change of a mode from one sample to the next, over the line's width.

Three-dimensional bins then err by about 1e-3 of the strongest intensity, and by 1e-2 at worst
where a band is steep along one axis only or one wide bin holds all energies.
"""

LARGEST_STEP = 0.06
"""Reciprocal-lattice units of the primitive cell: structure factors vary inside a zone too."""

_PROBES = 256

_BIN_OVER_WIDTH = 6.0
"""What the width of an energy bin is divided by: less than its √12 of a standard deviation would
need, because the edges of a wide bin stay as sharp as the resolution."""


def sample_counts(
    crystal: Crystal,
    values: torch.Tensor,
    bin_vectors: np.ndarray,
    energy_edges: np.ndarray,
    resolution: EnergyResolution,
    step_over_width: float = STEP_OVER_WIDTH,
) -> tuple[int, int, int]:
    """Number of samples along each edge of a Q bin.

    Parameters
    ----------
    values
        Compact force constants (n_primitive, n_supercell, 3, 3) in eV/Å²; slopes of their
        bands at random q points decide.
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
    reference = _energies(crystal, values, probes)
    counts = []
    for vector in bin_vectors.T:
        length = np.abs(vector).max()
        fraction = min(1.0, 0.01 / length)
        change = np.abs(_energies(crystal, values, probes + fraction * vector) - reference)
        per_bin = np.quantile(change, 0.98) / fraction
        by_energy = per_bin / (step_over_width * width)
        by_zone = length / (LARGEST_STEP * step_over_width)
        counts.append(max(1, int(np.ceil(max(by_energy, by_zone)))))
    return counts[0], counts[1], counts[2]


def _energies(crystal: Crystal, values: torch.Tensor, q_points: np.ndarray) -> np.ndarray:
    matrices = FourierSum(crystal, q_points).matrices(values)
    return Modes.from_dynamical_matrices(matrices).energies.numpy()
