"""Masses and scattering lengths of the elements."""

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
    lengths = []
    for symbol, mass in zip(symbols, masses, strict=True):
        element = _element(symbol)
        species = element[2] if symbol == "H" and mass > 1.5 else element
        if species.neutron.b_c is None:
            raise FcinvError(
                f"{symbol} has no tabulated coherent neutron scattering length: "
                f"set Crystal.scattering_lengths (fm)"
            )
        lengths.append(float(species.neutron.b_c))
    return np.array(lengths)


def _element(symbol: str):  # type: ignore[no-untyped-def]  # periodictable has no types
    import periodictable

    try:
        return periodictable.elements.symbol(symbol)
    except ValueError as error:
        raise FcinvError(f"{symbol!r} is not a chemical element: correct the structure") from error
