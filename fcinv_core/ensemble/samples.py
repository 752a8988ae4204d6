"""What force fields say about a crystal: force constants at several volumes and amplitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.cancellable import Report
from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.potentials import (
    RELAXED_CELL,
    CrystalOfForceField,
    Recipe,
)
from fcinv_core.errors import FcinvError

RECIPES = (
    RELAXED_CELL,
    Recipe(volume=None),
    *(Recipe(volume=volume) for volume in (0.96, 0.98, 1.02, 1.04)),
    Recipe(displacement=0.1),
    *(Recipe(displacement=amplitude, is_random=True) for amplitude in (0.05, 0.1)),
)
"""How each force field is asked by default."""


@dataclass(frozen=True, eq=False)
class ForceFieldSample:
    """Force constants from one force field, computed in one way.

    Attributes
    ----------
    force_constants
        On the crystal asked for, symmetry exact.
    potential
        Name of the force field.
    kind
        How they were computed, in words: "relaxed cell", "measured lattice", "volume +2 %",
        "displacements of 0.1 Å", "rattled by 0.05 Å (effective)".
    lattice
        (3, 3) rows, Å: unit cell at which forces were computed.
    lowest_energy
        meV, negative for an imaginary mode; `stability.EnergyExtremes` says at which wave
        vectors.
    is_stable
        No imaginary mode there.
    """

    force_constants: ForceConstants
    potential: str
    kind: str
    lattice: np.ndarray
    lowest_energy: float
    is_stable: bool


@dataclass(frozen=True, eq=False)
class ForceFieldSamples:
    """All that force fields said about a crystal.

    Attributes
    ----------
    samples
        In the order of force fields and recipes, unstable ones included.
    failures
        One line for each force field and kind that gave no force constants, or unstable ones.
    """

    samples: tuple[ForceFieldSample, ...]
    failures: tuple[str, ...]

    @property
    def stable(self) -> tuple[ForceFieldSample, ...]:
        """The samples without imaginary modes."""
        return tuple(sample for sample in self.samples if sample.is_stable)


def force_field_samples(
    crystal: Crystal,
    potentials: Sequence[str] = ("chgnet",),
    *,
    recipes: Sequence[Recipe] = RECIPES,
    progress: Report | None = None,
) -> ForceFieldSamples:
    """Force constants of a crystal from force fields, each asked in several ways.

    Results are kept as those of `force_field_constants` are; some come with fcinv.

    Parameters
    ----------
    crystal
        The measured crystal.
    potentials
        Names of force fields, see `force_field_constants`.
    recipes
        How each of them is asked.
    progress
        Called with a few words and the fraction done.

    Raises
    ------
    FcinvError
        When nothing gave force constants.
    """
    from fcinv_core.ensemble.stability import lowest_energies

    tell = progress or (lambda stage, fraction: None)
    found: list[tuple[str, str, ForceConstants]] = []
    failures: list[str] = []
    reasons: dict[str, None] = {}
    total = len(potentials) * len(recipes)
    for number, potential in enumerate(potentials):
        asked = CrystalOfForceField(crystal, potential)
        for place, recipe in enumerate(recipes, start=number * len(recipes)):

            def partly(stage: str, fraction: float, place: int = place) -> None:
                tell(stage, (place + fraction) / total)

            try:
                found.append((potential, recipe.kind, asked.force_constants(recipe, partly)))
            except FcinvError as error:
                failures.append(f"{potential}, {recipe.kind}: {error}")
                reasons[f"{potential}: {error}"] = None
    if not found:
        raise FcinvError(
            f"no force field gave force constants of {crystal.formula}: {'; '.join(reasons)}"
        )
    tell("looking whether they are stable", 1.0)
    carried = [force_constants.on(crystal) for _, _, force_constants in found]
    lowest = lowest_energies(crystal, np.stack([each.values for each in carried]))
    samples = []
    for (potential, kind, original), on_crystal, energy in zip(found, carried, lowest, strict=True):
        is_stable = bool(energy > 0)
        samples.append(
            ForceFieldSample(
                force_constants=on_crystal,
                potential=potential,
                kind=kind,
                lattice=original.crystal.lattice,
                lowest_energy=float(energy),
                is_stable=is_stable,
            )
        )
        if not is_stable:
            failures.append(f"{potential}, {kind}: unstable, lowest mode {energy:.1f} meV")
    return ForceFieldSamples(tuple(samples), tuple(failures))
