"""The softening of each branch, measured and recovered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.networks.score import energies_of
from benchmarks.networks.table import share
from benchmarks.pages import markdown_table
from benchmarks.softening.study import truth
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import norm

from fcinv_core.inversion.series import TemperatureSeries, Trend

LEVELS = (0.68, 0.95)

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
"""Told apart by colour-blind eyes, too (Okabe and Ito)."""


def true_energies(series: TemperatureSeries) -> dict[str, np.ndarray]:
    """Of the force constants behind the data, by the names of trends: (n_temperatures,) meV."""
    bands = series.results[0].dispersion
    found: dict[str, np.ndarray] = {}
    for index, label in bands.path_labels:
        each = [energies_of(truth(t), bands.q[[index]])[0] for t in series.temperatures]
        for branch, energies in enumerate(np.transpose(each)):
            found.setdefault(f"{label}, branch {branch + 1}", energies)
    return found


def told_apart(series: TemperatureSeries) -> list[tuple[Trend, np.ndarray]]:
    """Trends of energies with the truth; of branches that fall together the first."""
    true, kept = true_energies(series), []
    for trend in series.trends:
        if trend.kind != "energy" or not (trend.values > 1e-3).all():
            continue
        known = true[trend.name]
        if not any(np.allclose(known, other, rtol=1e-6) for _, other in kept):
            kept.append((trend, known))
    return kept


def page(found: Sequence[tuple[str, TemperatureSeries]], command: str) -> str:
    """A table for each design, in Markdown."""
    parts = [f"Written by `{command}`."]
    for design, series in found:
        trends = told_apart(series)
        kelvins = series.temperatures
        heading = ["mode", *(f"{kelvin:.0f} K" for kelvin in kelvins), "true change", "found"]
        rows = []
        for trend, known in trends:
            change = trend.values[-1] - trend.values[0]
            sigma = float(np.hypot(trend.sigma[0], trend.sigma[-1]))
            rows.append(
                [
                    trend.name,
                    *map(_offset, trend.values, trend.sigma, known),
                    f"{known[-1] - known[0]:.2f}",
                    f"{change:.2f} ± {sigma:.2f}",
                ]
            )
        pulls = np.array([(trend.values - known) / trend.sigma for trend, known in trends])
        inside = [
            f"{100 * level:.0f} % intervals hold "
            + share(float((np.abs(pulls) < norm.ppf(0.5 + level / 2)).sum()), pulls.size)
            + " %"
            for level in LEVELS
        ]
        trusts = ", ".join(result.verdict.trust for result in series.results)
        parts += [
            f"**{design}** (meV; {'; '.join(inside)} of the energies; verdicts {trusts})",
            markdown_table(heading, rows, 1),
        ]
    return "\n\n".join(parts)


def _offset(value: float, sigma: float, known: float) -> str:
    return f"{known:.2f}: {value - known:+.2f} ± {sigma:.2f}"


def picture(found: Sequence[tuple[str, TemperatureSeries]], path: Path) -> None:
    """Energies over those at the lowest temperature: points as found, lines as they are."""
    figure = Figure(figsize=(4.4 * len(found), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for panel, (design, series) in zip(panels, found, strict=True):
        chosen = [item for item in told_apart(series) if item[0].name[0] in "XL"]
        for (trend, known), colour in zip(chosen, COLOURS, strict=False):
            panel.plot(series.temperatures, known / known[0], color=colour, lw=1)
            panel.errorbar(
                series.temperatures,
                trend.values / known[0],
                trend.sigma / known[0],
                fmt="o",
                ms=4,
                color=colour,
                label=trend.name,
            )
        panel.set(title=design, xlabel="temperature (K)")
    panels[0].set_ylabel("energy over its value at the lowest temperature")
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=110)
