"""Force constants from a force field's forces on displaced atoms of a supercell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fcinv_core.crystal import Crystal
from fcinv_core.ensemble.calculators import ForceField

EQUATIONS_PER_PARAMETER = 20
"""Force components per independent force constant in a fit to random displacements."""

SEED = 20240913
"""Of the random displacements."""

Fraction = Callable[[float], None]
"""Called with the fraction done, 0 to 1."""


def from_finite_displacements(
    crystal: Crystal, force_field: ForceField, distance: float, progress: Fraction
) -> np.ndarray:
    """Compact force constants in eV/Å² from phonopy's symmetry-reduced displacements.

    Parameters
    ----------
    crystal
        At zero force.
    distance
        Å: length of the displacements. Both signs are displaced where symmetry does not make
        them equivalent, so that third-order terms cancel.
    """
    phonon: Any = crystal.phonopy()
    phonon.generate_displacements(distance=distance)
    phonon.forces = _forces(phonon, force_field, progress)
    phonon.produce_force_constants(calculate_full_force_constants=False)
    return np.array(phonon.force_constants)


def from_random_displacements(
    crystal: Crystal,
    force_field: ForceField,
    amplitude: float,
    n_parameters: int,
    progress: Fraction,
) -> np.ndarray:
    """Effective compact force constants in eV/Å²: least squares over random displacements.

    They are the harmonic crystal that describes the forces at such displacements best, with
    symfc (A. Seko and A. Togo, Phys. Rev. B 110, 214302 (2024)). Displacements come in pairs of
    opposite sign, whose third-order terms cancel.

    Parameters
    ----------
    crystal
        At zero force.
    amplitude
        Å: standard deviation of each Cartesian component.
    n_parameters
        Number of independent force constants; it sets the number of supercells.
    """
    equations = 3 * crystal.n_supercell
    pairs = math.ceil(EQUATIONS_PER_PARAMETER * n_parameters / equations)
    random = np.random.default_rng(SEED)
    displacements = random.normal(0.0, amplitude, (pairs, crystal.n_supercell, 3))
    displacements -= displacements.mean(axis=1, keepdims=True)
    phonon: Any = crystal.phonopy()
    phonon.dataset = {"displacements": np.concatenate([displacements, -displacements])}
    phonon.forces = _forces(phonon, force_field, progress)
    phonon.produce_force_constants(
        fc_calculator="symfc", calculate_full_force_constants=False, show_drift=False
    )
    return np.array(phonon.force_constants)


def _forces(phonon: Any, force_field: ForceField, progress: Fraction) -> np.ndarray:
    supercells = phonon.supercells_with_displacements
    forces = []
    for number, supercell in enumerate(supercells):
        progress(number / len(supercells))
        forces.append(force_field.forces(supercell))
    return np.array(forces)
