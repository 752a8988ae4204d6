"""A last look, at the spectra themselves: a Gauss-Newton step on gathered counts.

Counts of a cell are what its modes give (`Lines`), times a scale, and a background:

    counts(E) = expected(E) [a S(E) + b₀ + b₁ E].

Force constants, scale and background follow from linear least squares. What is learned is how far
each energy bin can be trusted: cells are no points, backgrounds are not straight, and lines far
from their places fit nothing.
"""

from __future__ import annotations

import torch

from fcinv_core.networks.lines import Lines
from fcinv_core.networks.normal_equations import prior_precision, solution_of
from fcinv_core.networks.spectra import CellSpectra
from fcinv_core.networks.step import widened

MODEL_ERROR = 0.15
"""Of the counts that a line gives, relative, before anything is learned."""

FLOOR = 0.05
"""The same for all bins of a cell, relative to the highest of them."""

_LEAST_VARIANCE = 0.3
_CONTEXT = 8
_N_FEATURES = 7
_COARSE = 4
"""Energy bins that are trusted alike."""

_LARGEST_MISFIT = 8.0


class SpectraFit(torch.nn.Module):
    """One step, with learned weights of energy bins.

    Parameters
    ----------
    width
        Of what `Step` says of the measurement as a whole.
    hidden
        Width of the layers.
    """

    def __init__(self, width: int, hidden: int = 24) -> None:
        super().__init__()
        linear, gelu = torch.nn.Linear, torch.nn.GELU
        self.context = linear(width, _CONTEXT)
        self.trust = torch.nn.Sequential(
            linear(_N_FEATURES + _CONTEXT, hidden),
            gelu(),
            linear(hidden, hidden),
            gelu(),
            linear(hidden, 1),
        )
        self.widening = linear(width, 2)
        self.damping = linear(width, 1)

    def forward(
        self, spectra: CellSpectra, present: torch.Tensor, whole: torch.Tensor, top: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates, and the inverse of their covariance.

        Parameters
        ----------
        spectra
            Of n measurements.
        present
            (n, n_coordinates) to start from.
        whole
            (n, width): what the last `Step` said of the measurements.
        top
            meV: the highest energy of the prior's centre.

        Returns
        -------
        (n, n_coordinates) and (n, n_coordinates, n_coordinates), differentiable by the weights
        of the network.
        """
        edges, counts, expected = spectra.binned()
        lines = Lines.of(spectra, present, edges)
        intensity = lines.intensity
        scale = _total(counts) / _total(expected * intensity).clamp(min=1e-9)
        fitting = scale * intensity * expected
        noise = 0.5 * (fitting + counts) + _LEAST_VARIANCE + (MODEL_ERROR * fitting).square()
        noise = noise + (FLOOR * fitting.amax(dim=-1, keepdim=True)).square()
        middles = 0.5 * (edges[1:] + edges[:-1])
        features = _features(counts, expected, fitting)
        own = top * present[:, :1].sqrt()[..., None, None]
        places = [middles / own, (middles / spectra.energy_fwhm).log()]
        features += [place.expand(counts.shape) for place in places]
        seen = _coarse(torch.stack(features, dim=-2))
        context = self.context(whole)[:, None, None, None].expand(*seen.shape[:-1], -1)
        trust = self.trust(torch.cat([seen, context], dim=-1))[..., 0].clamp(-8.0, 4.0)
        trust = trust.repeat_interleave(_COARSE, dim=-1)[..., : counts.shape[-1]]
        weights = trust.exp() * (expected > 0) / noise
        straight = torch.stack([torch.ones_like(middles), middles / edges[-1]])
        damping = self.damping(whole).clamp(-6.0, 6.0).exp()
        return _solved(
            lines, intensity, straight, counts, expected, weights, scale, present, damping
        )

    def widened(self, matrix: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """`widened` as this fit has learned."""
        return widened(matrix, self.widening(whole))


def _features(
    counts: torch.Tensor, expected: torch.Tensor, fitting: torch.Tensor
) -> list[torch.Tensor]:
    """Of each energy bin, of order 1."""
    misfit = (counts + 0.375).sqrt() - (fitting + 0.375).sqrt()
    misfit = misfit.clamp(-_LARGEST_MISFIT, _LARGEST_MISFIT) / 2
    return [(values.log1p() / 3) for values in (counts, fitting, expected)] + [
        misfit,
        misfit.square(),
    ]


def _coarse(features: torch.Tensor) -> torch.Tensor:
    """Means (..., n_coarse, n_features) over `_COARSE` energy bins of (..., n_features, n)."""
    pooled = torch.nn.functional.avg_pool1d(
        features.flatten(0, -3), _COARSE, ceil_mode=True, count_include_pad=False
    )
    return pooled.unflatten(0, features.shape[:-2]).transpose(-1, -2)


def _solved(
    lines: Lines,
    intensity: torch.Tensor,
    straight: torch.Tensor,
    counts: torch.Tensor,
    expected: torch.Tensor,
    weights: torch.Tensor,
    scale: torch.Tensor,
    present: torch.Tensor,
    damping: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Least squares for changes of coordinates, scale and background.

    ``damping`` (n, 1) keeps changes of shapes small: what is far is not linear.
    """
    n_coordinates = present.shape[1]
    n_modes = lines.shares.shape[-1]
    n, n_kinds, n_cells, _ = intensity.shape
    # What counts are a sum of, over those expected: (n, n_cells, 2 n_modes + 2, n_energies).
    parts = torch.cat(
        [lines.lines, lines.slopes, straight.expand(n, n_cells, *straight.shape)], dim=2
    )[:, None]
    weighted = parts * (weights * expected)[..., None, :]
    right = (weighted @ counts[..., None])[..., 0].flatten(1, 2)
    moments = ((weighted * expected[..., None, :]) @ parts.mT).flatten(1, 2)
    # Each cell's parts as a sum of unknowns': coordinates, scale, flat and sloping background.
    into = moments.new_zeros(n, n_kinds * n_cells, n_coordinates + 3, 2 * n_modes + 2)
    into[:, :, n_coordinates, :n_modes] = lines.shares.flatten(1, 2)
    into[:, :, n_coordinates + 1 :, 2 * n_modes :] = torch.eye(2, device=into.device)
    # Scale and background first, with the present lines.
    nuisances = solution_of(*_summed(into[:, :, n_coordinates:], moments, right)).detach()
    found = nuisances[:, :1].clamp(min=0.1 * scale[:, 0, 0], max=3 * scale[:, 0, 0])
    fitting = found[..., None, None] * intensity
    fitting = fitting + (nuisances[:, 1:] @ straight)[:, None, None]
    left = (counts - expected * fitting)[..., None]
    right = (weighted @ left)[..., 0].flatten(1, 2)
    slopes = torch.cat([lines.of_lines, lines.of_slopes], dim=-1).flatten(1, 2)
    into[:, :, :n_coordinates, : 2 * n_modes] = slopes * found[:, :, None, None]
    matrix, right = _summed(into.double(), moments.double(), right.double())
    n_nuisances = matrix.shape[1] - n_coordinates
    precision = prior_precision(n_coordinates, present[:, 0])
    offset = torch.nn.functional.pad(-present[:, 1:], (1, 0))
    right = right + torch.nn.functional.pad(precision * offset, (0, n_nuisances))
    matrix = matrix + torch.diag_embed(torch.nn.functional.pad(precision, (0, n_nuisances)))
    damped = (damping / present[:, :1].square()).expand(-1, n_coordinates)
    damped = torch.diag_embed(torch.nn.functional.pad(damped, (0, n_nuisances)))
    change = solution_of(matrix + damped, right)[:, :n_coordinates]
    return present + change.float(), _without(matrix, n_coordinates)


def _summed(
    into: torch.Tensor, moments: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal equations of unknowns (n, m, m) and (n, m), summed over cells."""
    flat = into.transpose(1, 2).flatten(2)
    matrix = (into @ moments).transpose(1, 2).flatten(2) @ flat.mT
    return matrix, (flat @ right.flatten(1)[..., None])[..., 0]


def _without(matrix: torch.Tensor, n: int) -> torch.Tensor:
    """The inverse of the covariance of the first ``n`` unknowns, whatever the others are."""
    ours, both, others = matrix[:, :n, :n], matrix[:, :n, n:], matrix[:, n:, n:]
    others = others + 1e-6 * torch.diag_embed(others.diagonal(dim1=1, dim2=2) + 1e-30)
    return ours - both @ torch.linalg.solve(others, both.mT)


def _total(values: torch.Tensor) -> torch.Tensor:
    """(n, 1, 1, 1)."""
    return values.sum(dim=(1, 2, 3), keepdim=True)
