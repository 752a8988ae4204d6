"""What reading a file means for each kind, up to the point where something is computed of it.

A reader raises `FcinvError`, or returns None after it has made sure that what it read is finite
and consistent; it raises `InsaneError` where that is not so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.prior import Prior
from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.born_charges import BornCharges
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.networks.model import Model
from fcinv_core.report import inspection
from fcinv_core.scattering.resolution import EnergyResolution
from hostile.case import FORCE_CONSTANTS, MODEL, STRUCTURES

HIGHEST_TEMPERATURE = 5000.0
"""K: above it no crystal is solid."""
HIGHEST_ENERGY = 1000.0
"""meV: twice that of hydrogen molecules, which have the highest phonons."""


class InsaneError(AssertionError):
    """What was read cannot be true."""


def require(condition: object, what: str) -> None:
    """Refuse what was read."""
    if not condition:
        raise InsaneError(what)


def histogram(path: Path) -> None:
    """A file of SaveMD: looked at, and prepared for an inversion of silicon."""
    data = SQEHistogram.load(path)
    text = inspection.describe(data) + inspection.draw_text(data)
    require(text, "nothing to say")
    prepared = PreparedHistogram.from_histogram(data, silicon())
    require(np.isfinite(prepared.centres).all(), "hkl not finite")
    require(np.abs(prepared.centres).max() < 1000, "hkl beyond reach")
    require((np.diff(prepared.edges) > 0).all(), "energies do not ascend")
    require(np.abs(prepared.edges).max() < 1e5, "energies beyond reach")
    require(np.isfinite(prepared.counts).all() and prepared.counts.min() >= 0, "counts")
    require(np.isfinite(prepared.exposure).all(), "exposure")
    require(0 <= prepared.temperature < HIGHEST_TEMPERATURE, "temperature")
    require(0 < prepared.resolution.elastic_fwhm < HIGHEST_ENERGY, "resolution")


def structure(path: Path) -> None:
    """A structure: the crystal with its cells, symmetry and scattering lengths."""
    _check_crystal(Crystal.from_file(path))


def phonopy_yaml(path: Path) -> None:
    """Force constants with their crystal."""
    _check_force_constants(ForceConstants.from_file(path))


def silicon_force_constants(path: Path) -> None:
    """Force constants without a structure, of silicon in 64 atoms."""
    _check_force_constants(ForceConstants.from_file(path, silicon()))


def born(path: Path) -> None:
    """A BORN file of magnesium oxide."""
    charges = BornCharges.from_born_file(path, magnesium_oxide())
    require(np.isfinite(charges.values).all(), "charges not finite")
    require(np.abs(charges.values).max() < 100, "charges beyond reach")
    require(np.abs(charges.values.sum(axis=0)).max() < 1e-6, "charges do not add up to zero")
    require(np.linalg.eigvalsh(charges.dielectric).min() > 0, "dielectric tensor")
    require(np.isfinite(charges.nac_factor) and charges.nac_factor > 0, "factor")


def model(path: Path) -> None:
    """A trained model."""
    loaded = Model.load(path)
    require(loaded.card.to_text(), "no card")
    _check_prior(loaded.prior)
    for weight in loaded.network.state_dict().values():
        require(bool(weight.isfinite().all()), "weights not finite")


def prior(path: Path) -> None:
    """A prior."""
    _check_prior(Prior.load(path))


def resolution(path: Path) -> None:
    """A table of the energy resolution."""
    table = EnergyResolution.from_text_file(path)
    energies = np.linspace(-HIGHEST_ENERGY, HIGHEST_ENERGY, 11)
    table.check(energies)
    require(0 < table.elastic_fwhm < HIGHEST_ENERGY, "width")


READERS: dict[str, Callable[[Path], None]] = {
    "SaveMD file": histogram,
    "structure": structure,
    "phonopy.yaml": phonopy_yaml,
    "force constants": silicon_force_constants,
    "BORN": born,
    "model": model,
    "prior": prior,
    "resolution": resolution,
}


def read_good_files(folder: Path) -> None:
    """Every reader on a file that is as it should be, written into ``folder``."""
    from hostile import force_constant_files, nexus_files, resolution_tables, stored_models

    written = {
        nexus_files.FILE: nexus_files.GOOD(),
        force_constant_files.TEXT: force_constant_files.text_of(
            force_constant_files.good()
        ).encode(),
        force_constant_files.HDF5: force_constant_files.hdf5_bytes(),
        resolution_tables.FILE: resolution_tables.GOOD.encode(),
        "prior.safetensors": stored_models.good("prior"),
    }
    for name, data in written.items():
        (folder / name).write_bytes(data)
    histogram(folder / nexus_files.FILE)
    structure(STRUCTURES / "Si.cif")
    phonopy_yaml(FORCE_CONSTANTS / "MgO_dft.yaml")
    silicon_force_constants(folder / force_constant_files.TEXT)
    silicon_force_constants(folder / force_constant_files.HDF5)
    born(STRUCTURES / "MgO.BORN")
    model(MODEL)
    prior(folder / "prior.safetensors")
    resolution(folder / resolution_tables.FILE)


@cache
def silicon() -> Crystal:
    """In the supercell of 64 atoms of its phonopy.yaml."""
    return Crystal.from_file(FORCE_CONSTANTS / "Si_dft.yaml")


@cache
def magnesium_oxide() -> Crystal:
    """In the cell of the BORN file."""
    return Crystal.from_file(STRUCTURES / "MgO.cif")


def _check_crystal(crystal: Crystal) -> None:
    require(np.isfinite(crystal.lattice).all(), "lattice not finite")
    require(np.isfinite(crystal.positions).all(), "positions not finite")
    volume = abs(np.linalg.det(crystal.lattice)) / len(crystal.symbols)
    require(1 < volume < 2000, f"{volume} Å³ per atom")
    require((crystal.masses > 0.5).all() and (crystal.masses < 300).all(), "masses")
    require(np.isfinite(crystal.scattering_lengths).all(), "scattering lengths")
    require(crystal.n_supercell % crystal.n_primitive == 0, "supercell")
    require(crystal.formula and crystal.space_group, "no name")


def _check_force_constants(force_constants: ForceConstants) -> None:
    _check_crystal(force_constants.crystal)
    energies = force_constants.frequencies(np.array([[0, 0, 0], [0.5, 0, 0], [0.1, 0.2, 0.3]]))
    require(np.isfinite(energies).all(), "phonon energies not finite")
    require(np.abs(energies).max() < HIGHEST_ENERGY, "phonon energies beyond reach")
    if force_constants.born_charges is not None:
        require(np.isfinite(force_constants.born_charges).all(), "charges not finite")


def _check_prior(loaded: Prior) -> None:
    _check_crystal(loaded.crystal)
    for name in ("centre", "factor", "distances"):
        require(np.isfinite(getattr(loaded, name)).all(), f"{name} not finite")
    low, high = loaded.energy_range
    require(0 < low <= high < HIGHEST_ENERGY, "energies beyond reach")
    _check_force_constants(loaded.basis.force_constants(loaded.centre))
