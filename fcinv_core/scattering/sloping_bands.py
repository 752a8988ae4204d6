"""Bin averages with few samples: bands are planes inside each part of a bin.

A Q bin is cut into equal parts. In each one modes are worked out at the middle, and so are the
slopes of their energies (Hellmann-Feynman: e†(∂D/∂q)e = ∂λ/∂q). A plane spreads the energies of a
part over a box along each of its edges; the Gaussian resolution is widened by the variance of
that,

    σ² → σ² + Σ_i (∂E/∂q·a_i)²/12,   a_i the edges of the part.

What is left is the curvature of bands and structure factors, which falls with the square of the
parts' size: one to eight of them do what takes tens to hundreds of bare samples. Made for many
sets of force constants that are simulated once; there are no derivatives. `ForwardModel` is
exact to a tolerance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.bins import BinSampling, distinct_bins
from fcinv_core.scattering.dynamical import FourierSum, RealSpace
from fcinv_core.scattering.hermitian import unpacked
from fcinv_core.scattering.kernel import ModeKernel, bose_occupation, continued_energy
from fcinv_core.scattering.line_shape import REACH_GAUSSIAN, gaussians_in_bins
from fcinv_core.scattering.plan import Block, SpectraPlan
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.spectra import mode_amplitudes, weighted_sums
from fcinv_core.scattering.threads import run_blocks
from fcinv_core.units import HBAR_SQUARED_OVER_U, MBARN_PER_SQUARE_FM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

_POLAR_STEP = 1e-3
"""Of a part's edges: over so much the slopes of the dipole term are taken as differences."""


def part_rotations(
    bin_vectors: np.ndarray, counts: tuple[int, int, int], rotations: np.ndarray
) -> np.ndarray:
    """Operations (n, 3, 3) that leave the extent of a part, Σ a aᵀ over its edges, as it is.

    Parts whose wave vectors these carry onto each other have lines of the same width.
    """
    edges = bin_vectors / np.asarray(counts)
    extent = edges @ edges.T
    turned = rotations @ extent @ rotations.transpose(0, 2, 1)
    kept = np.abs(turned - extent).max(axis=(1, 2)) < 1e-6 * np.abs(extent).max()
    return rotations[kept]


