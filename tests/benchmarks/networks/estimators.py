"""What is compared: everything that makes force constants of a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from benchmarks.networks import materials
from benchmarks.networks.cases import Case

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.potentials import force_field_constants
from fcinv_core.inversion.pipeline import invert
from fcinv_core.networks.library import model_files
from fcinv_core.networks.model import Model

BASELINE = "baseline"
ARCHITECTURES = ("direct", "latent")


@dataclass(frozen=True, eq=False)
class Answer:
    """Force constants with the spread that is stated for them.

    Attributes
    ----------
    force_constants
        Total ones, on the crystal of the case.
    basis
        Of the covariance.
    covariance
        (n_par, n_par) in eV²/Å⁴; None where no spread is stated.
    """

    force_constants: ForceConstants
    basis: ForceConstantBasis
    covariance: np.ndarray | None = None


@dataclass(frozen=True)
class Estimator:
    """A way to invert measurements.

    Attributes
    ----------
    name
        In tables.
    made_of
        What its answers depend on besides the code: the first digits of a model's checksum.
    estimate
        Force constants at a glance. May raise `FcinvError`.
    refine
        Force constants after refinement, estimate included: what a user gets in the end.
    """

    name: str
    made_of: str
    estimate: Callable[[Case], Answer]
    refine: Callable[[Case], ForceConstants]


def baseline() -> Estimator:
    """Without a network: the force field, and what ``invert`` makes of it."""

    def estimate(case: Case) -> Answer:
        force_constants = force_field_constants(case.crystal)
        if case.born_charges is not None:
            force_constants = case.born_charges.given_to(force_constants)
        return Answer(force_constants, materials.prior(case.material).basis)

    def refine(case: Case) -> ForceConstants:
        return invert(
            [case.histogram],
            case.crystal,
            born_charges=case.born_charges,
            energy_fwhm=case.resolution,
        ).force_constants

    return Estimator(BASELINE, "", estimate, refine)


def network(name: str, model: Model) -> Estimator:
    """A trained model, and what ``invert`` makes of it."""

    def estimate(case: Case) -> Answer:
        prepared = case.prepared.in_crystal(case.crystal, model.prior.crystal)
        found = model.estimate([prepared])
        return Answer(found.force_constants, found.basis, found.covariance)

    def refine(case: Case) -> ForceConstants:
        return invert(
            [case.histogram],
            case.crystal,
            model=model,
            born_charges=case.born_charges,
            energy_fwhm=case.resolution,
        ).force_constants

    return Estimator(name, model.sha256[:12], estimate, refine)


@cache
def find(material: str, name: str) -> Estimator | None:
    """The estimator of a crystal by its name; None for an architecture without a model of it."""
    if name == BASELINE:
        return baseline()
    model = model_of(material, name)
    return None if model is None else network(name, model)


def model_of(material: str, architecture: str) -> Model | None:
    """The best of those that ``fcinv models`` lists."""
    crystal, polar = materials.crystal(material), materials.born_charges(material) is not None
    fitting = [
        file
        for file in model_files()
        if file.misfit(crystal, polar=polar) is None
        and file.card is not None
        and file.card.architecture == architecture
    ]
    if not fitting:
        return None
    best = min(fitting, key=lambda file: file.card.error if file.card else np.inf)
    return Model.load(best.path)
