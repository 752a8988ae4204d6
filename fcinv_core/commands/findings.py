"""What ``fcinv invert`` tells beside its summary: each step in words, or all as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcinv_core.report.wording import rounded, with_sigma

if TYPE_CHECKING:
    from fcinv_core.inversion import InversionResult
    from fcinv_core.inversion.result import HistogramFit
    from fcinv_core.inversion.series import TemperatureSeries


def findings(result: InversionResult) -> str:
    """What each step of an inversion took and found, one line each."""
    lines = ["What each step found:"]
    for number, fit in enumerate(result.fits, 1):
        name = f"Workspace {number}" if len(result.fits) > 1 else "Workspace"
        lines += [f"  {name}: {line}" for line in _of_fit(fit)]
    lines += [f"  {line}" for line in _of_start(result)]
    lines.append(f"  Force constants: {len(result.parameters)} independent, {_open(result)}")
    seconds = ", ".join(f"{step.lower()} {spent:.1f}" for step, spent in result.timing_s.items())
    lines.append(f"  Seconds: {seconds}")
    return "\n".join(lines)


def result_outcome(
    result: InversionResult, remarks: Sequence[str], written: Sequence[Path]
) -> dict[str, Any]:
    """What a program needs to go on, without opening a file."""
    return _judgement(result) | {"remarks": remarks, "written": written}


def series_outcome(
    series: TemperatureSeries, remarks: Sequence[str], written: Sequence[Path]
) -> dict[str, Any]:
    """The same of a temperature series."""
    results = [
        {"temperature_k": temperature} | _judgement(result)
        for temperature, result in zip(series.temperatures, series.results, strict=True)
    ]
    return {"series": results, "remarks": remarks, "written": written}


def _judgement(result: InversionResult) -> dict[str, Any]:
    """Under the names that ``result.json`` has for it."""
    return {
        "verdict": {"trust": result.verdict.trust, "reasons": result.verdict.reasons},
        "deviance_per_dof": result.deviance_per_dof,
    }


def _of_fit(fit: HistogramFit) -> list[str]:
    settings = "setting" if fit.orientations == 1 else "settings"
    nuisances = ", ".join(
        f"{name.replace('_', ' ')} {with_sigma(estimate.value, estimate.sigma)}"
        for name, estimate in fit.nuisance.items()
    )
    return [
        f"{fit.source}, {fit.temperature:.4g} K, energy resolution {fit.energy_fwhm:.3g} meV",
        f"{int(fit.used.sum())} bins used, at {fit.q_points} Q, {fit.orientations} "
        f"goniometer {settings}",
        f"deviance {rounded(fit.deviance_per_dof)} per degree of freedom, Pearson's χ² "
        f"{rounded(fit.pearson_per_dof)}",
        nuisances,
    ]


def _of_start(result: InversionResult) -> list[str]:
    settings: Mapping[str, Any] = result.settings
    start = str(settings["start"])
    if (model := settings["model"]) is not None:
        start += f" {model['name']}"
    lines = [f"Start: {start}"]
    if (guess := settings["first_guess"]) is not None:
        lines.append(f"Best of the first guesses: {guess}")
    if (apart := settings["network_and_refinement"]) is not None:
        lines.append(
            f"The refinement moved {apart['rms_mev']:.2g} meV rms from the network's estimate, "
            f"{apart['sigmas']:.1f} times the stated errors"
        )
    return lines


def _open(result: InversionResult) -> str:
    if not result.undetermined:
        return "all determined by the data"
    return "not all determined by the data (see the verdict)"
