"""``fcinv inspect``: what a file holds, before anything is fitted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TextIO

from fcinv_core.commands.options import check_output_file


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("inspect", help="what a file from Mantid's SaveMD holds")
    parser.add_argument("file", metavar="FILE", help="file from Mantid's SaveMD")
    parser.add_argument("-o", dest="picture", metavar="PICTURE.png", type=Path, help="draw it, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Describe a histogram on standard output, and draw it where asked."""
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.report import inspection

    if options.picture is not None:
        check_output_file(options.picture)
    histogram = SQEHistogram.load(options.file)
    if options.picture is not None:
        inspection.picture(histogram, options.picture)
    print(inspection.describe(histogram))
    print()
    print(inspection.draw_text(histogram))
    if options.picture is not None:
        print(f"\nPicture: {options.picture}")
    return 0
