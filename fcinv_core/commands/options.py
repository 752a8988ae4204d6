"""Options that commands share, kinds of values, and checks that come before any long work."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from fcinv_core.errors import FcinvError


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a positive number (digits alone, without a unit)"
        )
    return value


def not_negative(text: str) -> float:
    """A finite number, zero or above."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def path_given(text: str) -> Path:
    """Of a file or folder; an empty one comes from a variable of the shell that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def count(text: str) -> int:
    """A whole number above zero."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def not_negative_count(text: str) -> int:
    """A whole number, zero or above."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, zero or above")
    return int(text)


def add_measurement_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be told about a measurement: ``--temperature``, ``--energy-fwhm``."""
    parser.add_argument(
        "--temperature", type=not_negative, metavar="K", help="default: from the file"
    )
    parser.add_argument(
        "--energy-fwhm",
        type=positive,
        metavar="MEV",
        help="energy resolution (FWHM); default: 3 %% of the incident energy",
    )


def add_force_constant_options(parser: argparse.ArgumentParser, start: str | None = None) -> None:
    """Declare what force constants are those of: ``--supercell``, ``--cutoff``, ``--born``.

    ``start`` is the option for force constants that may bring them along, if there is one.
    """
    supercell_of = "a phonopy.yaml" if start is None else f"{start} or of a phonopy.yaml"
    held_by = "--structure holds" if start is None else f"{start} or --structure hold"
    parser.add_argument(
        "--supercell",
        nargs=3,
        type=count,
        metavar="N",
        help=f"default: that of {supercell_of}, else at least 10 Å long",
    )
    parser.add_argument(
        "--cutoff",
        type=positive,
        metavar="ANGSTROM",
        help="range of the force constants; default: all of the supercell",
    )
    parser.add_argument(
        "--born",
        metavar="FILE",
        help=f"phonopy's BORN file of a polar crystal; default: what {held_by}",
    )


def add_output_folder(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare ``-o DIR``, which has to be given."""
    parser.add_argument(
        "-o", dest="output", required=True, type=path_given, metavar="DIR", help=what
    )


def add_json_option(parser: argparse._ActionsContainer) -> None:
    """Declare ``--json``: a parser, or a group of options that exclude each other."""
    parser.add_argument(
        "--json", action="store_true", help="tell it as one JSON document, for a program"
    )


def check_output_file(path: Path) -> None:
    """Refuse a file whose folder does not exist, or that is a folder.

    Raises
    ------
    FcinvError
    """
    if path.is_dir():
        raise FcinvError(f"{path} is a folder; name a file with -o")
    if not path.absolute().parent.is_dir():
        raise FcinvError(f"there is no folder {path.absolute().parent}; make it first")
