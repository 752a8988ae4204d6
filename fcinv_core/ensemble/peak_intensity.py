"""How strong peaks of a measurement are, which counting times and backgrounds refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.conditions import bins_in_crystal
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.sloping_bands import SlopingBands
from fcinv_core.units import HBAR_SQUARED_OVER_U, MBARN_PER_SQUARE_FM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.scattering.resolution import EnergyResolution

_PROBES = 64
"""Q bins that tell how strong peaks are."""


def peak_intensity(rows: torch.Tensor) -> torch.Tensor:
    """Intensity of strong peaks: nine in ten of the Q bins (..., n_q, n_energy) stay below."""
    return torch.quantile(rows.amax(dim=-1), 0.9, dim=-1)


def expected_peaks(
    reference: ForceConstants,
    template: SQEHistogram,
    temperature: float,
    resolution: EnergyResolution,
    random: np.random.Generator,
) -> float:
    """Intensity in mbarn/meV per primitive cell of strong peaks, by some of the Q bins seen.

    Parameters
    ----------
    reference
        Force constants.
    template
        The measurement: NaN where nothing is seen.
    temperature, resolution
        K, and width of lines.
    random
        Chooses the Q bins.
    """
    crystal = reference.crystal
    dynamics = LatticeDynamics(crystal)
    polar = dynamics.polar_part_of(reference)
    real_space = dynamics.real_space(torch.tensor(reference.values)[None], polar)
    centres, bin_vectors, edges = bins_in_crystal(template, crystal)
    seen = np.flatnonzero(template.spectra(template.covered).any(axis=1))
    rows = random.choice(seen, min(_PROBES, len(seen)), replace=False)
    kernel = ModeKernel(torch.from_numpy(edges), temperature, resolution)
    bands = SlopingBands(
        crystal, centres[rows], bin_vectors, (2, 2, 2), kernel, dynamics.fourier, polar
    )
    tensors = dynamics.tensors(real_space, temperature, polar)
    signal = bands.spectra(real_space, tensors)
    covered = torch.from_numpy(np.ascontiguousarray(template.spectra(template.covered)[rows]))
    return float(peak_intensity(signal * covered)[0])


def usual_intensity(crystal: Crystal, top: float, resolution: EnergyResolution) -> float:
    """mbarn/meV per primitive cell of phonons at ``top`` (meV), |Q| = 1/Å, without heat.

    Σ b² ħ²Q²/(2mE) over the width of a line: cuts through nothing but weak structure factors, or
    that see no bands, have far less.
    """
    strength = crystal.primitive_scattering_lengths**2 / crystal.primitive_masses
    recoil = 0.5 * HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM * float(strength.sum())
    return recoil / top / resolution.elastic_fwhm
