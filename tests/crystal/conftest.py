"""Crystals that several test modules of this folder use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.structure_files import StructureFile

DATA = Path(__file__).parents[1] / "data"


def crystal_from(atoms, supercell=None):
    """A Crystal of an ase.Atoms."""
    cell = StructureFile(
        atoms.cell.array, atoms.get_scaled_positions(), tuple(atoms.get_chemical_symbols())
    )
    return Crystal.from_cell(cell, supercell)


@pytest.fixture(scope="session")
def make_crystal():
    return crystal_from


@pytest.fixture(scope="session")
def data_folder():
    return DATA


@pytest.fixture(scope="session", params=["Si", "MgO", "NaCl"])
def dft(request):
    """Force constants from density functional theory."""
    return ForceConstants.from_file(DATA / f"force_constants/{request.param}_dft.yaml")


@pytest.fixture(scope="session")
def silicon():
    return ForceConstants.from_file(DATA / "force_constants/Si_dft.yaml")


@pytest.fixture(scope="session")
def magnesia():
    return ForceConstants.from_file(DATA / "force_constants/MgO_dft.yaml")


@pytest.fixture(scope="session")
def wurtzite():
    """A hexagonal, non-centrosymmetric crystal whose file order is not phonopy's."""
    from ase.build import bulk

    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)
    return crystal_from(atoms, supercell=[3, 3, 2])


@pytest.fixture(scope="session")
def q_points():
    return np.random.default_rng(7).uniform(-1, 1, (12, 3))
