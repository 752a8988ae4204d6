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
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def not_negative(text: str) -> float:
    """A finite number, zero or above."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def count(text: str) -> int:
    """A whole number above zero."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
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
