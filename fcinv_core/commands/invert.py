"""``fcinv invert``: force constants from measured histograms."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.commands import findings
from fcinv_core.commands.options import (
    add_force_constant_options,
    add_json_option,
    add_measurement_options,
    add_output_folder,
    not_negative_count,
    path_given,
)
from fcinv_core.commands.terminal import print_json, progress_bar
from fcinv_core.errors import FcinvError
from fcinv_core.report.wording import HEADLINES, rounded, sentence, with_sigma

if TYPE_CHECKING:
    from fcinv_core.inversion import InversionResult
    from fcinv_core.inversion.series import TemperatureSeries

NOT_TO_BE_TRUSTED = 3
SHELLS_SHOWN = 4


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("invert", help="force constants of a measurement")
    parser.add_argument(
        "files", nargs="+", type=path_given, metavar="FILE", help="files from Mantid's SaveMD"
    )
    parser.add_argument(
        "--structure", required=True, metavar="FILE", help="POSCAR, CIF or phonopy.yaml"
    )
    parser.add_argument(
        "--model",
        metavar="NAME|PATH|none",
        help="trained network to start from ('fcinv models' lists them); default: the one that "
        "fits the crystal; none: the force field CHGNet",
    )
    parser.add_argument(
        "--start",
        metavar="FILE",
        help="phonopy.yaml or FORCE_CONSTANTS to refine from, instead of a network",
    )
    add_measurement_options(parser)
    add_force_constant_options(parser, "--start")
    parser.add_argument(
        "--no-refine", action="store_true", help="compare the start with the data, fit nothing else"
    )
    parser.add_argument(
        "--each-temperature",
        action="store_true",
        help="force constants for each temperature of the files' logs, and how they change",
    )
    parser.add_argument(
        "--seed", type=not_negative_count, default=0, metavar="N", help="of random numbers"
    )
    add_output_folder(parser, "folder for the result")
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--verbose", action="store_true", help="tell what each step found")
    add_json_option(words)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Invert, write the result and say what came out."""
    from fcinv_core.inversion.output import check_output_directory, write_result, write_series

    check_output_directory(options.output)
    if options.each_temperature and options.temperature is not None:
        raise FcinvError(
            "--each-temperature takes temperatures from the files' logs: leave --temperature out"
        )

    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion import invert, invert_series
    from fcinv_core.inversion.inputs import InversionInputs

    inputs = InversionInputs.from_files(
        options.structure,
        supercell=options.supercell,
        model=options.model,
        start=options.start,
        born=options.born,
    )
    histograms = [SQEHistogram.load(path) for path in options.files]
    settings: dict[str, Any] = {
        "model": inputs.model,
        "start": inputs.start,
        "born_charges": inputs.born_charges,
        "energy_fwhm": options.energy_fwhm,
        "cutoff": options.cutoff,
        "refine": not options.no_refine,
        "seed": options.seed,
        "sources": options.files,
    }
    with progress_bar(terminal) as progress:
        if options.each_temperature:
            series = invert_series(histograms, inputs.crystal, **settings, progress=progress)
            results, text = series.results, series_summary(series)
            written = write_series(series, options.output)
            outcome = findings.series_outcome(series, inputs.remarks, written)
        else:
            temperature = options.temperature
            result = invert(
                histograms, inputs.crystal, **settings, temperature=temperature, progress=progress
            )
            if progress is not None:
                progress("Writing", 1.0)
            results, text = (result,), summary(result)
            written = write_result(result, options.output)
            outcome = findings.result_outcome(result, inputs.remarks, written)
    if options.json:
        print_json(outcome)
    else:
        print(text)
        print("".join(f"{sentence(remark)}\n" for remark in inputs.remarks), end="")
        if options.verbose:
            print(*(f"\n{findings.findings(result)}" for result in results), sep="\n")
        print("\nWritten:", *(f"  {path}" for path in written), sep="\n")
    return NOT_TO_BE_TRUSTED if any(r.verdict.trust == "no" for r in results) else 0


def summary(result: InversionResult) -> str:
    """Verdict, quality of the fit and the nearest shells, in a few lines."""
    verdict = result.verdict
    lines = [f"{HEADLINES[verdict.trust]} (verdict: {verdict.trust})."]
    lines += [f"  - {sentence(reason)}" for reason in verdict.reasons]
    lines.append(f"Deviance per degree of freedom: {rounded(result.deviance_per_dof)}")
    title = "Short-ranged part (eV/Å²):" if result.is_short_ranged else "Force constants (eV/Å²):  "
    lines.append(f"{title} longitudinal        transverse")
    for shell in sorted(result.shells, key=lambda s: s.distance)[:SHELLS_SHOWN]:
        where = f"{'-'.join(shell.pair)}, {shell.distance:.3f} Å"
        longitudinal = with_sigma(shell.longitudinal, shell.longitudinal_sigma)
        transverse = with_sigma(shell.transverse, shell.transverse_sigma)
        lines.append(f"  {where:<22} {longitudinal:>17}  {transverse:>17}")
    if len(result.shells) > SHELLS_SHOWN:
        lines.append(f"  and {len(result.shells) - SHELLS_SHOWN} more shells")
    return "\n".join(lines)


def series_summary(series: TemperatureSeries) -> str:
    """Verdict of each temperature, and how elastic constants change."""
    lines = [
        f"{temperature:.4g} K: {HEADLINES[result.verdict.trust].lower()} (verdict: "
        f"{result.verdict.trust}), deviance {rounded(result.deviance_per_dof)}."
        for temperature, result in zip(series.temperatures, series.results, strict=True)
    ]
    lines.append("Change per 100 K:")
    for trend in series.trends:
        if trend.kind == "elastic constant":
            slope, sigma = trend.slope
            change = with_sigma(100 * slope, 100 * sigma)
            lines.append(f"  {trend.name:<14} {change:>17} {trend.unit}")
    return "\n".join(lines)
