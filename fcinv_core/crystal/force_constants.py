"""Second-order force constants of a crystal, in and out of phonopy's files."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.crystal.crystal import Crystal
from fcinv_core.crystal.force_constant_files import read_array
from fcinv_core.crystal.matching import difference_between
from fcinv_core.crystal.plausible import check_charges
from fcinv_core.crystal.structure_files import PhonopyFile, read_phonopy_yaml
from fcinv_core.errors import FcinvError
from fcinv_core.files import read_text, require_file
from fcinv_core.units import COULOMB_EV_ANGSTROM, ENERGY_SQUARED_PER_DYNAMICAL

if TYPE_CHECKING:
    from phonopy import Phonopy

LARGEST_BORN_FILE = 1_000_000
"""Bytes."""

SAME_LATTICE = 0.05
"""Largest relative difference of lattice parameters between lattices of one crystal."""

LARGEST = 1e4
"""eV/Å²: an atom of diamond has 50 with all others, and no bond is a hundred times as stiff."""

SAME_FACTOR = 0.1
"""Relative difference from e²/(4πε0), as files give it with three digits."""


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Total second-order force constants in the supercell of a crystal.

    Attributes
    ----------
    crystal
        The crystal whose supercell they live in.
    values
        (n_primitive, n_supercell, 3, 3) in eV/Å²: row atoms are
        ``crystal.primitive_to_supercell`` (phonopy's compact form). The dipole part of polar
        crystals is included.
    born_charges
        (n_primitive, 3, 3) Born effective charge tensors in e, or None.
    dielectric
        (3, 3) high-frequency dielectric tensor, or None.
    nac_factor
        e²/(4πε0) in eV·Å.
    """

    crystal: Crystal
    values: np.ndarray
    born_charges: np.ndarray | None = None
    dielectric: np.ndarray | None = None
    nac_factor: float = COULOMB_EV_ANGSTROM

    def __post_init__(self) -> None:
        expected = (self.crystal.n_primitive, self.crystal.n_supercell, 3, 3)
        if np.shape(self.values) != expected:
            raise FcinvError(
                f"force constants of shape {np.shape(self.values)} do not fit {expected} of "
                f"{self.crystal.formula} in supercell {self.crystal.supercell_matrix.tolist()}"
            )
        if not np.all(np.isfinite(self.values)):
            raise FcinvError(f"force constants of {self.crystal.formula} are not all finite")

    @classmethod
    def from_file(cls, path: str | Path, crystal: Crystal | None = None) -> ForceConstants:
        """Read a phonopy.yaml, FORCE_CONSTANTS or force_constants.hdf5.

        Parameters
        ----------
        path
            The file. From a phonopy.yaml that holds forces only, force constants are
            produced with phonopy.
        crystal
            Needed with FORCE_CONSTANTS and force_constants.hdf5, which hold no structure; its
            supercell must be that of the file.

        Raises
        ------
        FcinvError
            When the file is missing, unreadable, or has no force constants.
        """
        path = require_file(path)
        if ".yaml" in path.name.lower() or ".yml" in path.name.lower():
            return cls._from_phonopy_yaml(path)
        if crystal is None:
            raise FcinvError(
                f"{path} holds force constants without a structure: give the structure and "
                f"supercell too, or use a phonopy.yaml"
            )
        values = _compact(read_array(path, crystal), crystal, path)
        if not np.isfinite(values).all():
            raise FcinvError(f"{path} holds force constants that are no finite numbers: correct it")
        force_constants = cls(crystal, values)
        force_constants._check(path)
        return force_constants

    @classmethod
    def _from_phonopy_yaml(cls, path: Path) -> ForceConstants:
        content = read_phonopy_yaml(path)
        try:
            crystal = Crystal.from_cell(
                content.structure,
                np.eye(3) if content.structure.supercell_matrix is None else None,
            )
            _ = crystal.n_primitive  # refuses matrices that do not fit the cell
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error
        if content.force_constants is not None:
            values = _compact(content.force_constants, crystal, path)
        elif content.dataset is not None:
            values = _produce(content, crystal, path)
        else:
            raise FcinvError(
                f"{path} has neither force constants nor forces: save it from phonopy with "
                f"force constants included (phonopy --include-all, or "
                f"save(settings={{'force_constants': True}}))"
            )
        try:
            force_constants = cls(crystal, values)
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error
        force_constants._check(path)
        if content.born_charges is None or content.dielectric is None:
            return force_constants
        factor = COULOMB_EV_ANGSTROM if content.nac_factor is None else content.nac_factor
        try:
            return force_constants.with_born_charges(
                content.born_charges, content.dielectric, factor
            )
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error

    def _check(self, path: Path) -> None:
        """Refuse what can be no force constants of the crystal."""
        from fcinv_core.crystal.force_constant_symmetry import LARGEST_ASYMMETRY, asymmetry

        largest = float(np.abs(self.values).max())
        if not 0 < largest < LARGEST:
            raise FcinvError(
                f"the largest force constant in {path} is {largest:.3g} eV/Å², which no crystal "
                "has: write them in phonopy's units"
            )
        found = asymmetry(self.values, self.crystal)
        if found > LARGEST_ASYMMETRY:
            raise FcinvError(
                f"the force constants in {path} do not have the symmetry of {self.crystal.formula} "
                f"({self.crystal.space_group}; {found:.0%} is against it): they belong to another "
                "crystal, or list atoms in another order; write them with phonopy, for this "
                "structure and supercell"
            )

    def save(self, path: str | Path) -> None:
        """Write a phonopy.yaml, force constants included, in one go.

        Raises
        ------
        FcinvError
            When the file cannot be written.
        """
        path = Path(path).expanduser()
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.yaml")
        try:
            self.to_phonopy().save(unfinished, settings={"force_constants": True})
            os.replace(unfinished, path)
        except OSError as error:
            raise FcinvError(f"{path} cannot be written: {error.strerror}") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def to_phonopy(self) -> Phonopy:
        """A phonopy.Phonopy with these force constants and, if known, Born charges."""
        return self._loaded_into(self.crystal.phonopy())

    def _loaded_into(self, phonon: Phonopy) -> Phonopy:
        phonon.force_constants = np.array(self.values, dtype=float, order="C")
        if self.born_charges is not None and self.dielectric is not None:
            phonon.nac_params = {
                "born": np.array(self.born_charges, dtype=float),
                "dielectric": np.array(self.dielectric, dtype=float),
                "factor": self.nac_factor,
                "method": "gonze",
            }
        return phonon

    def with_born_charges(
        self,
        born_charges: np.ndarray,
        dielectric: np.ndarray,
        nac_factor: float = COULOMB_EV_ANGSTROM,
    ) -> ForceConstants:
        """The same force constants with Born charges, symmetrised as phonopy does.

        The crystal's symmetry is imposed, and the charges are made to add up to zero.

        Raises
        ------
        FcinvError
            When the tensors are not one for each atom of the primitive cell, add up to a charge,
            or are no numbers that charges or dielectric tensors can have.
        """
        from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

        if np.shape(born_charges) != (self.crystal.n_primitive, 3, 3):
            raise FcinvError(
                f"Born charges of shape {np.shape(born_charges)} do not fit the "
                f"{self.crystal.n_primitive} atoms of the primitive cell of "
                f"{self.crystal.formula}: give one 3x3 tensor for each"
            )
        check_charges(np.array(born_charges, dtype=float), np.array(dielectric, dtype=float))
        if not abs(nac_factor / COULOMB_EV_ANGSTROM - 1) < SAME_FACTOR:
            raise FcinvError(
                f"the factor {nac_factor:.6g} eV·Å with the Born charges is not e²/(4πε0): give "
                f"{COULOMB_EV_ANGSTROM:.4f}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            born, epsilon = symmetrize_borns_and_epsilon(
                np.array(born_charges, dtype=float),
                np.array(dielectric, dtype=float),
                self.crystal.primitive,
                symprec=self.crystal.symprec,
            )
        return replace(self, born_charges=born, dielectric=epsilon, nac_factor=nac_factor)

    def with_born_file(self, path: str | Path) -> ForceConstants:
        """The same force constants with the Born charges of a phonopy BORN file.

        Raises
        ------
        FcinvError
            When the file is missing or does not fit the crystal.
        """
        from phonopy.file_IO import parse_BORN_from_strings

        path = require_file(path)
        text = read_text(path, LARGEST_BORN_FILE)
        try:
            content = parse_BORN_from_strings(
                text, self.crystal.primitive, symprec=self.crystal.symprec
            )
        except Exception as error:  # phonopy raises what its parser meets
            raise FcinvError(
                f"{path} cannot be read as a BORN file of {self.crystal.formula} "
                f"({type(error).__name__}: {error}): write it with phonopy's phonopy-vasp-born, or "
                "as its documentation shows"
            ) from error
        factor = content.get("factor") or COULOMB_EV_ANGSTROM
        try:
            return self.with_born_charges(content["born"], content["dielectric"], factor)
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error

    def with_values(self, values: np.ndarray) -> ForceConstants:
        """The same crystal and Born charges with other force constants (eV/Å²)."""
        return replace(self, values=np.reshape(values, self.values.shape))

    def scaled(self, factor: float) -> ForceConstants:
        """All force constants multiplied by ``factor``; Born charges stay."""
        return replace(self, values=self.values * factor)

    def on(self, crystal: Crystal) -> ForceConstants:
        """Carry the force constants to the same crystal with other lattice constants.

        Tensors are turned along with the lattice if the other one is oriented differently.

        Raises
        ------
        FcinvError
            When fractional positions, species or supercell are not the same.
        """
        own = self.crystal
        same = (
            own.symbols == crystal.symbols
            and np.array_equal(own.supercell_matrix, crystal.supercell_matrix)
            and np.allclose(own.primitive_matrix, crystal.primitive_matrix, atol=1e-5)
            and np.allclose(_offset(own.positions, crystal.positions), 0, atol=1e-3)
        )
        if not same:
            raise FcinvError(
                f"force constants of {own.formula} cannot be carried to {crystal.formula}: "
                f"both need the same atoms at the same fractional positions and the same "
                f"supercell"
            )
        rotation = rotation_between(own.lattice, crystal.lattice)
        born = self.born_charges
        return replace(
            self,
            crystal=crystal,
            values=_turned(self.values, rotation),
            born_charges=None if born is None else _turned(born, rotation),
            dielectric=None if self.dielectric is None else _turned(self.dielectric, rotation),
        )

    def frequencies(self, q_points: np.ndarray) -> np.ndarray:
        """Phonon energies h·ν in meV by phonopy, imaginary ones negative.

        Parameters
        ----------
        q_points
            (n, 3) in reciprocal coordinates of the primitive cell.

        Returns
        -------
        ndarray
            (n, 3 n_primitive), ascending.
        """
        points = np.atleast_2d(np.array(q_points, dtype=float))
        return np.array(self._phonon.run_qpoints(points).frequencies)

    def dynamical_matrices(self, q_points: np.ndarray) -> np.ndarray:
        """Mass-weighted dynamical matrices by phonopy, whose phases hold separations of atoms.

        Parameters
        ----------
        q_points
            (n, 3) in reciprocal coordinates of the primitive cell. At Γ the dipole part of polar
            crystals is left out.

        Returns
        -------
        ndarray
            (n, 3 n_primitive, 3 n_primitive), complex, in eV/Å²/u.
        """
        points = np.atleast_2d(np.array(q_points, dtype=float))
        modes = self._phonon.run_qpoints(points, with_dynamical_matrices=True)
        return np.array(modes.dynamical_matrices)

    @cached_property
    def _phonon(self) -> Phonopy:
        # Nothing here needs the symmetry of the supercell, which is slow to find.
        phonon = self._loaded_into(self.crystal._build_phonopy(find_symmetry=False))
        phonon.unit_conversion_factor = math.sqrt(ENERGY_SQUARED_PER_DYNAMICAL)
        return phonon

    def describes_same_crystal(self, other: Crystal) -> str | None:
        """None, or the reason why ``other`` cannot be the crystal of these force constants.

        See `difference_between`; lattices may differ by `SAME_LATTICE`.
        """
        return difference_between(self.crystal, other, SAME_LATTICE)


