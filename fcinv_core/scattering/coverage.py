"""What a direct-geometry spectrometer sees: MDNorm's normalisation of every bin.

Each pixel of each run sees a curve in (Q, energy transfer): the final wave vector keeps its
direction and grows in length. A bin's exposure is the energy interval that the curve spends in
it, times the pixel's solid angle and the run's proton charge, summed over pixels and runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.axes import Axis
from fcinv_core.histogram.experiment import ExperimentInfo
from fcinv_core.histogram.projection import Projection
from fcinv_core.histogram.reduction import proton_charges, reduced_energy_range
from fcinv_core.scattering.detectors import DetectorPixels
from fcinv_core.units import NEUTRON_ENERGY_PER_K2

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram

_TRAJECTORIES = 2**17
"""Trajectories that are cut to the histogram's box at a time."""

_CROSSINGS = 2**17
"""Crossings of bin planes that are sorted at a time; about what the processor's cache holds."""

_SHORTEST_SEGMENT = 1e-10
"""meV; MDNorm leaves out shorter ones."""

_ROUNDING = 1e-12
"""Bins: a curve in a bin plane counts in the upper bin, whichever side rounding puts it on.
Mantid has coordinates in float32, where it lies in the plane."""


def exposure_of_runs(histogram: SQEHistogram) -> np.ndarray:
    """MDNorm's normalisation of the runs that a file was reduced from.

    All of it comes from the file: instrument, incident energy, range of energy transfers,
    goniometer settings, proton charges and UB. Pixels weigh equally, as in MDNorm without a
    SolidAngleWorkspace.

    Raises
    ------
    FcinvError
        One of these is not in the file; see `exposure`, which takes them one by one.
    """
    incident_energy = histogram.incident_energy
    if incident_energy is None:
        raise FcinvError(
            f"no incident energy in the logs of {histogram.source}; its coverage needs the log Ei"
        )
    pixels = DetectorPixels.from_histogram(histogram)
    return exposure(
        histogram,
        DetectorPixels(pixels.directions, np.ones(len(pixels))),
        incident_energy,
        np.array([info.rotation for info in histogram.experiments]),
        reduced_energy_range(histogram),
        charges=proton_charges(histogram),
    )


