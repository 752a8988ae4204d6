"""Scattering by several phonons, cheap enough for thousands of crystals.

In the incoherent approximation every order p of the phonon expansion is the one-phonon spectrum
folded with itself p - 1 times (A. Sjölander, Ark. Fys. 14, 315 (1958)). Here each is a Gaussian of
the same mean and variance, p times those of one phonon, which follow from sum rules:

    mean       m₁ = ħ²/(2 m ⟨u²⟩)
    mean of E² m₁ ε coth(ε/2kT), ε² = tr Φ_κκ/(3 m)  (ε: Einstein energy)

with ⟨u²⟩ along Q taken for the average over directions. `fcinv_core.scattering.incoherent` folds
the spectra themselves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from fcinv_core.scattering.kernel import MINIMUM_ENERGY_MEV, ModeKernel, bose_occupation
from fcinv_core.scattering.line_shape import gaussians_in_bins
from fcinv_core.units import (
    ENERGY_SQUARED_PER_DYNAMICAL,
    HBAR_SQUARED_OVER_U,
    MBARN_PER_SQUARE_FM,
)

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

SQUARE_FM_PER_BARN = 100.0

N_ORDERS = 8
"""Orders up to this one have a Gaussian of their own; the last one holds those beyond."""


class MultiphononGaussians:
    """Two and more phonons on the energy bins of a kernel, for n_sets force constants at once.

    Parameters
    ----------
    crystal
        Masses and cross sections.
    kernel
        Energy bins, temperature and resolution.
    device, dtype
        Of the calculation.
    """

    def __init__(
        self, crystal: Crystal, kernel: ModeKernel, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._kernel = kernel.to(device, dtype)
        self._home = torch.as_tensor(crystal.primitive_to_supercell.copy(), device=device)
        masses = torch.as_tensor(crystal.primitive_masses.copy(), device=device)
        self._masses = masses.to(dtype)
        incoherent = crystal.primitive_incoherent_cross_sections * SQUARE_FM_PER_BARN
        total = incoherent / (4 * math.pi) + crystal.primitive_scattering_lengths**2
        self._strength = torch.as_tensor(total * MBARN_PER_SQUARE_FM, device=device).to(dtype)

    def spectra(
        self, values: torch.Tensor, tensors: torch.Tensor, momenta: torch.Tensor
    ) -> torch.Tensor:
        """S(Q,E), (n_sets, n_q, n_energy) in mbarn/meV per primitive cell.

        Parameters
        ----------
        values
            (n_sets, n_primitive, n_supercell, 3, 3) total force constants in eV/Å².
        tensors
            ⟨u u⟩ (n_sets, n_primitive, 3, 3) in Å².
        momenta
            (n_q,) |Q| in 1/Å.
        """
        dtype = self._masses.dtype
        atoms = torch.arange(len(self._home), device=values.device)
        own = values[:, atoms, self._home].to(dtype)
        square = own.diagonal(dim1=-2, dim2=-1).mean(dim=-1) * ENERGY_SQUARED_PER_DYNAMICAL
        einstein = (square / self._masses).clamp(min=MINIMUM_ENERGY_MEV**2).sqrt()
        displacement = tensors.to(dtype).diagonal(dim1=-2, dim2=-1).mean(dim=-1)
        occupation, _ = bose_occupation(einstein, self._kernel.temperature)
        mean = 0.5 * HBAR_SQUARED_OVER_U / (self._masses * displacement)
        variance = (mean * (einstein * (2 * occupation + 1) - mean)).clamp(min=0.0)

        orders = torch.arange(2, N_ORDERS + 1, device=values.device, dtype=dtype)
        table = self._gaussians(mean[..., None] * orders, variance[..., None] * orders)
        exponent = momenta.to(dtype).square()[None, :, None] * displacement[:, None]
        logarithm = exponent.clamp(min=1e-12).log()[..., None] * orders
        share = torch.exp(logarithm - torch.lgamma(orders + 1) - exponent[..., None])
        beyond = 1 - torch.exp(-exponent) * (1 + exponent) - share.sum(dim=-1)
        share[..., -1] += beyond.clamp(min=0.0)
        coefficients = share * self._strength[:, None]
        return coefficients.flatten(2) @ table.flatten(1, 2)

    def _gaussians(self, centre: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        """Unit areas on the energy bins, (..., n_energy)."""
        width = (self._kernel.resolution.sigma(centre)[0].square() + variance).sqrt()
        return gaussians_in_bins(self._kernel.edges, centre, width, torch.ones_like(centre))
