"""The crystals of the table: structure, Born charges, prior, and where truths come from."""

from __future__ import annotations

from functools import cache

from prior_truths import DATA, crystal_of, truths

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.prior import Prior
from fcinv_core.inversion.born_charges import BornCharges

MATERIALS = ("Ge", "MgO", "Al")
"""Of the table; Si and Cu can be run, too."""

DRAWN = "prior"
"""Origin of truths that are drawn from the prior; others are those of `prior_truths.truths`."""

OTHER_FORCE_FIELD = "SevenNet"
"""Origin of what a force field says that priors know nothing of."""

HELD_OUT_SEED = 1_751_477_348
"""Of draws from the prior that no training has seen."""


@cache
def crystal(material: str) -> Crystal:
    """As a user has it."""
    return crystal_of(material)


@cache
def known_elsewhere(material: str) -> dict[str, ForceConstants]:
    """Force constants that priors know nothing of, by origin, on the user's crystal.

    In its supercell, so that the inversion can express them.
    """
    found = dict(truths(material))
    file = DATA / f"force_constants/{material}_sevennet.yaml.xz"
    if file.is_file():
        found[OTHER_FORCE_FIELD] = ForceConstants.from_file(file)
    carried = {origin: carried_to(fc, crystal(material)) for origin, fc in found.items()}
    if (charges := born_charges(material)) is not None and file.is_file():
        # A force field knows no charges.
        carried[OTHER_FORCE_FIELD] = charges.given_to(carried[OTHER_FORCE_FIELD])
    return carried


@cache
def born_charges(material: str) -> BornCharges | None:
    """Those that the user of a polar crystal gives."""
    for origin, force_constants in truths(material).items():
        if force_constants.born_charges is not None:
            return BornCharges.from_force_constants(
                carried_to(force_constants, crystal(material)), origin
            )
    return None


@cache
def prior(material: str) -> Prior:
    """What networks for the crystal learn from."""
    charges = born_charges(material)
    if charges is None:
        return Prior.from_crystal(crystal(material))
    return Prior.from_crystal(
        crystal(material), born_charges=charges.values, dielectric=charges.dielectric
    )


def origins(material: str) -> tuple[str, ...]:
    """Where truths of a crystal come from."""
    return DRAWN, *known_elsewhere(material)


def truth(material: str, origin: str, number: int) -> ForceConstants:
    """Force constants behind the case ``number``; those from elsewhere are always the same."""
    if origin != DRAWN:
        return known_elsewhere(material)[origin]
    # A longer sample of the same seed begins with a shorter one.
    return prior(material).force_constants(
        prior(material).sample(number + 1, HELD_OUT_SEED)[number]
    )
