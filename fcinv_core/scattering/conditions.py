"""What a histogram says of its measurement: temperature, resolution, bins in the crystal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import match_lattice
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.resolution import EnergyResolution

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.histogram import SQEHistogram

FWHM_OVER_INCIDENT_ENERGY = 0.03
"""Elastic resolution of a direct-geometry chopper spectrometer when nothing better is known."""

HIGHEST_TEMPERATURE = 5000.0
"""K: no crystal is solid above."""

INCIDENT_ENERGIES = (0.01, 1e5)
"""meV: what any spectrometer may have; a log with another number means something else."""


def assumed_temperature(histogram: SQEHistogram, temperature: float | None) -> float:
    """Temperature in K: the one given, else the histogram's sample log.

    Raises
    ------
    FcinvError
        When there is neither, or the number is negative or above `HIGHEST_TEMPERATURE`.
    """
    value = histogram.temperature if temperature is None else temperature
    if value is None:
        raise FcinvError(
            f"unknown temperature: {histogram.source} has no sample-temperature log; give the "
            "temperature in K (--temperature)"
        )
    if not 0 <= value <= HIGHEST_TEMPERATURE:
        raise FcinvError(
            f"temperature {value:.6g} K of {histogram.source}: give one from 0 K to "
            f"{HIGHEST_TEMPERATURE:.0f} K (--temperature)"
        )
    return float(value)


def assumed_resolution(
    histogram: SQEHistogram, energy_fwhm: float | EnergyResolution | None
) -> EnergyResolution:
    """The resolution given, a constant width (meV), or else 3 % of the incident energy.

    Raises
    ------
    FcinvError
        When the incident energy is needed and unknown, or the width given is not positive at
        all energies of the histogram.
    """
    if isinstance(energy_fwhm, EnergyResolution):
        energy_fwhm.check(histogram.axes[histogram.energy_axis].edges)
        return energy_fwhm
    if energy_fwhm is None:
        if histogram.incident_energy is None:
            raise FcinvError(
                f"unknown energy resolution: {histogram.source} has no incident-energy log; give "
                "the full width at half maximum in meV (--energy-fwhm)"
            )
        lowest, highest = INCIDENT_ENERGIES
        if not lowest <= histogram.incident_energy <= highest:
            raise FcinvError(
                f"the incident energy in the logs of {histogram.source} is "
                f"{histogram.incident_energy:.6g} meV, which no spectrometer has; give the energy "
                "resolution (full width at half maximum) in meV (--energy-fwhm)"
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
    try:
        to_primitive = match_lattice(histogram.lattice, crystal).to_primitive
    except FcinvError as error:  # of several files the user has to know which
        raise FcinvError(f"{histogram.source}: {error}") from error
    return (
        histogram.q_bin_centres() @ to_primitive.T,
        to_primitive @ histogram.q_bin_edges_matrix(),
        histogram.axes[histogram.energy_axis].edges,
    )
