"""What MDNorm of early 2019 made of a measurement: its error at the borders of energy bins.

That MDNorm took the place where a trajectory crosses the border of an energy bin as if the
incident wave number were 1 1/Å. Such a point is often outside of the histogram. It is then left
out, so that the piece of trajectory runs on through several energy bins and all of it counts in
the bin of its middle. Otherwise the point drags the middles of its two pieces off the trajectory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fcinv_core.histogram import SQEHistogram
from fcinv_core.histogram.reduction import algorithms, mantid_version
from fcinv_core.scattering.trajectories import (
    SHORTEST_SEGMENT,
    Grid,
    Trajectories,
    bin_index,
    blocks,
)
from fcinv_core.units import NEUTRON_ENERGY_PER_K2

_MISTAKEN_WAVE_NUMBER = 1.0
"""1/Å; instead of that of the incident neutron."""


def has_energy_border_error(histogram: SQEHistogram) -> bool:
    """Whether the histogram's file comes from an MDNorm that is known to have the error.

    Known are development versions of 2019 before Mantid 4.0 ("3.13.2019..."): the algorithm was
    new then, and 3.13.20190128 certainly has the error. Source code from after May 2019 is right.
    When it was corrected between these, release notes do not say; 4.0.0 counts as right here.
    """
    version = mantid_version(histogram) or ""
    return version.startswith("3.13.2019") and "MDNorm" in algorithms(histogram)


def add_with_error(total: np.ndarray, trajectories: Trajectories, grid: Grid) -> None:
    """Add to the flat histogram what that MDNorm found in each bin.

    Parameters
    ----------
    total
        (n_bins,), changed in place.
    trajectories
        Whole, from the slowest to the fastest neutron: points at borders of energy bins may be
        mistaken to be in the histogram where the trajectory is not, and trajectories are not cut
        to the energies of the histogram.
    """
    right = trajectories
    mistaken = replace(
        trajectories, origins=trajectories.origins * (_MISTAKEN_WAVE_NUMBER / grid.incident)
    )
    for i, axis in enumerate(grid.momentum):
        right = right.limited(*right.span(i, axis))
        mistaken = mistaken.limited(*mistaken.span(i, axis))
    first_border = np.searchsorted(grid.wave_numbers, mistaken.start, side="left")
    after_last = np.searchsorted(grid.wave_numbers, mistaken.end, side="right")
    n_borders = np.maximum(after_last - first_border, 0)

    enters = right.end > right.start
    seen = np.flatnonzero(enters | (n_borders > 1))
    right, enters = right[seen], enters[seen]
    first_border, n_borders = first_border[seen], n_borders[seen]
    # Those that are only mistaken to be inside have no length, and cross nothing.
    elsewhere = trajectories.start[seen]
    right = replace(
        right,
        start=np.where(enters, right.start, elsewhere),
        end=np.where(enters, right.end, elsewhere),
    )
    planes = right.momentum_planes(grid)
    for which in blocks(np.sum([number for _, number in planes], axis=0) + n_borders + 2):
        few = right[which]
        crossed = [(first[which], number[which]) for first, number in planes]
        columns = [
            _existing(at, number)
            for at, (_, number) in zip(few.momentum_crossings(grid, crossed), crossed, strict=True)
        ]
        step = np.arange(int(n_borders[which].max()))
        borders = np.minimum(first_border[which, None] + step, len(grid.wave_numbers) - 1)
        columns.append(_existing(grid.wave_numbers[borders], n_borders[which]))
        columns.extend(_existing(k[:, None], enters[which]) for k in (few.start, few.end))
        is_mistaken = np.repeat([False] * 3 + [True] + [False] * 2, [c.shape[1] for c in columns])
        _add_segments(total, few, np.concatenate(columns, axis=1), is_mistaken, grid)


def _existing(k: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Points (n, columns) of which the first ``number`` (n,) exist; NaN for the others."""
    return np.where(np.arange(k.shape[1]) < number[:, None], k, np.nan)


def _add_segments(
    total: np.ndarray,
    trajectories: Trajectories,
    points: np.ndarray,
    is_mistaken: np.ndarray,
    grid: Grid,
) -> None:
    """Add the pieces between points (n, columns), of which some columns are off the trajectory."""
    # Stable, as in Mantid: an energy border at the end of the trajectory comes before the end.
    order = np.argsort(points, axis=1, kind="stable")
    k = np.take_along_axis(points, order, axis=1)
    off = is_mistaken[order].astype(np.float64)
    middle = 0.5 * (k[:, 1:] + k[:, :-1])
    interval = 2.0 * NEUTRON_ENERGY_PER_K2 * middle * (k[:, 1:] - k[:, :-1])
    energy = grid.incident_energy - NEUTRON_ENERGY_PER_K2 * middle**2
    counts = interval >= SHORTEST_SEGMENT
    # Pieces that begin or end beyond the energies of the histogram may have their middle there.
    counts &= (energy >= grid.energy.edges[0]) & (energy < grid.energy.edges[-1])

    row, _ = np.nonzero(counts)
    middle, interval = middle[counts], interval[counts]
    place = grid.strides[3] * bin_index(grid.energy, energy[counts])
    dragged = 0.5 * (off[:, 1:] + off[:, :-1])[counts]
    initial = 1.0 - dragged * (1.0 - _MISTAKEN_WAVE_NUMBER / grid.incident)
    for i, axis in enumerate(grid.momentum):
        if axis.n_bins > 1:
            x = trajectories.origins[i, row] * initial - trajectories.slopes[i, row] * middle
            place += grid.strides[i] * bin_index(axis, x)
    np.add.at(total, place, trajectories.weights[row] * interval)
