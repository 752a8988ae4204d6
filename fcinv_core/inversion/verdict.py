"""Whether to believe a result, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fcinv_core.inversion.quality import FitQuality
from fcinv_core.inversion.result import Dispersion, Verdict
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

EXPLAINED = 0.7
"""With this share explained, structure in the residuals spoils error bars rather than the
force constants."""

VAGUE = 0.02
"""Error bar of a phonon energy, over the highest energy, beyond which it is hardly known."""

RESOLUTION_TOLERANCE = 0.3
"""Fitted resolution this far from the assumed one deserves a word."""

UNSTABLE_MEV = 0.3
"""Imaginary modes beyond this energy make a crystal unstable; rounding stays below."""

SURELY_UNSTABLE = 4.0
"""Energy of an imaginary mode over its error bar from which its square is negative by two standard
deviations, as σ(E²) = 2 E σ(E). Soft modes are sometimes imaginary by less, by chance."""

Trust = Literal["yes", "caution", "no"]
_ORDER: tuple[Trust, ...] = ("yes", "caution", "no")


def judge(
    prepared: Sequence[PreparedHistogram],
    qualities: Sequence[FitQuality],
    uncertainty: Uncertainty,
    bands: Dispersion,
    resolution_scales: np.ndarray,
    notes: Sequence[tuple[Trust, str]],
) -> Verdict:
    """Combine everything that speaks for or against a result.

    Parameters
    ----------
    bands
        Phonon energies of the result and their error bars.
    resolution_scales
        (n_histograms,) fitted.
    notes
        Further findings, each with the trust that it leaves; "yes" for mere remarks.
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
    found += _of_bands(bands)
    trust = _ORDER[max((_ORDER.index(trust) for trust, _ in found), default=0)]
    reasons = [text for level in reversed(_ORDER) for t, text in found if t == level]
    if trust == "yes":
        deviance = max(quality.deviance_per_dof for quality in qualities)
        reasons = [
            f"the model describes the data to counting statistics (deviance {deviance:.2f} per "
            f"degree of freedom) and the phonon energies are known to "
            f"{np.sqrt(np.mean(bands.sigma_mev**2)):.2g} meV rms",
            *reasons,
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
        return [] if quality.is_at_counting_limit else [("caution", _more_than_chance(quality))]
    size = f"the scatter exceeds counting statistics {np.sqrt(deviance):.1f}-fold"
    if quality.correlation <= STRUCTURED or deviance <= BAD_DEVIANCE:
        return [("caution", f"{size}; error bars are widened accordingly")]
    structure = (
        f"{size} and the residuals have structure (neighbour correlation {quality.correlation:.2f})"
    )
    if quality.explained < EXPLAINED:
        return [("no", f"{structure}: the model misses part of the signal")]
    return [
        (
            "caution",
            f"{structure}; the model explains {quality.explained:.0%} of the signal's variation, "
            "but the error bars, though widened, may still be too small",
        )
    ]


def _more_than_chance(quality: FitQuality) -> str:
    return (
        f"the scatter exceeds counting statistics by {quality.deviance_per_dof - 1:.0%}, more than "
        f"chance does in {quality.n_bins} bins: the data hold a little more than the model, or "
        "other force constants fit better"
    )


def _of_bands(bands: Dispersion) -> list[tuple[Trust, str]]:
    found: list[tuple[Trust, str]] = []
    top = bands.energy_mev.max()
    imaginary = np.maximum(-bands.energy_mev, 0.0)
    lowest = imaginary.max()
    is_sure = (imaginary > SURELY_UNSTABLE * bands.sigma_mev) | (imaginary > VAGUE * top)
    if (is_sure & (imaginary > UNSTABLE_MEV)).any():
        found.append(
            (
                "no",
                "the crystal is unstable with these force constants: imaginary modes down to "
                f"{lowest:.1f}i meV",
            )
        )
    elif lowest > UNSTABLE_MEV:
        found.append(
            (
                "caution",
                f"imaginary modes down to {lowest:.1f}i meV, which their error bars do not tell "
                "from soft ones of a stable crystal",
            )
        )
    point, branch = np.unravel_index(np.argmax(bands.sigma_mev), bands.sigma_mev.shape)
    worst = bands.sigma_mev[point, branch]
    if worst > VAGUE * top:
        label = min(bands.path_labels, key=lambda item: abs(item[0] - point))[1]
        found.append(
            (
                "caution",
                f"these data leave some phonon energies open: up to ±{worst:.1f} meV near {label} "
                f"at {bands.energy_mev[point, branch]:.0f} meV",
            )
        )
    return found
