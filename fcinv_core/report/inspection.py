"""A look at a file before anything is fitted: what it holds, in words and as a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole
from fcinv_core.report.planes import axis_label

if TYPE_CHECKING:
    from fcinv_core.histogram import Axis, ExperimentInfo, SQEHistogram

SHADES = ".:-=+*#%@"
"""From weak to strong; blank means not measured."""
SCALE_EXPONENT = 0.5
"""Shades go with the square root of the signal, as phonons far from and near to a zone
centre differ by orders of magnitude."""
_CLIP_PERCENTILE = 98.0
"""Brightest shade: bins at the edge of coverage carry wild values that would hide the rest."""


def describe(histogram: SQEHistogram) -> str:
    """What a person checks before an inversion, as lines of text."""
    sections = [
        [histogram.source],
        _axis_table(histogram.axes),
        _facts(histogram),
        _coverage(histogram),
        [f"Warning: {warning}" for warning in warnings(histogram)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def warnings(histogram: SQEHistogram) -> list[str]:
    """What about the histogram may spoil an inversion, one sentence each."""
    found = []
    for check in (lambda: histogram.energy_axis, lambda: histogram.projection):
        try:
            check()
        except FcinvError as error:
            found.append(str(error))
    covered = histogram.covered
    infinite = int(np.isinf(histogram.signal).sum())
    if not covered.any():
        found.append("nothing is measured: every bin is NaN, infinite or masked")
    if infinite:
        found.append(
            f"{infinite} bins are infinite (counts where the normalisation is zero: at the edges "
            "of coverage, or by an error of MDNorm in early 2019); they count as not measured"
        )
    if (histogram.signal[covered] < 0).any():
        found.append("some signals are negative: a background has been subtracted")
    if (covered & (histogram.signal > 0) & (histogram.variance == 0)).any():
        found.append("some bins have a signal and no error: counts are unknown there")
    if histogram.ub is None:
        found.append("no lattice (UB matrix): run SetUB before the reduction")
    if histogram.temperature is None:
        found.append("no sample temperature in the logs: give one in K")
    temperatures = [x.temperature for x in histogram.experiments if x.temperature is not None]
    if temperatures and max(temperatures) - min(temperatures) > 0.02 * max(temperatures):
        found.append(
            f"the runs differ in temperature: {min(temperatures):.4g} to {max(temperatures):.4g} K"
        )
    if any(_other_lattice(info, histogram.experiments[0]) for info in histogram.experiments):
        found.append("the runs differ in their UB matrix; the first one is used")
    if histogram.q_convention != "Inelastic":
        found.append(
            f"Q is in the {histogram.q_convention} convention (kf - ki); values are kept as "
            "they are written and nothing is flipped"
        )
    return found


def draw_text(histogram: SQEHistogram, width: int = 78, height: int = 24) -> str:
    """Map of the signal over the two longest axes in characters.

    Parameters
    ----------
    width, height
        Largest size in characters, labels included.
    """
    chart = _Map.of(histogram)
    low, high = chart.limits
    labels = [f"{edge:.4g}" for edge in (chart.vertical.edges[-1], chart.vertical.edges[0])]
    margin = max(len(label) for label in labels) + 2
    columns = _cells(chart.horizontal.n_bins, max(width - margin - 1, 1))
    rows = _cells(chart.vertical.n_bins, max(height - 5, 1))
    values = chart.values
    lines = []
    for top, row in enumerate(reversed(rows)):
        label = labels[0] if top == 0 else labels[1] if top == len(rows) - 1 else ""
        cells = (_shade(values[np.ix_(column, row)], low, high) for column in columns)
        lines.append(f"{label:>{margin - 1}}|{''.join(cells)}|")
    left, right = (f"{chart.horizontal.edges[i]:.4g}" for i in (0, -1))
    rule = " " * (margin - 1) + "+" + "-" * len(columns) + "+"
    ends = " " * margin + left + right.rjust(max(len(columns) - len(left), len(right) + 1))
    title = f"{axis_label(chart.vertical)} against {axis_label(chart.horizontal)}{chart.averaged}"
    scale = f"{SHADES[0]} {low:.3g} to {SHADES[-1]} {high:.3g} and more (square-root scale)"
    legend = f"blank: not measured; {scale}"
    return "\n".join([title, *lines, rule, ends, legend])


def picture(histogram: SQEHistogram, path: str | Path) -> None:
    """Draw the map of `draw_text` into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    chart = _Map.of(histogram)
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = chart.limits
    axes.set_facecolor("0.85")
    mesh = axes.pcolormesh(
        chart.horizontal.edges,
        chart.vertical.edges,
        np.ma.masked_invalid(chart.values.T),
        norm=PowerNorm(SCALE_EXPONENT, vmin=low, vmax=high),
        rasterized=True,
    )
    axes.set_xlabel(axis_label(chart.horizontal))
    axes.set_ylabel(axis_label(chart.vertical))
    title = f"{Path(histogram.source).name}{chart.averaged}\n(grey: not measured)"
    axes.set_title(title, fontsize="medium")
    figure.colorbar(mesh, ax=axes, label="signal (square-root scale)", extend="max")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    write_whole(path, image.getvalue())


