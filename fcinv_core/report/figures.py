"""Pictures of a result, drawn without pyplot: no display, no global state.

Colours: viridis, a red-blue diverging map and Okabe & Ito's palette, all of which can be
told apart with any colour vision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from fcinv_core.report.planes import Plane, PlaneView, axis_label

if TYPE_CHECKING:
    from matplotlib.collections import QuadMesh

    from fcinv_core.inversion.density_of_states import DensityOfStates
    from fcinv_core.inversion.result import Dispersion

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
RESIDUAL_LIMIT = 5.0
"""Residuals beyond this many standard deviations share the end colours."""


def histogram_figure(view: PlaneView, *, narrow: bool = False) -> Figure:
    """Measured, simulated and residual of one fit; below each other if ``narrow``.

    Measured and simulated share one colour scale (square root, so that weak branches
    show); blank is not measured, or not used in the fit. Data with one long axis are
    drawn as curves.
    """
    plane = view.plane
    if len(plane.axes) == 1:
        return _curves(view, narrow)
    figure = Figure(figsize=(4.8, 11.4) if narrow else (13.2, 4.4), layout="constrained")
    grid = figure.subplots(3, 1, sharex=True) if narrow else figure.subplots(1, 3, sharey=True)
    norm = _intensity_norm(view)
    signal_panels = list(grid[:2])
    for panel, title, values in zip(
        signal_panels, ("Measured", "Simulated"), (view.measured, view.simulated), strict=True
    ):
        mesh = _image(panel, plane, values, norm, "viridis")
        panel.set_title(title)
    figure.colorbar(mesh, ax=signal_panels, label="Intensity (as measured)", extend="both")
    residual = _image(
        grid[2],
        plane,
        view.residual,
        Normalize(-RESIDUAL_LIMIT, RESIDUAL_LIMIT),
        "RdBu_r",
    )
    grid[2].set_title("(Measured − simulated) / σ")
    figure.colorbar(residual, ax=grid[2], label="Residual (σ)", extend="both")
    for panel in grid[-1:] if narrow else grid:
        panel.set_xlabel(axis_label(plane.axes[0]))
    for panel in grid if narrow else grid[:1]:
        panel.set_ylabel(axis_label(plane.axes[1]))
    return figure


def dispersion_figure(
    dispersion: Dispersion,
    start: Dispersion | None = None,
    density: DensityOfStates | None = None,
    *,
    narrow: bool = False,
) -> Figure:
    """Phonon energies along the path with their 68 % band; the start dashed.

    Imaginary modes appear below zero, in a shaded region that says so. The density of states
    stands beside.
    """
    figure = Figure(figsize=_curve_size(narrow), layout="constrained")
    if density is None:
        panel = figure.add_subplot()
    else:
        panel, beside = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
        _density(beside, density)
    if start is not None:
        for part in _unbroken(start.distance):
            panel.plot(start.distance[part], start.energy_mev[part], "--", color=GREY, lw=1)
    for part in _unbroken(dispersion.distance):
        distance, energy = dispersion.distance[part], dispersion.energy_mev[part]
        sigma = np.nan_to_num(dispersion.sigma_mev[part])
        for branch in range(energy.shape[1]):
            low, high = energy[:, branch] - sigma[:, branch], energy[:, branch] + sigma[:, branch]
            panel.fill_between(distance, low, high, color=BLUE, alpha=0.3, lw=0)
        panel.plot(distance, energy, color=BLUE, lw=1.3)
    panel.plot([], [], color=BLUE, label="Fitted, with 68 % band")
    if start is not None:
        panel.plot([], [], "--", color=GREY, label="Start")

    positions, labels = _ticks(dispersion)
    panel.set_xticks(positions, labels)
    panel.vlines(positions, 0, 1, color=GREY, lw=0.6, transform=panel.get_xaxis_transform())
    energies = [dispersion.energy_mev] + ([] if start is None else [start.energy_mev])
    lowest = min(float(np.nanmin(e)) for e in energies)
    highest = max(float(np.nanmax(e)) for e in energies)
    panel.set_ylim(1.08 * lowest if lowest < -0.05 else 0.0, 1.04 * highest)
    if lowest < -0.05:
        panel.axhspan(1.08 * lowest, 0, color=VERMILION, alpha=0.12, lw=0, label="Imaginary")
    panel.set_xlim(dispersion.distance[0], dispersion.distance[-1])
    panel.set_ylabel("Phonon energy (meV)")
    figure.legend(loc="outside upper right", ncols=3, fontsize="small", frameon=False)
    return figure


def _density(panel: Axes, density: DensityOfStates) -> None:
    """With its 68 % band, energy upwards."""
    low, high = density.density - density.sigma, density.density + density.sigma
    panel.fill_betweenx(density.energy_mev, np.maximum(low, 0), high, color=BLUE, alpha=0.3, lw=0)
    panel.plot(density.density, density.energy_mev, color=BLUE, lw=1.3)
    panel.set_xlim(0, 1.1 * float(density.density.max()))
    panel.set_xlabel("States/meV")


def _intensity_norm(view: PlaneView) -> PowerNorm:
    """Square-root scale over the bins that were fitted, so that the elastic line does not
    set it."""
    shown = np.concatenate([view.measured[view.used], view.simulated[view.used]])
    shown = shown[np.isfinite(shown)]
    if shown.size == 0:
        shown = np.array([0.0, 1.0])
    low, high = np.percentile(shown, [0.5, 99.5])
    low = min(low, 0.0)
    return PowerNorm(0.5, vmin=low, vmax=high if high > low else low + 1.0)


def _image(
    panel: Axes, plane: Plane, values: np.ndarray, norm: Normalize, colours: str
) -> QuadMesh:
    horizontal, vertical = plane.axes
    panel.set_facecolor("white")
    return panel.pcolormesh(
        horizontal.edges, vertical.edges, np.ma.masked_invalid(values.T), norm=norm, cmap=colours
    )


def _curves(view: PlaneView, narrow: bool) -> Figure:
    figure = Figure(figsize=_curve_size(narrow), layout="constrained")
    spectrum, residual = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    axis = view.plane.axes[0]
    spectrum.errorbar(
        axis.centres, view.measured, view.sigma, fmt=".", color=GREY, label="Measured"
    )
    spectrum.plot(axis.centres, view.simulated, color=BLUE, label="Simulated")
    spectrum.set_ylabel("Intensity (as measured)")
    spectrum.legend(fontsize="small")
    residual.axhline(0, color=GREY, lw=0.8)
    residual.plot(axis.centres, view.residual, ".", color=VERMILION)
    residual.set_ylabel("Residual (σ)")
    residual.set_xlabel(axis_label(axis))
    return figure


def _curve_size(narrow: bool) -> tuple[float, float]:
    """Width and height in inches; text keeps its size, so a narrow page needs a narrow figure."""
    return (4.8, 4.2) if narrow else (8.8, 4.8)


def _unbroken(distance: np.ndarray) -> list[slice]:
    """Stretches of the path between its jumps, where the distance does not grow."""
    breaks = np.flatnonzero(np.diff(distance) <= 0) + 1
    bounds = [0, *breaks.tolist(), len(distance)]
    return [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def _ticks(dispersion: Dispersion) -> tuple[list[float], list[str]]:
    """Positions and names of the labelled points; the two ends of a jump share one."""
    names: dict[float, str] = {}
    for index, label in dispersion.path_labels:
        position = round(float(dispersion.distance[index]), 9)
        name = label.replace("GAMMA", "Γ").replace("SIGMA", "Σ").replace("_0", "₀")
        known = names.get(position)
        names[position] = name if known in (None, name) else f"{known}|{name}"
    return list(names), list(names.values())
