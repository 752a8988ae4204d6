"""What the data say around the energy at which a mode is believed to be.

Around each mode of each cell a window is laid, in the logarithm of energy. In each of its bins
stand the measured rate (counts over those expected of a spectrum that is everywhere alike), how
well it was measured, and the rate that the modes as believed would give. Rates enter as square
roots, whose counting errors are alike. The same features describe any mode of any crystal, so that
one small network serves them all.
"""

from __future__ import annotations

import torch

from fcinv_core.networks.cell_modes import Waves
from fcinv_core.networks.spectra import KINDS, CellSpectra
from fcinv_core.units import BOLTZMANN_MEV_PER_K, FWHM_PER_SIGMA

N_BINS = 16
"""Of a window."""

N_EXTRA = 2 * KINDS + 10

N_FEATURES = 3 * KINDS * N_BINS + N_EXTRA

_HALF_COUNT = 0.3
"""Expected counts at which a rate begins to tell something."""

_LEAST_WIDTH = 0.03
"""Relative width of believed lines."""

_CHOPPER_EXPONENT = 0.75
"""Resolution narrows like (1 - E/E_i) to this power, roughly, on chopper spectrometers."""


@torch.no_grad()
def mode_windows(
    spectra: CellSpectra,
    waves: Waves,
    shares: torch.Tensor,
    stiffness: torch.Tensor,
    half_width: float,
    spread: float,
) -> torch.Tensor:
    """Features of each mode.

    Parameters
    ----------
    spectra
        Of n measurements.
    waves
        Modes of n crystals at the cells of ``spectra``, or of m x n with the measurements
        repeated m times.
    shares
        (..., KINDS, n_cells, n_modes) share of each mode's intensity, `intensities`.
    stiffness
        (m n,) believed overall stiffness.
    half_width
        Of windows, in the logarithm of energy.
    spread
        By how much beliefs may be wrong, in the logarithm of energy.

    Returns
    -------
    (m n, n_cells, n_modes, N_FEATURES).
    """
    energies = waves.energies
    m_n, n_cells, n_modes = energies.shape
    repeats = m_n // len(spectra)
    offsets = torch.linspace(-half_width, half_width, N_BINS + 1, device=energies.device)
    edges = energies[..., None] * offsets.exp()
    running = torch.stack([spectra.counts, spectra.expected], dim=1)
    running = running.expand(repeats, *running.shape).flatten(0, 1)
    inside = _between(running, edges.reshape(m_n, n_cells, -1), spectra.edges)
    inside = inside.unflatten(-1, (n_modes, N_BINS + 1)).diff(dim=-1).clamp(min=0)
    counts, expected = inside[:, 0], inside[:, 1]
    known = expected / (expected + _HALF_COUNT)
    rate = (2 * counts / expected.clamp(min=1e-3)).sqrt() * known
    trust = torch.log1p(expected.clamp(max=1e4)) / 2
    width = relative_width(spectra, energies)
    believed_width = (width.square() + spread**2 + _LEAST_WIDTH**2).sqrt()
    positions = (edges.log()[:, :, :, None] - energies.log()[:, :, None, :, None]) / (
        believed_width[:, :, None, :, None]
    )
    lines = 0.5 * torch.erf(positions * 0.5**0.5).diff(dim=-1) * (N_BINS / (2 * half_width))
    believed = torch.einsum("nkcm,ncjmb->nkcjb", shares.expand(m_n, -1, -1, -1), lines)
    bins = torch.cat([rate, trust, (2 * believed).sqrt()], dim=-1)
    bins = bins.permute(0, 2, 3, 1, 4).flatten(3)

    logarithms = energies.log()
    far = torch.ones_like(logarithms[..., :1])
    gaps = (logarithms[..., 1:] - logarithms[..., :-1]).clamp(max=1.0)
    thermal = BOLTZMANN_MEV_PER_K * spectra.temperature
    share = shares.expand(m_n, -1, -1, -1).permute(0, 2, 3, 1)
    extra = torch.stack(
        [
            torch.cat([far, gaps], dim=-1),
            torch.cat([gaps, far], dim=-1),
            width.log() / 2,
            believed_width.log(),
            logarithms - 0.5 * stiffness.log()[:, None, None] - 3.0,
            (energies / thermal).log() / 2,
            (energies / spectra.incident_energy),
            (energies / spectra.highest),
            trust.mean(dim=(1, -1)),
            (spectra.lowest / energies).clamp(max=2.0),
        ],
        dim=-1,
    )
    return torch.cat([bins, 2 * share, (share + 1e-3).log() / 3, extra], dim=-1)


def intensities(spectra: CellSpectra, waves: Waves) -> torch.Tensor:
    """Share of each mode in the intensity of each kind: (n, KINDS, n_cells, n_modes), sum 1."""
    n, n_cells, n_modes, size = waves.outer.shape
    by_cell = waves.outer.transpose(0, 1).reshape(n_cells, n * n_modes, size)
    shares = torch.bmm(by_cell, spectra.directions.permute(1, 2, 0))
    return shares.reshape(n_cells, n, n_modes, KINDS).permute(1, 3, 0, 2).clamp(min=0)


def relative_width(spectra: CellSpectra, energies: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the resolution over the energy."""
    left = (1 - energies / spectra.incident_energy).clamp(min=0.05)
    return spectra.energy_fwhm / FWHM_PER_SIGMA * left**_CHOPPER_EXPONENT / energies


def _between(running: torch.Tensor, energies: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Running sums (n, 2, KINDS, n_cells, n_grid) at energies (n, n_cells, m), linear."""
    step = grid[1] - grid[0]
    place = (energies / step).clamp(0.0, len(grid) - 1.001)
    left = place.long()
    along = (place - left)[:, None, None]
    left = left[:, None, None].expand(-1, *running.shape[1:3], -1, -1)
    low, high = running.gather(-1, left), running.gather(-1, left + 1)
    return low + (high - low) * along
