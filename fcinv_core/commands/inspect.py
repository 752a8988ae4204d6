"""``fcinv inspect``: what a file holds, before anything is fitted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.commands.options import add_json_option, check_output_file, path_given
from fcinv_core.commands.terminal import print_json
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("inspect", help="what a file from Mantid's SaveMD holds")
    parser.add_argument("file", metavar="FILE", help="file from Mantid's SaveMD")
    parser.add_argument(
        "-o", dest="picture", metavar="PICTURE.png", type=path_given, help="draw it, too"
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Describe a histogram on standard output, and draw it where asked."""
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.report import inspection

    if options.picture is not None:
        check_output_file(options.picture)
        if options.picture.suffix.lower() != ".png":
            raise FcinvError(f"{options.picture}: the picture is a PNG; call it NAME.png")
    histogram = SQEHistogram.load(options.file)
    if options.picture is not None:
        inspection.picture(histogram, options.picture)
    if options.json:
        written = [] if options.picture is None else [options.picture]
        print_json(description(histogram) | {"written": written})
        return 0
    print(inspection.describe(histogram))
    print()
    print(inspection.draw_text(histogram))
    if options.picture is not None:
        print(f"\nPicture: {options.picture}")
    return 0


def description(histogram: SQEHistogram) -> dict[str, Any]:
    """What the text says, for a program: meV, K, Å and degrees; None for what is not known."""
    import numpy as np

    from fcinv_core.report import inspection

    covered, counts = histogram.covered, histogram.effective_counts()
    instruments = [info.instrument for info in histogram.experiments if info.instrument]
    return {
        "file": histogram.source,
        "axes": [
            {
                "name": axis.name,
                "unit": "meV" if axis.is_energy else axis.unit,
                "frame": axis.frame,
                "first_edge": axis.edges[0],
                "last_edge": axis.edges[-1],
                "bins": axis.n_bins,
            }
            for axis in histogram.axes
        ],
        "projection": _projection(histogram),
        "lattice": histogram.lattice,
        "ub": histogram.ub,
        "orientations": histogram.orientations,
        "incident_energy_mev": histogram.incident_energy,
        "temperature_k": histogram.temperature,
        "instrument": instruments[0] if instruments else None,
        "run_numbers": histogram.run_numbers,
        "bins": {
            "total": histogram.signal.size,
            "measured": covered.sum(),
            "without_counts": (counts == 0).sum(),
            "infinite": np.isinf(histogram.signal).sum(),
            "masked": histogram.mask.sum(),
        },
        "estimated_counts": np.nansum(counts) if np.isfinite(counts).any() else None,
        "warnings": inspection.warnings(histogram),
    }


def _projection(histogram: SQEHistogram) -> Any:
    """(3, 3) columns in hkl, None where axes are no directions in it."""
    try:
        return histogram.projection.matrix
    except FcinvError:
        return None
