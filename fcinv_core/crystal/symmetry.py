"""Symmetry of a crystal's cells, as spglib finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.crystal.structure_files import StructureFile


def symmetry_dataset(
    lattice: np.ndarray, positions: np.ndarray, numbers: np.ndarray, symprec: float
) -> Any:
    """spglib's dataset of a cell: lattice (3, 3) rows in Å, fractional positions, atomic numbers.

    Raises
    ------
    FcinvError
        When spglib finds none.
    """
    import spglib

    cell: Any = lattice, positions, numbers  # spglib takes arrays, though it asks for sequences
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception as error:  # spglib raises its own kinds, depending on its version
        raise FcinvError(f"spglib finds no symmetry ({error}): do atoms overlap?") from error
    if dataset is None:
        raise FcinvError("spglib finds no symmetry: do atoms overlap?")
    return dataset


def primitive_and_conventional(
    cell: StructureFile, masses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """phonopy's primitive matrix, and the cell whose multiples make a good supercell.

    That is the cell of the file, unless it is primitive and the conventional one is larger;
    then the conventional cell as an integer matrix on the cell of the file (rows).
    """
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import get_primitive_matrix_with_auto

    atoms = PhonopyAtoms(
        symbols=list(cell.symbols),
        cell=cell.lattice,
        scaled_positions=cell.positions,
        masses=masses,
    )
    dataset = symmetry_dataset(cell.lattice, cell.positions, atoms.numbers, 1e-5)
    primitive_matrix = np.array(get_primitive_matrix_with_auto(atoms, "auto"), dtype=float)
    conventional = np.eye(3, dtype=int)
    is_primitive = abs(np.linalg.det(primitive_matrix) - 1) < 1e-3
    if is_primitive and len(dataset.std_types) > len(cell.symbols):
        conventional = np.rint(np.linalg.inv(dataset.transformation_matrix).T).astype(int)
    return primitive_matrix, conventional


def rotations_of_supercell(dataset: Any, supercell_in_primitive: np.ndarray) -> np.ndarray:
    """(n, 3, 3) integers R with hkl' = R @ hkl: the point group that a supercell's lattice has too.

    Parameters
    ----------
    dataset
        `symmetry_dataset` of the primitive cell.
    supercell_in_primitive
        (3, 3) the supercell's lattice vectors as rows, in units of the primitive cell's.
    """
    kept = []
    for rotation in np.unique(dataset.rotations, axis=0):
        # Columns of supercell_in_primitive.T are the supercell's vectors.
        image = supercell_in_primitive @ rotation.T @ np.linalg.inv(supercell_in_primitive)
        if np.allclose(image, np.rint(image), atol=1e-4):
            kept.append(_of_wave_vectors(rotation))
    return np.array(kept)


def operations_on_atoms(
    dataset: Any, rotations: np.ndarray, lattice: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the dataset's operations whose `rotations_of_supercell` are given.

    Returns
    -------
    rotations (n, 3, 3) in Cartesian axes, and permutations (n, n_atoms): operation k moves atom i
    of the cell, ``lattice`` (3, 3) rows and fractional ``positions``, onto atom
    ``permutations[k, i]``.
    """
    kept = {rotation.tobytes() for rotation in rotations}
    to_cartesian = lattice.T
    turned, permutations = [], []
    for rotation, shift in zip(dataset.rotations, dataset.translations, strict=True):
        if _of_wave_vectors(rotation).tobytes() not in kept:
            continue
        offsets = (positions @ rotation.T + shift)[:, None] - positions[None]
        distances = np.abs(offsets - np.rint(offsets)).sum(axis=-1)
        turned.append(to_cartesian @ rotation @ np.linalg.inv(to_cartesian))
        permutations.append(distances.argmin(axis=1))
    return np.array(turned), np.array(permutations)


def _of_wave_vectors(rotation: np.ndarray) -> np.ndarray:
    """What a rotation of fractional positions does to hkl, integers."""
    return np.rint(np.linalg.inv(rotation).T).astype(int)
