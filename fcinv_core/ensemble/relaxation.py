"""Cells and positions at which a force field has no forces."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcinv_core.crystal import Crystal
from fcinv_core.ensemble.calculators import ForceField
from fcinv_core.errors import FcinvError

RELAXED_FORCE = 1e-3
"""eV/Å (and eV per strain): where a relaxation ends."""

MOST_STEPS = 500


def relaxed_cell(crystal: Crystal, force_field: ForceField) -> np.ndarray:
    """Lattice (3, 3), rows in Å, of the unit cell at zero force and stress, symmetry kept.

    Raises
    ------
    FcinvError
        When there is no such cell within `MOST_STEPS` steps.
    """
    from ase.filters import FrechetCellFilter

    atoms = _symmetric_atoms(crystal, force_field)
    with force_field.at_work():
        _minimise(FrechetCellFilter(atoms), f"no stable cell of {crystal.formula}")
    # Rounded to what files keep, so that later steps do not depend on where it came from.
    return np.round(atoms.cell.array, 10)


def relaxed_positions(crystal: Crystal, force_field: ForceField) -> np.ndarray:
    """Fractional positions (n, 3) at zero force in the crystal's own cell, symmetry kept.

    Raises
    ------
    FcinvError
        When there are none within `MOST_STEPS` steps.
    """
    atoms = _symmetric_atoms(crystal, force_field)
    with force_field.at_work():
        _minimise(atoms, f"no stable positions in the cell of {crystal.formula}")
    return atoms.get_scaled_positions(wrap=False)


def _symmetric_atoms(crystal: Crystal, force_field: ForceField) -> Any:
    from ase import Atoms
    from ase.constraints import FixSymmetry

    atoms = Atoms(
        crystal.symbols, scaled_positions=crystal.positions, cell=crystal.lattice, pbc=True
    )
    atoms.set_constraint(FixSymmetry(atoms, symprec=crystal.symprec))
    atoms.calc = force_field.calculator
    return atoms


def _minimise(system: Any, failure: str) -> None:
    from ase.optimize import BFGS

    if not BFGS(system, logfile=None).run(fmax=RELAXED_FORCE, steps=MOST_STEPS):
        raise FcinvError(f"{failure} within {MOST_STEPS} steps")
