"""Crystals that several test modules of this folder use."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from born_von_karman import born_von_karman
from scattering.euphonic_oracle import EuphonicOracle
from scattering.point_spectra import bare, complete

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.crystal.structure_files import StructureFile


def wurtzite_with_springs() -> ForceConstants:
    """Springs between neighbours of wurtzite: no inversion centre, and a screw axis.

    Longitudinal and transverse springs that fall off with distance, stiffest between unlike
    atoms. The numbers are invented; energies reach 74 meV and all modes are stable.
    """
    from ase.build import bulk

    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)
    cell = StructureFile(
        atoms.cell.array, atoms.get_scaled_positions(), tuple(atoms.get_chemical_symbols())
    )
    crystal = Crystal.from_cell(cell, supercell=[3, 3, 2])
    symbols = crystal.primitive_symbols
    values = np.zeros((crystal.n_primitive, crystal.n_supercell, 3, 3))
    for i in range(crystal.n_primitive):
        for j in range(crystal.n_supercell):
            count, start = crystal.multiplicity[j, i]
            vectors = crystal.shortest_vectors[start : start + count] @ crystal.primitive_lattice
            distance = np.linalg.norm(vectors[0])
            if not 0.1 < distance < 4.0:
                continue
            other = crystal.supercell_to_primitive[j]
            stiffness = 2.5 if symbols[i] != symbols[other] else 7.5
            stiffness *= np.exp(-distance / 1.0) * 6.0 / count
            for direction in vectors / distance:
                along = np.outer(direction, direction)
                values[i, j] -= stiffness * (along + 0.15 * (np.eye(3) - along))
    for i, home in enumerate(crystal.primitive_to_supercell):
        values[i, home] -= values[i].sum(axis=0)
    return ForceConstants(crystal, values)


def _make(name: str) -> ForceConstants:
    if name == "Al":
        return born_von_karman("Al", 80)
    if name == "ZnO":
        return wurtzite_with_springs()
    return bare(name)


@pytest.fixture(scope="session")
def force_constants():
    """Force constants by name: DFT (Si, MgO), measured (Al, Cu), springs (ZnO)."""
    return cache(_make)


def _oracles(source, tmp_path_factory):
    """Euphonic's view of the force constants that ``source`` has by name."""
    return cache(
        lambda name: EuphonicOracle.from_force_constants(
            source(name), tmp_path_factory.mktemp(name)
        )
    )


@pytest.fixture(scope="session")
def oracle(force_constants, tmp_path_factory):
    """Euphonic's view of the same force constants, by name."""
    return _oracles(force_constants, tmp_path_factory)


@pytest.fixture(scope="session")
def polar_oracle(tmp_path_factory):
    """Euphonic's view of polar crystals with their Born charges, by name."""
    return _oracles(complete, tmp_path_factory)


@pytest.fixture(scope="session")
def basis(force_constants):
    """Symmetry-reduced basis by name."""
    return cache(lambda name: ForceConstantBasis.from_crystal(force_constants(name).crystal))
