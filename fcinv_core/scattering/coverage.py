"""What a direct-geometry spectrometer sees: MDNorm's normalisation of every bin.

Each pixel of each run sees a curve in (Q, energy transfer): the final wave vector keeps its
direction and grows in length. A bin's exposure is the energy interval that the curve spends in
it, times the pixel's solid angle and the run's proton charge, summed over pixels and runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.experiment import ExperimentInfo
from fcinv_core.histogram.projection import Projection
from fcinv_core.histogram.reduction import proton_charges, reduced_energy_range
from fcinv_core.scattering.detectors import DetectorPixels
from fcinv_core.scattering.mdnorm_error import add_with_error, has_energy_border_error
from fcinv_core.scattering.trajectories import (
    SHORTEST_SEGMENT,
    Grid,
    Trajectories,
    bin_index,
    blocks,
    planes_between,
)
from fcinv_core.units import NEUTRON_ENERGY_PER_K2

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram

_TRAJECTORIES = 2**17
"""Trajectories that are cut to the histogram's box at a time."""


def exposure_of_runs(histogram: SQEHistogram) -> np.ndarray:
    """Normalisation that MDNorm gave to the runs that a file was reduced from.

    With its error at the borders of energy bins where the file's history names a version that
    had it (`mdnorm_error.has_energy_border_error`); `exposure` is what it should have been.
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
        energy_border_error=has_energy_border_error(histogram),
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
    energy_border_error: bool = False,
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
    energy_border_error
        With the error of MDNorm in early 2019 (see `mdnorm_error`): to understand data that were
        reduced with it.

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
    grid = Grid.from_histogram(histogram, incident_energy)
    to_axes = _to_axes(histogram, histogram.ub if ub is None else ub, rotations)
    add = add_with_error if energy_border_error else _add_segments

    total = np.zeros(int(np.prod(histogram.shape)))
    runs_at_a_time = max(1, _TRAJECTORIES // max(1, len(pixels)))
    for start in range(0, len(rotations), runs_at_a_time):
        runs = slice(start, start + runs_at_a_time)
        trajectories = Trajectories(
            origins=np.repeat(grid.incident * to_axes[runs, :, 2].T, len(pixels), axis=1),
            slopes=np.moveaxis(to_axes[runs] @ pixels.directions.T, 1, 0).reshape(3, -1),
            weights=np.outer(charges[runs], pixels.solid_angles).reshape(-1),
            start=np.full(len(charges[runs]) * len(pixels), lowest),
            end=np.full(len(charges[runs]) * len(pixels), highest),
        )
        add(total, trajectories, grid)
    return np.where(total > 0, total, np.nan).reshape(histogram.shape)


def _add_segments(total: np.ndarray, trajectories: Trajectories, grid: Grid) -> None:
    """Add what the trajectories leave in each bin between crossing its planes."""
    inside = trajectories.within(grid)
    planes = inside.momentum_planes(grid)
    borders, n_borders = planes_between(grid.wave_numbers, inside.start, inside.end)
    for which in blocks(np.sum([number for _, number in planes], axis=0) + n_borders + 2):
        few = inside[which]
        crossed = [(first[which], number[which]) for first, number in planes]
        energy = borders[which, None] + np.arange(int(n_borders[which].max()))
        at = grid.wave_numbers[np.minimum(energy, len(grid.wave_numbers) - 1)]
        columns = [
            few.start[:, None],
            few.end[:, None],
            *few.momentum_crossings(grid, crossed),
            np.clip(at, few.start[:, None], few.end[:, None]),
        ]
        k = np.sort(np.concatenate(columns, axis=1), axis=1)
        middle = 0.5 * (k[:, 1:] + k[:, :-1])
        interval = 2.0 * NEUTRON_ENERGY_PER_K2 * middle * (k[:, 1:] - k[:, :-1])
        interval[interval < SHORTEST_SEGMENT] = 0.0

        place = np.zeros(middle.shape, dtype=np.intp)
        for i, axis in enumerate((*grid.momentum, grid.energy)):
            if axis.n_bins == 1:
                continue
            if i < 3:
                x = few.origins[i][:, None] - few.slopes[i][:, None] * middle
            else:
                x = grid.incident_energy - NEUTRON_ENERGY_PER_K2 * middle**2
            place += grid.strides[i] * bin_index(axis, x)
        np.add.at(total, place.ravel(), (few.weights[:, None] * interval).ravel())


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
