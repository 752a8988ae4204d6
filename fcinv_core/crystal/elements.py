"""Masses, scattering lengths and incoherent cross sections of the elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    lengths = []
    for symbol, mass in zip(symbols, masses, strict=True):
        length = _scatterer(symbol, mass).b_c
        if length is None:
            raise FcinvError(
                f"{symbol} has no tabulated coherent neutron scattering length: "
                f"set Crystal.scattering_lengths (fm)"
            )
        lengths.append(float(length))
    return np.array(lengths)


def incoherent_cross_sections(symbols: Sequence[str], masses: np.ndarray) -> np.ndarray:
    """Bound incoherent neutron scattering cross sections σ_inc in barn, (n,).

    Values of the natural elements from periodictable (spin and isotopes); deuterium as in
    `coherent_scattering_lengths`.

    Raises
    ------
    FcinvError
        For an element without a known cross section.
    """
    cross_sections = []
    for symbol, mass in zip(symbols, masses, strict=True):
        cross_section = _scatterer(symbol, mass).incoherent
        if cross_section is None:
            raise FcinvError(
                f"{symbol} has no tabulated incoherent neutron cross section: "
                f"leave incoherent and multiphonon scattering out"
            )
        cross_sections.append(float(cross_section))
    return np.array(cross_sections)


def _scatterer(symbol: str, mass: float) -> Any:
    """periodictable's neutron data of an element, or of deuterium."""
    element = _element(symbol)
    return (element[2] if symbol == "H" and mass > 1.5 else element).neutron


def _element(symbol: str):  # type: ignore[no-untyped-def]  # periodictable has no types
    import periodictable

    try:
        return periodictable.elements.symbol(symbol)
    except ValueError as error:
        raise FcinvError(f"{symbol!r} is not a chemical element: correct the structure") from error
