"""FORCE_CONSTANTS and force_constants.hdf5: force constants without a structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fcinv_core.crystal.crystal import Crystal
from fcinv_core.errors import FcinvError

LARGEST_FILE = 400_000_000
"""Bytes of a FORCE_CONSTANTS or force_constants.hdf5."""


def read_array(path: Path, crystal: Crystal) -> np.ndarray:
    """Compact or full force constants (n, n_supercell, 3, 3) as a file has them, eV/Å².

    Raises
    ------
    FcinvError
        When the file is unreadable, or of another number of atoms than the supercell of
        ``crystal``.
    """
    from phonopy.file_IO import parse_FORCE_CONSTANTS, read_force_constants_hdf5

    indices = crystal.primitive_to_supercell
    try:
        # Both make room for all that a file claims to hold.
        if path.suffix.lower() in (".hdf5", ".h5"):
            _check_claims(path, crystal, _claimed_by_hdf5(path))
            return np.array(read_force_constants_hdf5(path, p2s_map=indices))
        _check_claims(path, crystal, _claimed_by_text(path))
        return np.array(parse_FORCE_CONSTANTS(path, p2s_map=indices))
    except FcinvError:
        raise
    except Exception as error:  # whatever phonopy and h5py raise on a broken file
        raise FcinvError(
            f"{path} cannot be read as force constants of {crystal.formula} "
            f"({type(error).__name__}: {error}): is the supercell "
            f"{crystal.supercell_matrix.tolist()} that of the file?"
        ) from error


def _claimed_by_text(path: Path) -> tuple[int, ...]:
    """Numbers of atoms in the first line of a FORCE_CONSTANTS."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path.stat().st_size} bytes are too many")
    with open(path, encoding="utf-8") as stream:
        words = stream.readline(200).split()
    numbers = tuple(int(word) for word in words)
    return numbers * 2 if len(numbers) == 1 else numbers


def _claimed_by_hdf5(path: Path) -> tuple[int, ...]:
    """Numbers of atoms by the shape of a dataset of force constants that lies in the file."""
    import h5py

    from fcinv_core.hdf5_values import hard_child, values_of

    with h5py.File(path, "r") as file:
        if "p2s_map" in file:
            values_of(hard_child(file, "p2s_map"))
        dataset = hard_child(file, "fc2" if "fc2" in file else "force_constants")
        values_of(dataset, LARGEST_FILE // 8)
        if dataset.dtype.kind != "f" or dataset.id.get_storage_size() == 0:
            raise TypeError(f"{dataset.name} holds no numbers")
        return tuple(dataset.shape[:2])


def _check_claims(path: Path, crystal: Crystal, claimed: tuple[int, ...]) -> None:
    n, total = crystal.n_primitive, crystal.n_supercell
    if claimed not in ((n, total), (total, total)):
        raise FcinvError(
            f"{path} holds force constants for {' x '.join(map(str, claimed)) or 'no'} atoms, but "
            f"{crystal.formula} in supercell {crystal.supercell_matrix.tolist()} has {n} in its "
            f"primitive cell and {total} in all: give the supercell of the file"
        )
