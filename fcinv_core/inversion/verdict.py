"""Whether to believe a result, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fcinv_core.inversion.quality import FitQuality
from fcinv_core.inversion.result import Verdict
from fcinv_core.inversion.uncertainty import Uncertainty

if TYPE_CHECKING:
    from fcinv_core.inversion.preparation import PreparedHistogram

GOOD_DEVIANCE = 1.3
"""Deviance per degree of freedom up to which scatter counts as that of counting."""

BAD_DEVIANCE = 3.0
"""Beyond this, and with structure left in the residuals, the model is wrong."""

STRUCTURED = 0.3
"""Correlation of neighbouring residuals beyond which they are structure, not scatter."""

UNEXPLAINED = 0.5
"""A model that explains less than this share of the signal's variation is not a model of it."""

RESOLUTION_TOLERANCE = 0.3
"""Fitted resolution this far from the assumed one deserves a word."""

UNSTABLE_MEV = 0.3
"""Imaginary modes beyond this energy make a crystal unstable; rounding stays below."""

Trust = Literal["yes", "caution", "no"]
_ORDER: tuple[Trust, ...] = ("yes", "caution", "no")


def judge(
    prepared: Sequence[PreparedHistogram],
    qualities: Sequence[FitQuality],
    uncertainty: Uncertainty,
    energies: np.ndarray,
    resolution_scales: np.ndarray,
    notes: Sequence[tuple[Trust, str]],
) -> Verdict:
    """Combine everything that speaks for or against a result.

    Parameters
    ----------
    energies
        Phonon energies of the result in meV, negative where unstable.
    resolution_scales
        (n_histograms,) fitted.
    notes
        Further findings, each with the trust that it leaves.
    """
    found: list[tuple[Trust, str]] = list(notes)
    several = len(prepared) > 1
    for number, (item, quality) in enumerate(zip(prepared, qualities, strict=True), 1):
        where = f"workspace {number}: " if several else ""
        found += [(trust, where + text) for trust, text in _of_fit(quality)]
        scale = resolution_scales[number - 1]
        if item.has_spectra and abs(scale - 1) > RESOLUTION_TOLERANCE:
            found.append(
                (
                    "caution",
                    f"{where}the fitted resolution is {scale:.2f} times the assumed one: check "
                    "the energy resolution",
                )
            )
    if not any(item.has_spectra for item in prepared):
        found.append(
            (
                "caution",
                "only constant-energy maps were given: without spectra the energies rest on the "
                "starting force constants",
            )
        )
    found += [("caution", sentence) for sentence in uncertainty.undetermined]
    if energies.min() < -UNSTABLE_MEV:
        found.append(
            (
                "no",
                f"the crystal is unstable with these force constants: imaginary modes down to "
                f"{abs(energies.min()):.1f}i meV",
            )
        )
    trust = max((trust for trust, _ in found), key=_ORDER.index, default="yes")
    reasons = [text for level in reversed(_ORDER) for t, text in found if t == level]
    if not reasons:
        deviance = max(quality.deviance_per_dof for quality in qualities)
        reasons = [
            f"the model describes the data to counting statistics (deviance {deviance:.2f} per "
            "degree of freedom) and the data determine every force constant"
        ]
    return Verdict(trust, tuple(reasons))


def _of_fit(quality: FitQuality) -> list[tuple[Trust, str]]:
    deviance = max(quality.deviance_per_dof, quality.pearson_per_dof)
    if quality.explained < UNEXPLAINED and deviance > GOOD_DEVIANCE:
        return [
            (
                "no",
                f"the model explains only {max(quality.explained, 0):.0%} of the signal's "
                "variation: wrong crystal, orientation or signal",
            )
        ]
    if deviance <= GOOD_DEVIANCE:
        return []
    size = f"the scatter exceeds counting statistics {np.sqrt(deviance):.1f}-fold"
    if deviance > BAD_DEVIANCE and quality.correlation > STRUCTURED:
        return [
            (
                "no",
                f"{size} and the residuals have structure (neighbour correlation "
                f"{quality.correlation:.2f}): the model misses part of the signal",
            )
        ]
    return [("caution", f"{size}; error bars are widened by that factor")]
