"""Derivatives of spectra by every force-constant parameter at once, for Gauss-Newton steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fcinv_core.scattering.dynamical import RealSpace
from fcinv_core.scattering.hermitian import packed_dyads
from fcinv_core.scattering.kernel import reciprocal_gaps
from fcinv_core.scattering.line_table import LineTable
from fcinv_core.scattering.plan import Block, SpectraPlan, momentum_squares
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.threads import run_blocks

KEPT_BYTES = 2**27
"""Changes of D(q) along all directions that take no more than this are kept with the plan."""


@dataclass(frozen=True)
class SpectraJacobian:
    """Spectra (n_rows, n_energy) in mbarn/meV per primitive cell, and their derivatives.

    Attributes
    ----------
    spectra
        Bin-averaged S(Q,E).
    parameters
        (n_rows, n_energy, n_par) along each direction.
    resolution
        (n_rows, n_energy) with respect to the logarithm of the resolution scale.
    """

    spectra: torch.Tensor
    parameters: torch.Tensor
    resolution: torch.Tensor


class _Changes:
    """Changes of D(q) along each direction at the q points of a plan, (n_q, (3 n_atoms)², n_par).

    They are always the same and cost as much as all that is done with them: kept, unless they
    would fill the memory.
    """

    def __init__(self, plan: SpectraPlan, directions: RealSpace) -> None:
        n_numbers = len(plan.q_points) * plan.fourier.n_modes**2 * len(directions.even)
        self._kept: dict[int, torch.Tensor] | None = None if 8 * n_numbers > KEPT_BYTES else {}
        # Translations first, parameters last.
        self._parts = [
            part.movedim(0, -1).to(plan.fourier.dtype).contiguous()
            for part in (directions.even, directions.odd)
        ]

    def at(self, block: Block, waves: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """At the q points of a block, whose waves are given."""
        if self._kept is None:
            return self._worked_out(waves)
        first = block.q_points.start
        if first not in self._kept:
            self._kept[first] = self._worked_out(waves)
        return self._kept[first]

    def _worked_out(self, waves: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        changes = [
            (wave @ part.flatten(1)).unflatten(1, part.shape[1:])
            for wave, part in zip(waves, self._parts, strict=True)
        ]
        return torch.cat(changes, dim=1)


def spectra_with_jacobian(
    plan: SpectraPlan,
    real_space: RealSpace,
    directions: RealSpace,
    tensors: torch.Tensor,
    tensor_slopes: torch.Tensor,
    resolution_scale: float = 1.0,
    polar: torch.Tensor | PolarPart | None = None,
) -> SpectraJacobian:
    """Spectra of one set of force constants, and their derivatives.

    To first order a change dD of the dynamical matrix moves each energy, which the slope of the
    line k turns into a change of the spectrum, and mixes modes, which changes |F|². Together that
    is exactly the divided difference of k; modes that coincide mix within their common energy,
    and the mean of their slopes stands for it.

    Parameters
    ----------
    plan, real_space, tensors, polar
        As for `spectra`, with n_sets = 1.
    directions
        Changes of ``real_space``, n_sets = n_par of them: those of one unit of each parameter.
    tensor_slopes
        ∂⟨u u⟩/∂p, (n_atoms, 3, 3, n_par).
    """
    n_par = len(directions.even)
    dtype, device = plan.fourier.dtype, plan.fourier.device
    value = torch.empty((plan.n_rows, plan.n_energy), dtype=dtype, device=device)
    jacobian = torch.empty((*value.shape, n_par), dtype=dtype, device=device)
    width = torch.empty_like(value)
    scale = torch.as_tensor(resolution_scale, dtype=dtype, device=device)
    changes_of = plan.kept_for(directions, lambda: _Changes(plan, directions))
    tensors, tensor_slopes = tensors.to(dtype), tensor_slopes.to(dtype)
    by_momentum = 0.5 * tensor_slopes.reshape(-1, 9, n_par).transpose(0, 1).reshape(9, -1)

    table = LineTable.worthwhile(plan.kernel, scale, plan.n_modes, derivatives=True)

    def differentiate(block: Block) -> None:
        waves = plan.waves(block)
        modes = plan.modes(block, real_space, waves, polar)
        changes = changes_of.at(block, waves)
        if table is None:
            lines = plan.kernel.lines(modes.squared_energies, scale, derivatives=True)
            assert lines.slope is not None and lines.by_width is not None
            line, slope, by_width = map(lines.dense, (lines.value, lines.slope, lines.by_width))
        else:
            line, slope, by_width = table.derivatives(modes.squared_energies)
        kernels, widths = torch.cat([line, slope], dim=2)[0], by_width[0]
        reciprocal, close = (part[0] for part in reciprocal_gaps(modes.squared_energies))
        vectors = modes.eigenvectors[0]
        n_modes = vectors.shape[-1]
        per_sample = 8 * (6 * n_modes**3 + (n_modes**2 + 4 * n_modes) * n_par)
        for samples in plan.samples(block, per_sample + 16 * n_modes * plan.n_energy):
            index = samples.index.reshape(-1)
            n_rows, n_samples = samples.index.shape
            chosen = vectors[index]
            sources = plan.vectors(samples, tensors)[0]
            by_atom = (sources[..., None] * chosen).unflatten(1, (-1, 3)).sum(dim=2)
            amplitudes = by_atom.sum(dim=1)
            conjugate = amplitudes.conj()
            # What mixes into each mode, and what moves with it.
            partners = torch.cat([reciprocal[index], 0.5 * close[index]], dim=1)
            mixed = (partners * conjugate[:, None]) @ chosen.transpose(1, 2)
            own = (amplitudes[:, None] * chosen.conj()).transpose(1, 2).repeat(1, 2, 1)
            coefficients = packed_dyads(mixed, own)
            terms = coefficients @ changes.index_select(0, index)
            squares = momentum_squares(samples.momentum.to(dtype))
            exponent_slopes = (squares @ by_momentum).reshape(len(index), -1, n_par)
            shares = -2 * (conjugate[:, None] * by_atom).real
            terms[:, :n_modes] += shares.transpose(1, 2) @ exponent_slopes
            terms *= plan.weights.repeat(n_rows)[:, None, None]
            gathered = kernels.index_select(0, index).reshape(n_rows, -1, plan.n_energy)
            torch.bmm(
                gathered.transpose(1, 2),
                terms.reshape(n_rows, -1, n_par),
                out=jacobian[samples.rows],
            )
            strength = amplitudes.abs().square() * plan.weights.repeat(n_rows)[:, None]
            strength = strength.reshape(n_rows, n_samples, 1, n_modes)
            lines_of = gathered.reshape(n_rows, n_samples, 2 * n_modes, -1)[:, :, :n_modes]
            value[samples.rows] = (strength @ lines_of)[:, :, 0].sum(dim=1)
            widths_of = widths[samples.index]
            width[samples.rows] = (strength @ widths_of)[:, :, 0].sum(dim=1)

    run_blocks(differentiate, plan.blocks, device)
    return SpectraJacobian(value, jacobian, width)
