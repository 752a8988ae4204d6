"""Sums over modes of many functions of the squared energy at once, resolved by atom.

    Σ_qν w_q k_j(λ_qν) Re(e_κν e_κν†),   e.g. displacements (one k) or densities of states (k_j a
                                         line in energy bin j)

Differentiable: the sums are blocks of the functions k_j of the dynamical matrices, so that only
divided differences of k_j are needed, and eigenvectors are never differentiated (see `kernel`).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from fcinv_core.scattering.dynamical import Modes
from fcinv_core.scattering.hermitian import packed_gradient
from fcinv_core.scattering.kernel import Lines, divided_differences, reciprocal_gaps
from fcinv_core.scattering.threads import block_bytes, block_slices, map_blocks


class ModeFunctions(Protocol):
    """Functions k_j(λ), given where they do not vanish; `ModeKernel.lines` is one such."""

    def __call__(
        self,
        squared_energies: torch.Tensor,
        resolution_scale: float | torch.Tensor = 1.0,
        *,
        derivatives: bool = False,
    ) -> Lines:
        """k_j and, if asked for, its derivatives, for λ (..., n_modes) in meV²."""
        ...


def diagonalised(matrices: torch.Tensor) -> Modes:
    """Modes of packed matrices (n_sets, n_q, (3 n_atoms)²), which are not differentiated."""
    given = matrices.detach()
    n_bytes = 32 * len(given) * given.shape[-1]
    slices = block_slices(given.shape[1], n_bytes, block_bytes(given.device))
    parts = list(map_blocks(lambda part: Modes.from_packed(given[:, part]), slices, given.device))
    return Modes(
        torch.cat([part.squared_energies for part in parts], dim=1),
        torch.cat([part.eigenvectors for part in parts], dim=1),
    )


def partial_densities(
    matrices: torch.Tensor,
    modes: Modes,
    weights: torch.Tensor,
    functions: ModeFunctions,
    resolution_scale: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Σ_qν w_q k_j(λ_qν) Re(e_κν e_κν†): (n_sets, n_atoms, 9, n_bins).

    Parameters
    ----------
    matrices
        (n_sets, n_q, (3 n_atoms)²) components of D(q) in meV²; differentiable.
    modes
        Of the very same matrices, see `diagonalised`.
    weights
        (n_q,) w_q.
    functions
        k_j.
    resolution_scale
        What ``functions`` depend on besides λ; differentiable.
    """
    scale = torch.as_tensor(resolution_scale, dtype=matrices.dtype, device=matrices.device)
    return _PartialDensities.apply(matrices, scale, modes, weights, functions)


class _PartialDensities(torch.autograd.Function):
    """`partial_densities` and its vector-Jacobian product."""

    @staticmethod
    def forward(
        ctx: Any,
        matrices: torch.Tensor,
        scale: torch.Tensor,
        modes: Modes,
        weights: torch.Tensor,
        functions: ModeFunctions,
    ) -> torch.Tensor:
        squares, vectors = modes.squared_energies, modes.eigenvectors
        ctx.save_for_backward(squares, vectors, weights, scale)
        ctx.functions = functions

        def evaluate(part: slice) -> torch.Tensor:
            lines = functions(squares[:, part], scale)
            strength = _strengths(vectors[:, part], weights[part])
            return lines.summed(strength)

        slices = _slices(functions, modes, scale)
        total = sum(map_blocks(evaluate, slices, matrices.device))
        assert isinstance(total, torch.Tensor)
        return total.unflatten(1, (-1, 9))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """By divided differences.

        With H(λ) = Σ_j g_j k_j(λ), g_j the gradient by bin j as blocks of a matrix, that by D is
        Σ_μν e_ν Γ_νμ e_μ†, Γ_νμ = e_ν† [H(λ_μ) - H(λ_ν)] e_μ/(λ_μ - λ_ν).
        """
        squares, vectors, weights, scale = ctx.saved_tensors
        # What it multiplies is symmetric.
        tensors = gradient.unflatten(2, (3, 3))
        symmetric = (0.5 * (tensors + tensors.transpose(2, 3))).flatten(1, 3)

        def pull_back(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
            chosen = vectors[:, part]
            lines = ctx.functions(squares[:, part], scale, derivatives=True)
            assert lines.slope is not None
            if lines.n_bins == 1:
                value, slope = (lines.dense(k)[..., 0] for k in (lines.value, lines.slope))
                couplings = _couplings(torch.ones_like(value)[..., None], symmetric, chosen)
                middle = divided_differences(squares[:, part], value, slope) * couplings
            else:
                by_value = _couplings(lines.dense(lines.value), symmetric, chosen)
                by_slope = _couplings(lines.dense(lines.slope), symmetric, chosen)
                reciprocal, close = reciprocal_gaps(squares[:, part])
                middle = reciprocal * (by_value.mH - by_value)
                middle = middle + 0.5 * close * (by_slope + by_slope.mH)
            middle = middle * weights[part, None, None]
            by_scale = torch.zeros_like(scale)
            if ctx.needs_input_grad[1] and lines.by_width is not None:
                strength = _strengths(chosen, weights[part])
                taken = strength @ lines.dense(lines.by_width).flatten(1, 2)
                by_scale = (taken * gradient.flatten(1, 2)).sum() / scale
            return packed_gradient(chosen @ middle @ chosen.mH), by_scale

        slices = _slices(ctx.functions, Modes(squares, vectors), scale)
        parts = list(map_blocks(pull_back, slices, gradient.device))
        by_matrices = torch.cat([part for part, _ in parts], dim=1)
        by_scale = torch.stack([part for _, part in parts]).sum()
        return by_matrices, by_scale, None, None, None


def _slices(functions: ModeFunctions, modes: Modes, scale: torch.Tensor) -> list[slice]:
    """q points in parts whose temporary arrays stay within bounds."""
    n_sets, n_q, n_modes = modes.squared_energies.shape
    n_bins = functions(modes.squared_energies[:1, :1], scale).n_bins
    n_bytes = 8 * n_sets * n_modes * (n_bins + 12 * n_modes)
    return block_slices(n_q, n_bytes, block_bytes(scale.device))


def _by_atom(vectors: torch.Tensor) -> torch.Tensor:
    """(n_sets, n_q, n_atoms, 3, n_modes) of eigenvectors."""
    return vectors.reshape(*vectors.shape[:2], -1, 3, vectors.shape[-1])


def _strengths(vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """w_q Re(e e†), (n_sets, 9 n_atoms, n_q * n_modes)."""
    by_atom = _by_atom(vectors).movedim(1, 3)
    weighted = by_atom * weights[:, None]
    first, second = weighted[:, :, :, None], by_atom[:, :, None]
    outer = first.real * second.real + first.imag * second.imag
    return outer.flatten(4).flatten(1, 3)


def _couplings(
    functions: torch.Tensor, gradient: torch.Tensor, vectors: torch.Tensor
) -> torch.Tensor:
    """e_ν† H(λ_μ) e_μ, (n_sets, n_q, n_modes, n_modes), from k_j(λ_μ) on all bins."""
    n_sets, n_q, n_modes = vectors.shape[0], vectors.shape[1], vectors.shape[-1]
    acting = functions.flatten(1, 2) @ gradient.transpose(1, 2)
    acting = acting.reshape(n_sets, n_q, n_modes, -1, 3, 3)
    turned = torch.einsum(
        "sqmnxy,sqnymr->sqnxmr", acting, torch.view_as_real(_by_atom(vectors))
    ).contiguous()
    return vectors.mH @ torch.view_as_complex(turned).flatten(2, 3)
