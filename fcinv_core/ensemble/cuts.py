"""Which bins a measurement is reduced to: slices, maps, slabs and volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcinv_core.ensemble.orientation import Scan
from fcinv_core.histogram.axes import Axis

KINDS = ("slice", "map", "slab", "volume")

SCANNED = {"slice": 1, "map": 2, "slab": 2, "volume": 3}
"""How many directions of Q are binned; the others are integrated."""

MOST_BINS = 600_000
"""Bins are wider where there would be more."""

HIGH_SYMMETRY = 0.8
"""Share of integrated directions that are centred on a multiple of one half."""

_FEWEST_POINTS = 10
_LARGEST_STEP = 0.25
"""Of the shortest period along an axis."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Axes of a histogram: three of momentum, then the energy."""

    axes: tuple[Axis, ...]


def random_cut(
    kind: str,
    scan: Scan,
    reached: np.ndarray,
    energy_edges: np.ndarray,
    q_step: float,
    thickness: float,
    random: np.random.Generator,
) -> Cut | None:
    """Bins where something is seen, or None where this draw finds nothing.

    Parameters
    ----------
    kind
        One of `KINDS`.
    scan
        Orientation and axes.
    reached
        (n, 4) points that are seen: coordinates along the axes, energy transfer in meV.
    energy_edges
        meV; a map takes one interval of them.
    q_step, thickness
        1/Å: bin width of scanned directions, extent of the others.
    """
    lengths = 2 * np.pi * np.linalg.norm(scan.ub @ scan.axes, axis=0)
    scanned = np.sort(random.permutation(3)[: SCANNED[kind]])
    if kind == "map":
        bin_width, extent = energy_edges[1] - energy_edges[0], energy_edges[-1] - energy_edges[0]
        width = min(4 * bin_width, extent / 4)
        low = random.uniform(energy_edges[0] + 2 * width, energy_edges[-1] - width)
        energy_edges = np.array([low, low + width])
        reached = reached[np.abs(reached[:, 3] - low) < 4 * width]
        if len(reached) < _FEWEST_POINTS:
            return None
    middle = reached[random.integers(len(reached))]
    edges: list[np.ndarray] = [np.empty(0)] * 3
    inside = np.ones(len(reached), bool)
    for axis in sorted(set(range(3)) - set(scanned.tolist())):
        half = _rounded(0.5 * min(thickness / lengths[axis], 0.5))
        centre = float(middle[axis])
        if random.random() < HIGH_SYMMETRY:
            centre = round(centre) if random.random() < 0.7 else round(2 * centre) / 2
        edges[axis] = np.array([centre - half, centre + half])
        # Points are few: those in a wider range tell how far the others reach.
        inside &= np.abs(reached[:, axis] - centre) < max(half, 0.15 / lengths[axis])
    if inside.sum() < _FEWEST_POINTS:
        return None
    steps = {axis: _rounded(min(q_step / lengths[axis], _LARGEST_STEP)) for axis in scanned}
    extents = {axis: np.percentile(reached[inside, axis], [0.5, 99.5]) for axis in scanned}
    n_bins = np.prod([np.ptp(extents[axis]) / steps[axis] + 1 for axis in scanned])
    coarser = max(1.0, (n_bins * (len(energy_edges) - 1) / MOST_BINS) ** (1 / len(scanned)))
    for axis in scanned:
        # A bin is centred on every integer.
        step = 1 / max(1, round(1 / (steps[axis] * coarser)))
        low, high = np.rint(extents[axis] / step)
        edges[axis] = step * (np.arange(low, high + 2) - 0.5)
    momentum = (Axis.along(scan.axes[:, i].tolist(), edges[i]) for i in range(3))
    return Cut((*momentum, Axis.energy_transfer(energy_edges)))


def _rounded(width: float) -> float:
    """Two significant digits, as people choose them."""
    return float(f"{width:.2g}")
