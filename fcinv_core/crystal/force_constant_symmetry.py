"""Whether force constants have the symmetry of the crystal they are said to belong to.

Files list them by the numbers of atoms. In another order of atoms than phonopy's, or of another
crystal, they are numbers like any others; but they lack what every crystal's force constants have:

    Φ(i', j') = R Φ(i, j) Rᵀ    for an operation R of the space group that moves i, j to i', j'
    Φ(j, i) = Φ(i, j)ᵀ          as derivatives can be exchanged
"""

from __future__ import annotations

import numpy as np

from fcinv_core.crystal.crystal import Crystal

LARGEST_ASYMMETRY = 0.2
"""Of force constants as phonopy makes them of forces, without symmetry imposed, it is below 0.004
in Si, MgO and NaCl; of those in a wrong order 0.6 and more."""


def asymmetry(values: np.ndarray, crystal: Crystal) -> float:
    """Share of force constants that the symmetry of a crystal does not allow, 0 to 1.

    The norm of what an average over the symmetry takes away, relative to the norm of all. Blocks
    of an atom with itself are left out: they are large, and follow from the others.

    Parameters
    ----------
    values
        (n_primitive, n_supercell, 3, 3), as `ForceConstants.values`.
    """
    pairs = _Pairs(crystal)
    blocks = np.array(values, dtype=float)
    blocks[np.arange(crystal.n_primitive), crystal.primitive_to_supercell] = 0.0
    scale = np.abs(blocks).max()
    if scale == 0:
        return 0.0
    blocks /= scale
    norm = float(np.sum(blocks**2))
    rotations, permutations = crystal.atom_operations
    correlations = []
    for rotation, permutation in zip(rotations, permutations, strict=True):
        rows, columns = pairs.moved(rotation, permutation)
        there = blocks[rows, columns]
        turned = np.einsum("ab,ijbc,dc->ijad", rotation, blocks, rotation, optimize=True)
        correlations.append(float(np.sum(there * turned)) / norm)
    rows, columns = pairs.exchanged()
    exchanged = float(np.sum(blocks[rows, columns] * blocks.swapaxes(2, 3))) / norm
    # The norm of a projection is the mean correlation with the images under the group.
    kept = min(float(np.mean(correlations)), 0.5 + 0.5 * exchanged)
    return float(np.sqrt(max(1.0 - kept, 0.0)))


class _Pairs:
    """Pairs of a primitive and a supercell atom, and where operations move them."""

    def __init__(self, crystal: Crystal) -> None:
        self._to_fractional = np.linalg.inv(crystal.primitive_lattice)
        self._lattice = crystal.primitive_lattice
        self._positions = crystal.primitive_positions
        self._atoms = crystal.supercell_to_primitive
        everywhere = crystal.supercell_positions @ crystal.supercell_lattice @ self._to_fractional
        cells = np.rint(everywhere - self._positions[self._atoms]).astype(int)
        supercell = np.rint(crystal.supercell_lattice @ self._to_fractional).astype(int)
        self._n_cells = round(abs(float(np.linalg.det(supercell))))
        self._inverse = np.linalg.inv(supercell)
        places = self._places(self._atoms, cells)
        self._order = np.argsort(places)
        self._sorted = places[self._order]
        self._home = cells[crystal.primitive_to_supercell]
        # (n_primitive, n_supercell, 3): lattice vectors from each row's atom.
        self._offsets = cells[None] - self._home[:, None]

    def moved(self, rotation: np.ndarray, permutation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns (n_primitive, n_supercell) that an operation moves each pair to."""
        fractional = np.linalg.inv(self._lattice.T) @ rotation @ self._lattice.T
        first = np.arange(len(self._positions))
        apart = self._offsets + self._positions[self._atoms][None] - self._positions[:, None]
        there = apart @ fractional.T
        atoms, rows = permutation[self._atoms], permutation[first]
        cells = np.rint(there - self._positions[atoms][None] + self._positions[rows][:, None])
        return self._found(rows, np.broadcast_to(atoms, cells.shape[:2]), cells.astype(int))

    def exchanged(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pairs seen from their second atoms."""
        n = len(self._positions)
        rows = np.broadcast_to(self._atoms, (n, len(self._atoms)))
        first = np.broadcast_to(np.arange(n)[:, None], rows.shape)
        return self._found(rows, first, -self._offsets)

    def _found(
        self, rows: np.ndarray, atoms: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices of pairs of these atoms, ``offsets`` lattice vectors apart."""
        if rows.ndim == 1:
            rows = np.broadcast_to(rows[:, None], atoms.shape)
        places = self._places(atoms, offsets + self._home[rows])
        return rows, self._order[np.searchsorted(self._sorted, places)]

    def _places(self, atoms: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """One number for each atom of the supercell, whichever periodic image is meant."""
        steps = np.rint(cells @ self._inverse * self._n_cells).astype(np.int64) % self._n_cells
        number = atoms.astype(np.int64)
        for axis in range(3):
            number = number * self._n_cells + steps[..., axis]
        return number
