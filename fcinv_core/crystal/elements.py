"""Masses, scattering lengths and incoherent cross sections of the elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcinv_core.errors import FcinvError


def standard_masses(symbols: Sequence[str]) -> np.ndarray:
    """Atomic masses in u of the natural elements, (n,).

    Raises
    ------
    FcinvError
        For a symbol that is no element.
    """
    return np.array([_element(symbol).mass for symbol in symbols], dtype=float)


def coherent_scattering_lengths(symbols: Sequence[str], masses: np.ndarray) -> np.ndarray:
    """Bound coherent neutron scattering lengths b_c in fm (real part), (n,).

    Values of the natural elements from periodictable. Hydrogen heavier than 1.5 u is
    deuterium, whose scattering length has the other sign.

    Raises
    ------
    FcinvError
        For an element without a known scattering length.
    """
    return _neutron_data(
        symbols,
        masses,
        "b_c",
        "coherent neutron scattering length: set Crystal.scattering_lengths (fm)",
    )


def incoherent_cross_sections(symbols: Sequence[str], masses: np.ndarray) -> np.ndarray:
    """Bound incoherent neutron scattering cross sections σ_inc in barn, (n,).

    Values of the natural elements from periodictable (spin and isotopes); deuterium as in
    `coherent_scattering_lengths`.

    Raises
    ------
    FcinvError
        For an element without a known cross section.
    """
    return _neutron_data(
        symbols,
        masses,
        "incoherent",
        "incoherent neutron cross section: leave incoherent and multiphonon scattering out",
    )


def _neutron_data(
    symbols: Sequence[str], masses: np.ndarray, name: str, missing: str
) -> np.ndarray:
    """One of periodictable's neutron data of each element, or of deuterium, (n,).

    Where there is none, the error says what is missing and what to do.
    """
    values = []
    for symbol, mass in zip(symbols, masses, strict=True):
        element = _element(symbol)
        scatterer = (element[2] if symbol == "H" and mass > 1.5 else element).neutron
        value = getattr(scatterer, name)
        if value is None:
            raise FcinvError(f"{symbol} has no tabulated {missing}")
        values.append(float(value))
    return np.array(values)


def _element(symbol: str):  # type: ignore[no-untyped-def]  # periodictable has no types
    import periodictable

    try:
        return periodictable.elements.symbol(symbol)
    except ValueError as error:
        raise FcinvError(f"{symbol!r} is not a chemical element: correct the structure") from error
