"""One-phonon coherent spectra of sampled Q bins, differentiable.

S(Q,E) = Σ_ν |F_ν(Q)|²/(2ω_ν) {(n+1) δ(E-ω) + n δ(E+ω)},
F_ν(Q) = Σ_κ b_κ/√m_κ (Q·e_κν(q)) exp(-iQ·r_κ) exp(-W_κ(Q))

(Squires, eq. 3.120, with the phase convention of `dynamical`).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from fcinv_core.scattering.dynamical import RealSpace
from fcinv_core.scattering.hermitian import packed_gradient
from fcinv_core.scattering.kernel import Lines, reciprocal_gaps
from fcinv_core.scattering.line_table import LineTable
from fcinv_core.scattering.plan import Block, Samples, SpectraPlan, momentum_squares
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.threads import map_blocks, run_blocks

with warnings.catch_warnings():
    # torch announces once that these tensors are new.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))


def spectra(
    plan: SpectraPlan,
    real_space: RealSpace,
    tensors: torch.Tensor,
    resolution_scale: torch.Tensor | float = 1.0,
    polar: torch.Tensor | PolarPart | None = None,
) -> torch.Tensor:
    """Bin-averaged S(Q,E): (n_sets, n_rows, n_energy) in mbarn/meV per primitive cell.

    Differentiable in all tensors, at degenerate modes too: the derivative of k(λ) is taken by
    divided differences, eigenvectors are never differentiated.

    Parameters
    ----------
    plan
        Bins of `SpectraPlan`.
    real_space
        Force constants by translation.
    tensors
        ⟨u u⟩ (n_sets, n_atoms, 3, 3) in Å².
    resolution_scale
        Factor on the width of lines.
    polar
        (n_q, (3 n_atoms)²) components in meV² to add to D(q) at ``plan.q_points``; or what works
        them out, block by block unless it is to be differentiated.
    """
    if isinstance(polar, PolarPart) and polar.is_differentiable and torch.is_grad_enabled():
        polar = polar.components(plan.q_points)
    tensors = tensors.to(plan.fourier.dtype)
    scale = torch.as_tensor(resolution_scale, dtype=tensors.dtype, device=tensors.device)
    return _Spectra.apply(real_space.even, real_space.odd, tensors, scale, polar, plan)


class _Spectra(torch.autograd.Function):
    """`spectra` and its vector-Jacobian product.

    Modes are worked out again on the way back instead of being kept: memory stays that of a few
    blocks.
    """

    @staticmethod
    def forward(
        ctx: Any,
        even: torch.Tensor,
        odd: torch.Tensor,
        tensors: torch.Tensor,
        scale: torch.Tensor,
        polar: torch.Tensor | PolarPart | None,
        plan: SpectraPlan,
    ) -> torch.Tensor:
        ctx.save_for_backward(even, odd, tensors, scale)
        ctx.plan, ctx.polar = plan, polar
        result = tensors.new_empty((len(tensors), plan.n_rows, plan.n_energy))

        table = LineTable.worthwhile(plan.kernel, scale, plan.n_modes * len(tensors))

        def evaluate(task: tuple[Block, slice]) -> None:
            block, sets = task
            chosen = RealSpace(even[sets], odd[sets])
            modes = plan.modes(block, chosen, plan.waves(block), polar)
            if table is None:
                lines = plan.kernel.lines(modes.squared_energies, scale)
                dense = lines.dense(lines.value).reshape(-1, plan.n_energy)
            else:
                dense = table.values(modes.squared_energies).reshape(-1, plan.n_energy)
            n_modes = plan.fourier.n_modes
            bytes_per_sample = 16 * n_modes * (n_modes + 4) * len(modes.eigenvectors)
            for samples in plan.samples(block, bytes_per_sample):
                amplitudes = mode_amplitudes(plan, samples, tensors[sets], modes.eigenvectors)
                strength = amplitudes.abs().square()
                result[sets, samples.rows] = weighted_sums(
                    strength, plan.weights, samples.index, dense
                )

        run_blocks(evaluate, plan.tasks(len(tensors)), plan.fourier.device)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        even, odd, tensors, scale = ctx.saved_tensors
        plan: SpectraPlan = ctx.plan
        polar = ctx.polar

        def pull_back(task: tuple[Block, slice]) -> tuple[torch.Tensor, ...]:
            block, sets = task
            chosen = RealSpace(even[sets], odd[sets])
            return _pull_back(plan, block, gradient[sets], chosen, tensors[sets], scale, polar)

        by_even, by_odd = torch.zeros_like(even), torch.zeros_like(odd)
        by_tensors, by_scale = torch.zeros_like(tensors), torch.zeros_like(scale)
        by_polar = torch.zeros_like(polar) if ctx.needs_input_grad[4] else None
        tasks = plan.tasks(len(tensors))
        parts = map_blocks(pull_back, tasks, plan.fourier.device)
        for (block, sets), part in zip(tasks, parts, strict=True):
            matrices, even_part, odd_part, tensor_part, scale_part = part
            by_even[sets] += even_part
            by_odd[sets] += odd_part
            by_tensors[sets] += tensor_part
            by_scale += scale_part
            if by_polar is not None:
                by_polar[block.q_points] += matrices.sum(dim=0)
        return by_even, by_odd, by_tensors, by_scale, by_polar, None


def mode_amplitudes(
    plan: SpectraPlan, samples: Samples, tensors: torch.Tensor, eigenvectors: torch.Tensor
) -> torch.Tensor:
    """F_ν(Q) of each sample, (n_sets, n, n_modes) in fm Å⁻¹ u^-½."""
    vectors = plan.vectors(samples, tensors)
    chosen = eigenvectors[:, samples.index.reshape(-1)]
    return (vectors[..., None, :] @ chosen)[..., 0, :]


def weighted_sums(
    strength: torch.Tensor, weights: torch.Tensor, index: torch.Tensor, dense: torch.Tensor
) -> torch.Tensor:
    """Σ over samples and modes of strength · weight · line: (n_sets, n_rows, n_energy).

    A sparse matrix acts on the lines of all q points, which are not copied for each sample.
    """
    n_sets, _, n_modes = strength.shape
    n_rows, n_samples = index.shape
    values = strength.reshape(n_sets, n_rows, n_samples, n_modes) * weights[:, None]
    n_q = len(dense) // (n_sets * n_modes)
    sets = torch.arange(n_sets, device=index.device)[:, None, None] * n_q
    columns = (sets + index)[..., None] * n_modes + torch.arange(n_modes, device=index.device)
    starts = torch.arange(n_sets * n_rows + 1, device=index.device) * (n_samples * n_modes)
    matrix = torch.sparse_csr_tensor(
        starts, columns.reshape(-1), values.reshape(-1), (n_sets * n_rows, len(dense))
    )
    return (matrix @ dense).reshape(n_sets, n_rows, -1)


def _pull_back(
    plan: SpectraPlan,
    block: Block,
    gradient: torch.Tensor,
    real_space: RealSpace,
    tensors: torch.Tensor,
    scale: torch.Tensor,
    polar: torch.Tensor | PolarPart | None,
) -> tuple[torch.Tensor, ...]:
    """Share of a block in the gradient by D(q), even, odd, tensors and resolution scale.

    With b_ν and c_ν the gradient of the spectrum times k(λ_ν) and dk/dλ, the gradient by D is
    Σ_μν Γ_μν F_μ F_ν* e_ν e_μ†, Γ the divided difference of b.
    """
    waves = plan.waves(block)
    modes = plan.modes(block, real_space, waves, polar)
    lines = plan.kernel.lines(modes.squared_energies, scale, derivatives=True)
    vectors = modes.eigenvectors
    n_sets, _, n_modes = modes.squared_energies.shape
    by_value, by_slope = torch.zeros_like(vectors), torch.zeros_like(vectors)
    by_tensors, by_scale = torch.zeros_like(tensors).flatten(2), torch.zeros_like(scale)
    bytes_per_sample = 8 * n_sets * n_modes * (4 * n_modes + 4 * lines.value.shape[-1])
    for samples in plan.samples(block, bytes_per_sample):
        index = samples.index.reshape(-1)
        sources = plan.vectors(samples, tensors)
        chosen = vectors[:, index]
        amplitudes = (sources[..., None, :] @ chosen)[..., 0, :]
        value, slope, width = _projections(gradient[:, samples.rows], lines, samples, plan.weights)
        conjugate = amplitudes.conj()
        outer = amplitudes[..., :, None] * conjugate[..., None, :]
        by_value.index_add_(1, index, outer * value[..., :, None])
        by_slope.index_add_(1, index, outer * slope[..., :, None])
        by_scale += (amplitudes.abs().square() * width).sum() / scale
        # dF_ν/dW_κ is minus what atom κ contributes to F_ν.
        returned = (chosen @ (conjugate * value)[..., None])[..., 0]
        by_exponent = -2 * (sources * returned).real.unflatten(-1, (-1, 3)).sum(dim=-1)
        squares = momentum_squares(samples.momentum.to(scale.dtype))
        by_tensors += 0.5 * by_exponent.transpose(1, 2) @ squares
    reciprocal, close = reciprocal_gaps(modes.squared_energies)
    middle = reciprocal * (by_value - by_value.mH) + 0.5 * close * (by_slope + by_slope.mH)
    matrices = packed_gradient(vectors @ middle.transpose(-1, -2) @ vectors.mH)
    cosines, sines = waves
    n_even = real_space.even.shape[-1]
    return (
        matrices,
        cosines.T @ matrices[..., :n_even],
        sines.T @ matrices[..., n_even:],
        by_tensors.reshape(tensors.shape),
        by_scale,
    )


def _projections(
    gradient: torch.Tensor, lines: Lines, samples: Samples, weights: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Σ_j g_j k_j of each sample and mode, with k the line, its slope and its change by width.

    Parameters
    ----------
    gradient
        (n_sets, n_rows, n_energy) of the rows of ``samples``.

    Returns
    -------
    Three of (n_sets, n, n_modes), weights of the samples included.
    """
    assert lines.slope is not None and lines.by_width is not None
    n_rows, n_samples = samples.index.shape
    index = samples.index.reshape(-1)
    row = torch.arange(n_rows, device=index.device).repeat_interleave(n_samples)
    places = lines.bins()[:, index] + (row * lines.n_bins)[:, None, None, None]
    taken = gradient.flatten(1).gather(1, places.flatten(1)).reshape(places.shape)
    taken = taken * weights.repeat(n_rows)[:, None, None, None]
    return tuple(
        (taken * windows[:, index]).sum(dim=(-2, -1))
        for windows in (lines.value, lines.slope, lines.by_width)
    )
