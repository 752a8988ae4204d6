"""Born charges from where a user has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import ForceConstants
from fcinv_core.crystal.structure_files import read_phonopy_yaml, structure_format
from fcinv_core.errors import FcinvError
from fcinv_core.files import require_file
from fcinv_core.units import COULOMB_EV_ANGSTROM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

SAME_CELL = 0.05
"""Largest difference of lattice vectors, relative to the longest, and of fractional positions
between cells that share Born charges: a relaxed cell is not the measured one."""


@dataclass(frozen=True, eq=False)
class BornCharges:
    """Born effective charges and dielectric tensor of a crystal, for its long-ranged forces.

    Attributes
    ----------
    crystal
        Atoms and axes that the tensors belong to.
    values
        (n_primitive, 3, 3) in e; the first index is that of the field, as in phonopy.
    dielectric
        (3, 3) high-frequency dielectric tensor.
    nac_factor
        e²/(4πε0) in eV·Å.
    source
        Where they come from, for the record.
    """

    crystal: Crystal
    values: np.ndarray
    dielectric: np.ndarray
    nac_factor: float
    source: str

    def __post_init__(self) -> None:
        finite = np.isfinite(self.values).all() and np.isfinite(self.dielectric).all()
        if not finite or np.linalg.eigvalsh(self.dielectric).min() <= 0:
            raise FcinvError(
                f"{self.source}: Born charges and dielectric tensor must be finite numbers, and "
                "the latter positive in every direction"
            )

    @classmethod
    def from_force_constants(cls, force_constants: ForceConstants, source: str) -> BornCharges:
        """Those of force constants that have them."""
        charges, dielectric = force_constants.born_charges, force_constants.dielectric
        assert charges is not None and dielectric is not None
        crystal = force_constants.crystal
        return cls(crystal, charges, dielectric, force_constants.nac_factor, source)

    @classmethod
    def from_born_file(cls, path: str | Path, crystal: Crystal) -> BornCharges:
        """Read phonopy's BORN, which lists the symmetry-independent atoms of a crystal.

        Raises
        ------
        FcinvError
            When the file is missing or does not fit the crystal.
        """
        return cls.from_force_constants(_empty(crystal).with_born_file(path), str(path))

    @classmethod
    def from_structure_file(cls, path: str | Path, crystal: Crystal) -> BornCharges | None:
        """Read those of the file that a crystal came from.

        None where there are none: only a phonopy.yaml can hold them.

        Raises
        ------
        FcinvError
            When the file is missing, unreadable, or its charges do not fit the crystal.
        """
        if structure_format(require_file(path)) != "phonopy":
            return None
        content = read_phonopy_yaml(path)
        if content.born_charges is None or content.dielectric is None:
            return None
        factor = COULOMB_EV_ANGSTROM if content.nac_factor is None else content.nac_factor
        polar = _empty(crystal).with_born_charges(content.born_charges, content.dielectric, factor)
        return cls.from_force_constants(polar, str(path))

    def given_to(self, force_constants: ForceConstants) -> ForceConstants:
        """Force constants of the same crystal with these charges.

        Raises
        ------
        FcinvError
            When their primitive cell is another one: other axes, origin or order of atoms.
        """
        own, other = self.crystal, force_constants.crystal
        same = own.primitive_symbols == other.primitive_symbols
        if same:
            offsets = own.primitive_positions - other.primitive_positions
            lattices = own.primitive_lattice, other.primitive_lattice
            same = bool(
                np.abs(offsets - np.rint(offsets)).max() < SAME_CELL
                and np.abs(lattices[0] - lattices[1]).max()
                < SAME_CELL * np.linalg.norm(lattices[0], axis=1).max()
            )
        if not same:
            raise FcinvError(
                f"the Born charges of {self.source} belong to another cell than the starting "
                "force constants: give a BORN file for the cell of the latter"
            )
        return force_constants.with_born_charges(self.values, self.dielectric, self.nac_factor)


def _empty(crystal: Crystal) -> ForceConstants:
    """Force constants that are all zero."""
    return ForceConstants(crystal, np.zeros((crystal.n_primitive, crystal.n_supercell, 3, 3)))
