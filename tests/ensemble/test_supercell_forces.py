"""Force constants from forces: of harmonic crystals exactly, of EMT as phonopy has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.calculators import ForceField
from fcinv_core.ensemble.supercell_forces import (
    EQUATIONS_PER_PARAMETER,
    from_finite_displacements,
    from_random_displacements,
)

DATA = Path(__file__).parents[1] / "data"


class HarmonicCrystal(Calculator):
    """Forces of known force constants, and others along z that are even in displacements."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force_constants, even=0.0):
        super().__init__()
        phonon = force_constants.to_phonopy()
        self.full = compact_fc_to_full_fc(phonon.primitive, phonon.force_constants)
        self.equilibrium = np.array(phonon.supercell.scaled_positions)
        self.even = even
        self.calls = 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        offset = self.atoms.get_scaled_positions(wrap=False) - self.equilibrium
        u = (offset - np.rint(offset)) @ self.atoms.cell.array
        forces = -np.einsum("ijab,jb->ia", self.full, u)
        forces[:, 2] += self.even * u[:, 2] ** 2
        self.results = {"energy": 0.0, "forces": forces}


def harmonic(force_constants, even=0.0):
    force_field = ForceField("own:harmonic")
    force_field.calculator = HarmonicCrystal(force_constants, even)
    return force_field


@pytest.fixture(scope="module", params=["Si_dft", "MgO_dft", "ZnO_dft"])
def known(request):
    """Force constants with their symmetry exact."""
    read = ForceConstants.from_file(DATA / f"force_constants/{request.param}.yaml")
    basis = ForceConstantBasis.from_crystal(read.crystal)
    return basis, basis.force_constants(basis.parameters_of(read))


def test_random_displacements_return_the_force_constants_of_a_harmonic_crystal(known):
    basis, expected = known
    force_field = harmonic(expected, even=3.0)
    done = []
    values = from_random_displacements(
        expected.crystal, force_field, 0.1, basis.n_parameters, done.append
    )
    assert values == pytest.approx(expected.values, abs=1e-8)
    calls = force_field.calculator.calls
    equations = calls * 3 * expected.crystal.n_supercell / 2
    assert EQUATIONS_PER_PARAMETER <= equations / basis.n_parameters
    assert done == [k / calls for k in range(calls)]


def test_finite_displacements_return_the_force_constants_of_a_harmonic_crystal(known):
    _, expected = known
    # Only a polar axis along z allows forces that are even along it.
    even = 3.0 if expected.crystal.space_group == "P6_3mc" else 0.0
    force_field = harmonic(expected, even)
    values = from_finite_displacements(expected.crystal, force_field, 0.1, lambda done: None)
    assert values == pytest.approx(expected.values, abs=1e-8)


@pytest.mark.parametrize("distance", [0.03, 0.1])
def test_finite_displacements_are_phonopys(distance):
    crystal = Crystal.from_file(DATA / "structures/Al.cif", (2, 2, 2))
    force_field = ForceField("ase.calculators.emt:EMT")
    values = from_finite_displacements(crystal, force_field, distance, lambda done: None)
    phonon = crystal.phonopy()
    phonon.generate_displacements(distance=distance, is_plusminus=True)
    phonon.forces = [emt_forces(cell) for cell in phonon.supercells_with_displacements]
    phonon.produce_force_constants(calculate_full_force_constants=False)
    assert values == pytest.approx(phonon.force_constants, abs=1e-6)


def emt_forces(cell):
    atoms = Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces()


def test_small_random_displacements_agree_with_finite_ones():
    crystal = Crystal.from_file(DATA / "structures/Cu.cif", (2, 2, 2)).with_lattice(
        3.59 * np.eye(3)
    )
    basis = ForceConstantBasis.from_crystal(crystal)
    force_field = ForceField("ase.calculators.emt:EMT")
    small = from_random_displacements(
        crystal, force_field, 1e-3, basis.n_parameters, lambda done: None
    )
    finite = from_finite_displacements(crystal, force_field, 1e-3, lambda done: None)
    assert np.abs(small - finite).max() < 1e-3 * np.abs(finite).max()
