"""Spectra of one phonon folded with themselves: energies of several phonons at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fcinv_core.scattering.kernel import Lines, ModeKernel, bose_occupation, continued_energy

STEPS_PER_SIGMA = 5.0
"""Grid steps over the smallest standard deviation of the resolution. A mode is spread over its
grid points with a standard deviation of 0.58 steps, 0.12 of the resolution's."""

NEGLECTED = 1e-6
"""Share of multiphonon scattering that may lie in orders left out."""

LARGEST_ORDER = 100
"""Enough for 2W = 60. Unstable modes of a poor start can make 2W as large as one likes."""


@dataclass(frozen=True)
class PhononExpansion:
    """Multiphonon spectra on the energy bins of a kernel, by way of a fine uniform grid.

    It is itself one of `ModeFunctions`: the spectrum of a mode at grid points, cubic B-splines
    around ±E with areas (n + 1)/E and n/E. They keep area and mean energy exact and are smooth in
    E.

    Attributes
    ----------
    kernel
        Energy bins, temperature, resolution.
    step
        Of the grid in meV.
    n_side
        Grid points on either side of zero that reach beyond the highest mode.
    """

    kernel: ModeKernel
    step: float
    n_side: int

    @classmethod
    def for_modes(cls, kernel: ModeKernel, squared_energies: torch.Tensor) -> PhononExpansion:
        """A grid that suits the resolution and holds the modes given by λ in meV²."""
        sigma, _ = kernel.resolution.sigma(kernel.edges)
        step = float(sigma.min()) / STEPS_PER_SIGMA
        highest, _ = continued_energy(squared_energies.max())
        return cls(kernel, step, int(highest / step) + 3)

    def __call__(
        self,
        squared_energies: torch.Tensor,
        resolution_scale: float | torch.Tensor = 1.0,
        *,
        derivatives: bool = False,
    ) -> Lines:
        """Areas at the grid points -n_side..n_side; the resolution is not in them."""
        energy, energy_slope = continued_energy(squared_energies)
        occupation, occupation_slope = bose_occupation(energy, self.kernel.temperature)
        sign = energy.new_tensor([1.0, -1.0])
        population = torch.stack([occupation + 1, occupation], dim=-1)
        strength = population / energy[..., None]
        strength_slope = (occupation_slope[..., None] - strength) / energy[..., None]
        place = sign * energy[..., None] / self.step + self.n_side
        left = place.detach().floor()
        spline, spline_slope = _cubic_spline(place - left)
        value = strength[..., None] * spline
        slope = strength_slope[..., None] * spline
        slope = slope + (sign * strength / self.step)[..., None] * spline_slope
        first = left.to(torch.int64) - 1
        slope = slope * energy_slope[..., None, None]
        return Lines(first, value, slope, None, 2 * self.n_side + 1)

    @staticmethod
    def n_orders(exponent: float) -> int:
        """Number of phonons that matter if no 2W is larger than ``exponent``; at least 2."""
        mean = torch.tensor(max(exponent, 1e-12), dtype=torch.float64)
        # P(more than p phonons) = γ(p + 1, 2W)/p!.
        orders = torch.arange(2, LARGEST_ORDER + 1, dtype=torch.float64)
        tail = torch.special.gammainc(orders + 1, mean)
        enough = tail < NEGLECTED * torch.special.gammainc(torch.full_like(mean, 2.0), mean)
        return int(orders[enough][0]) if enough.any() else LARGEST_ORDER

    def folded(
        self,
        tensors: torch.Tensor,
        kinds: torch.Tensor,
        n_orders: int,
        resolution_scale: torch.Tensor | float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bin averages of 2 to ``n_orders`` phonons with resolution and, if wanted, k_f/k_i.

        Parameters
        ----------
        tensors
            (n_sets, n_atoms, 6, 2 n_side + 1) areas of one phonon at the grid points, components
            as of `direction_components`; those of the sum over grid points have a mean diagonal
            of 1.
        kinds
            (n_kinds,) one atom of each kind that symmetry makes alike.

        Returns
        -------
        two (n_sets, n_atoms, 21, n_bins)
            Two phonons: what multiplies `pair_components` of the direction.
        more (n_sets, n_kinds, n_orders - 2, n_bins)
            Three and more, averaged over directions, each order of unit area over all energies.
            All in 1/meV.
        """
        lowest, highest, response = self._response(resolution_scale)
        # Sums of n_orders energies do not wrap around.
        reach = max(n_orders * self.n_side, -lowest, highest)
        n_grid = 1 << (2 * reach).bit_length()
        padded = torch.nn.functional.pad(tensors, (0, n_grid - tensors.shape[-1]))
        one = torch.fft.rfft(padded.roll(-self.n_side, dims=-1))
        first, second = _pairs(one.device)
        areas = torch.fft.irfft(one[:, :, first] * one[:, :, second], n=n_grid)
        areas = areas.roll(-lowest, dims=-1)[..., : highest - lowest + 1]
        mean = one[:, kinds, :3].mean(dim=2)
        more = _Powers.apply(mean, response, lowest, n_grid, n_orders)
        return areas @ response, more

    def _response(self, resolution_scale: torch.Tensor | float) -> tuple[int, int, torch.Tensor]:
        """First and last grid point that reach the bins, and bin averages of their lines."""
        kernel = self.kernel
        lower, upper = kernel.line.reach
        sigma, _ = kernel.resolution.sigma(kernel.edges[[0, -1]])
        sigma = sigma * float(torch.as_tensor(resolution_scale).detach())
        first = float(kernel.edges[0] - upper * sigma[0])
        last = float(kernel.edges[-1] - lower * sigma[1])
        lowest, highest = int(first // self.step), int(last // self.step) + 1
        points = torch.arange(lowest, highest + 1, device=kernel.edges.device)
        energy = (points * self.step).to(kernel.edges.dtype)
        widths, _ = kernel.resolution.sigma(energy)
        z = (kernel.edges - energy[:, None]) / (widths * resolution_scale)[:, None]
        average = torch.diff(kernel.line.cumulative(z)) / torch.diff(kernel.edges)
        return lowest, highest, average * kernel.kf_over_ki(energy)[0][:, None]


class _Powers(torch.autograd.Function):
    """Fourier transforms to the powers 3, 4, ..., back on the grid, times a matrix.

    Powers are worked out again on the way back: as many of them are needed as are phonons.
    """

    @staticmethod
    def forward(
        ctx: Any,
        one: torch.Tensor,
        response: torch.Tensor,
        lowest: int,
        n_grid: int,
        n_orders: int,
    ) -> torch.Tensor:
        """(..., n_orders - 2, n_bins) from (..., n_frequencies) and (n_points, n_bins).

        ``lowest`` is the grid point of the first row of ``response``.
        """
        ctx.save_for_backward(one, response)
        ctx.lowest, ctx.n_grid, ctx.n_orders = lowest, n_grid, n_orders
        shape = (*one.shape[:-1], n_orders - 2, response.shape[-1])
        result, power = response.new_empty(shape), one * one
        for order in range(3, n_orders + 1):
            power = power * one
            areas = torch.fft.irfft(power, n=n_grid).roll(-lowest, dims=-1)
            result[..., order - 3, :] = areas[..., : len(response)] @ response
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        one, response = ctx.saved_tensors
        n_points = len(response)
        by_one, by_response, power = torch.zeros_like(one), torch.zeros_like(response), one * one
        for order in range(3, ctx.n_orders + 1):
            taken = gradient[..., order - 3, :]
            padded = torch.nn.functional.pad(taken @ response.T, (0, ctx.n_grid - n_points))
            by_power = torch.fft.rfft(padded.roll(ctx.lowest, dims=-1))
            by_one += order * power.conj() * by_power
            power = power * one
            if ctx.needs_input_grad[1]:
                areas = torch.fft.irfft(power, n=ctx.n_grid).roll(-ctx.lowest, dims=-1)
                areas = areas[..., :n_points].reshape(-1, n_points)
                by_response += areas.T @ taken.reshape(len(areas), -1)
        # Each frequency but the first and last stands for its negative, too.
        by_one[..., 1:-1] *= 2
        return by_one / ctx.n_grid, by_response, None, None, None


def direction_components(momenta: torch.Tensor) -> torch.Tensor:
    """xx, yy, zz, 2yz, 2xz, 2xy of the directions of momenta (n, 3), (n, 6); of 0 for Q = 0."""
    length = torch.linalg.vector_norm(momenta, dim=1, keepdim=True)
    x, y, z = (momenta / length.clamp(min=1e-12)).unbind(dim=1)
    return torch.stack([x * x, y * y, z * z, 2 * y * z, 2 * x * z, 2 * x * y], dim=1)


def pair_components(directions: torch.Tensor) -> torch.Tensor:
    """Products of two components (n, 6) of a direction, (n, 21): those that differ count twice."""
    first, second = _pairs(directions.device)
    twice = torch.where(first == second, 1.0, 2.0).to(directions.dtype)
    return directions[:, first] * directions[:, second] * twice


def _pairs(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = torch.triu_indices(6, 6, device=device)
    return first, second


def _cubic_spline(fraction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cubic B-spline at the four points around a place, and its change with that place.

    Parameters
    ----------
    fraction
        Place between the second and third point, 0 to 1.
    """
    t, u = fraction, 1 - fraction
    value = [u**3, 3 * t**3 - 6 * t**2 + 4, 3 * u**3 - 6 * u**2 + 4, t**3]
    slope = [-3 * u**2, 9 * t**2 - 12 * t, 12 * u - 9 * u**2, 3 * t**2]
    return torch.stack(value, dim=-1) / 6, torch.stack(slope, dim=-1) / 6