def exposure(
    histogram: SQEHistogram,
    pixels: DetectorPixels,
    incident_energy: float,
    rotations: np.ndarray,
    energy_range: tuple[float, float],
    *,
    ub: np.ndarray | None = None,
    charges: np.ndarray | None = None,
) -> np.ndarray:
    """MDNorm's normalisation; NaN where no trajectory passes.

    Parameters
    ----------
    histogram
        Its bins are used; its values are not.
    pixels
        Of the instrument. MDNorm knows solid angles from its SolidAngleWorkspace only; without
        one, it gives each pixel a weight of 1.
    incident_energy
        meV.
    rotations
        (n_runs, 3, 3) goniometer of each run: Q_lab = R Q_sample.
    energy_range
        Lowest and highest energy transfer of the reduced runs, meV.
    ub
        (3, 3) UB in 1/Å without 2π; the histogram's by default.
    charges
        (n_runs,) proton charge of each run, or any other weight; 1 by default.

    Returns
    -------
    numpy.ndarray
        Shape of the histogram, meV·sr times charge.

    Raises
    ------
    FcinvError
        No lattice, axes that cannot be taken to hkl, an incident energy or a range that no
        neutron has, rotations or charges that do not fit.

    Notes
    -----
    The algorithm is that of MDNorm for direct geometry (Savici et al., J. Appl. Cryst. 55, 1514
    (2022)): Q is linear in the final wave number k, and the energy transfer quadratic, so the
    values of k at which a curve crosses bin planes are exact. They are sorted, and each piece
    between two of them belongs to the bin of its middle.
    """
    rotations, charges = _checked_runs(rotations, charges)
    lowest, highest = _final_wave_numbers(histogram, incident_energy, energy_range)
    grid = _Grid.from_histogram(histogram, incident_energy)
    to_axes = _to_axes(histogram, histogram.ub if ub is None else ub, rotations)
    initial = np.sqrt(incident_energy / NEUTRON_ENERGY_PER_K2)

    total = np.zeros(int(np.prod(histogram.shape)))
    runs_at_a_time = max(1, _TRAJECTORIES // max(1, len(pixels)))
    for start in range(0, len(rotations), runs_at_a_time):
        runs = slice(start, start + runs_at_a_time)
        trajectories = _Trajectories(
            origins=np.repeat(initial * to_axes[runs, :, 2].T, len(pixels), axis=1),
            slopes=np.moveaxis(to_axes[runs] @ pixels.directions.T, 1, 0).reshape(3, -1),
            weights=np.outer(charges[runs], pixels.solid_angles).reshape(-1),
            start=np.full(len(charges[runs]) * len(pixels), lowest),
            end=np.full(len(charges[runs]) * len(pixels), highest),
        )
        for few, n_crossings in _blocks(trajectories.within(grid), grid):
            _add_segments(total, few, n_crossings, grid)
    return np.where(total > 0, total, np.nan).reshape(histogram.shape)


@dataclass(frozen=True, eq=False)
class _Grid:
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
    def from_histogram(cls, histogram: SQEHistogram, incident_energy: float) -> _Grid:
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


@dataclass(frozen=True, eq=False)
class _Trajectories:
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

    def __getitem__(self, which: np.ndarray) -> _Trajectories:
        return _Trajectories(
            self.origins[:, which],
            self.slopes[:, which],
            self.weights[which],
            self.start[which],
            self.end[which],
        )

    def between(self, start: np.ndarray, end: np.ndarray) -> _Trajectories:
        """Cut to a range of wave numbers each; those that have nothing there are left out."""
        start, end = np.maximum(self.start, start), np.minimum(self.end, end)
        cut = _Trajectories(self.origins, self.slopes, self.weights, start, end)
        return cut[np.flatnonzero(end > start)]

    def within(self, grid: _Grid) -> _Trajectories:
        """Cut to the box that the bins fill."""
        inside = self.between(grid.wave_numbers[0], grid.wave_numbers[-1])
        # Thin slices first: little is left for the other axes.
        for i in np.argsort([axis.edges[-1] - axis.edges[0] for axis in grid.momentum]):
            axis = grid.momentum[i]
            low, high = axis.edges[[0, -1]] - _ROUNDING * axis.width
            # A curve that stays at one x divides by 0: infinities of two signs if x is inside.
            with np.errstate(divide="ignore", invalid="ignore"):
                first = (inside.origins[i] - low) / inside.slopes[i]
                last = (inside.origins[i] - high) / inside.slopes[i]
            inside = inside.between(np.minimum(first, last), np.maximum(first, last))
        return inside


def _blocks(
    trajectories: _Trajectories, grid: _Grid
) -> Iterator[tuple[_Trajectories, list[tuple[np.ndarray, np.ndarray]]]]:
    """Trajectories with about equally many crossings, and the planes that they cross.

    The planes of each momentum axis, and of the energy, are given by the first one and their
    number, (n,) each.
    """
    planes = []
    for i, axis in enumerate(grid.momentum):
        ends = [
            trajectories.origins[i] - trajectories.slopes[i] * k
            for k in (trajectories.start, trajectories.end)
        ]
        planes.append(_planes_between(axis.edges, np.minimum(*ends), np.maximum(*ends)))
    planes.append(_planes_between(grid.wave_numbers, trajectories.start, trajectories.end))

    numbers = np.sum([number for _, number in planes], axis=0) + 2
    order = np.argsort(numbers, kind="stable")
    begin = 0
    while begin < len(order):
        stop = begin + max(1, _CROSSINGS // int(numbers[order[begin]]))
        # Once more with the largest number among them, which sets the size of the arrays.
        stop = begin + max(1, _CROSSINGS // int(numbers[order[min(stop, len(order)) - 1]]))
        which = order[begin:stop]
        yield trajectories[which], [(first[which], number[which]) for first, number in planes]
        begin = stop


def _planes_between(
    planes: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First of the ascending ``planes`` above ``low``, and number of them below ``high``."""
    first = np.searchsorted(planes, low, side="right")
    return first, np.maximum(np.searchsorted(planes, high, side="left") - first, 0)


def _add_segments(
    total: np.ndarray,
    trajectories: _Trajectories,
    planes: list[tuple[np.ndarray, np.ndarray]],
    grid: _Grid,
) -> None:
    """Add what the trajectories leave in each bin between crossing its planes."""
    columns = [trajectories.start[:, None], trajectories.end[:, None]]
    for i, (first, number) in enumerate(planes):
        step = np.arange(int(number.max()))
        if not step.size:
            continue
        crossed = first[:, None] + np.minimum(step, np.maximum(number[:, None] - 1, 0))
        if i < 3:
            edges = grid.momentum[i].edges
            crossed = np.minimum(crossed, len(edges) - 1)
            slopes = np.where(number > 0, trajectories.slopes[i], 1.0)
            at = (trajectories.origins[i][:, None] - edges[crossed]) / slopes[:, None]
        else:
            at = grid.wave_numbers[np.minimum(crossed, len(grid.wave_numbers) - 1)]
        # Rows without so many planes repeat one, or the end: pieces without length.
        columns.append(np.clip(at, trajectories.start[:, None], trajectories.end[:, None]))
    k = np.sort(np.concatenate(columns, axis=1), axis=1)
    middle = 0.5 * (k[:, 1:] + k[:, :-1])
    interval = 2.0 * NEUTRON_ENERGY_PER_K2 * middle * (k[:, 1:] - k[:, :-1])
    interval[interval < _SHORTEST_SEGMENT] = 0.0

    place = np.zeros(middle.shape, dtype=np.intp)
    for i, axis in enumerate((*grid.momentum, grid.energy)):
        if axis.n_bins == 1:
            continue
        if i < 3:
            x = trajectories.origins[i][:, None] - trajectories.slopes[i][:, None] * middle
        else:
            x = grid.incident_energy - NEUTRON_ENERGY_PER_K2 * middle**2
        place += grid.strides[i] * _bin_index(axis, x)
    np.add.at(total, place.ravel(), (trajectories.weights[:, None] * interval).ravel())


def _bin_index(axis: Axis, x: np.ndarray) -> np.ndarray:
    if axis.is_uniform:
        index = ((x - axis.edges[0]) / axis.width + _ROUNDING).astype(np.intp)
    else:
        index = np.searchsorted(axis.edges, x + _ROUNDING * axis.width, side="right") - 1
    return np.clip(index, 0, axis.n_bins - 1)


def _to_axes(histogram: SQEHistogram, ub: np.ndarray | None, rotations: np.ndarray) -> np.ndarray:
    """(n_runs, 3, 3) from Q = ki - kf in the laboratory to the momentum axes."""
    if ub is None:
        raise FcinvError(
            f"no lattice (UB matrix) in {histogram.source} to place detectors in hkl; give one"
        )
    first = histogram.experiments[0] if histogram.experiments else ExperimentInfo()
    projection = Projection.from_axes(
        [histogram.axes[i] for i in histogram.momentum_axes],
        w_matrix=first.w_matrix,
        ub=ub,
        rotation=rotations[0] if np.allclose(rotations, rotations[0]) else None,
    )
    sign = -1.0 if histogram.q_convention == "Crystallography" else 1.0
    return sign * np.linalg.inv(2 * np.pi * rotations @ ub @ projection.matrix)


def _final_wave_numbers(
    histogram: SQEHistogram, incident_energy: float, energy_range: tuple[float, float]
) -> tuple[float, float]:
    """Wave numbers in 1/Å of the slowest and the fastest neutrons that were kept."""
    low, high = energy_range
    if not 0 < incident_energy < np.inf:
        raise FcinvError(f"coverage of {histogram.source}: incident energy {incident_energy} meV")
    if not low < min(high, incident_energy):
        raise FcinvError(
            f"coverage of {histogram.source}: no neutron of {incident_energy:g} meV has energy "
            f"transfers from {low:g} to {high:g} meV; give the range of the reduction"
        )
    energies = np.maximum(incident_energy - np.array([high, low]), 0.0)
    slowest, fastest = np.sqrt(energies / NEUTRON_ENERGY_PER_K2)
    return float(slowest), float(fastest)


def _checked_runs(
    rotations: np.ndarray, charges: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    rotations = np.asarray(rotations, dtype=np.float64)
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or not len(rotations):
        raise FcinvError(
            f"coverage: rotations of shape {rotations.shape}; give (n_runs, 3, 3) of one run or "
            "more"
        )
    charges = np.ones(len(rotations)) if charges is None else np.asarray(charges, np.float64)
    if charges.shape != (len(rotations),):
        raise FcinvError(f"coverage: charges {charges.shape} for {len(rotations)} runs")
    return rotations, charges
