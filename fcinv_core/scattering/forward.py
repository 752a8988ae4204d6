"""The forward model: force constants -> S(Q,E) on the bins of a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from fcinv_core.crystal import match_lattice
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.displacements import Displacements
from fcinv_core.scattering.dynamical import FourierSum, Modes
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.sampling import sample_counts
from fcinv_core.scattering.spectra import StructureFactors, spectra

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram

FWHM_OVER_INCIDENT_ENERGY = 0.03
"""Elastic resolution of a direct-geometry chopper spectrometer when nothing better is known."""


def assumed_temperature(histogram: SQEHistogram, temperature: float | None) -> float:
    """Temperature in K: the one given, else the histogram's sample log.

    Raises
    ------
    FcinvError
        When there is neither, or the number is negative.
    """
    value = histogram.temperature if temperature is None else temperature
    if value is None:
        raise FcinvError(
            f"unknown temperature: {histogram.source} has no sample-temperature log; give the "
            "temperature in K (--temperature)"
        )
    if not np.isfinite(value) or value < 0:
        raise FcinvError(f"temperature {value} K of {histogram.source}: give one of 0 K or above")
    return float(value)


def assumed_resolution(histogram: SQEHistogram, energy_fwhm: float | None) -> EnergyResolution:
    """Resolution of constant width: the one given, else 3 % of the incident energy.

    Raises
    ------
    FcinvError
        When the incident energy is needed and unknown.
    """
    if energy_fwhm is None:
        if histogram.incident_energy is None:
            raise FcinvError(
                f"unknown energy resolution: {histogram.source} has no incident-energy log; give "
                "the full width at half maximum in meV (--energy-fwhm)"
            )
        energy_fwhm = FWHM_OVER_INCIDENT_ENERGY * histogram.incident_energy
    return EnergyResolution.constant(energy_fwhm)


def bins_in_crystal(
    histogram: SQEHistogram, crystal: Crystal
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q bins of a histogram in reciprocal coordinates of the crystal's primitive cell.

    Returns
    -------
    centres (n_q, 3), bin_vectors (3, 3) with columns along the bin's edges, energy edges (n+1,)
    in meV.

    Raises
    ------
    FcinvError
        When the histogram's lattice is unknown or not the crystal's.
    """
    if histogram.lattice is None:
        raise FcinvError(
            f"no lattice (UB matrix) in {histogram.source}; run SetUB on the data before the "
            "reduction, or copy the sample with CopySample"
        )
    to_primitive = match_lattice(histogram.lattice, crystal).to_primitive
    return (
        histogram.q_bin_centres() @ to_primitive.T,
        to_primitive @ histogram.q_bin_edges_matrix(),
        histogram.axes[histogram.energy_axis].edges,
    )


class ForwardModel:
    """S(Q,E) of any force constants on the bins of one histogram.

    Parameters
    ----------
    crystal
        The crystal that the force constants belong to.
    histogram
        Its bins are simulated where it was measured; its values are not used.
    temperature
        K; the histogram's log when left out.
    energy_fwhm
        Resolution in meV, full width at half maximum; 3 % of the incident energy when left out.
    q_spread_scale
        Extent in Q over which a bin averages, relative to the bin: events need not fill it.

    Examples
    --------
    >>> model = ForwardModel(crystal, data, temperature=5.0, energy_fwhm=1.0)  # doctest: +SKIP
    >>> signal = model(force_constants)  # doctest: +SKIP
    """

    def __init__(
        self,
        crystal: Crystal,
        histogram: SQEHistogram,
        temperature: float | None = None,
        energy_fwhm: float | None = None,
        q_spread_scale: float = 1.0,
    ) -> None:
        self.crystal = crystal
        self.histogram = histogram
        self.temperature = assumed_temperature(histogram, temperature)
        self.resolution = assumed_resolution(histogram, energy_fwhm)
        self._centres, self._bin_vectors, self._edges = bins_in_crystal(histogram, crystal)
        self._bin_vectors = q_spread_scale * self._bin_vectors
        self._measured = histogram.spectra(histogram.covered).any(axis=1)
        self._displacements = Displacements(crystal)
        self._mesh_sum = FourierSum(crystal, self._displacements.q_points)
        self._plans: dict[tuple[int, int, int], tuple[StructureFactors, FourierSum]] = {}

    @overload
    def __call__(self, force_constants: ForceConstants) -> np.ndarray: ...

    @overload
    def __call__(self, force_constants: torch.Tensor) -> torch.Tensor: ...

    def __call__(self, force_constants: ForceConstants | torch.Tensor) -> np.ndarray | torch.Tensor:
        """Simulated signal in mbarn/meV per primitive cell, shaped as the histogram's.

        Parameters
        ----------
        force_constants
            `ForceConstants`, or a tensor of compact values (n_primitive, n_supercell, 3, 3) in
            eV/Å², which gives a tensor back. NaN where the histogram was not measured.
        """
        if isinstance(force_constants, torch.Tensor):
            return torch.from_numpy(self._signal(force_constants))
        return self._signal(torch.from_numpy(force_constants.values))

    def _signal(self, values: torch.Tensor) -> np.ndarray:
        result = np.full((len(self._centres), len(self._edges) - 1), np.nan)
        if self._measured.any():
            result[self._measured] = self._spectra(values)
        result[~self.histogram.spectra(self.histogram.covered)] = np.nan
        return self.histogram.from_spectra(result)

    def _spectra(self, values: torch.Tensor) -> np.ndarray:
        """(n_measured Q bins, n_energy)."""
        counts = sample_counts(
            self.crystal, values, self._bin_vectors, self._edges, self.resolution
        )
        if counts not in self._plans:
            sampling = BinSampling.from_bins(
                self._centres[self._measured],
                self._bin_vectors,
                counts,
                self.crystal.point_group_rotations,
            )
            self._rows = sampling.row
            self._plans = {
                counts: (
                    StructureFactors(self.crystal, sampling),
                    FourierSum(self.crystal, sampling.q_points),
                )
            }
        factors, fourier = self._plans[counts]
        mesh_modes = Modes.from_dynamical_matrices(self._mesh_sum.matrices(values))
        modes = Modes.from_dynamical_matrices(fourier.matrices(values))
        kernel = ModeKernel(
            modes.squared_energies,
            torch.from_numpy(self._edges),
            self.temperature,
            self.resolution,
        )
        tensors = self._displacements.tensors(mesh_modes, self.temperature)
        return spectra(factors, modes, kernel, tensors).numpy()[self._rows]


def simulate_histogram(
    force_constants: ForceConstants,
    like: SQEHistogram,
    *,
    temperature: float | None = None,
    energy_fwhm: float | None = None,
) -> SQEHistogram:
    """Noise-free simulation of a measurement on the bins of ``like``.

    The signal is in mbarn/meV per primitive cell, NaN where ``like`` was not measured; the
    variance is zero.
    """
    model = ForwardModel(force_constants.crystal, like, temperature, energy_fwhm)
    signal = model(force_constants)
    return like.with_values(signal, np.where(np.isnan(signal), np.nan, 0.0))
