"""Incoherent one-phonon scattering, and multiphonon scattering in the incoherent approximation.

Every atom scatters on its own, so that spectra depend on |Q| and its direction but not on where
in the Brillouin zone Q lies. Per primitive cell, with 2W_κ = Q·⟨u u⟩_κ·Q,

    S₁(Q,E) = Σ_κ σ_inc/4π e^{-2W} ħ²/(2 m_κ N) Σ_qν |Q·e_κν|²/E_ν {(n+1) δ(E-E_ν) + n δ(E+E_ν)}
    S₂₊(Q,E) = Σ_κ (b² + σ_inc/4π) Σ_{p≥2} e^{-2W} (2W)^p/p! φ_κ^{*p}(E)

(Squires, eq. 3.138 and section 3.10; A. Sjölander, Ark. Fys. 14, 315 (1958)). φ_κ, of unit area,
is the spectrum that one phonon gives; φ^{*p} is folded with itself p - 1 times. It depends on the
direction of Q, which is kept for two phonons and averaged over for more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.scattering.displacements import MESH_LENGTH, irreducible_mesh, symmetriser
from fcinv_core.scattering.dynamical import Modes, RealSpace
from fcinv_core.scattering.irreducible import with_time_reversal
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.partial_densities import (
    ModeFunctions,
    diagonalised,
    partial_densities,
)
from fcinv_core.scattering.phonon_expansion import (
    PhononExpansion,
    direction_components,
    pair_components,
)
from fcinv_core.scattering.plan import momentum_squares
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.threads import block_slices
from fcinv_core.units import MBARN_PER_SQUARE_FM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

N_MODES = 12_000
"""About so many modes that symmetry does not relate are summed, unless the mesh of the
displacements has more: densities of states then are smooth on the scale of usual resolutions."""

SQUARE_FM_PER_BARN = 100.0

_CHUNK_BYTES = 2**26
"""Temporary arrays of the momenta that are worked on together take about this."""


def mesh_length(crystal: Crystal, n_modes: int = N_MODES) -> float:
    """Å: length over |a| is the number of mesh points along each reciprocal axis."""
    n_operations = len(with_time_reversal(crystal.point_group_rotations))
    n_points = n_modes * n_operations / (3 * crystal.n_primitive)
    lengths = np.linalg.norm(crystal.primitive_lattice, axis=1)
    return max(MESH_LENGTH, float(np.prod(lengths) * n_points) ** (1 / 3))


class IncoherentScattering:
    """What the atoms of a crystal scatter each on its own, on the energy bins of a kernel.

    Parameters
    ----------
    dynamics
        Of the crystal; its device and precision are used.
    kernel
        Energy bins, temperature, resolution.
    one_phonon
        Whether incoherent scattering by one phonon is wanted.
    multiphonon
        Whether coherent and incoherent scattering by two or more phonons is wanted.
    n_modes
        About so many modes are summed, see `N_MODES`. Spectra of several phonons, which are
        smooth by themselves, need fewer.

    Raises
    ------
    FcinvError
        When the incoherent cross section of an element is unknown.
    """

    def __init__(
        self,
        dynamics: LatticeDynamics,
        kernel: ModeKernel,
        *,
        one_phonon: bool,
        multiphonon: bool,
        n_modes: int = N_MODES,
    ) -> None:
        crystal, fourier = dynamics.crystal, dynamics.fourier
        self._fourier = fourier
        self._one_phonon, self._multiphonon = one_phonon, multiphonon
        self._kernel = kernel.to(fourier.device, fourier.dtype)
        self._q_points, weights = irreducible_mesh(crystal, mesh_length(crystal, n_modes))
        self._waves = fourier.waves(self._q_points)
        self._weights = self._tensor(weights)

        average = symmetriser(*crystal.atom_operations)
        self._symmetriser = self._tensor(average)
        # Atoms that operations exchange are of one kind: traces of their tensors are equal.
        moved = crystal.atom_operations[1].min(axis=0)
        first, kind = np.unique(moved, return_inverse=True)
        self._kinds = torch.as_tensor(first, device=fourier.device)
        self._kind = torch.as_tensor(kind.reshape(-1), device=fourier.device)

        incoherent = crystal.primitive_incoherent_cross_sections * SQUARE_FM_PER_BARN / (4 * np.pi)
        total = incoherent + crystal.primitive_scattering_lengths**2
        self._one_strength = self._tensor(incoherent / crystal.primitive_masses)
        self._many_strength = self._tensor(total * MBARN_PER_SQUARE_FM)

    def _tensor(self, values: np.ndarray | torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(values, dtype=self._fourier.dtype, device=self._fourier.device)

    def spectra(
        self,
        real_space: RealSpace,
        momenta: torch.Tensor,
        tensors: torch.Tensor,
        resolution_scale: torch.Tensor | float = 1.0,
        polar: PolarPart | None = None,
    ) -> torch.Tensor:
        """Bin-averaged S(Q,E), (n_sets, n, n_energy) in mbarn/meV per primitive cell.

        Differentiable in ``real_space``, ``tensors``, ``resolution_scale`` and the charges of
        ``polar``. Besides the result, memory is taken for some momenta at a time only.

        Parameters
        ----------
        real_space
            Force constants by translation.
        momenta
            (n, 3) Q in 1/Å, Cartesian axes of the crystal.
        tensors
            ⟨u u⟩ (n_sets, n_atoms, 3, 3) in Å².
        resolution_scale
            Factor on the width of lines.
        polar
            The dipole part of polar crystals.
        """
        momenta = momenta.to(self._fourier.device, self._fourier.dtype)
        tensors = tensors.to(self._fourier.dtype)
        n_energy = len(self._kernel.edges) - 1
        table = tensors.new_zeros((len(tensors), 0, n_energy))
        areas, n_orders = table, 0
        if self._one_phonon or self._multiphonon:
            matrices = real_space.matrices(self._waves)
            if polar is not None:
                matrices = matrices + polar.stored(self._q_points).to(matrices.dtype)
            modes = diagonalised(matrices)
        if self._one_phonon:
            table = self._densities(matrices, modes, self._kernel.lines, resolution_scale)
        if self._multiphonon:
            expansion = PhononExpansion.for_modes(self._kernel, modes.squared_energies)
            n_orders = expansion.n_orders(_largest_exponent(momenta, tensors))
            areas = self._densities(matrices, modes, expansion).unflatten(1, (-1, 9))
            areas = areas[:, :, [0, 4, 8, 5, 2, 1]]
            total = areas.sum(dim=-1, keepdim=True)
            mean = total[:, :, :3].mean(dim=2, keepdim=True)
            two, more = expansion.folded(areas / mean, self._kinds, n_orders, resolution_scale)
            table = torch.cat([table, two.flatten(1, 2), more.flatten(1, 2)], dim=1)
            areas = (total / mean)[..., 0]

        def coefficients(
            part: torch.Tensor, tensors: torch.Tensor, areas: torch.Tensor
        ) -> torch.Tensor:
            return self._coefficients(part, tensors, areas, n_orders)

        n_bytes = 8 * len(tensors) * (2 * table.shape[1] + 4 * len(self._kind) * (n_orders + 9))
        chunks = block_slices(len(momenta), n_bytes, _CHUNK_BYTES)
        return _InChunks.apply(tensors, areas, table, momenta, coefficients, chunks)

    def _densities(
        self,
        matrices: torch.Tensor,
        modes: Modes,
        functions: ModeFunctions,
        resolution_scale: torch.Tensor | float = 1.0,
    ) -> torch.Tensor:
        """(n_sets, 9 n_atoms, n_bins); operations restore what irreducible points leave out."""
        densities = partial_densities(matrices, modes, self._weights, functions, resolution_scale)
        return self._symmetriser @ densities.flatten(1, 2)

    def _coefficients(
        self, momenta: torch.Tensor, tensors: torch.Tensor, areas: torch.Tensor, n_orders: int
    ) -> torch.Tensor:
        """Of each row of the table for each momentum, (n_sets, n, n_rows).

        Parameters
        ----------
        areas
            (n_sets, n_atoms, 6) of the spectra of one phonon on the grid, which come from another
            mesh than ``tensors``; their ratio to 2W is taken out along every direction.
        """
        squares = momentum_squares(momenta)
        exponent = squares @ tensors.flatten(2).transpose(1, 2)
        result = []
        if self._one_phonon:
            strength = self._one_strength * torch.exp(-exponent)
            result.append((strength[..., None] * squares[:, None]).flatten(2))
        if self._multiphonon:
            # (2W)^p/p! overflows where exp(-2W) underflows.
            orders = torch.arange(2, n_orders + 1, dtype=exponent.dtype, device=exponent.device)
            logarithm = exponent.clamp(min=1e-18).log()[..., None] * orders
            poisson = torch.exp(logarithm - torch.lgamma(orders + 1) - exponent[..., None])
            strength = self._many_strength[:, None] * poisson
            directions = direction_components(momenta)
            area = (directions @ areas.transpose(1, 2)).clamp(min=1e-12)
            two = (strength[..., 0] / area.square())[..., None] * pair_components(directions)[
                :, None
            ]
            more = strength.new_zeros((*strength.shape[:2], len(self._kinds), len(orders) - 1))
            result += [two.flatten(2), more.index_add(2, self._kind, strength[..., 1:]).flatten(2)]
        return torch.cat(result, dim=-1) if result else squares[None, :, :0]


def _largest_exponent(momenta: torch.Tensor, tensors: torch.Tensor) -> float:
    """No 2W of any atom and momentum is larger."""
    if len(momenta) == 0:
        return 0.0
    largest = torch.linalg.matrix_norm(tensors.detach()).max()
    return float(largest * momenta.square().sum(dim=1).max())


class _InChunks(torch.autograd.Function):
    """coefficients(momenta, ...) @ table, with the temporary arrays of one chunk at a time.

    The coefficients are worked out again on the way back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        tensors: torch.Tensor,
        areas: torch.Tensor,
        table: torch.Tensor,
        momenta: torch.Tensor,
        coefficients: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        chunks: list[slice],
    ) -> torch.Tensor:
        ctx.save_for_backward(tensors, areas, table, momenta)
        ctx.coefficients, ctx.chunks = coefficients, chunks
        result = table.new_empty((len(table), len(momenta), table.shape[-1]))
        for part in chunks:
            result[:, part] = coefficients(momenta[part], tensors, areas) @ table
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensors, areas, table, momenta = ctx.saved_tensors
        by_tensors, by_areas = torch.zeros_like(tensors), torch.zeros_like(areas)
        by_table = torch.zeros_like(table)
        given = tensors.detach().requires_grad_(), areas.detach().requires_grad_()
        for part in ctx.chunks:
            with torch.enable_grad():
                strength = ctx.coefficients(momenta[part], *given)
            taken = gradient[:, part]
            by_table += strength.detach().transpose(1, 2) @ taken
            shares = torch.autograd.grad(
                strength, given, taken @ table.transpose(1, 2), materialize_grads=True
            )
            by_tensors += shares[0]
            by_areas += shares[1]
        return by_tensors, by_areas, by_table, None, None, None
