"""``fcinv simulate``: what given force constants would look like on given bins."""

from __future__ import annotations

import argparse
from typing import Any, TextIO

from fcinv_core.commands.options import add_measurement_options, check_output_file, path_given
from fcinv_core.commands.terminal import progress_bar


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("simulate", help="S(Q, E) of force constants on a file's bins")
    parser.add_argument(
        "--force-constants", required=True, metavar="FILE", help="phonopy.yaml with force constants"
    )
    parser.add_argument(
        "--like", required=True, metavar="FILE", help="file from Mantid's SaveMD with the bins"
    )
    add_measurement_options(parser)
    parser.add_argument(
        "-o",
        dest="output",
        required=True,
        type=path_given,
        metavar="FILE",
        help="file for Mantid's LoadMD",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Simulate and write one histogram."""
    from fcinv_core.crystal import ForceConstants
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.scattering import simulate_histogram

    check_output_file(options.output)
    like = SQEHistogram.load(options.like)
    force_constants = ForceConstants.from_file(options.force_constants)
    with progress_bar(terminal) as progress:
        simulated = simulate_histogram(
            force_constants,
            like,
            temperature=options.temperature,
            energy_fwhm=options.energy_fwhm,
            progress=progress,
        )
    simulated.save(options.output)
    print(f"Simulated {force_constants.crystal.formula} on the bins of {options.like}")
    print(f"Written: {options.output}")
    return 0
