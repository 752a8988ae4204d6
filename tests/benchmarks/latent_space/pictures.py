"""Figures of the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.latent_space.cloud import Cloud
from benchmarks.latent_space.landing import BLIND, Landing
from benchmarks.latent_space.lines import POINTS, Straight
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
"""Told apart by colour-blind eyes, too (Okabe and Ito)."""


def picture(
    material: str, cloud: Cloud, straight: Straight, landings: Sequence[Landing], path: Path
) -> None:
    """Cloud by stiffness with real crystals in it, a line through it, and what data leave open."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    map_axes, line_axes, width_axes = figure.subplots(1, 3)
    latent = cloud.mean.numpy()
    middle = latent.mean(axis=0)
    axes = np.linalg.svd(latent - middle, full_matrices=False)[2][:2]
    x, y = (latent - middle) @ axes.T[:, 0], (latent - middle) @ axes.T[:, 1]
    drawn = map_axes.scatter(x, y, 8, cloud.physics["stiffness (log)"], cmap="viridis")
    figure.colorbar(drawn, ax=map_axes, label="logarithm of the stiffness")
    for kind, marker in (("others", "*"), (BLIND, "P")):
        some = [each for each in landings if (each.kind == BLIND) == (kind == BLIND)]
        points = np.array([(each.mean - middle) @ axes.T for each in some])
        map_axes.scatter(
            *points.T, 70, ORANGE, marker=marker, edgecolors="white", linewidths=0.6,
            label="one orientation" if kind == BLIND else "many orientations",
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
        xlabel="along a line between two held-out crystals",
        ylabel="decoded phonon energies (meV)",
        title=f"largest jump {straight.jumps.max():.1%} of the top",
        ylim=(0, None),
    )

    spread = cloud.mean.numpy().std(axis=0)
    order = np.argsort(-spread)
    for kind, colour in (("others", GREEN), (BLIND, ORANGE)):
        some = [each for each in landings if (each.kind == BLIND) == (kind == BLIND)]
        widths = np.median([each.deviation for each in some], axis=0) / spread
        width_axes.plot(
            np.arange(1, len(order) + 1), widths[order], "o-", ms=4, color=colour,
            label="one orientation" if kind == BLIND else "many orientations",
        )  # fmt: skip
    width_axes.set(
        xlabel="latent coordinate, by spread over the cloud",
        ylabel="stated width over that spread",
        title="what measurements leave open",
        ylim=(0, None),
    )
    width_axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
