"""Structures and phonopy files as they come from a user: POSCAR, CIF, phonopy.yaml."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError

COORDINATE_PRECISION = 3e-3
"""Å: how far atoms of a CIF or POSCAR may be off their special positions ("0.3333")."""


@dataclass(frozen=True)
class StructureFile:
    """What a structure file says.

    Attributes
    ----------
    lattice
        (3, 3) rows in Å.
    positions
        (n, 3) fractional.
    symbols
        Element of each atom.
    masses
        (n,) in u, or None where the file gives none.
    supercell_matrix, primitive_matrix
        phonopy's matrices, or None where the file gives none.
    """

    lattice: np.ndarray
    positions: np.ndarray
    symbols: tuple[str, ...]
    masses: np.ndarray | None = None
    supercell_matrix: np.ndarray | None = None
    primitive_matrix: np.ndarray | None = None


@dataclass(frozen=True)
class PhonopyFile:
    """What a phonopy.yaml says, in Å and eV/Å² whatever calculator wrote it.

    Attributes
    ----------
    structure
        Cell, masses and matrices.
    force_constants
        (n, n_supercell, 3, 3), compact or full, in eV/Å², or None.
    dataset
        phonopy's displacements and forces (Å, eV/Å), or None when there are no forces.
    born_charges, dielectric, nac_factor
        e, dimensionless, eV·Å; None where the file gives none.
    """

    structure: StructureFile
    force_constants: np.ndarray | None
    dataset: dict[str, Any] | None
    born_charges: np.ndarray | None
    dielectric: np.ndarray | None
    nac_factor: float | None


def require_file(path: str | Path) -> Path:
    """``path`` as a Path that exists.

    Raises
    ------
    FcinvError
        When there is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise FcinvError(f"{path} {what}: give the path of a file")
    return path


def read_structure(path: str | Path) -> StructureFile:
    """Read a POSCAR/CONTCAR, CIF or phonopy.yaml.

    Atoms of POSCAR and CIF are moved onto the special positions that they miss by less than
    `COORDINATE_PRECISION`; a phonopy.yaml is taken as it is, because its force constants
    belong to just these positions.

    Raises
    ------
    FcinvError
        When the file is missing, unreadable, or not an ordered crystal structure.
    """
    path = require_file(path)
    kind = structure_format(path)
    if kind == "phonopy":
        return read_phonopy_yaml(path).structure
    return _read_with_ase(path, kind)


def structure_format(path: Path) -> str:
    """Which of "phonopy", "cif" and "vasp" a file is, by its name or else by its content."""
    name = path.name.lower()
    if ".yaml" in name or ".yml" in name:
        return "phonopy"
    if name.endswith(".cif"):
        return "cif"
    if "poscar" in name or "contcar" in name or name.endswith(".vasp"):
        return "vasp"
    try:
        head = path.read_text(encoding="utf-8", errors="replace")[:20000]
    except OSError as error:
        raise FcinvError(f"{path} cannot be read: {error.strerror}") from error
    if "\nunit_cell:" in head:
        return "phonopy"
    return "cif" if "_cell_length_a" in head else "vasp"


def _read_with_ase(path: Path, kind: str) -> StructureFile:
    import ase.io
    from ase.spacegroup.symmetrize import refine_symmetry

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms: Any = ase.io.read(path, format=kind)
            _refuse_disorder(path, atoms)
            if len(atoms) == 0 or abs(np.linalg.det(atoms.cell.array)) < 1e-3:
                raise FcinvError(f"{path} holds no atoms in a three-dimensional cell")
            refine_symmetry(atoms, symprec=COORDINATE_PRECISION)
    except FcinvError:
        raise
    except Exception as error:  # parsers of text files fail in every way there is
        raise FcinvError(
            f"{path} cannot be read as a {'CIF' if kind == 'cif' else 'POSCAR'} "
            f"({type(error).__name__}: {error}): give a POSCAR, CIF or phonopy.yaml"
        ) from error
    isotopes = atoms.get_masses() if atoms.has("masses") else None
    return StructureFile(
        lattice=atoms.cell.array.copy(),
        positions=atoms.get_scaled_positions(wrap=True),
        symbols=tuple(atoms.get_chemical_symbols()),
        masses=isotopes,
    )