def _compact(values: np.ndarray, crystal: Crystal, path: Path) -> np.ndarray:
    n, total = crystal.n_primitive, crystal.n_supercell
    if values.shape == (n, total, 3, 3):
        return values
    if values.shape == (total, total, 3, 3):
        return values[crystal.primitive_to_supercell]
    raise FcinvError(
        f"{path} holds force constants for {values.shape[1]} supercell atoms, but "
        f"{crystal.formula} in supercell {crystal.supercell_matrix.tolist()} has {total}: "
        f"give the supercell of the file"
    )


def _produce(content: PhonopyFile, crystal: Crystal, path: Path) -> np.ndarray:
    phonon: Any = crystal.phonopy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            phonon.dataset = content.dataset
            phonon.produce_force_constants(calculate_full_force_constants=False)
            phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True)
    except Exception as error:  # incomplete displacements end in many ways
        raise FcinvError(
            f"phonopy cannot make force constants from the forces in {path}: {error}"
        ) from error
    return np.array(phonon.force_constants)


def _offset(positions: np.ndarray, others: np.ndarray) -> np.ndarray:
    difference = positions - others
    return difference - np.rint(difference)


def rotation_between(lattice: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rotation R (v' = v @ R) in the polar decomposition of the deformation of a lattice."""
    deformation = np.linalg.inv(lattice) @ other
    # A symmetric deformation is no rotation unless it turns a direction round.
    symmetric = np.allclose(deformation, deformation.T, atol=1e-9)
    if symmetric and np.linalg.eigvalsh(deformation).min() > 0:
        return np.eye(3)
    left, _, right = np.linalg.svd(deformation)
    return left @ right


def _turned(tensors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    return rotation.T @ tensors @ rotation