class SlopingBands:
    """Spectra of Q bins for many sets of force constants.

    Parameters
    ----------
    crystal
        Symmetry, positions, masses and scattering lengths.
    centres
        (n_bins, 3) in reciprocal coordinates of the primitive cell.
    bin_vectors
        (3, 3) columns span one bin, same coordinates.
    counts
        Number of parts along each of them.
    kernel
        Energy bins, temperature and resolution; its line is taken for a Gaussian.
    fourier
        Of the same crystal; its device and precision are used.
    polar
        Dipole part of a polar crystal.
    """

    def __init__(
        self,
        crystal: Crystal,
        centres: np.ndarray,
        bin_vectors: np.ndarray,
        counts: tuple[int, int, int],
        kernel: ModeKernel,
        fourier: FourierSum,
        polar: PolarPart | None = None,
    ) -> None:
        rotations = part_rotations(bin_vectors, counts, crystal.point_group_rotations)
        first, row = distinct_bins(centres, bin_vectors, counts, rotations)
        sampling = parts_of_bins(centres[first], bin_vectors, counts, rotations)
        self._plan = SpectraPlan(crystal, sampling, fourier, kernel)
        edges = bin_vectors / np.asarray(counts)
        self._edges = torch.as_tensor(edges.T.copy(), dtype=torch.float64, device=fourier.device)
        self._row = torch.as_tensor(self._plan.row[row], device=fourier.device)
        self._polar = None if polar is None else polar.components(self._plan.q_points)
        self._polar_slopes = None if polar is None else self._slopes_of_dipoles(polar)

    @property
    def n_wave_vectors(self) -> int:
        """Number of diagonalisations for each set of force constants."""
        return len(self._plan.q_points)

    def spectra(self, real_space: RealSpace, tensors: torch.Tensor) -> torch.Tensor:
        """Bin-averaged S(Q,E), (n_sets, n_bins, n_energy) in mbarn/meV per primitive cell.

        Parameters
        ----------
        real_space
            Force constants by translation.
        tensors
            ⟨u u⟩ (n_sets, n_atoms, 3, 3) in Å².
        """
        plan, dtype = self._plan, self._plan.fourier.dtype
        tensors = tensors.to(dtype)
        given = RealSpace(real_space.even.to(dtype), real_space.odd.to(dtype))
        result = tensors.new_empty((len(tensors), plan.n_rows, plan.n_energy))
        n_modes = plan.fourier.n_modes
        bytes_per_sample = 16 * n_modes * (n_modes + 4)

        def evaluate(task: tuple[Block, slice]) -> None:
            block, sets = task
            chosen = RealSpace(given.even[sets], given.odd[sets])
            waves = plan.waves(block)
            modes = plan.modes(block, chosen, waves, self._polar)
            slopes = self._slopes(block, chosen, waves, modes.eigenvectors)
            lines = self._lines(modes.squared_energies, slopes).reshape(-1, plan.n_energy)
            for samples in plan.samples(block, bytes_per_sample * len(tensors[sets])):
                amplitudes = mode_amplitudes(plan, samples, tensors[sets], modes.eigenvectors)
                result[sets, samples.rows] = weighted_sums(
                    amplitudes.abs().square(), plan.weights, samples.index, lines
                )

        run_blocks(evaluate, plan.tasks(len(tensors)), plan.fourier.device)
        return result[:, self._row]

    def _slopes(
        self,
        block: Block,
        real_space: RealSpace,
        waves: tuple[torch.Tensor, torch.Tensor],
        eigenvectors: torch.Tensor,
    ) -> torch.Tensor:
        """∂λ/∂q·a_i, (n_sets, n_q, 3, n_modes) in meV²."""
        n_sets, n_q, size, _ = eigenvectors.shape
        by_cosine, by_sine = self._plan.fourier.wave_slopes(waves, self._edges)
        # Lower triangles with all that is below the diagonal twice: Re(e†Le) = e†De.
        lower = unpacked(_doubled(torch.cat([real_space.even, real_space.odd], dim=-1), size))
        even, odd = (part.flatten(2).contiguous() for part in (lower.real, lower.imag))
        real = by_cosine.flatten(0, 1) @ even
        imaginary = by_sine.flatten(0, 1) @ odd
        matrices = torch.complex(real, imaginary).reshape(n_sets, n_q, 3, size, size)
        if self._polar_slopes is not None:
            dipoles = self._polar_slopes[block.q_points].to(real.dtype)
            matrices = matrices + unpacked(_doubled(dipoles, size))
        along = (matrices.flatten(2, 3) @ eigenvectors).unflatten(2, (3, size))
        return (along * eigenvectors.conj()[:, :, None]).real.sum(dim=3)

    def _lines(self, squared_energies: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        """Averages over energy bins of modes of unit |F|², (..., n_modes, n_energy)."""
        kernel = self._plan.kernel
        energy, by_square = continued_energy(squared_energies)
        occupation, _ = bose_occupation(energy, kernel.temperature)
        variance = slopes.square().sum(dim=-2) * (by_square.square() / 12)
        strength = 0.5 * HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM / energy
        lines = self._gaussians(energy, variance, strength * (occupation + 1), kernel.edges)
        if kernel.temperature > 0:
            # Energy gain: few modes reach the first bins, none the others.
            sigma = (kernel.resolution.sigma(-energy)[0].square() + variance).sqrt()
            highest = (REACH_GAUSSIAN * sigma - energy).max()
            n_bins = min(int(torch.searchsorted(kernel.edges, highest)), self._plan.n_energy)
            if n_bins > 0:
                edges = kernel.edges[: n_bins + 1]
                gain = self._gaussians(-energy, variance, strength * occupation, edges)
                lines[..., :n_bins] += gain
        return lines

    def _gaussians(
        self,
        centre: torch.Tensor,
        variance: torch.Tensor,
        strength: torch.Tensor,
        edges: torch.Tensor,
    ) -> torch.Tensor:
        sigma, _ = self._plan.kernel.resolution.sigma(centre)
        width = (sigma.square() + variance).sqrt()
        return gaussians_in_bins(edges, centre, width, strength)

    def _slopes_of_dipoles(self, polar: PolarPart) -> torch.Tensor:
        """(n_q, 3, (3 n_atoms)²) components in meV², by central differences."""
        points = self._plan.q_points[:, None]
        steps = _POLAR_STEP / 2 * self._edges
        ends = [polar.components((points + sign * steps).flatten(0, 1)) for sign in (1, -1)]
        return ((ends[0] - ends[1]) / _POLAR_STEP).unflatten(0, (-1, 3))


def _doubled(components: torch.Tensor, size: int) -> torch.Tensor:
    """Components (..., n²) with all that is off the diagonal twice."""
    rows, columns = torch.tril_indices(size, size, device=components.device)
    factors = torch.where(rows == columns, 1.0, 2.0).to(components.dtype)
    below = factors.new_full((components.shape[-1] - len(rows),), 2.0)
    return components * torch.cat([factors, below])


def parts_of_bins(
    centres: np.ndarray,
    bin_vectors: np.ndarray,
    counts: tuple[int, int, int],
    rotations: np.ndarray,
) -> BinSampling:
    """The middles of equal parts of each bin, reduced by `part_rotations`; parameters as there."""
    ticks = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    offsets = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.full(len(offsets), 1 / len(offsets))
    return BinSampling.at_offsets(centres, bin_vectors, offsets, weights, rotations)
