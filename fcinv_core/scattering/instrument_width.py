"""Energy resolution of real spectrometers, from the package ResINS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.units import FWHM_PER_SIGMA

LOWEST, HIGHEST, STEP = -1.01, 0.98, 0.01
"""Energy transfers of the table, over the incident energy. The first and the last step lie beyond
what is used (-1 to 0.97), because an interpolated table ends flat."""


def instrument_width(
    instrument: str, incident_energy: float, settings: Mapping[str, str | float]
) -> tuple[np.ndarray, np.ndarray]:
    """Energy transfers and full widths at half maximum of a direct-geometry spectrometer, meV.

    The instrument's default model in ResINS. PyChop's is a quartic fitted to energy loss; on the
    side of energy gain it is extrapolated.

    Parameters
    ----------
    instrument
        ResINS's name, in any case of letters.
    incident_energy
        meV.
    settings
        Chopper package and frequencies (Hz) in ResINS's names.

    Raises
    ------
    FcinvError
        When ResINS is missing, or does not know the instrument, a setting or the incident
        energy, or when the combination transmits nothing or has no positive width.
    """
    try:
        from resins import Instrument
        from resins.models.pychop import NoTransmissionError
    except ImportError as error:
        raise FcinvError(
            f"the resolution of {instrument} needs the package ResINS ({error}): "
            "pip install 'resins>=0.1,<0.2', or give a width"
        ) from error

    names = {name.upper(): name for name in Instrument.available_instruments()}
    name = names.get(instrument.upper())
    if name is None or not _has_incident_energy(Instrument.from_default(name)):
        direct = [n for n in names.values() if _has_incident_energy(Instrument.from_default(n))]
        raise FcinvError(
            f"ResINS has no direct-geometry spectrometer {instrument!r}; it has "
            f"{', '.join(sorted(direct))}"
        )
    spectrometer = Instrument.from_default(name)
    chosen = _checked_settings(spectrometer, incident_energy, settings)
    where = ", ".join([f"{name} at {incident_energy:g} meV", *(f"{k}={v}" for k, v in chosen)])
    try:
        model = spectrometer.get_resolution_function(e_init=float(incident_energy), **dict(chosen))
    except NoTransmissionError as error:
        raise FcinvError(
            f"{where}: the chopper transmits nothing; check incident energy, chopper package and "
            "frequency"
        ) from error
    energies = incident_energy * np.arange(round(LOWEST / STEP), round(HIGHEST / STEP) + 1) * STEP
    fwhm = FWHM_PER_SIGMA * model.get_characteristics(energies[:, None])["sigma"]
    if not (fwhm > 0).all():
        raise FcinvError(
            f"{where}: ResINS's width is not positive at an energy transfer of "
            f"{energies[~(fwhm > 0)][0]:.4g} meV, outside of what its model was fitted to; give a "
            "width"
        )
    return energies, fwhm


def _has_incident_energy(spectrometer: Any) -> bool:
    return "e_init" in spectrometer.get_model_signature().parameters


def _checked_settings(
    spectrometer: Any, incident_energy: float, settings: Mapping[str, str | float]
) -> list[tuple[str, str | float]]:
    """All settings of an instrument. ResINS alone would ignore misspelt ones, and fill in its own
    default for what is missing, which can be wrong by a factor of two."""
    name = spectrometer.name
    if not 0 < incident_energy < math.inf:
        raise FcinvError(f"incident energy {incident_energy} meV of {name}: give one above 0")
    packages = spectrometer.possible_options_for_model(spectrometer.default_model)
    frequencies = [
        key for key in spectrometer.get_model_signature().parameters if key.endswith("frequency")
    ]
    known = [*packages, *frequencies]
    for key in settings:
        if key not in known:
            has = "the settings " + ", ".join(known) if known else "no settings"
            raise FcinvError(f"{name} has no setting {key!r}; it has {has}")
    chosen = []
    for key, options in packages.items():
        only = options[0] if len(options) == 1 else None
        chosen.append((key, _checked(name, key, settings.get(key, only), options)))
    allowed = spectrometer.get_model_data(**dict(chosen)).restrictions
    lowest, highest = allowed.get("e_init", (0.0, math.inf))
    if not lowest <= incident_energy <= highest:
        with_package = "".join(f" with {option}" for _, option in chosen)
        raise FcinvError(
            f"incident energy {incident_energy} meV: {name}{with_package} has {lowest:g} to "
            f"{highest:g} meV"
        )
    for key in frequencies:
        chosen.append((key, _checked(name, key, settings.get(key), range(*allowed[key]))))
    return chosen


def _checked(
    name: str, key: str, value: str | float | None, options: Sequence[str | float]
) -> str | float:
    choice = ", ".join(map(str, options))
    if value is None:
        raise FcinvError(f"{name} needs {key}, one of {choice}")
    if value not in options:
        raise FcinvError(f"{name} has no {key} {value!r}; it has {choice}")
    return value
