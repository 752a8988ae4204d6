"""How one phonon mode shows up in energy bins, and the derivatives of that.

The binned one-phonon intensity is f† K(D) f with K a smooth function of the dynamical matrix.
Its derivative needs only divided differences of the scalar kernel k(λ), λ the squared energy
(Daleckii & Krein 1965; Higham, Functions of Matrices, theorem 3.11), which stay finite where
modes are degenerate; eigenvectors are never differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fcinv_core.scattering.line_shape import GaussianLine, LineShape
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.units import (
    BOLTZMANN_MEV_PER_K,
    HBAR_SQUARED_OVER_U,
    MBARN_PER_SQUARE_FM,
)

MINIMUM_ENERGY_MEV = 0.5
"""Below this energy 1/ω and the Bose factor are continued smoothly to a constant."""

DEGENERACY = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Relative difference of squared energies below which a derivative replaces the quotient.

The quotient loses ~1e-16/δ to rounding, the derivative at the midpoint ~δ²/12 to curvature.
"""


def continued_energy(squared_energies: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Phonon energy as a smooth positive function of λ, and its derivative.

    √λ above ``MINIMUM_ENERGY_MEV``²; below, a once continuously differentiable tail that tends
    to half that energy, so that Bragg points and unstable modes leave everything finite.
    """
    limit = MINIMUM_ENERGY_MEV**2
    root = squared_energies.clamp(min=limit).sqrt()
    below = squared_energies < limit
    if not below.any():
        return root, 0.5 / root
    tail = 0.5 * torch.exp((squared_energies / limit - 1).clamp(max=0.0))
    energy = torch.where(below, MINIMUM_ENERGY_MEV * (0.5 + tail), root)
    slope = torch.where(below, tail / MINIMUM_ENERGY_MEV, 0.5 / root)
    return energy, slope


def bose_occupation(energy: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """n(E) = 1/(exp(E/kT) - 1) and dn/dE in 1/meV; zero at T = 0."""
    if temperature <= 0:
        return torch.zeros_like(energy), torch.zeros_like(energy)
    thermal = BOLTZMANN_MEV_PER_K * temperature
    occupation = 1.0 / torch.expm1((energy / thermal).clamp(max=80.0))
    return occupation, -occupation * (occupation + 1) / thermal


def reciprocal_gaps(squared_energies: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """1/(λ_μ - λ_ν) for each pair of modes, 0 where they coincide, and where they do.

    The divided difference of a function k is (k_μ - k_ν) times the first, plus the mean of the
    two derivatives where the second is true (always on the diagonal).

    Parameters
    ----------
    squared_energies
        (..., n_modes) in meV².

    Returns
    -------
    (..., n_modes, n_modes) each.
    """
    first, second = squared_energies[..., :, None], squared_energies[..., None, :]
    gap = first - second
    scale = first.abs() + second.abs() + MINIMUM_ENERGY_MEV**2
    close = gap.abs() < DEGENERACY[squared_energies.dtype] * scale
    return torch.where(close, 0.0, 1.0 / torch.where(close, 1.0, gap)), close


def divided_differences(
    squared_energies: torch.Tensor, value: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Divided differences [k(λ_μ) - k(λ_ν)]/(λ_μ - λ_ν), the derivative where λ_μ = λ_ν.

    Parameters
    ----------
    squared_energies, value, slope
        (..., n_modes): λ in meV², k(λ) and dk/dλ.

    Returns
    -------
    (..., n_modes, n_modes).
    """
    reciprocal, close = reciprocal_gaps(squared_energies)
    quotient = (value[..., :, None] - value[..., None, :]) * reciprocal
    return quotient + 0.5 * close * (slope[..., :, None] + slope[..., None, :])


@dataclass(frozen=True)
class Lines:
    """Spectra of modes of unit |F|², each in the window of energy bins that its lines reach.

    Every mode has one line, or two: neutron energy loss at +E and gain at -E.

    Attributes
    ----------
    first
        (..., n_modes, n_lines) index of the first bin of each window.
    value
        (..., n_modes, n_lines, width) bin averages k_j in mbarn/meV per unit |F|² (fm²Å⁻²/u).
    slope, by_width
        Derivatives of ``value`` with respect to λ per meV², and to the logarithm of the
        resolution's scale; None unless asked for.
    n_bins
        Number of energy bins.
    """

    first: torch.Tensor
    value: torch.Tensor
    slope: torch.Tensor | None
    by_width: torch.Tensor | None
    n_bins: int

    def bins(self) -> torch.Tensor:
        """(..., n_modes, n_lines, width) energy bin of each number."""
        return self.first[..., None] + torch.arange(self.value.shape[-1], device=self.first.device)

    def dense(self, windows: torch.Tensor) -> torch.Tensor:
        """``windows``, one of value, slope or by_width, on all bins: (..., n_modes, n_bins)."""
        shape = windows.shape[:-2]
        result = windows.new_zeros((*shape, self.n_bins))
        index = self.bins()
        for line in range(windows.shape[-2]):
            result.scatter_add_(-1, index[..., line, :], windows[..., line, :])
        return result

    def summed(self, strength: torch.Tensor) -> torch.Tensor:
        """Σ over modes of strength · line, (n_sets, n, n_bins).

        A sparse matrix holds the windows, which is far fewer numbers than all bins where these
        are many.

        Parameters
        ----------
        strength
            (n_sets, n, n_q * n_modes), for lines of (n_sets, n_q, n_modes).
        """
        n_sets, n, n_lines = strength.shape
        n_windows = self.value[0, 0, 0].numel()
        if 2 * n_windows > self.n_bins:
            return strength @ self.dense(self.value).flatten(1, 2)
        sets = torch.arange(n_sets, device=strength.device)[:, None] * self.n_bins
        columns = self.bins().reshape(n_sets, -1) + sets
        starts = torch.arange(n_sets * n_lines + 1, device=strength.device) * n_windows
        matrix = torch.sparse_csr_tensor(
            starts,
            columns.reshape(-1),
            self.value.reshape(-1),
            (len(starts) - 1, n_sets * self.n_bins),
        )
        weights = strength.transpose(1, 2).reshape(n_sets * n_lines, n)
        sums = matrix.transpose(0, 1) @ weights
        return sums.reshape(n_sets, self.n_bins, n).transpose(1, 2)


@dataclass(frozen=True)
class Sources:
    """Lines of modes of unit |F|² before they are spread over energy bins.

    Attributes
    ----------
    centre
        (..., n_modes, n_lines) meV.
    centre_slope
        Its derivative with respect to λ.
    strength, strength_slope
        Intensity, mbarn per unit |F|² (fm²Å⁻²/u), and its derivative with respect to λ.
    """

    centre: torch.Tensor
    centre_slope: torch.Tensor
    strength: torch.Tensor
    strength_slope: torch.Tensor


@dataclass(frozen=True)
class ModeKernel:
    """Bin-averaged spectrum of a mode of unit |F|² as a function of its squared energy λ.

    k_j(λ) = c/(2ω) [(n+1) B_j(ω) + n B_j(-ω)], B_j(E) the average over energy bin j of the line
    shape centred at E, exact, and c = ħ²/u · 10 mbarn/fm², so that |F|² in fm²Å⁻²/u gives
    mbarn/meV per primitive cell.

    Attributes
    ----------
    edges
        (n_bins + 1,) energy-bin edges in meV.
    temperature
        K.
    resolution
        Width of the line as a function of energy transfer.
    line
        Its shape.
    incident_energy
        meV: multiply by k_f/k_i at the energy transfer of each mode. None: leave that out, as
        reduced data have been corrected for it.
    """

    edges: torch.Tensor
    temperature: float
    resolution: EnergyResolution
    line: LineShape = GaussianLine()
    incident_energy: float | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> ModeKernel:
        """The same on another device or with other precision."""
        return replace(self, edges=self.edges.to(device, dtype))

    def lines(
        self,
        squared_energies: torch.Tensor,
        resolution_scale: float | torch.Tensor = 1.0,
        *,
        derivatives: bool = False,
    ) -> Lines:
        """Windows of every mode.

        Parameters
        ----------
        squared_energies
            (..., n_modes) in meV².
        resolution_scale
            Factor on the width of the line.
        derivatives
            Whether slopes are wanted too.
        """
        sources = self.sources(squared_energies, resolution_scale)
        first, shapes = self.shapes(sources.centre, resolution_scale, derivatives=derivatives)
        n_bins = len(self.edges) - 1
        strength = sources.strength[..., None]
        if len(shapes) == 1:
            return Lines(first, strength * shapes[0], None, None, n_bins)
        average, by_centre, by_width = shapes
        slope = sources.strength_slope[..., None] * average
        slope = slope + sources.centre_slope[..., None] * strength * by_centre
        return Lines(first, strength * average, slope, strength * by_width, n_bins)

    def sources(
        self, squared_energies: torch.Tensor, resolution_scale: float | torch.Tensor = 1.0
    ) -> Sources:
        """Where the lines of modes of λ (..., n_modes) in meV² are, and how strong."""
        energy, energy_slope = continued_energy(squared_energies)
        occupation, occupation_slope = bose_occupation(energy, self.temperature)
        sign, population = self._sides(energy, occupation, resolution_scale)
        centre = sign * energy[..., None]
        transfer, transfer_slope = self.kf_over_ki(centre)
        factor = (0.5 * HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM / energy)[..., None]
        strength_slope = sign * factor * population * transfer_slope + factor * transfer * (
            occupation_slope[..., None] - population / energy[..., None]
        )
        return Sources(
            centre,
            sign * energy_slope[..., None],
            factor * population * transfer,
            strength_slope * energy_slope[..., None],
        )

    def shapes(
        self,
        centre: torch.Tensor,
        resolution_scale: float | torch.Tensor = 1.0,
        *,
        derivatives: bool = False,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Bin averages of lines of unit area at ``centre`` (...) in meV.

        Returns
        -------
        first (...)
            Bin of each line's window, as of `Lines`.
        averages, each (..., width)
            Of the lines; if asked for, their derivatives by the centre, and by the logarithm of
            the scale. In 1/meV, and 1/meV².
        """
        sigma, sigma_slope = self.resolution.sigma(centre)
        sigma, sigma_slope = sigma * resolution_scale, sigma_slope * resolution_scale
        first, edges = self._windows(centre, sigma)
        widths = torch.diff(edges)
        # Nothing beyond the reach: results do not depend on how wide other lines' windows are.
        z = ((edges - centre[..., None]) / sigma[..., None]).clamp(*self.line.reach)
        average = torch.diff(self.line.cumulative(z)) / widths
        if not derivatives:
            return first, (average,)
        density = self.line.density(z)
        by_centre = torch.diff(-density * (1 + z * sigma_slope[..., None])) / (
            widths * sigma[..., None]
        )
        return first, (average, by_centre, torch.diff(-density * z) / widths)

    def _sides(
        self,
        energy: torch.Tensor,
        occupation: torch.Tensor,
        resolution_scale: float | torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Signs of the energy transfer (n_lines,) and n + 1 or n, (..., n_modes, n_lines).

        Energy gain is left out where none of its lines reaches the bins.
        """
        sigma, _ = self.resolution.sigma(-energy)
        upper = -energy + self.line.reach[1] * sigma * resolution_scale
        if self.temperature <= 0 or not (upper > self.edges[0]).any():
            return energy.new_ones(1), (occupation + 1)[..., None]
        return energy.new_tensor([1.0, -1.0]), torch.stack([occupation + 1, occupation], dim=-1)

    def _windows(
        self, centre: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """First bin that each line reaches, and the edges of as many bins as any line needs."""
        lower, upper = self.line.reach
        n_bins = len(self.edges) - 1
        span = (upper - lower) * sigma.max()
        beyond = torch.searchsorted(self.edges, self.edges + span)
        passed = beyond - torch.arange(n_bins + 1, device=beyond.device)
        width = min(n_bins, int(passed.max()) + 1)
        first = torch.searchsorted(self.edges, (centre + lower * sigma).contiguous()) - 1
        first = first.clamp(0, n_bins - width)
        steps = torch.arange(width + 1, device=first.device)
        return first, self.edges[first[..., None] + steps]

    def kf_over_ki(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """√(1 - E/E_i), 0 where no neutron can lose so much, and its derivative."""
        if self.incident_energy is None:
            return torch.ones_like(energy), torch.zeros_like(energy)
        left = 1 - energy / self.incident_energy
        possible = left > 0
        ratio = torch.where(possible, left, 1.0).sqrt()
        slope = -0.5 / (self.incident_energy * ratio)
        return torch.where(possible, ratio, 0.0), torch.where(possible, slope, 0.0)
