"""Cells of the irreducible wedge of the Brillouin zone, onto which measured Q bins are gathered.

S(Q,E) is the same at symmetry-equivalent Q. Each Q is first replaced by the one that stands for
all its images, then gathered onto the nearest point of a regular mesh, turned onto the irreducible
point that it is equivalent to. A rotated copy of some data ends in the same cells, therefore.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcinv_core.crystal import Crystal
from fcinv_core.scattering.irreducible import (
    IrreducibleQ,
    best_operations,
    turned,
    with_time_reversal,
)

FINEST = 24
"""Mesh points along each reciprocal-lattice vector at most."""

MOST_MODES = 2500
"""Modes in all cells together at most: coarser meshes for more atoms."""

_ALIKE = 1e-6

_NEIGHBOURS = np.indices((3, 3, 3)).reshape(3, -1).T - 1


@dataclass(frozen=True, eq=False)
class WedgeMesh:
    """A regular mesh of reduced wave vectors, and what symmetry makes of it.

    Attributes
    ----------
    n_along
        Mesh points along each reciprocal-lattice vector.
    q_points
        (n_cells, 3) irreducible ones, reciprocal coordinates of the primitive cell.
    operations
        (n_operations, 3, 3) of the point group and time reversal on reciprocal coordinates.
    cell
        (n_along³,) irreducible point of each mesh point.
    turn
        (n_along³,) operation that takes a mesh point there, modulo lattice vectors.
    reciprocal_lattice
        (3, 3) rows in 1/Å.
    """

    n_along: int
    q_points: np.ndarray
    operations: np.ndarray
    cell: np.ndarray
    turn: np.ndarray
    reciprocal_lattice: np.ndarray

    @classmethod
    def of(cls, crystal: Crystal) -> WedgeMesh:
        """As fine as `FINEST` and `MOST_MODES` allow."""
        for n_along in range(FINEST, 0, -1):
            points = np.indices((n_along,) * 3).reshape(3, -1).T / n_along
            irreducible = IrreducibleQ.from_points(points, crystal.point_group_rotations)
            if 3 * crystal.n_primitive * len(irreducible.q_points) <= MOST_MODES:
                break
        operations = with_time_reversal(crystal.point_group_rotations)
        goal = irreducible.q_points[irreducible.index]
        turn = np.zeros(len(points), int)
        for number, operation in enumerate(operations):
            offset = points @ operation.T - goal
            turn[(np.abs(offset - np.rint(offset)) < _ALIKE).all(axis=1)] = number
        return cls(
            n_along,
            irreducible.q_points,
            operations,
            irreducible.index,
            turn,
            crystal.reciprocal_lattice,
        )

    def place(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cell of each Q, and the equivalent Q that lies near the point of that cell.

        Parameters
        ----------
        centres
            (n, 3) in reciprocal coordinates of the primitive cell.

        Returns
        -------
        (n,) indices into ``q_points`` and (n, 3).
        """
        chosen = best_operations(centres, self.operations, modulo_lattice=False)
        standing = turned(centres, self.operations, chosen)
        around = np.rint(standing * self.n_along)[:, None] + _NEIGHBOURS
        distances = np.linalg.norm(
            (around - standing[:, None] * self.n_along) @ self.reciprocal_lattice, axis=2
        )
        # Ties are broken alike for equivalent points, whatever rounding does.
        chosen_one = np.argmin(np.round(distances, 9), axis=1)
        nearest = around[np.arange(len(around)), chosen_one].astype(int) % self.n_along
        flat = np.ravel_multi_index(tuple(nearest.T), (self.n_along,) * 3)
        return self.cell[flat], turned(standing, self.operations, self.turn[flat])

    def offsets(self, turned: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """From the points of cells (n,) to the Q that `place` has turned there, (n, 3)."""
        offset = turned - self.q_points[cell]
        return offset - np.rint(offset)
