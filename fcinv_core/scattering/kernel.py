"""How one phonon mode shows up in energy bins, and the derivatives of that.

The binned one-phonon intensity is f† K(D) f with K a smooth function of the dynamical matrix.
Its derivative needs only divided differences of the scalar kernel k(λ), λ the squared energy
(Daleckii & Krein 1965; Higham, Functions of Matrices, theorem 3.11), which stay finite where
modes are degenerate; eigenvectors are never differentiated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.units import (
    BOLTZMANN_MEV_PER_K,
    HBAR_SQUARED_OVER_U,
    MBARN_PER_SQUARE_FM,
)

MINIMUM_ENERGY_MEV = 0.5
"""Below this energy 1/ω and the Bose factor are continued smoothly to a constant."""

DEGENERACY = 1e-5
"""Relative difference of squared energies below which a derivative replaces the quotient.

The quotient loses ~1e-16/δ to rounding, the derivative at the midpoint ~δ²/24 to curvature.
"""


def continued_energy(squared_energies: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Phonon energy as a smooth positive function of λ, and its derivative.

    √λ above ``MINIMUM_ENERGY_MEV``²; below, a once continuously differentiable tail that tends
    to half that energy, so that Bragg points and unstable modes leave everything finite.
    """
    limit = MINIMUM_ENERGY_MEV**2
    root = squared_energies.clamp(min=limit).sqrt()
    tail = 0.5 * torch.exp((squared_energies / limit - 1).clamp(max=0.0))
    below = squared_energies < limit
    energy = torch.where(below, MINIMUM_ENERGY_MEV * (0.5 + tail), root)
    slope = torch.where(below, tail / MINIMUM_ENERGY_MEV, 0.5 / root)
    return energy, slope


def bose_occupation(energy: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """n(E) = 1/(exp(E/kT) - 1) and dn/dE in 1/meV; zero at T = 0."""
    if temperature <= 0:
        return torch.zeros_like(energy), torch.zeros_like(energy)
    thermal = BOLTZMANN_MEV_PER_K * temperature
    occupation = 1.0 / torch.expm1((energy / thermal).clamp(max=600.0))
    return occupation, -occupation * (occupation + 1) / thermal


def pair_indices(n_modes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Upper-triangle index pairs (μ <= ν) of modes."""
    upper = torch.triu_indices(n_modes, n_modes)
    return upper[0], upper[1]


def divided_differences(
    squared_energies: torch.Tensor, value: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Divided differences of a function of λ for every pair of modes.

    Parameters
    ----------
    squared_energies
        (n, n_modes) in meV².
    value, slope
        (n, n_modes, ...) the function and its derivative with respect to λ.

    Returns
    -------
    (n, n_pairs, ...) in the order of `pair_indices`: [k(λ_μ) - k(λ_ν)]/(λ_μ - λ_ν), and the
    derivative where the two coincide.
    """
    first, second = pair_indices(squared_energies.shape[1])
    gap = squared_energies[:, first] - squared_energies[:, second]
    scale = squared_energies.abs().amax(dim=1, keepdim=True) + MINIMUM_ENERGY_MEV**2
    close = gap.abs() < DEGENERACY * scale
    safe = torch.where(close, torch.ones_like(gap), gap)
    extra = (...,) + (None,) * (value.dim() - 2)
    quotient = (value[:, first] - value[:, second]) / safe[extra]
    mean_slope = 0.5 * (slope[:, first] + slope[:, second])
    return torch.where(close[extra], mean_slope, quotient)


@dataclass(frozen=True)
class ModeKernel:
    """Bin-averaged spectrum of modes of unit |F|²: k_j(λ) and its derivatives.

    k_j(λ) = c/(2ω) [(n+1) B_j(ω) + n B_j(-ω)], B_j(ω) the average of the resolution function
    centred at ω over energy bin j (error-function difference, exact), and
    c = ħ²/u · 10 mbarn/fm², so that |F|² in fm²Å⁻²/u gives mbarn/meV per primitive cell.

    Attributes
    ----------
    squared_energies
        (n, n_modes) in meV².
    edges
        (n_energy + 1,) energy-bin edges in meV.
    """

    squared_energies: torch.Tensor
    edges: torch.Tensor
    temperature: float
    resolution: EnergyResolution
    resolution_scale: float = 1.0

    def _line(self, centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bin averages of a line at ``centre``, their derivatives by centre and log(width)."""
        sigma, sigma_slope = self.resolution.sigma(centre)
        sigma, sigma_slope = sigma * self.resolution_scale, sigma_slope * self.resolution_scale
        z = (self.edges - centre[..., None]) / sigma[..., None]
        density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        widths = torch.diff(self.edges)
        shift = -density * (1 + z * sigma_slope[..., None]) / sigma[..., None]
        value = 0.5 * torch.diff(torch.erf(z / math.sqrt(2))) / widths
        return value, torch.diff(shift) / widths, torch.diff(-density * z) / widths

    @cached_property
    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        energy, energy_slope = continued_energy(self.squared_energies)
        occupation, occupation_slope = bose_occupation(energy, self.temperature)
        loss, loss_shift, loss_width = self._line(energy)
        gain, gain_shift, gain_width = self._line(-energy)
        factor = (0.5 * HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM / energy)[..., None]
        up, down = (occupation + 1)[..., None], occupation[..., None]
        value = factor * (up * loss + down * gain)
        slope = (
            -value / energy[..., None]
            + factor * occupation_slope[..., None] * (loss + gain)
            + factor * (up * loss_shift - down * gain_shift)
        )
        width = factor * (up * loss_width + down * gain_width)
        return value, slope * energy_slope[..., None], width

    @property
    def value(self) -> torch.Tensor:
        """(n, n_modes, n_energy) in mbarn/meV per unit |F|² (fm²Å⁻²/u)."""
        return self._parts[0]

    @property
    def slope(self) -> torch.Tensor:
        """Derivative of `value` with respect to λ, per meV²."""
        return self._parts[1]

    @property
    def width_slope(self) -> torch.Tensor:
        """Derivative of `value` with respect to the logarithm of the resolution scale."""
        return self._parts[2]

    def pair_differences(self) -> torch.Tensor:
        """Divided differences of the kernel: (n, n_pairs, n_energy) per meV²."""
        return divided_differences(self.squared_energies, self.value, self.slope)
