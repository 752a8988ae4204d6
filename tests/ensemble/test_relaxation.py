"""Relaxed cells against scans of the energy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.optimize import minimize_scalar

from fcinv_core import FcinvError
from fcinv_core.crystal import Crystal
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.ensemble import relaxation
from fcinv_core.ensemble.calculators import ForceField
from fcinv_core.ensemble.relaxation import relaxed_cell, relaxed_positions

EMT_NAME = "ase.calculators.emt:EMT"


def test_cubic_cell_is_at_the_minimum_of_the_energy():
    atoms = bulk("Cu", cubic=True, a=3.7)
    cell = StructureFile(atoms.cell.array, atoms.get_scaled_positions(), ("Cu",) * 4)
    lattice = relaxed_cell(Crystal.from_cell(cell, (1, 1, 1)), ForceField(EMT_NAME))

    def energy(a):
        atoms.set_cell(a * np.eye(3), scale_atoms=True)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    best = minimize_scalar(energy, bounds=(3.4, 3.9), options={"xatol": 1e-6}).x
    assert lattice == pytest.approx(best * np.eye(3), abs=1e-3)


def polar_stack(c=5.6, z=0.38):
    """Three layers along z with no mirror between them: heights are free, P4mm."""
    positions = np.array([[0, 0, 0], [0.5, 0.5, z], [0, 0, 0.7]])
    cell = StructureFile(np.diag([2.7, 2.7, c]), positions, ("Ni", "Cu", "Au"))
    return Crystal.from_cell(cell, (1, 1, 1))


def forces(crystal, positions):
    atoms = Atoms(crystal.symbols, scaled_positions=positions, cell=crystal.lattice, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces()


def test_positions_relax_in_a_fixed_cell():
    crystal = polar_stack()
    assert np.abs(forces(crystal, crystal.positions)).max() > 0.5
    positions = relaxed_positions(crystal, ForceField(EMT_NAME))
    assert np.abs(forces(crystal, positions)).max() < 1.1e-3
    assert replace(crystal, positions=positions).space_group == crystal.space_group == "P4mm"
    assert not np.allclose(positions, crystal.positions, atol=0.01)


def test_a_relaxation_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(relaxation, "MOST_STEPS", 2)
    with pytest.raises(FcinvError, match="no stable cell of NiCuAu within 2 steps"):
        relaxed_cell(polar_stack(), ForceField(EMT_NAME))
    with pytest.raises(FcinvError, match="no stable positions in the cell of NiCuAu within 2"):
        relaxed_positions(polar_stack(), ForceField(EMT_NAME))
