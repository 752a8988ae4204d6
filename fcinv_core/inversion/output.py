"""Write a result to a folder: all of it, or nothing."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole
from fcinv_core.inversion.result import FORCE_CONSTANT_UNIT, SCHEMA, Estimate
from fcinv_core.plain_json import plain_values, to_json
from fcinv_core.versions import software_versions

if TYPE_CHECKING:
    from fcinv_core.inversion.elasticity import ElasticConstants
    from fcinv_core.inversion.result import Dispersion, HistogramFit, InversionResult
    from fcinv_core.inversion.series import TemperatureSeries

REPORT = "report.html"
SOUND_DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1))
"""In the standard axes of `ElasticConstants`."""

_SIMULATED = re.compile(r"simulated(_\d+)?\.nxs")


def result_document(result: InversionResult) -> dict[str, Any]:
    """The content of ``result.json``: plain JSON values only, ``None`` for what is not finite.

    Energies are in meV, force constants in eV/Å², lengths in Å, times in s. ``nuisance``
    holds the first workspace's values, and under ``workspaces`` those of every one.
    """
    return plain_values(
        {
            "schema": SCHEMA,
            "verdict": {"trust": result.verdict.trust, "reasons": result.verdict.reasons},
            "parameters": _parameters(result),
            "covariance": result.covariance,
            "shells": [
                asdict(shell) | {"unit": FORCE_CONSTANT_UNIT, "part": _part(result)}
                for shell in result.shells
            ],
            "deviance_per_dof": result.deviance_per_dof,
            "nuisance": _nuisance(result.fits[0])
            | {"workspaces": [_workspace(fit) for fit in result.fits]},
            "dispersion": _dispersion(result.dispersion),
            "density_of_states": {
                "energy_mev": result.density_of_states.energy_mev,
                "per_mev": result.density_of_states.density,
                "sigma_per_mev": result.density_of_states.sigma,
                "smoothing_fwhm_mev": result.density_of_states.smoothing_fwhm_mev,
            },
            "elastic_constants": _elastic(result.elastic),
            "coverage": {
                "bins_used": sum(int(np.count_nonzero(fit.used)) for fit in result.fits),
                "q_points": sum(fit.q_points for fit in result.fits),
                "orientations": sum(fit.orientations for fit in result.fits),
            },
            "undetermined": result.undetermined,
            "timing_s": result.timing_s,
            "settings": result.settings,
            "inputs": result.inputs,
            "versions": software_versions(),
            "seed": result.seed,
        }
    )


def write_result(
    result: InversionResult, directory: str | os.PathLike[str], report: bool = True
) -> list[Path]:
    """Write force constants, ``result.json``, the simulated data and the report.

    Everything is written to a temporary folder on the same file system first and moved in
    when it is complete, so that a full disk leaves nothing half-written. Files of an earlier
    result in the same folder are replaced; those that this result has no counterpart for
    are removed.

    Parameters
    ----------
    result
        What `fcinv_core.invert` returned.
    directory
        Made where it does not exist, with its parents.
    report
        Whether to write ``report.html`` too.

    Returns
    -------
    list of Path
        The files, in the order in which a person would open them.

    Raises
    ------
    FcinvError
        When the folder cannot be made or written to.
    """
    target = Path(directory).absolute()
    check_output_directory(target)
    beside = target if target.is_dir() else target.parent
    made = [p for p in (target, *target.parents) if not p.exists()]
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fcinv-", dir=beside) as staging:
            names = _write_files(result, Path(staging), report)
            target.mkdir(exist_ok=True)
            for name in names:
                os.replace(Path(staging, name), target / name)
    except BaseException as error:
        _unmake(made)
        # Those who save a part have told of a full disk in terms of the temporary folder.
        reason = error.__cause__ if isinstance(error, FcinvError) else error
        if not isinstance(reason, OSError):
            raise
        raise FcinvError(
            f"could not write the result to {target}: {reason.strerror or reason}; "
            "free some space or choose another folder"
        ) from reason
    _remove_leftovers(target, set(names))
    return [target / name for name in names]


def write_files(
    result: InversionResult,
    *,
    force_constants: str | None = None,
    report: str | None = None,
    document: str | None = None,
) -> None:
    """Write those files that have a path, each of them whole or not at all.

    Parameters
    ----------
    force_constants, report, document
        phonopy.yaml, HTML page, and JSON of `result_document`.

    Raises
    ------
    FcinvError
        When one cannot be written.
    """
    if force_constants:
        result.force_constants.save(force_constants)
    if report:
        from fcinv_core.report.html import render_report

        write_whole(report, render_report(result).encode())
    if document:
        write_whole(document, to_json(result_document(result), indent=1).encode())


def write_series(
    series: TemperatureSeries, directory: str | os.PathLike[str], report: bool = True
) -> list[Path]:
    """Write each result into a folder of its own, then ``series.json`` and ``series.html``.

    Raises
    ------
    FcinvError
        As `write_result`.
    """
    target = Path(directory).absolute()
    folders = [f"{temperature:.4g}K" for temperature in series.temperatures]
    written = []
    for result, folder in zip(series.results, folders, strict=True):
        written += write_result(result, target / folder, report)
    if report:
        from fcinv_core.report.series import render_series

        write_whole(target / "series.html", render_series(series, folders).encode())
        written.insert(0, target / "series.html")
    write_whole(target / "series.json", to_json(series_document(series, folders)).encode())
    return [*written, target / "series.json"]


def series_document(series: TemperatureSeries, folders: Sequence[str]) -> dict[str, Any]:
    """The content of ``series.json``: plain JSON values only."""
    trends = []
    for trend in series.trends:
        slope, slope_sigma = trend.slope
        trends.append(
            {
                "kind": trend.kind,
                "name": trend.name,
                "unit": trend.unit,
                "values": trend.values,
                "sigma": trend.sigma,
                "slope_per_k": slope,
                "slope_sigma_per_k": slope_sigma,
            }
        )
    return plain_values(
        {
            "schema": SCHEMA,
            "temperatures_k": series.temperatures,
            "folders": folders,
            "trust": [result.verdict.trust for result in series.results],
            "trends": trends,
            "versions": software_versions(),
        }
    )


def check_output_directory(directory: Path) -> None:
    """Refuse, before any work is done, a folder that could not be written to.

    Raises
    ------
    FcinvError
        When ``directory`` is a file, or its nearest existing parent is not writable.
    """
    existing = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise FcinvError(f"{existing} is a file, not a folder; choose another output folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FcinvError(f"{existing} is not writable; choose another output folder")


def _write_files(result: InversionResult, staging: Path, report: bool) -> list[str]:
    names = []
    if report:
        from fcinv_core.report.html import render_report

        (staging / REPORT).write_text(render_report(result), encoding="utf-8")
        names.append(REPORT)
    result.force_constants.save(staging / "force_constants.yaml")
    names.append("force_constants.yaml")
    (staging / "result.json").write_bytes(to_json(result_document(result), indent=1).encode())
    names.append("result.json")
    for number, histogram in enumerate(result.simulated, 1):
        name = "simulated.nxs" if number == 1 else f"simulated_{number}.nxs"
        histogram.save(staging / name)
        names.append(name)
    for name in names:
        _flush(staging / name)
    return names


def _flush(path: Path) -> None:
    """Have the file on disk: network file systems tell of a full disk only then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unmake(directories: list[Path]) -> None:
    """Take back the folders that were made, innermost (the result's own) first."""
    for number, directory in enumerate(directories):
        if number == 0:
            shutil.rmtree(directory, ignore_errors=True)
        elif directory.exists():
            directory.rmdir()