def _refuse_disorder(path: Path, atoms: Any) -> None:
    for site in atoms.info.get("occupancy", {}).values():
        if len(site) > 1 or any(abs(fraction - 1) > 1e-3 for fraction in site.values()):
            raise FcinvError(
                f"{path} has partly occupied sites {site}: phonons need one atom on each site, "
                f"so give an ordered model of the structure"
            )


def read_phonopy_yaml(path: str | Path) -> PhonopyFile:
    """Read a phonopy.yaml, with the units of its calculator taken to Å and eV.

    Only this file is read: neither FORCE_SETS nor BORN files beside it.

    Raises
    ------
    FcinvError
        When the file is missing, unreadable, or without a unit cell.
    """
    from phonopy.interface.phonopy_yaml import PhonopyYaml
    from phonopy.physical_units import get_calculator_physical_units
    from phonopy.structure.dataset import forces_in_dataset

    path = require_file(path)
    try:
        content = PhonopyYaml().read(path)
    except Exception as error:  # yaml and phonopy raise many kinds
        reason = str(error).split("\n")[0]
        raise FcinvError(
            f"{path} cannot be read as a phonopy.yaml ({type(error).__name__}: {reason})"
        ) from error
    cell = content.unitcell
    if cell is None:
        raise FcinvError(f"{path} holds no unit_cell: write it with phonopy's save()")
    if cell.has_mixtures or cell.has_weighted_species:
        raise FcinvError(f"{path} mixes species on a site: give an ordered model")
    units = get_calculator_physical_units(content.calculator)
    length = units.distance_to_A
    structure = StructureFile(
        lattice=np.array(cell.cell) * length,
        positions=np.array(cell.scaled_positions),
        symbols=tuple(symbol.rstrip("0123456789") for symbol in cell.symbols),
        masses=np.array(cell.masses),
        supercell_matrix=_as_array(content.supercell_matrix, int),
        primitive_matrix=_as_array(content.primitive_matrix, float),
    )
    values = _as_array(content.force_constants, float)
    if values is not None:
        values = values * units.force_to_eVperA / length
    dataset: Any = content.dataset
    if dataset is None or not forces_in_dataset(dataset):
        dataset = None
    elif content.calculator is not None:
        dataset = _in_angstrom_and_ev(dataset, length, units.force_to_eVperA)
    nac = content.nac_params
    factor = None
    if nac is not None:
        # The factor is e²/(4πε0) in the file's units of energy times length.
        factor = float(nac.get("factor", units.nac_factor))
        factor *= units.force_to_eVperA * length**2
    return PhonopyFile(
        structure=structure,
        force_constants=values,
        dataset=dataset,
        born_charges=None if nac is None else np.array(nac["born"], dtype=float),
        dielectric=None if nac is None else np.array(nac["dielectric"], dtype=float),
        nac_factor=factor,
    )


def _as_array(values: Any, dtype: type) -> np.ndarray | None:
    return None if values is None else np.array(values, dtype=dtype)


def _in_angstrom_and_ev(dataset: Any, length: float, force: float) -> dict[str, Any]:
    if "first_atoms" in dataset:
        displaced = [
            entry
            | {
                "displacement": np.array(entry["displacement"]) * length,
                "forces": np.array(entry["forces"]) * force,
            }
            for entry in dataset["first_atoms"]
        ]
        return {"natom": dataset["natom"], "first_atoms": displaced}
    return {
        "displacements": np.array(dataset["displacements"]) * length,
        "forces": np.array(dataset["forces"]) * force,
    }