@dataclass(frozen=True)
class _Map:
    """The signal over two axes, averaged over the others.

    ``values`` is (horizontal, vertical), NaN where nothing is measured; ``averaged`` says
    over what, empty if over nothing.
    """

    horizontal: Axis
    vertical: Axis
    values: np.ndarray
    averaged: str

    @classmethod
    def of(cls, histogram: SQEHistogram) -> _Map:
        """Over the two longest axes; energy, or else the shorter one, is vertical."""
        axes = histogram.axes
        if len(axes) < 2:
            raise FcinvError(f"{histogram.source} has one axis only; a map needs two")
        longest = sorted(range(len(axes)), key=lambda i: -axes[i].n_bins)[:2]
        horizontal, vertical = sorted(longest, key=lambda i: (axes[i].is_energy, -axes[i].n_bins))
        others = tuple(i for i in range(len(axes)) if i not in longest)
        weights = _weights(histogram, others)
        # A weight of zero must also silence the NaN and inf of what was not measured.
        weighted = np.where(weights > 0, histogram.signal, 0.0) * weights
        total = weights.sum(axis=others)
        with np.errstate(invalid="ignore"):
            values = weighted.sum(axis=others) / total
        names = [axes[i].name for i in others if axes[i].n_bins > 1]
        return cls(
            horizontal=axes[horizontal],
            vertical=axes[vertical],
            values=values if horizontal < vertical else values.T,
            averaged=f", averaged over {' and '.join(names)}" if names else "",
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Signal at which the scale starts and ends."""
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            return 0.0, 1.0
        low, high = min(float(known.min()), 0.0), float(np.percentile(known, _CLIP_PERCENTILE))
        return low, high if high > low else low + 1.0


def _weights(histogram: SQEHistogram, averaged: tuple[int, ...]) -> np.ndarray:
    """Exposure where there is something to average over, so that the average is all counts
    over all exposure; otherwise 1 where covered."""
    covered = histogram.covered
    ratio = np.isfinite(histogram.effective_counts()[covered]).all()
    energies = sum(axis.is_energy for axis in histogram.axes)
    several = any(histogram.axes[i].n_bins > 1 for i in averaged)
    if not (covered.any() and ratio and energies == 1 and several):
        return covered.astype(float)
    exposure = histogram.exposure()
    if not np.isfinite(exposure).any():
        return covered.astype(float)
    # Without counts or neighbours to tell, a bin has as little say as any.
    return np.where(covered, np.nan_to_num(exposure, nan=np.nanmin(exposure)), 0.0)


def _cells(n_bins: int, n_cells: int) -> list[np.ndarray]:
    """Which bins each character stands for: several if there are more bins than cells,
    and one bin for several characters if there are fewer."""
    if n_bins >= n_cells:
        return np.array_split(np.arange(n_bins), n_cells)
    return [np.array([i]) for i in np.repeat(np.arange(n_bins), n_cells // n_bins)]


def _shade(values: np.ndarray, low: float, high: float) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return " "
    fraction = float(np.clip((known.mean() - low) / (high - low), 0, 1))
    return SHADES[min(int(fraction**SCALE_EXPONENT * len(SHADES)), len(SHADES) - 1)]


def _axis_table(axes: tuple[Axis, ...]) -> list[str]:
    header = ("axis", "unit", "frame", "from", "to", "step", "bins")
    rows = [
        (
            axis.name,
            "meV" if axis.is_energy else axis.unit,
            axis.frame,
            f"{axis.edges[0]:.5g}",
            f"{axis.edges[-1]:.5g}",
            "integrated" if axis.n_bins == 1 else f"{axis.width:.5g}",
            str(axis.n_bins),
        )
        for axis in axes
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def _facts(histogram: SQEHistogram) -> list[str]:
    facts = [("Projection", _projection(histogram)), ("Lattice", _lattice(histogram))]
    if histogram.ub is not None:
        to_hkl = np.linalg.inv(histogram.ub)
        u, v = (_direction(to_hkl[:, i]) for i in (2, 0))
        facts.append(("Orientation", f"u = {u} along the beam, v = {v} in the plane"))
    facts += [
        ("Goniometer", _goniometer(histogram)),
        ("Incident energy", _quantity(histogram.incident_energy, "meV")),
        ("Temperature", _quantity(histogram.temperature, "K")),
        ("Instrument", histogram.experiments[0].instrument if histogram.experiments else ""),
        ("Runs", _runs(histogram)),
        ("Q convention", f"{histogram.q_convention}, as written in the file"),
    ]
    return [f"{name + ':':<17}{text or 'unknown'}" for name, text in facts]


def _projection(histogram: SQEHistogram) -> str:
    try:
        projection = histogram.projection
    except FcinvError:
        return "none (see below)"
    columns = ", ".join(_direction(column, scale=False) for column in projection.matrix.T)
    return f"{columns} in hkl, from {projection.origin}"


def _lattice(histogram: SQEHistogram) -> str:
    if histogram.lattice is None:
        return "unknown"
    a, b, c, alpha, beta, gamma = histogram.lattice
    return (
        f"a = {a:.5g}, b = {b:.5g}, c = {c:.5g} Å; "
        f"alpha = {alpha:.5g}, beta = {beta:.5g}, gamma = {gamma:.5g} degrees"
    )


def _goniometer(histogram: SQEHistogram) -> str:
    text = f"{histogram.orientations} setting{'s' if histogram.orientations != 1 else ''}"
    angles: dict[str, list[float]] = {}
    for info in histogram.experiments:
        for axis in info.goniometer:
            angles.setdefault(axis.name, []).append(axis.angle)
    ranges = [
        f"{name} {min(x):.5g}" + (f" to {max(x):.5g}" if max(x) > min(x) else "") + " degrees"
        for name, x in angles.items()
    ]
    return ", ".join([text, *ranges])


def _runs(histogram: SQEHistogram) -> str:
    numbers = histogram.run_numbers
    text = f"{len(histogram.experiments)}"
    if not numbers:
        return text
    if len(numbers) > 4:
        return f"{text} ({numbers[0]}, {numbers[1]}, ... {numbers[-1]})"
    return f"{text} ({', '.join(numbers)})"


def _coverage(histogram: SQEHistogram) -> list[str]:
    signal, covered = histogram.signal, histogram.covered
    total = signal.size
    counts = histogram.effective_counts()
    lines = [
        f"{total} bins, of which",
        _share("measured", covered.sum(), total),
        _share("of these without any count", (counts == 0).sum(), total),
        _share("not measured (NaN)", np.isnan(signal).sum(), total),
        _share("infinite", np.isinf(signal).sum(), total),
    ]
    if histogram.mask.any():
        lines.append(_share("masked", histogram.mask.sum(), total))
    if covered.any():
        known = signal[covered]
        middle, high = np.percentile(known, (50, 98))
        lines.append(
            f"Signal {known.min():.4g} to {known.max():.4g}, median {middle:.4g}, 98 % of the bins "
            f"below {high:.4g}"
        )
    if np.isfinite(counts).any():
        lines.append(f"Estimated counts: {np.nansum(counts):.0f} (signal²/error², summed)")
    return lines


def _share(name: str, count: int, total: int) -> str:
    return f"  {name:<28}{count:>10}  {100 * count / total:5.1f} %"


def _direction(vector: np.ndarray, scale: bool = True) -> str:
    """Components to three digits, the largest made 1 if ``scale``."""
    scaled = vector / np.abs(vector).max() if scale else vector
    return "(" + ", ".join(f"{x + 0.0:.3g}" for x in scaled.round(4)) + ")"


def _quantity(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.5g} {unit}"


def _other_lattice(info: ExperimentInfo, first: ExperimentInfo) -> bool:
    if info.ub is None or first.ub is None:
        return (info.ub is None) != (first.ub is None)
    return not np.allclose(info.ub, first.ub, atol=1e-4)