def _remove_leftovers(target: Path, names: set[str]) -> None:
    """Remove files of an earlier result that would contradict this one."""
    for path in target.iterdir():
        ours = path.name == REPORT or _SIMULATED.fullmatch(path.name)
        if ours and path.name not in names and path.is_file():
            path.unlink()


def _parameters(result: InversionResult) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            **_estimate(estimate),
            "element": element,
            "part": _part(result),
        }
        for (name, estimate), element in zip(
            result.parameter_estimates.items(), result.basis.elements, strict=True
        )
    ]


def _part(result: InversionResult) -> str:
    """What of the force constants parameters and shells describe."""
    return "short-ranged" if result.is_short_ranged else "total"


def _nuisance(fit: HistogramFit) -> dict[str, Any]:
    return {key: _estimate(estimate) for key, estimate in fit.nuisance.items()}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "sigma": estimate.sigma, "unit": estimate.unit}


def _workspace(fit: HistogramFit) -> dict[str, Any]:
    return {
        "file": fit.source,
        **_nuisance(fit),
        "deviance_per_dof": fit.deviance_per_dof,
        "pearson_per_dof": fit.pearson_per_dof,
    }


def _dispersion(dispersion: Dispersion) -> dict[str, Any]:
    return {
        "path_labels": dispersion.path_labels,
        "q": dispersion.q,
        "energy_mev": dispersion.energy_mev,
        "sigma_mev": dispersion.sigma_mev,
    }


def _elastic(elastic: ElasticConstants) -> dict[str, Any]:
    bulk_modulus, bulk_sigma = elastic.bulk_modulus
    sounds = []
    for direction in SOUND_DIRECTIONS:
        velocities, sigma = elastic.sound_velocities(np.array(direction))
        sounds.append({"direction": direction, "km_per_s": velocities, "sigma_km_per_s": sigma})
    return {
        "stiffness_gpa": elastic.stiffness,
        "sigma_gpa": elastic.sigma,
        "independent": elastic.independent,
        "bulk_modulus": {"value": bulk_modulus, "sigma": bulk_sigma, "unit": "GPa"},
        "sound_velocities": sounds,
        "density_g_per_cm3": elastic.density,
    }
