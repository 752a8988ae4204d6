"""Structures and phonopy files as they come from a user: POSCAR, CIF, phonopy.yaml."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.crystal.cif_symmetry import OPERATIONS, with_operations
from fcinv_core.errors import FcinvError
from fcinv_core.files import is_deeply_nested, read_text, require_file

COORDINATE_PRECISION = 3e-3
"""Å: how far atoms of a CIF or POSCAR may be off their special positions ("0.3333")."""

LARGEST_TEXT = 10_000_000
"""Bytes of a CIF or POSCAR."""

LARGEST_YAML = 100_000_000
"""Bytes of a phonopy.yaml: parsing a larger one takes tens of gigabytes of memory."""

_MOST_OPERATIONS = 192
"""Of a space group: Fm-3m has as many."""

MOST_SITES = 2000
"""Atoms that a CIF or POSCAR may list."""


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
        with open(path, encoding="utf-8", errors="replace") as stream:
            head = stream.read(20000)
    except OSError as error:
        raise FcinvError(f"{path} cannot be read: {error.strerror}") from error
    if "\nunit_cell:" in head:
        return "phonopy"
    return "cif" if "_cell_length_a" in head else "vasp"


def _read_with_ase(path: Path, kind: str) -> StructureFile:
    import ase.io
    from ase.spacegroup.symmetrize import refine_symmetry

    text = read_text(path, LARGEST_TEXT)
    stream = io.StringIO(text)
    # Where the POSCAR names no elements, ASE looks for a POTCAR beside it.
    setattr(stream, "name", str(path))  # noqa: B010
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # ASE leaves out the rows of a CIF that lack a column, atoms among them.
            warnings.filterwarnings("error", message="Wrong number")
            _refuse_impossible(path, text, kind)
            atoms: Any
            if kind == "cif":
                atoms = _atoms_of_cif(path, text)
            else:
                atoms = ase.io.read(stream, format="vasp")
            _refuse_disorder(path, atoms)
            _refuse_no_crystal(path, atoms)
            refine_symmetry(atoms, symprec=COORDINATE_PRECISION)
    except FcinvError:
        raise
    except Exception as error:  # parsers of text files fail in every way there is
        what = "CIF" if kind == "cif" else "POSCAR"
        # Of a POSCAR nothing but numbers in their places tells what it is, and reasons are obscure.
        reason = f" ({type(error).__name__}: {error})" if kind == "cif" else ""
        also = "; a BORN file goes to --born" if "BORN" in path.name else ""
        raise FcinvError(
            f"{path} cannot be read as a {what}{reason}: give a POSCAR, CIF or phonopy.yaml{also}"
        ) from error
    isotopes = atoms.get_masses() if atoms.has("masses") else None
    return StructureFile(
        lattice=atoms.cell.array.copy(),
        positions=atoms.get_scaled_positions(wrap=True),
        symbols=tuple(atoms.get_chemical_symbols()),
        masses=isotopes,
    )


def _refuse_impossible(path: Path, text: str, kind: str) -> None:
    """Refuse what would take for ever to read, or comes out as another cell."""
    n_sites = _sites_of_cif(path, text) if kind == "cif" else _sites_of_poscar(path, text)
    if n_sites > MOST_SITES:
        raise FcinvError(
            f"{path} lists {n_sites} atoms, more than the {MOST_SITES} that can be handled: give "
            "the unit cell"
        )


def _sites_of_poscar(path: Path, text: str) -> int:
    lines = text.splitlines()
    # The line of numbers comes after that of elements, which old files lack.
    counts = next((line.split() for line in lines[5:7] if line.strip()[:1].isdigit()), [])
    n_sites = sum(int(word[:12]) for word in counts if word.isdecimal())
    if n_sites > len(lines):
        raise FcinvError(
            f"{path} says that it holds {n_sites} atoms and has {len(lines)} lines: it is damaged "
            "or cut off"
        )
    return n_sites


def _sites_of_cif(path: Path, text: str) -> int:
    from ase.io.cif import parse_cif

    n_sites = 0
    for block in parse_cif(io.StringIO(text)):
        cell = block.get_cellpar()
        if cell is None:
            continue
        lengths, angles = np.array(cell[:3], dtype=float), np.array(cell[3:], dtype=float)
        if not np.isfinite(lengths).all() or not ((angles > 0) & (angles < 180)).all():
            raise FcinvError(f"{path} has a cell that is none, {cell}: correct it")
        operations = next((block[name] for name in OPERATIONS if name in block), ())
        if isinstance(operations, list) and len(operations) > _MOST_OPERATIONS:
            raise FcinvError(
                f"{path} lists {len(operations)} symmetry operations, and no space group has more "
                f"than {_MOST_OPERATIONS}: correct it"
            )
        sites = block.get("_atom_site_label", ())
        n_sites = max(n_sites, len(sites) if isinstance(sites, list) else 1)
    return n_sites


def _atoms_of_cif(path: Path, text: str) -> Any:
    """Of the last structure in the file."""
    from ase.io.cif import CIFBlock, parse_cif

    blocks = [block for block in parse_cif(io.StringIO(text)) if block.has_structure()]
    if not blocks:
        raise FcinvError(f"{path} holds no atoms in a three-dimensional cell")
    return CIFBlock(blocks[-1].name, with_operations(blocks[-1], path)).get_atoms()


def _refuse_no_crystal(path: Path, atoms: Any) -> None:
    """Refuse what libraries further on crash on."""
    lattice, positions = atoms.cell.array, atoms.get_positions()
    if len(atoms) == 0 or not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-3:
        raise FcinvError(f"{path} holds no atoms in a three-dimensional cell")
    scale = np.abs(lattice).max()
    if not np.isfinite(positions).all() or np.abs(positions).max() > 1000 * scale:
        raise FcinvError(f"{path} has atoms far outside of its cell: correct their coordinates")
    if len(atoms) > MOST_SITES:
        raise FcinvError(
            f"{path} holds {len(atoms)} atoms in its unit cell, more than the {MOST_SITES} that "
            "can be handled: give a smaller cell"
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
    from phonopy.interface.phonopy_yaml import load_phonopy_yaml
    from phonopy.physical_units import get_calculator_physical_units
    from phonopy.structure.dataset import forces_in_dataset

    path = require_file(path)
    try:
        document = _yaml_document(path)
        content = load_phonopy_yaml(document)
        given = np.array(document.get("supercell_matrix", 1), dtype=float)
        if not np.array_equal(given, np.rint(given)):
            raise ValueError("the supercell matrix is not of whole numbers")
    except FcinvError:
        raise
    except Exception as error:  # yaml and phonopy raise many kinds
        reason = str(error).split("\n")[0]
        raise FcinvError(
            f"{path} cannot be read as a phonopy.yaml ({type(error).__name__}: {reason}): save it "
            "from phonopy again"
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


def _yaml_document(path: Path) -> dict[Any, Any]:
    """The plain data of a YAML file.

    phonopy itself loads with a loader that does what a file says, running commands included.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = read_text(path, LARGEST_YAML)
    if is_deeply_nested(text, _DEEPEST) or _NESTED_BLOCKS.search(text):
        raise FcinvError(f"{path} is no phonopy.yaml: its lists are nested too deeply")
    if _ALIAS.search(text):
        events = yaml.parse(text, Loader=loader)
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            # A few of them, one in another, stand for more data than any memory holds.
            raise FcinvError(
                f"{path} has YAML aliases (*name), which phonopy does not write: save it from "
                "phonopy again"
            )
    if _NUMBER_WITHOUT_END.search(text):
        raise FcinvError(f"{path} is no phonopy.yaml: it has numbers without end")
    document = yaml.load(text, Loader=loader)
    if not isinstance(document, dict):
        raise FcinvError(f"{path} is no phonopy.yaml: give one that phonopy's save() wrote")
    return document


_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*[^\s*]", re.MULTILINE)
"""Where an alias may be."""

_NUMBER_WITHOUT_END = re.compile(r"(?::[0-9]{1,2}){30}")
"""YAML reads 1:59:59 as a number, in a time that grows with the square of its length."""

_DEEPEST = 20
"""Lists in lists of a phonopy.yaml; it has three."""

_NESTED_BLOCKS = re.compile(rf"^(?: {{200}}|[ \t]*(?:[-?][ \t]+){{{_DEEPEST}}})", re.MULTILINE)


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
