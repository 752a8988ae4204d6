"""Figures of the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.latent_space.cloud import SEEN, Cloud
from benchmarks.latent_space.landing import BLIND, Landing
from benchmarks.latent_space.lines import POINTS, Straight
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, RED = "#0072b2", "#e69f00", "#d55e00"
"""Told apart by colour-blind eyes, too (Okabe and Ito)."""

LABELS = {SEEN: "many orientations", BLIND: "one orientation"}


def picture(
    material: str, cloud: Cloud, straight: Straight, landings: Sequence[Landing], path: Path
) -> None:
    """Cloud by stiffness with real crystals in it, a line through it, and what data leave open."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    map_axes, line_axes, width_axes = figure.subplots(1, 3)
    points, axes = cloud.components
    drawn = map_axes.scatter(*points[:, :2].T, 8, cloud.physics["stiffness (log)"], cmap="viridis")
    figure.colorbar(drawn, ax=map_axes, label="logarithm of the stiffness")
    for kind, marker, colour in ((SEEN, "o", RED), (BLIND, "P", ORANGE)):
        some = [each.mean - cloud.mean.mean(axis=0) for each in landings if each.kind == kind]
        map_axes.scatter(
            *(np.array(some) @ axes[:2].T).T, 50, colour, marker=marker, edgecolors="white",
            linewidths=0.6, label=LABELS[kind],
        )  # fmt: skip
    map_axes.set(
        xlabel="first principal component",
        ylabel="second principal component",
        title=f"{material}: force constants from elsewhere",
    )
    map_axes.legend(loc="best", fontsize="small")

    along = np.linspace(0, 1, POINTS)
    line_axes.plot(along, straight.energies[:, ::7].reshape(POINTS, -1), color=BLUE, lw=0.5)
    line_axes.set(
        xlabel="from the softest to the stiffest held-out crystal",
        ylabel="decoded phonon energies (meV)",
        title="decoded along a straight line",
        ylim=(0, None),
    )

    order = np.argsort(np.median(cloud.deviation, axis=0) / cloud.spread)
    for kind, colour in ((SEEN, RED), (BLIND, ORANGE)):
        some = [each.deviation for each in landings if each.kind == kind]
        widths = np.median(some, axis=0) / cloud.spread
        width_axes.plot(
            np.arange(1, len(order) + 1), widths[order], "o-", ms=4, color=colour,
            label=LABELS[kind],
        )  # fmt: skip
    width_axes.set(
        xlabel="latent coordinate, the best seen first",
        ylabel="stated width over the spread of crystals",
        title="what measurements leave open",
        ylim=(0, None),
    )
    width_axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
