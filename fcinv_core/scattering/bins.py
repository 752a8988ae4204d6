"""From histogram bins to the Q points at which a model is evaluated.

A bin holds the average over its volume, integrated axes included. Each bin is covered by a
grid of points fine enough that the energy change of a mode from one point to the
next stays small against the resolution. Bins that are equivalent by symmetry share one row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh_tridiagonal

from fcinv_core.scattering.irreducible import (
    IrreducibleQ,
    best_operations,
    first_of_each,
    turned,
    with_time_reversal,
)

NO_SPREAD = (0.0, 0.0, 0.0)


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
        *,
        spread: tuple[float, float, float] = NO_SPREAD,
        reciprocal: np.ndarray | None = None,
    ) -> BinSampling:
        """Sample parallelepiped bins on a grid of Gauss points; equivalent bins share a row.

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
        spread
            Standard deviation of an additional Gaussian spread along each bin vector, relative
            to its length.
        reciprocal
            (3, 3) rows are reciprocal-lattice vectors in 1/Å; for polar crystals, whose modes at
            q = 0 depend on the direction of Q.
        """
        first, row = distinct_bins(centres, bin_vectors, counts, rotations, spread=spread)
        rows = cls.from_distinct_bins(
            centres[first], bin_vectors, counts, rotations, spread=spread, reciprocal=reciprocal
        )
        return replace(rows, row=row)

    @classmethod
    def from_distinct_bins(
        cls,
        centres: np.ndarray,
        bin_vectors: np.ndarray,
        counts: tuple[int, int, int],
        rotations: np.ndarray,
        *,
        spread: tuple[float, float, float] = NO_SPREAD,
        reciprocal: np.ndarray | None = None,
    ) -> BinSampling:
        """`from_bins` where it is known that each bin needs a row of its own."""
        offsets, weights = sample_offsets(counts, spread)
        return cls.at_offsets(
            centres, bin_vectors, offsets, weights, rotations, reciprocal=reciprocal
        )

    @classmethod
    def at_offsets(
        cls,
        centres: np.ndarray,
        bin_vectors: np.ndarray,
        offsets: np.ndarray,
        weights: np.ndarray,
        rotations: np.ndarray,
        *,
        reciprocal: np.ndarray | None = None,
    ) -> BinSampling:
        """Sample each bin at the same places; other parameters as of `from_bins`.

        Parameters
        ----------
        offsets
            (n_samples, 3) from the centre, in units of the bin vectors.
        weights
            (n_samples,) summing to 1.
        """
        samples = centres[:, None, :] + (offsets @ bin_vectors.T)[None]
        reduced = IrreducibleQ.from_points(samples.reshape(-1, 3), rotations)
        if reciprocal is not None:
            reduced = reduced.with_directions_at_gamma(reciprocal)
        shape = samples.shape[:2]
        return cls(
            reduced.q_points,
            reduced.equivalent.reshape(*shape, 3),
            reduced.index.reshape(shape),
            weights,
            np.arange(len(centres)),
        )


def distinct_bins(
    centres: np.ndarray,
    bin_vectors: np.ndarray,
    counts: tuple[int, int, int],
    rotations: np.ndarray,
    *,
    spread: tuple[float, float, float] = NO_SPREAD,
) -> tuple[np.ndarray, np.ndarray]:
    """One bin of each set of equivalent ones, and the set that each bin belongs to.

    Bins are equivalent when an operation that carries their grid of samples onto itself
    carries one centre to the other. Parameters as of `BinSampling.from_bins`.
    """
    operations, permutations = _bin_symmetry(bin_vectors, rotations)
    alike = [
        all(np.allclose(permutation @ kind, kind) for kind in (counts, spread))
        for permutation in permutations
    ]
    chosen = operations[alike]
    which = best_operations(centres, chosen, modulo_lattice=False)
    return first_of_each(turned(centres, chosen, which))


def symmetric_counts(
    counts: tuple[int, int, int], bin_vectors: np.ndarray, rotations: np.ndarray
) -> tuple[int, int, int]:
    """As many samples along equivalent edges as the longest of them needs.

    More bins are equivalent then, which saves more than the samples cost.
    """
    _, permutations = _bin_symmetry(bin_vectors, rotations)
    a, b, c = np.max(permutations @ np.array(counts), axis=0).astype(int).tolist()
    return a, b, c


def _bin_symmetry(bin_vectors: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Operations (n, 3, 3) that turn a bin onto itself, and how they permute its edges."""
    kept, permutations = [], []
    for operation in with_time_reversal(rotations):
        moved = np.rint(turns := np.linalg.solve(bin_vectors, operation @ bin_vectors))
        if np.allclose(turns, moved, atol=1e-6) and (np.abs(moved).sum(0) == 1).all():
            kept.append(operation)
            permutations.append(np.abs(moved))
    return np.array(kept), np.array(permutations)


def sample_offsets(
    counts: tuple[int, int, int], spread: tuple[float, float, float] = NO_SPREAD
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss points in the unit cube around 0, and their weights, which sum to 1.

    Of bands that run out of a bin, equally weighted midpoints see the ends badly: they err by
    ten times as much with the few points along each edge that spectra need.
    """
    rules = [gauss_rule(n, sigma) for n, sigma in zip(counts, spread, strict=True)]
    offsets = np.stack(np.meshgrid(*(rule[0] for rule in rules), indexing="ij"), axis=-1)
    first, second, third = (rule[1] for rule in rules)
    return offsets.reshape(-1, 3), np.einsum("i,j,k->ijk", first, second, third).reshape(-1)


def gauss_rule(n_points: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature for a unit box around 0 that is blurred by a Gaussian.

    Nodes and weights follow from the three-term recurrence of the orthogonal polynomials, which
    Stieltjes' procedure finds (Gautschi, Orthogonal Polynomials, section 2.2). The integrals
    that it needs are exact: sums over Gauss points of the box and of the Gaussian.

    Parameters
    ----------
    n_points
        Number of nodes.
    sigma
        Standard deviation of the Gaussian, box widths; 0 gives Gauss-Legendre points.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    if sigma <= 0:
        return nodes / 2, weights / 2
    blur, blur_weights = np.polynomial.hermite_e.hermegauss(n_points)
    x = np.add.outer(nodes / 2, sigma * blur).reshape(-1)
    measure = np.outer(weights, blur_weights / blur_weights.sum()).reshape(-1) / 2
    previous, current = np.zeros_like(x), np.ones_like(x)
    off_diagonal = np.zeros(n_points)
    # The measure is even, so the diagonal of the Jacobi matrix is zero.
    for k in range(1, n_points):
        following = x * current - off_diagonal[k - 1] * previous
        off_diagonal[k] = np.sqrt(np.sum(measure * following**2))
        previous, current = current, following / off_diagonal[k]
    nodes, vectors = eigh_tridiagonal(np.zeros(n_points), off_diagonal[1:])
    return nodes, vectors[0] ** 2
