"""Germanium, inverted in every way from every kind of data: what comes out of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from benchmarks.error_bars.designs import (
    DESIGNS,
    RESOLUTION,
    Conditions,
    VirtualMeasurement,
    measure,
    top_energy,
)
from benchmarks.networks import materials
from benchmarks.networks.estimators import model_of
from benchmarks.networks.score import Errors
from benchmarks.networks.valley import rms_width, zone_slopes

from fcinv_core import ForceConstants, InversionResult, invert
from fcinv_core.inversion.lattice import Lattice

TEMPERATURE = 80.0
"""K, that of the measured density of states."""

NOISE = {
    "idealised": Conditions(TEMPERATURE, 0.0, peak_counts=1e5, has_noise=False),
    "noisy": Conditions(TEMPERATURE, 0.0, width_excess=1.15, background=0.2, peak_counts=100.0),
    "few counts": Conditions(TEMPERATURE, 0.0, width_excess=1.15, background=0.2, peak_counts=20.0),
}
"""By name; the believed resolution is set for the crystal."""

FORCE_FIELD, DIRECT, LATENT = WAYS = ("force field", "direct", "latent")
"""What estimates: a universal force field, or one of the networks."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one way makes of one measurement.

    Attributes
    ----------
    data, noise, seed, way
        Which.
    estimate, refined
        Before and after refinement, with what is stated for each.
    """

    data: str
    noise: str
    seed: int
    way: str
    estimate: InversionResult
    refined: InversionResult

    def error(self, result: InversionResult) -> float:
        """Root mean square of phonon energies over the zone, meV."""
        return Errors.of(result.force_constants, truth()).dispersion

    @cached_property
    def stated(self) -> float:
        """What the refinement states for it."""
        return stated(self.refined)

    @property
    def disagreement(self) -> tuple[float, float] | None:
        """Of network and refinement: meV, and standard deviations of both together."""
        found = self.refined.settings["network_and_refinement"]
        if not isinstance(found, dict):
            return None
        return float(found["rms_mev"]), float(found["sigmas"])


@cache
def truth() -> ForceConstants:
    """Force constants that reproduce the measured frequencies within 2 %."""
    return materials.known_elsewhere("Ge")["stand-in"]


def stated(result: InversionResult) -> float:
    """Root mean square of the stated errors of energies over the zone, meV."""
    lattice = Lattice(result.basis, result.force_constants)
    return rms_width(zone_slopes(lattice, result.parameters), result.covariance)


def measured(data: str, noise: str, seed: int) -> VirtualMeasurement:
    """Of the truth; the same seed measures the same bins at every noise."""
    conditions = NOISE[noise]
    believed = RESOLUTION * top_energy(truth())
    rng = np.random.default_rng(np.random.SeedSequence((seed, list(DESIGNS).index(data))))
    given = replace(conditions, believed_fwhm=believed)
    return measure(truth(), DESIGNS[data], given, rng)


def answers(data: str, noise: str, seed: int) -> Iterator[Answer]:
    """All `WAYS` on one measurement."""
    given = measured(data, noise, seed)
    for way in WAYS:
        model = None if way == FORCE_FIELD else model_of("Ge", way)
        estimate, refined = (
            invert(
                [given.histogram],
                materials.crystal("Ge"),
                model=model,
                energy_fwhm=given.energy_fwhm,
                refine=refine,
            )
            for refine in (False, True)
        )
        yield Answer(data, noise, seed, way, estimate, refined)
