"""Numbers and verdicts as a person reads them; shared by the report and the command line."""

from __future__ import annotations

import math

HEADLINES = {
    "yes": "This result can be trusted",
    "caution": "Use this result with caution",
    "no": "Do not trust this result",
}
"""The verdict in words, for each value of ``Verdict.trust``."""

SETTING_NAMES = {
    "refine": "Refined",
    "start": "Start from",
    "model": "Trained model",
    "first_guess": "Best of the first guesses",
    "network_and_refinement": "Between network and refinement",
    "cutoff_angstrom": "Range of force constants (Å)",
    "supercell_matrix": "Supercell",
    "temperature_k": "Temperature (K)",
    "energy_fwhm_mev": "Energy resolution, FWHM (meV)",
    "prior": "Prior width (stiffness and scatter relative, decay in Å)",
    "rank_in_prior": "Share of what the model was trained on that is more usual than the result",
    "energy_range_mev": "Energy range (meV)",
    "max_iterations": "Most iterations",
    "rms_mev": "rms (meV)",
    "sigmas": "standard deviations",
    "sha256": "SHA-256",
}
"""Keys of ``InversionResult.settings`` in words; another key is shown with its underscores
taken out."""

WITHOUT = {
    "cutoff_angstrom": "all of the supercell",
    "born_charges": "none",
    "model": "none",
    "first_guess": "nothing was refined",
    "network_and_refinement": "no network",
    "rank_in_prior": "no network",
}
"""What it means that such a setting has no value."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_sigma(value: float, sigma: float) -> str:
    """``12.345 ± 0.012``: as many digits as the standard deviation justifies.

    A value without a finite, positive sigma gets four significant digits; one that is not
    finite is a dash.
    """
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(sigma) or sigma <= 0:
        return f"{value:.4g}"
    largest = max(abs(value), sigma)
    exponent = math.floor(math.log10(largest))
    if -4 < exponent < 6:
        decimals = max(0, 1 - math.floor(math.log10(sigma)))
        return f"{value:.{decimals}f} ± {sigma:.{decimals}f}"
    power = 10.0**exponent
    superscript = str(exponent).translate(_SUPERSCRIPT)
    decimals = max(0, 1 - math.floor(math.log10(sigma / power)))
    return f"({value / power:.{decimals}f} ± {sigma / power:.{decimals}f})·10{superscript}"


def sentence(text: str) -> str:
    """A reason with a capital at its start and a full stop at its end."""
    ending = "" if text.endswith((".", "!", "?")) else "."
    return text[:1].upper() + text[1:] + ending


def rounded(value: float) -> str:
    """Four significant digits, or a dash for what is not finite."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def setting_name(key: str) -> str:
    """A setting's key in words."""
    return SETTING_NAMES.get(key, key.replace("_", " ").capitalize())


def setting(value: object, key: str = "") -> str:
    """The plain JSON value of a setting as text."""
    if value is None:
        return WITHOUT.get(key, "not given")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("inf", "∞").replace("-", "−")
    if isinstance(value, dict):
        return ", ".join(f"{setting_name(k)}: {setting(item)}" for k, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(
            f"({setting(item)})" if isinstance(item, (list, tuple)) else setting(item)
            for item in value
        )
    return str(value)
