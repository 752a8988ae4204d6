"""Curves that pixels see in (Q, energy transfer), and the planes between bins that they cross.

A curve is linear in the final wave number along the momentum axes, and quadratic along the
energy transfer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.histogram.axes import Axis
from fcinv_core.units import NEUTRON_ENERGY_PER_K2

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram

SHORTEST_SEGMENT = 1e-10
"""meV; MDNorm leaves out shorter ones."""

_CROSSINGS = 2**17
"""Crossings of bin planes that are sorted at a time; about what the processor's cache holds."""

_ROUNDING = 1e-12
"""Bins: a curve in a bin plane counts in the upper bin, whichever side rounding puts it on.
Mantid has coordinates in float32, where it lies in the plane."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The bins: three momentum axes and the energy, with their strides in the flat histogram.

    ``wave_numbers`` (n_energy + 1,) are those of the neutron at the edges of the energy bins,
    ascending.
    """

    momentum: tuple[Axis, ...]
    energy: Axis
    strides: tuple[int, ...]
    incident_energy: float
    wave_numbers: np.ndarray

    @classmethod
    def from_histogram(cls, histogram: SQEHistogram, incident_energy: float) -> Grid:
        places = (*histogram.momentum_axes, histogram.energy_axis)
        strides = [int(np.prod(histogram.shape[place + 1 :])) for place in places]
        energy = histogram.axes[histogram.energy_axis]
        final_energies = np.maximum(incident_energy - energy.edges[::-1], 0.0)
        return cls(
            tuple(histogram.axes[i] for i in histogram.momentum_axes),
            energy,
            tuple(strides),
            incident_energy,
            np.sqrt(final_energies / NEUTRON_ENERGY_PER_K2),
        )

    @property
    def incident(self) -> float:
        """Incident wave number, 1/Å."""
        return float(np.sqrt(self.incident_energy / NEUTRON_ENERGY_PER_K2))


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Curves x = origin - slope k along the momentum axes, from ``start`` to ``end`` in k.

    origins, slopes (3, n); weights, start, end (n,), wave numbers in 1/Å.
    """

    origins: np.ndarray
    slopes: np.ndarray
    weights: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, which: np.ndarray) -> Trajectories:
        return Trajectories(
            self.origins[:, which],
            self.slopes[:, which],
            self.weights[which],
            self.start[which],
            self.end[which],
        )

    def between(self, start: np.ndarray | float, end: np.ndarray | float) -> Trajectories:
        """Cut to a range of wave numbers each; those that have nothing there are left out."""
        cut = self.limited(start, end)
        return cut[np.flatnonzero(cut.end > cut.start)]

    def limited(self, start: np.ndarray | float, end: np.ndarray | float) -> Trajectories:
        """Cut to a range of wave numbers each; ``end`` is below ``start`` where nothing is left."""
        return Trajectories(
            self.origins,
            self.slopes,
            self.weights,
            np.maximum(self.start, start),
            np.minimum(self.end, end),
        )

    def span(self, i: int, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """First and last wave number (n,) at which the i-th coordinate is on ``axis``."""
        low, high = axis.edges[[0, -1]] - _ROUNDING * axis.width
        # A curve that stays at one x divides by 0: infinities of two signs if x is inside.
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (self.origins[i] - low) / self.slopes[i]
            last = (self.origins[i] - high) / self.slopes[i]
        return np.minimum(first, last), np.maximum(first, last)

    def within(self, grid: Grid) -> Trajectories:
        """Cut to the box that the bins fill."""
        inside = self.between(grid.wave_numbers[0], grid.wave_numbers[-1])
        # Thin slices first: little is left for the other axes.
        for i in np.argsort([axis.edges[-1] - axis.edges[0] for axis in grid.momentum]):
            inside = inside.between(*inside.span(i, grid.momentum[i]))
        return inside

    def momentum_planes(self, grid: Grid) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inner planes of each momentum axis that are crossed: first one and number, (n,)."""
        planes = []
        for i, axis in enumerate(grid.momentum):
            ends = [self.origins[i] - self.slopes[i] * k for k in (self.start, self.end)]
            inner = axis.edges[1:-1]
            first, number = planes_between(inner, np.minimum(*ends), np.maximum(*ends))
            planes.append((first + 1, number))
        return planes

    def momentum_crossings(
        self, grid: Grid, planes: list[tuple[np.ndarray, np.ndarray]]
    ) -> list[np.ndarray]:
        """(n, most planes) wave numbers at the planes of each momentum axis.

        Curves without so many planes repeat one, or their start or end: pieces without length.
        """
        columns = []
        for i, (first, number) in enumerate(planes):
            step = np.arange(int(number.max()))
            crossed = first[:, None] + np.minimum(step, np.maximum(number[:, None] - 1, 0))
            edges = grid.momentum[i].edges
            crossed = np.minimum(crossed, len(edges) - 1)
            slopes = np.where(number > 0, self.slopes[i], 1.0)
            at = (self.origins[i][:, None] - edges[crossed]) / slopes[:, None]
            columns.append(np.clip(at, self.start[:, None], self.end[:, None]))
        return columns


def planes_between(
    planes: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First of the ascending ``planes`` above ``low``, and number of them below ``high``."""
    first = np.searchsorted(planes, low, side="right")
    return first, np.maximum(np.searchsorted(planes, high, side="left") - first, 0)


def blocks(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of trajectories with about equally many crossings, a cache full at a time."""
    order = np.argsort(numbers, kind="stable")
    begin = 0
    while begin < len(order):
        stop = begin + max(1, _CROSSINGS // int(numbers[order[begin]]))
        # Once more with the largest number among them, which sets the size of the arrays.
        stop = begin + max(1, _CROSSINGS // int(numbers[order[min(stop, len(order)) - 1]]))
        yield order[begin:stop]
        begin = stop


def bin_index(axis: Axis, x: np.ndarray) -> np.ndarray:
    """Bins of places on the axis; those next to it count in the outermost bins."""
    if axis.is_uniform:
        index = ((x - axis.edges[0]) / axis.width + _ROUNDING).astype(np.intp)
    else:
        index = np.searchsorted(axis.edges, x + _ROUNDING * axis.width, side="right") - 1
    return np.clip(index, 0, axis.n_bins - 1)
