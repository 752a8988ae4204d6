"""``fcinv invert``: force constants from measured histograms."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.commands.options import (
    add_force_constant_options,
    add_measurement_options,
    check_supercell_size,
)
from fcinv_core.commands.terminal import progress_bar
from fcinv_core.errors import FcinvError
from fcinv_core.report.wording import HEADLINES, rounded, sentence, with_sigma

if TYPE_CHECKING:
    import numpy as np

    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.inversion import InversionResult
    from fcinv_core.inversion.born_charges import BornCharges
    from fcinv_core.inversion.series import TemperatureSeries
    from fcinv_core.networks.model import Model

NOT_TO_BE_TRUSTED = 3
SHELLS_SHOWN = 4

NO_MODEL = "none"
"""What ``--model`` takes for a start from the force field."""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("invert", help="force constants of a measurement")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="files from Mantid's SaveMD"
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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random numbers")
    parser.add_argument(
        "-o", dest="output", required=True, type=Path, metavar="DIR", help="folder for the result"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Invert, write the result and say what came out."""
    from fcinv_core.inversion.output import check_output_directory, write_result, write_series

    check_output_directory(options.output)
    _check_model(options)
    if options.each_temperature and options.temperature is not None:
        raise FcinvError(
            "--each-temperature takes temperatures from the files' logs: leave --temperature out"
        )

    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion import invert, invert_series

    histograms = [SQEHistogram.load(path) for path in options.files]
    crystal = Crystal.from_file(options.structure)
    if options.supercell is not None:
        check_supercell_size(options.supercell, crystal)
        crystal = crystal.with_supercell(options.supercell)
    start = ForceConstants.from_file(options.start, crystal) if options.start else None
    if start is not None and options.supercell is not None:
        _check_supercell(start.crystal, crystal)
    born_charges = _born_charges(options, crystal, start)
    model, remark = _model(options, crystal, polar=born_charges is not None)
    settings: dict[str, Any] = {
        "model": model,
        "start": start,
        "born_charges": born_charges,
        "energy_fwhm": options.energy_fwhm,
        "cutoff": options.cutoff,
        "refine": not options.no_refine,
        "seed": options.seed,
        "sources": options.files,
    }
    with progress_bar(terminal) as progress:
        if options.each_temperature:
            series = invert_series(histograms, crystal, **settings, progress=progress)
            results, text = series.results, series_summary(series)
            written = write_series(series, options.output)
        else:
            temperature = options.temperature
            result = invert(
                histograms, crystal, **settings, temperature=temperature, progress=progress
            )
            if progress is not None:
                progress("Writing", 1.0)
            results, text = (result,), summary(result)
            written = write_result(result, options.output)
    print(text)
    print(remark, end="")
    print("\nWritten:", *(f"  {path}" for path in written), sep="\n")
    return NOT_TO_BE_TRUSTED if any(r.verdict.trust == "no" for r in results) else 0


def _check_model(options: argparse.Namespace) -> None:
    """Refuse a model that is not there before anything large is read."""
    if options.model in (None, NO_MODEL):
        return
    if options.start is not None:
        raise FcinvError("--start and --model exclude each other: leave one of them out")
    from fcinv_core.networks.library import model_file

    model_file(options.model)


def _model(options: argparse.Namespace, crystal: Crystal, polar: bool) -> tuple[Model | None, str]:
    """The model to start from, and what to say about it at the end."""
    if options.start is not None or options.model == NO_MODEL:
        return None, ""
    from fcinv_core.networks.library import find_model, load_model

    if options.model is not None:
        return load_model(options.model, crystal, polar=polar), ""
    choice = find_model(crystal, polar=polar)
    lines = list(choice.remarks)
    if choice.model is None:
        lines.append(
            f"no trained model fits {crystal.formula}; for a surer start train one: fcinv train "
            f"--structure {options.structure} -o DIR"
        )
    else:
        lines.append(f"started from the trained model {choice.model.name}")
    return choice.model, "".join(f"{sentence(line)}\n" for line in lines)


def _born_charges(
    options: argparse.Namespace, crystal: Crystal, start: ForceConstants | None
) -> BornCharges | None:
    """Those of --born, else of --start, else of a --structure that is a phonopy.yaml."""
    from fcinv_core.inversion.born_charges import BornCharges

    if options.born is not None:
        return BornCharges.from_born_file(options.born, start.crystal if start else crystal)
    if start is not None and start.born_charges is not None:
        return BornCharges.from_force_constants(start, options.start)
    return BornCharges.from_structure_file(options.structure, crystal)


def _check_supercell(of_start: Crystal, asked_for: Crystal) -> None:
    """Refuse a supercell that the starting force constants do not have."""
    import numpy as np

    from fcinv_core.crystal.force_constants import SAME_LATTICE

    own, other = (
        np.sort(np.linalg.norm(crystal.supercell_matrix @ crystal.lattice, axis=1))
        for crystal in (of_start, asked_for)
    )
    if not np.allclose(own, other, rtol=SAME_LATTICE):
        raise FcinvError(
            f"--supercell is {_lengths(other)} and that of --start {_lengths(own)}: leave it out, "
            "or start from other force constants"
        )


def _lengths(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values) + " Å"


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
