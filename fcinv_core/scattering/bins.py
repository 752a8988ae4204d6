"""From histogram bins to the Q points at which a model is evaluated.

A bin holds the average over its volume, integrated axes included. Each bin is covered by a
regular grid of midpoints fine enough that the energy change of a mode from one point to the
next stays small against the resolution. Bins that are equivalent by symmetry share one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcinv_core.scattering.irreducible import IrreducibleQ


@dataclass(frozen=True)
class BinSampling:
    """Symmetry-distinct Q bins and the points that sample them.

    Attributes
    ----------
    q_points
        (n_q, 3) wave vectors that need a diagonalisation (reciprocal primitive coordinates).
    points
        (n_rows, n_samples, 3) Q of each sample, equivalent by symmetry to one in the bin.
    q_index
        (n_rows, n_samples) into ``q_points``.
    weights
        (n_samples,) weight of each sample in the average, summing to 1.
    row
        (n_bins,) the row that holds each Q bin's spectrum.
    """

    q_points: np.ndarray
    points: np.ndarray
    q_index: np.ndarray
    weights: np.ndarray
    row: np.ndarray

    @classmethod
    def from_bins(
        cls,
        centres: np.ndarray,
        bin_vectors: np.ndarray,
        counts: tuple[int, int, int],
        rotations: np.ndarray,
    ) -> BinSampling:
        """Sample parallelepiped bins on a regular grid of points.

        Parameters
        ----------
        centres
            (n_bins, 3) in reciprocal coordinates of the primitive cell.
        bin_vectors
            (3, 3) columns span one bin, same coordinates.
        counts
            Number of points along each bin vector.
        rotations
            (n_ops, 3, 3) point group on reciprocal coordinates.
        """
        offsets, weights = sample_offsets(counts)
        samples = centres[:, None, :] + (offsets @ bin_vectors.T)[None]
        reduced = IrreducibleQ.from_points(samples.reshape(-1, 3), rotations)
        _, identity = np.unique(
            np.round(reduced.equivalent * 1e6).astype(np.int64), axis=0, return_inverse=True
        )
        shape = samples.shape[:2]
        # equal weights do not care which sample is which, so sorting makes equal bins equal
        signature = np.sort(identity.reshape(shape), axis=1)
        _, first, row = np.unique(signature, axis=0, return_index=True, return_inverse=True)
        kept, q_index = np.unique(reduced.index.reshape(shape)[first], return_inverse=True)
        return cls(
            reduced.q_points[kept],
            reduced.equivalent.reshape(*shape, 3)[first],
            q_index.reshape(len(first), shape[1]),
            weights,
            row.reshape(-1),
        )


def sample_offsets(counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints of a regular grid in the unit cube around 0, and their equal weights."""
    axes = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return offsets, np.full(len(offsets), 1.0 / len(offsets))
