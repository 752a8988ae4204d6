"""Density of phonon states, with error bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.inversion.dispersion import energy_slopes
from fcinv_core.scattering.displacements import irreducible_mesh
from fcinv_core.units import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice

MESH_LENGTH = 100.0
"""Å: the mesh has at least this over |a| points along each reciprocal axis."""

N_ENERGIES = 240

SMOOTHING = 0.025
"""Full width at half maximum of the Gaussian that stands for each mode, over the highest energy."""

MARGIN = 1.06
"""The energies end at this times the highest energy."""


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """Phonon density of states of a primitive cell.

    Attributes
    ----------
    energy_mev
        (n,) meV, from 0, or from below it where modes are imaginary (negative).
    density, sigma
        (n,) per meV, and standard deviation; the density integrates to 3 n_atoms.
    smoothing_fwhm_mev
        Full width at half maximum of the Gaussian that stands for each mode.
    """

    energy_mev: np.ndarray
    density: np.ndarray
    sigma: np.ndarray
    smoothing_fwhm_mev: float

    @classmethod
    def of(
        cls, lattice: Lattice, parameters: np.ndarray, covariance: np.ndarray
    ) -> DensityOfStates:
        """Of parameters (n_par,) in eV/Å² with their covariance (n_par, n_par).

        Errors are linear in those of the force constants.
        """
        points, weights = irreducible_mesh(lattice.basis.crystal, MESH_LENGTH)
        q_points, share = points.numpy(), weights.numpy() / float(weights.sum())
        modes = lattice.modes(parameters, q_points)
        energies = modes.energies[0].numpy()
        width = SMOOTHING * float(np.abs(energies).max()) / FWHM_PER_SIGMA
        ends = MARGIN * min(energies.min(), 0.0), MARGIN * max(energies.max(), 0.0)
        grid = np.linspace(*ends, N_ENERGIES)
        slopes = energy_slopes(lattice, modes.eigenvectors[0], q_points)
        slopes = slopes / (2 * np.maximum(np.abs(energies), width))[..., None]
        away = (grid - energies[..., None]) / width
        lines = share[:, None, None] * np.exp(-0.5 * away**2) / (np.sqrt(2 * np.pi) * width)
        by_energy = (lines * away / width).reshape(-1, len(grid))
        by_parameters = by_energy.T @ slopes.reshape(-1, slopes.shape[-1])
        variance = np.einsum("ei,ij,ej->e", by_parameters, covariance, by_parameters)
        return cls(
            energy_mev=grid,
            density=lines.sum(axis=(0, 1)),
            sigma=np.sqrt(np.maximum(variance, 0.0)),
            smoothing_fwhm_mev=width * FWHM_PER_SIGMA,
        )
