"""Pictures of a result, drawn without pyplot: no display, no global state.

Colours: viridis, a red-blue diverging map and Okabe & Ito's palette, all of which can be
told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from fcinv_core.report.planes import Plane, PlaneView, axis_label

if TYPE_CHECKING:
    from matplotlib.collections import QuadMesh

    from fcinv_core.crystal import ShellConstant
    from fcinv_core.inversion.density_of_states import DensityOfStates
    from fcinv_core.inversion.result import Dispersion

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", GREY)
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
"""Shapes go with the colours for those who see none."""

INTENSITY, RESIDUAL = "viridis", "RdBu_r"
"""Colour maps."""

NOT_MEASURED = "#d9dce0"
"""No colour of either map."""

PAIRS_APART = 0.06
"""Å between the symbols of different pairs at one distance."""

RESIDUAL_LIMIT = 5.0
"""Residuals beyond this many standard deviations share the end colours."""


def histogram_figure(view: PlaneView, *, narrow: bool = False) -> Figure:
    """Measured, simulated and residual of one fit; below each other if ``narrow``.

    Measured and simulated share one colour scale (square root, so that weak branches
    show); grey is not measured, or not used in the fit. Data with one long axis are
    drawn as curves.
    """
    plane = view.plane
    if len(plane.axes) == 1:
        return _curves(view, narrow)
    figure = Figure(figsize=(4.8, 11.4) if narrow else (13.2, 4.4), layout="constrained")
    grid = figure.subplots(3, 1, sharex=True) if narrow else figure.subplots(1, 3, sharey=True)
    norm = PowerNorm(0.5, *_intensity_limits(view))
    signal_panels = list(grid[:2])
    for panel, title, values in zip(
        signal_panels, ("Measured", "Simulated"), (view.measured, view.simulated), strict=True
    ):
        mesh = _image(panel, plane, values, norm, INTENSITY)
        panel.set_title(title)
    figure.colorbar(mesh, ax=signal_panels, label="Intensity (as measured)", extend="both")
    residual = _image(
        grid[2], plane, view.residual, Normalize(-RESIDUAL_LIMIT, RESIDUAL_LIMIT), RESIDUAL
    )
    grid[2].set_title("(Measured − simulated) / σ")
    figure.colorbar(residual, ax=grid[2], label="Residual (σ)", extend="both")
    for panel in grid[-1:] if narrow else grid:
        panel.set_xlabel(axis_label(plane.axes[0]))
    for panel in grid if narrow else grid[:1]:
        panel.set_ylabel(axis_label(plane.axes[1]))
    figure.supxlabel(plane.description, fontsize="small", color=GREY)
    return figure


def dispersion_figure(
    dispersion: Dispersion,
    start: Dispersion | None = None,
    density: DensityOfStates | None = None,
    *,
    narrow: bool = False,
) -> Figure:
    """Phonon energies along the path with their 68 % band, and its half width below them.

    The start is dashed. Imaginary modes appear below zero, in a shaded region that says so. The
    density of states stands beside, or last if ``narrow``.
    """
    figure = Figure(figsize=(4.8, 8.2) if narrow else (8.8, 6.0), layout="constrained")
    if density is None:
        panel, errors = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    elif narrow:
        panel, errors, beside = figure.subplots(3, 1, height_ratios=[3, 1, 1.5])
        _density(beside, density)
    else:
        grid = figure.add_gridspec(2, 2, width_ratios=[4, 1], height_ratios=[3, 1])
        panel, errors = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        beside = figure.add_subplot(grid[0, 1], sharey=panel)
        _density(beside, density, upwards=True)
        beside.tick_params(labelleft=False)
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
        errors.plot(distance, np.where(sigma > 0, sigma, np.nan), color=BLUE, lw=0.9)
    panel.plot([], [], color=BLUE, label="Fitted, with 68 % band")
    if start is not None:
        panel.plot([], [], "--", color=GREY, label="Start")

    positions, labels = _ticks(dispersion)
    for each in (panel, errors):
        each.set_xticks(positions, labels)
        each.vlines(positions, 0, 1, color=GREY, lw=0.6, transform=each.get_xaxis_transform())
        each.set_xlim(dispersion.distance[0], dispersion.distance[-1])
    panel.tick_params(labelbottom=False)
    energies = [dispersion.energy_mev] + ([] if start is None else [start.energy_mev])
    lowest = min(float(np.nanmin(e)) for e in energies)
    highest = max(float(np.nanmax(e)) for e in energies)
    panel.set_ylim(1.08 * lowest if lowest < -0.05 else 0.0, 1.04 * highest)
    if lowest < -0.05:
        panel.axhspan(1.08 * lowest, 0, color=VERMILION, alpha=0.12, lw=0, label="Imaginary")
    panel.set_ylabel("Phonon energy (meV)")
    errors.set_ylabel("Error σ (meV)")
    errors.set_ylim(bottom=0)
    figure.legend(loc="outside upper right", ncols=3, fontsize="small", frameon=False)
    return figure


def density_of_states_figure(density: DensityOfStates, *, narrow: bool = False) -> Figure:
    """Density of phonon states of a primitive cell with its 68 % band."""
    figure = Figure(figsize=_curve_size(narrow), layout="constrained")
    _density(figure.add_subplot(), density)
    return figure


def shells_figure(
    shells: Sequence[ShellConstant], start: Sequence[ShellConstant], *, narrow: bool = False
) -> Figure:
    """Springs along and across the bonds against distance, with one standard deviation.

    Open grey symbols are those of ``start``. The scale is linear next to zero and logarithmic
    beyond, as springs fall by orders of magnitude from shell to shell.
    """
    figure = Figure(figsize=(4.8, 6.4) if narrow else (8.8, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True) if narrow else figure.subplots(1, 2, sharey=True)
    pairs = list(dict.fromkeys(shell.pair for shell in shells))
    # Different pairs are often as far apart: a little sideways, or they would hide each other.
    apart = PAIRS_APART * (np.arange(len(pairs)) - 0.5 * (len(pairs) - 1))
    values = np.array([(x.longitudinal, x.transverse) for x in (*shells, *start)])
    linear = _linear_range(values)
    for panel, kind in zip(panels, ("longitudinal", "transverse"), strict=True):
        panel.set_yscale("symlog", linthresh=linear, linscale=0.5)
        panel.axhline(0, color=GREY, lw=0.8)
        for number, pair in enumerate(pairs):
            colour, marker = COLOURS[number % 8], MARKERS[number % 8]
            for some, style in (
                (start, {"color": GREY, "mfc": "none", "ms": 8}),
                (shells, {"color": colour, "ms": 4, "capsize": 3, "label": "–".join(pair)}),
            ):
                of_pair = [shell for shell in some if shell.pair == pair]
                panel.errorbar(
                    [shell.distance + apart[number] for shell in of_pair],
                    [getattr(shell, kind) for shell in of_pair],
                    [getattr(shell, f"{kind}_sigma") for shell in of_pair],
                    fmt=marker,
                    **style,
                )
        panel.set_title(f"{kind.capitalize()}, {'along' if kind[0] == 'l' else 'across'} the bond")
    panels[0].plot([], [], marker="o", mfc="none", ms=8, ls="", color=GREY, label="Start")
    for panel in panels if narrow else panels[:1]:
        panel.set_ylabel("Force constant (eV/Å²)")
    for panel in panels[-1:] if narrow else panels:
        panel.set_xlabel("Distance (Å)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=4, fontsize="small", frameon=False
    )
    return figure


def _linear_range(values: np.ndarray) -> float:
    """A power of ten below the middle one of the sizes that are not zero."""
    sizes = np.abs(values[values != 0])
    return 10.0 ** np.floor(np.log10(np.median(sizes))) if sizes.size else 1.0


def _density(panel: Axes, density: DensityOfStates, upwards: bool = False) -> None:
    """With its 68 % band; energy to the right or ``upwards``."""
    energy, states = density.energy_mev, density.density
    low, high = np.maximum(states - density.sigma, 0), states + density.sigma
    if upwards:
        panel.fill_betweenx(energy, low, high, color=BLUE, alpha=0.3, lw=0)
        panel.plot(states, energy, color=BLUE, lw=1.3)
        panel.set_xlim(0, 1.1 * float(high.max()))
        panel.set_title("States (1/meV)", fontsize="medium")
    else:
        panel.fill_between(energy, low, high, color=BLUE, alpha=0.3, lw=0)
        panel.plot(energy, states, color=BLUE, lw=1.3)
        panel.set_xlim(energy[0], energy[-1])
        panel.set_ylim(0, 1.1 * float(high.max()))
        panel.set_xlabel("Phonon energy (meV)")
        panel.set_ylabel("States (1/meV)")


def _intensity_limits(view: PlaneView) -> tuple[float, float]:
    """Ends of the colour scale of the bins that were fitted, so that the elastic line does not
    set it."""
    shown = np.concatenate([view.measured[view.used], view.simulated[view.used]])
    shown = shown[np.isfinite(shown)]
    if shown.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(shown, [0.5, 99.5])
    low = min(float(low), 0.0)
    return low, float(high) if high > low else low + 1.0


def _image(
    panel: Axes, plane: Plane, values: np.ndarray, norm: Normalize, colours: str
) -> QuadMesh:
    horizontal, vertical = plane.axes
    panel.set_facecolor(NOT_MEASURED)
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
