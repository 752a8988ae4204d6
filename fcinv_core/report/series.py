"""The page and the picture of a temperature series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from fcinv_core import __version__
from fcinv_core.report.figures import COLOURS, MARKERS
from fcinv_core.report.html import environment
from fcinv_core.report.pictures import drawings
from fcinv_core.report.wording import HEADLINES

if TYPE_CHECKING:
    from fcinv_core.inversion.series import TemperatureSeries, Trend

LINES_SHOWN = 8
"""Most phonon energies in the picture: those that are known best."""


def series_figure(series: TemperatureSeries, *, narrow: bool = False) -> Figure:
    """Changes of phonon energies, and elastic constants, against temperature."""
    figure = Figure(figsize=(4.8, 8.0) if narrow else (11.0, 4.6), layout="constrained")
    left, right = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    for panel in (left, right):
        panel.set_prop_cycle(color=COLOURS, marker=MARKERS)
    energies = [trend for trend in series.trends if trend.kind == "energy"]
    for trend in sorted(_distinct(energies), key=_error)[:LINES_SHOWN]:
        change = trend.values - trend.values[0]
        left.errorbar(trend.temperatures, change, trend.sigma, ms=4, label=trend.name)
    for trend in series.trends:
        if trend.kind == "elastic constant":
            right.errorbar(trend.temperatures, trend.values, trend.sigma, ms=4, label=trend.name)
    left.axhline(0, color="#767676", lw=0.8)
    left.set_ylabel("Change of the phonon energy (meV)")
    right.set_ylabel("Elastic constant (GPa)")
    for panel in (left, right):
        panel.set_xlabel("Temperature (K)")
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)
    return figure


def render_series(series: TemperatureSeries, folders: Sequence[str]) -> str:
    """One self-contained HTML page.

    Parameters
    ----------
    folders
        Of the results, relative to the page.
    """
    rows = [
        {
            "temperature": float(temperature),
            "trust": result.verdict.trust,
            "deviance": result.deviance_per_dof,
            "report": f"{folder}/report.html",
        }
        for temperature, result, folder in zip(
            series.temperatures, series.results, folders, strict=True
        )
    ]
    return (
        environment()
        .get_template("series.html.jinja")
        .render(
            formula=series.results[0].force_constants.crystal.formula,
            rows=rows,
            headlines=HEADLINES,
            picture=drawings(series_figure, series),
            trends=series.trends,
            zip=zip,
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _distinct(trends: Sequence[Trend]) -> list[Trend]:
    """One of those that are degenerate at all temperatures."""
    kept: list[Trend] = []
    for trend in trends:
        if not any(np.allclose(trend.values, other.values, atol=1e-4) for other in kept):
            kept.append(trend)
    return kept


def _error(trend: Trend) -> float:
    return float((trend.sigma / np.maximum(np.abs(trend.values), 1e-3)).max())
