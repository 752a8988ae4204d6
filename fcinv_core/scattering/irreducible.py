"""Fewest q points: S(Q,E) has the point-group symmetry of the crystal.

S(RQ, E) = S(Q, E) for every rotation R of the point group, and S(-Q, E) = S(Q, E) because
force constants are real. Each Q is therefore replaced by an equivalent Q' = q + G whose q lies
in a fixed set, and only those q need a diagonalisation. Q' keeps its own G, so structure
factors are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_GRID = 1 << 20
"""q points that agree to 1e-6 reciprocal-lattice units are the same."""

_CHUNK = 100_000


@dataclass(frozen=True)
class IrreducibleQ:
    """Q points reduced by lattice translations, rotations and time reversal.

    Attributes
    ----------
    q_points
        (n_q, 3) distinct reduced wave vectors, reciprocal coordinates in [0, 1).
    equivalent
        (n, 3) for each input Q the equivalent Q' = q_points[index] + G that stands for it.
    index
        (n,) into ``q_points``.
    """

    q_points: np.ndarray
    equivalent: np.ndarray
    index: np.ndarray

    @classmethod
    def from_points(cls, points: np.ndarray, rotations: np.ndarray) -> IrreducibleQ:
        """Reduce ``points`` (n, 3) with ``rotations`` (n_ops, 3, 3) on reciprocal coordinates."""
        operations = np.unique(np.concatenate([rotations, -rotations]), axis=0).astype(float)
        keys = np.empty(len(points), np.int64)
        equivalent = np.empty((len(points), 3))
        for start in range(0, len(points), _CHUNK):
            part = slice(start, start + _CHUNK)
            keys[part], equivalent[part] = _canonical(points[part], operations)
        _, first, index = np.unique(keys, return_index=True, return_inverse=True)
        reduced = equivalent[first] - np.floor(equivalent[first] + 0.5 / _GRID)
        lattice_vectors = np.round(equivalent - reduced[index])
        return cls(reduced, reduced[index] + lattice_vectors, index)


def _canonical(points: np.ndarray, operations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest key of q over all operations, and the image of Q that has it.

    Where several images share the q, the one with the smallest reciprocal-lattice vector in
    lexicographic order is taken, so that equivalent Q become one.
    """
    best_key = np.full(len(points), np.iinfo(np.int64).max)
    best_lattice = best_key.copy()
    best = np.empty_like(points)
    for operation in operations:
        image = points @ operation.T
        cell = np.floor(image + 0.5 / _GRID)
        grid = np.round((image - cell) * _GRID).astype(np.int64) % _GRID
        key = (grid[:, 0] << 40) + (grid[:, 1] << 20) + grid[:, 2]
        offset = cell.astype(np.int64) + (1 << 19)
        lattice = (offset[:, 0] << 40) + (offset[:, 1] << 20) + offset[:, 2]
        better = (key < best_key) | ((key == best_key) & (lattice < best_lattice))
        best_key = np.where(better, key, best_key)
        best_lattice = np.where(better, lattice, best_lattice)
        best[better] = image[better]
    return best_key, best
