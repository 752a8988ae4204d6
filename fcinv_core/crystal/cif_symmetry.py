"""Symmetry of a CIF: its operations, or those of the space group that it names.

ASE reads a group that is only named by its number, in the first setting of the tables. Atoms that
belong to another origin or other axes then come out as another crystal: Cu2O as CuO2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError

OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
"""Names of the list of symmetry operations in a CIF."""

_NUMBER = ("_space_group_it_number", "_space_group.it_number", "_symmetry_int_tables_number")
_SYMBOL = (
    "_space_group_name_h-m_alt",
    "_space_group.name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_symmetry.space_group_name_h-m",
)
_HALL = (
    "_space_group_name_hall",
    "_space_group.name_hall",
    "_symmetry_space_group_name_hall",
    "_symmetry.space_group_name_hall",
)
_CHOICE = (
    "_space_group_it_coordinate_system_code",
    "_space_group.it_coordinate_system_code",
    "_symmetry_space_group_setting",
)
_SYSTEM = ("_space_group_crystal_system", "_space_group.crystal_system", "_symmetry_cell_setting")

_SUFFIX = re.compile(r"^(.+?)(?:\s*:\s*(\w+)|\s+([SZHR]))$")
"""Origin or axes behind a symbol: "P n -3 m :2", or "P n -3 m Z" as ICSD has it."""

_CHOICES = {"S": "1", "Z": "2"}
"""ICSD's names of origins."""

_FIRST_CUBIC = 195
"""Number of the first cubic space group; old symbols of cubic ones write 3 for -3."""

_OLD_SYMBOLS = {"abm2": "aem2", "aba2": "aea2", "cmca": "cmce", "cmma": "cmme", "ccca": "ccce"}
"""Those from before 1995, with a for the double glide plane."""

_N_SETTINGS = 530
"""Settings of space groups in spglib's tables, numbered from 1."""


def with_operations(tags: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The items of a CIF's block, with symmetry operations in place of the space group's name.

    Parameters
    ----------
    tags
        Items by their names in small letters.
    path
        Of the file, for messages.

    Raises
    ------
    FcinvError
        When the file lists no operations and its space group, or the setting, stays open.
    """
    operations = _first(tags, OPERATIONS)
    if operations is None:
        setting = _setting(tags, path)
        operations = ["x,y,z"] if setting is None else _operations(setting)
    told = (*OPERATIONS, *_NUMBER, *_SYMBOL, *_HALL, *_CHOICE, *_SYSTEM)
    others = {name: value for name, value in tags.items() if name not in told}
    return {**others, _NUMBER[0]: 1, OPERATIONS[0]: operations}


def _setting(tags: Mapping[str, Any], path: Path) -> int | None:
    """Number in spglib's tables; None where the file says nothing of symmetry."""
    hall, number, symbol = (_first(tags, names) for names in (_HALL, _NUMBER, _SYMBOL))
    for setting, kind in _settings().items():
        if hall is not None and _plain(hall) == _plain(kind.hall_symbol):
            return setting
    choice = _first(tags, _CHOICE)
    candidates = list(_settings())
    if number is not None:
        candidates = [each for each in candidates if _settings()[each].number == int(number)]
    if symbol is not None:
        symbol, suffix = _split(str(symbol))
        choice = choice or suffix
        plain = _OLD_SYMBOLS.get(_plain(symbol), _plain(symbol))
        candidates = [each for each in candidates if plain in _symbols(each)]
    elif number is None:
        return None
    if choice is not None:
        wanted = _CHOICES.get(str(choice), str(choice)).lower()
        candidates = [
            each for each in candidates if _settings()[each].choice.lower() == wanted
        ] or candidates
    if not candidates:
        name = " ".join(str(each) for each in (symbol, number) if each is not None)
        raise FcinvError(
            f"{path} lists no symmetry operations, and its space group {name} is not known: list "
            "the operations (_space_group_symop_operation_xyz)"
        )
    choices = {_settings()[each].choice: each for each in reversed(candidates)}
    if {"H", "R"} <= choices.keys():
        return choices["H" if abs(float(tags["_cell_angle_gamma"]) - 120) < 1 else "R"]
    if {"1", "2"} <= choices.keys():
        kind = _settings()[choices["1"]]
        raise FcinvError(
            f"{path} does not say which of the two origins of {kind.international_short} (number "
            f"{kind.number}) its atoms refer to: add the line "
            "'_space_group_IT_coordinate_system_code 2' (or 1), or list the symmetry operations"
        )
    return candidates[0]


def _first(tags: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    found = (tags[name] for name in names if name in tags)
    return next((value for value in found if value not in ("?", ".", "", [])), None)


def _split(symbol: str) -> tuple[str, str | None]:
    match = _SUFFIX.match(symbol.strip())
    return (symbol, None) if match is None else (match[1], match[2] or match[3])


def _plain(symbol: Any) -> str:
    return re.sub(r"[\s_]", "", str(symbol)).lower()


@cache
def _settings() -> dict[int, Any]:
    import spglib

    return {number: spglib.get_spacegroup_type(number) for number in range(1, _N_SETTINGS + 1)}


@cache
def _symbols(setting: int) -> frozenset[str]:
    """All ways to write the symbol of a setting."""
    kind = _settings()[setting]
    # "P 2_1/c = P 1 2_1/n 1": the first is that of the standard setting.
    standard, *others = kind.international.split("=")
    symbols = {*others, kind.international_full}
    is_first = setting == 1 or _settings()[setting - 1].number != kind.number
    if is_first or not others:
        symbols.add(standard)
    plain = {_plain(symbol) for symbol in symbols}
    if kind.number >= _FIRST_CUBIC:
        plain |= {symbol.replace("-3", "3") for symbol in plain}
    return frozenset(plain)


def _operations(setting: int) -> list[str]:
    import spglib

    found: Any = spglib.get_symmetry_from_database(setting)
    return [
        ",".join(_rows(rotation, translation))
        for rotation, translation in zip(found["rotations"], found["translations"], strict=True)
    ]


def _rows(rotation: np.ndarray, translation: np.ndarray) -> Iterator[str]:
    """Such as "-x+1/2", for each coordinate."""
    for row, shift in zip(rotation, translation, strict=True):
        signed = zip(row, "xyz", strict=True)
        terms = [("+" if factor > 0 else "-") + name for factor, name in signed if factor]
        fraction = Fraction(float(shift)).limit_denominator(24)
        yield "".join(terms) + (f"+{fraction}" if fraction else "")
