"""From histogram bins to the Q points at which a model is evaluated.

A bin holds the average over its volume, integrated axes included. Each bin is covered by a
grid of points fine enough that the energy change of a mode from one point to the
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
        """Sample parallelepiped bins on a grid of Gauss-Legendre points.

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
        first, row = _distinct_bins(centres, bin_vectors, counts, rotations)
        samples = centres[first][:, None, :] + (offsets @ bin_vectors.T)[None]
        reduced = IrreducibleQ.from_points(samples.reshape(-1, 3), rotations)
        shape = samples.shape[:2]
        return cls(
            reduced.q_points,
            reduced.equivalent.reshape(*shape, 3),
            reduced.index.reshape(shape),
            weights,
            row,
        )


def _distinct_bins(
    centres: np.ndarray,
    bin_vectors: np.ndarray,
    counts: tuple[int, int, int],
    rotations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One bin of each set of equivalent ones, and the set that each bin belongs to.

    Bins are equivalent when an operation that carries their grid of samples onto itself
    carries one centre to the other.
    """
    operations = np.unique(np.concatenate([rotations, -rotations]), axis=0)
    best = np.full(centres.shape, np.inf)
    for operation in operations:
        moved = np.rint(turned := np.linalg.solve(bin_vectors, operation @ bin_vectors))
        onto_itself = np.allclose(turned, moved, atol=1e-6) and (np.abs(moved).sum(0) == 1).all()
        if not onto_itself or not np.array_equal(np.abs(moved) @ counts, counts):
            continue
        image = np.round(centres @ operation.T, 6) + 0.0
        different = image != best
        leading = np.argmax(different, axis=1)[:, None]
        smaller = np.take_along_axis(image < best, leading, axis=1)
        best = np.where(smaller, image, best)
    _, first, row = np.unique(best, axis=0, return_index=True, return_inverse=True)
    return first, row.reshape(-1)


def sample_offsets(counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points in the unit cube around 0, and their weights, which sum to 1.

    Of bands that run out of a bin, equally weighted midpoints see the ends badly: they err by
    ten times as much with the few points along each edge that spectra need.
    """
    rules = [np.polynomial.legendre.leggauss(n) for n in counts]
    axes = [points / 2 for points, _ in rules]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    first, second, third = (weights / 2 for _, weights in rules)
    return offsets, np.einsum("i,j,k->ijk", first, second, third).reshape(-1)
