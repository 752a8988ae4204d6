"""Which bins of a measurement take part, and how many counts stand behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal.transfer import correspondence
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import check_invertible
from fcinv_core.inversion.nuisances import BACKGROUNDS
from fcinv_core.scattering.conditions import (
    assumed_resolution,
    assumed_temperature,
    bins_in_crystal,
)
from fcinv_core.scattering.resolution import EnergyResolution

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.histogram import SQEHistogram

ELASTIC_CUTOFF = 1.5
"""Bins closer to the elastic line than this many FWHM are left out."""

BRAGG_CUTOFF = 4.0
"""The same for bins that hold a Bragg point, where the intensity diverges."""

LARGEST_ENERGY = 0.95
"""Of the incident energy: beyond, coverage is thin and the resolution poorly known."""

SLIVER = 0.2
"""Of the median exposure: bins with less lie at the edge of coverage and carry wild values
where bins are as fine as detector pixels; they hold little information in any case."""


@dataclass(frozen=True)
class PreparedHistogram:
    """A measured histogram, ready to be compared with a model.

    Attributes
    ----------
    histogram
        The measurement.
    centres, bin_vectors
        (n_q, 3) and (3, 3) columns: Q bins in reciprocal coordinates of the primitive cell.
    edges
        (n_energy + 1,) meV.
    counts, exposure
        (n_q, n_energy) effective counts, and counts per unit of signal; zero where not used.
    used
        (n_q, n_energy) bool.
    temperature
        K.
    resolution
        Assumed energy resolution.
    background
        What is fitted along: "linear" (and the tail of the elastic line), "flat" or "none".
    """

    histogram: SQEHistogram
    centres: np.ndarray
    bin_vectors: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    exposure: np.ndarray
    used: np.ndarray
    temperature: float
    resolution: EnergyResolution
    background: str = "linear"

    @classmethod
    def from_histogram(
        cls,
        histogram: SQEHistogram,
        crystal: Crystal,
        temperature: float | None = None,
        energy_fwhm: float | EnergyResolution | None = None,
        energy_range: tuple[float, float] = (-np.inf, np.inf),
        background: str = "linear",
    ) -> PreparedHistogram:
        """Select bins and work out counts and exposure.

        Parameters
        ----------
        energy_range
            Bins that are not wholly within these energy transfers (meV) are left out.

        Raises
        ------
        FcinvError
            When the histogram cannot be inverted: no lattice, another lattice than the
            crystal's, no energy axis, unknown temperature or resolution, nothing measured.
        """
        check_invertible(histogram, temperature)
        if background not in BACKGROUNDS:
            raise FcinvError(f"background {background!r}: give one of {', '.join(BACKGROUNDS)}")
        centres, bin_vectors, edges = bins_in_crystal(histogram, crystal)
        resolution = assumed_resolution(histogram, energy_fwhm)
        counts = histogram.spectra(histogram.effective_counts())
        exposure = histogram.spectra(histogram.exposure())
        used = (
            np.isfinite(counts)
            & (exposure > 0)
            & _energies_in_range(edges, resolution, histogram.incident_energy, energy_range)
            & ~_near_bragg(centres, bin_vectors, edges, resolution)
        )
        if used.any():
            used &= exposure > SLIVER * np.median(exposure[used])
        if not counts[used].sum() > 0:
            seen = histogram.covered & (histogram.signal > 0)
            if seen.any() and not histogram.variance[seen].any():
                raise FcinvError(
                    f"{histogram.source} has no error bars, as spectra that were calculated, and "
                    "counts follow from these: give a measurement, or a simulation with counting "
                    "noise (docs/simulated-measurements.md)"
                )
            raise FcinvError(
                f"nothing to fit in {histogram.source}: no counted bin is left outside the "
                "elastic line and inside the coverage; check the energy range of the histogram"
            )
        return cls(
            histogram,
            centres,
            bin_vectors,
            edges,
            np.where(used, counts, 0.0),
            np.where(used, exposure, 0.0),
            used,
            assumed_temperature(histogram, temperature),
            resolution,
            background,
        )

    def in_crystal(self, own: Crystal, other: Crystal) -> PreparedHistogram:
        """The same with Q in reciprocal coordinates of another description of the crystal.

        Parameters
        ----------
        own, other
            The crystal that it was prepared with, and the other description.

        Raises
        ------
        FcinvError
            When they are not the same crystal.
        """
        to_other = np.linalg.inv(correspondence(other, own).cell)
        return replace(
            self, centres=self.centres @ to_other.T, bin_vectors=to_other @ self.bin_vectors
        )

    @property
    def has_spectra(self) -> bool:
        """Whether there is an energy axis to speak of, not one integrated bin."""
        return self.counts.shape[1] > 1

    @property
    def energies(self) -> np.ndarray:
        """(n_energy,) bin centres in meV."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])


def _energies_in_range(
    edges: np.ndarray,
    resolution: EnergyResolution,
    incident_energy: float | None,
    energy_range: tuple[float, float],
) -> np.ndarray:
    """(1, n_energy) bool: in the range, away from the elastic line and the highest energies."""
    rounding = 1e-4 * np.diff(edges)  # of Mantid's single precision
    away = (edges[:-1] >= energy_range[0] - rounding) & (edges[1:] <= energy_range[1] + rounding)
    away &= _distance_from_elastic(edges) >= ELASTIC_CUTOFF * resolution.elastic_fwhm
    if incident_energy is not None:
        away &= edges[1:] <= LARGEST_ENERGY * incident_energy
    return away[None]


def _distance_from_elastic(edges: np.ndarray) -> np.ndarray:
    """Smallest |E| inside each bin."""
    nearest = np.minimum(np.abs(edges[1:]), np.abs(edges[:-1]))
    return np.where((edges[:-1] < 0) & (edges[1:] > 0), 0.0, nearest)


def _near_bragg(
    centres: np.ndarray,
    bin_vectors: np.ndarray,
    edges: np.ndarray,
    resolution: EnergyResolution,
) -> np.ndarray:
    """(n_q, n_energy) bool: the bin's volume holds a Bragg point and its energy is low."""
    inside = np.zeros(len(centres), bool)
    to_bin = np.linalg.inv(bin_vectors)
    reach = np.abs(bin_vectors).sum(axis=1) / 2
    steps = [np.arange(-np.ceil(r), np.ceil(r) + 1) for r in reach]
    nearest = np.rint(centres)
    for shift in np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3):
        along = (nearest + shift - centres) @ to_bin.T
        inside |= (np.abs(along) <= 0.5 + 1e-6).all(axis=1)
    low = _distance_from_elastic(edges) < BRAGG_CUTOFF * resolution.elastic_fwhm
    return inside[:, None] & low[None]
