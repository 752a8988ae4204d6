"""Force constants from universal machine-learned force fields.

A force field is asked at its own relaxed cell, because at the measured one it may be
unstable; its force constants are then carried to the measured lattice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fcinv_core.cancellable import Report
from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.ensemble import force_constant_cache
from fcinv_core.ensemble.calculators import ForceField
from fcinv_core.ensemble.relaxation import RELAXED_FORCE, relaxed_cell, relaxed_positions
from fcinv_core.ensemble.supercell_forces import (
    EQUATIONS_PER_PARAMETER,
    SEED,
    from_finite_displacements,
    from_random_displacements,
)
from fcinv_core.errors import FcinvError

DISPLACEMENT = 0.03
"""Å: small enough to be harmonic, large enough for forces in single precision."""


@dataclass(frozen=True)
class Recipe:
    """Where and how a force field is asked for force constants.

    Attributes
    ----------
    volume
        Relative to the force field's relaxed cell; None for the measured lattice.
    displacement
        Å: length of single displacements, or standard deviation of random ones.
    is_random
        All atoms of the supercell are displaced at random, and effective force constants
        fitted, instead of one atom at a time.
    """

    volume: float | None = 1.0
    displacement: float = DISPLACEMENT
    is_random: bool = False

    @property
    def kind(self) -> str:
        """In words."""
        parts = []
        if self.volume is None:
            parts.append("measured lattice")
        elif self.volume != 1:
            parts.append(f"volume {100 * (self.volume - 1):+.3g} %")
        if self.is_random:
            parts.append(f"rattled by {self.displacement:g} Å (effective)")
        elif self.displacement != DISPLACEMENT:
            parts.append(f"displacements of {self.displacement:g} Å")
        return ", ".join(parts) or "relaxed cell"

    def settings(self, crystal: Crystal) -> dict[str, Any]:
        """Everything of the recipe that a result depends on."""
        settings: dict[str, Any] = {
            "volume": self.volume,
            "displacement": self.displacement,
            "relaxed_force": RELAXED_FORCE,
        }
        if self.volume is None:
            settings["lattice"] = (np.round(crystal.lattice, 6) + 0.0).tolist()
        if self.is_random:
            settings["random"] = [SEED, EQUATIONS_PER_PARAMETER]
        return settings


RELAXED_CELL = Recipe()


def force_field_constants(
    crystal: Crystal, potential: str = "chgnet", progress: Report | None = None
) -> ForceConstants:
    """Force constants of a crystal from a universal force field.

    Cell and positions are relaxed at fixed space group; forces of phonopy's displacements in
    the crystal's supercell at the relaxed cell give force constants, which are projected onto
    the symmetry-reduced basis and carried to ``crystal``. Results are kept in the folder
    ``$FCINV_CACHE`` (default ``~/.cache/fcinv``); some come with fcinv. The same input gives
    the same result: one thread, CPU.

    Parameters
    ----------
    crystal
        The measured crystal.
    potential
        "chgnet" (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)), another name of
        `calculators.KNOWN`, or "package.module:name" of a callable that returns an ASE
        calculator with forces and stress.
    progress
        Called with a few words and the fraction done.

    Raises
    ------
    FcinvError
        When the force field is not installed, fails on the crystal, or finds no stable cell.
    """
    asked = CrystalOfForceField(crystal, potential)
    return asked.force_constants(RELAXED_CELL, progress).on(crystal)


class CrystalOfForceField:
    """A measured crystal as one force field sees it.

    Parameters
    ----------
    crystal
        The measured crystal.
    potential
        Name of the force field, see `force_field_constants`.
    """

    def __init__(self, crystal: Crystal, potential: str) -> None:
        self.crystal = crystal
        self.force_field = ForceField(potential)
        self._relaxation: np.ndarray | FcinvError | None = None

    def force_constants(self, recipe: Recipe, progress: Report | None = None) -> ForceConstants:
        """Force constants on the lattice at which forces were computed, kept or new.

        Raises
        ------
        FcinvError
            When the force field is not installed or fails on the crystal.
        """
        name = self._file_name(recipe)
        kept = force_constant_cache.load(name, self.crystal)
        if kept is not None:
            return kept
        computed = self._compute(recipe, progress or (lambda stage, fraction: None))
        force_constant_cache.keep(name, computed)
        return computed

    def _file_name(self, recipe: Recipe) -> str:
        settings = recipe.settings(self.crystal)
        return force_constant_cache.file_name(self.crystal, self.force_field, recipe.kind, settings)

    def _compute(self, recipe: Recipe, progress: Report) -> ForceConstants:
        potential, formula = self.force_field.name, self.crystal.formula
        progress(f"loading {potential}", 0.0)
        _ = self.force_field.calculator
        progress(f"relaxing {formula} with {potential}", 0.05)
        still = self._at_zero_force(recipe)

        def forces(fraction: float) -> None:
            progress(f"forces of {potential}, {recipe.kind}", 0.1 + 0.85 * fraction)

        if recipe.is_random:
            n = self._basis.n_parameters
            values = from_random_displacements(
                still, self.force_field, recipe.displacement, n, forces
            )
        else:
            values = from_finite_displacements(still, self.force_field, recipe.displacement, forces)
        progress("force constants", 0.95)
        # Cell and positions of one symmetry share one space of force constants.
        carried = ForceConstants(self.crystal.with_lattice(still.lattice), values).on(self.crystal)
        symmetric = self._basis.force_constants(self._basis.parameters_of(carried))
        progress("force constants", 1.0)
        return symmetric.on(self.crystal.with_lattice(still.lattice))

    def _at_zero_force(self, recipe: Recipe) -> Crystal:
        if recipe.volume is None:
            lattice = self.crystal.lattice
        else:
            lattice = self._relaxed_lattice() * np.cbrt(recipe.volume)
        # Positions start from the measured ones: results depend on no earlier ones but the cell.
        crystal = self.crystal.with_lattice(lattice)
        return replace(crystal, positions=relaxed_positions(crystal, self.force_field))

    def _relaxed_lattice(self) -> np.ndarray:
        """That of earlier results where there are some, so that all agree."""
        kept = force_constant_cache.load(self._file_name(RELAXED_CELL), self.crystal)
        if kept is not None:
            return kept.crystal.lattice
        if self._relaxation is None:
            try:
                self._relaxation = relaxed_cell(self.crystal, self.force_field)
            except FcinvError as error:
                self._relaxation = error
        if isinstance(self._relaxation, FcinvError):
            # Said again for each recipe that starts here, but tried once.
            raise self._relaxation
        return self._relaxation

    @cached_property
    def _basis(self) -> ForceConstantBasis:
        return ForceConstantBasis.from_crystal(self.crystal)
