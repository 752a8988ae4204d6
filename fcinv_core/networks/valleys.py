"""Several stiffnesses may explain spectra nearly as well: which of them does it best?

A mode that is taken for its neighbour leads steps and fits into another valley. From each
stiffness that the scan does not exclude they lead somewhere; what the gathered spectra say of the
ends decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fcinv_core.networks.lines import Lines
from fcinv_core.networks.normal_equations import solution_of
from fcinv_core.networks.spectra import CellSpectra

LEAST_PROBABILITY = 0.01
"""Of a stiffness that is tried."""

SAME = 0.03
"""Relative difference of coordinates below which steps have led to the same valley."""

MODEL_ERROR = 0.15
"""Of the counts that lines give, relative: cells are no points."""

FLOOR = 0.05
"""The same for all bins of a cell, relative to the highest of them."""

_LEAST_VARIANCE = 0.3
_ROUNDS = 3


def possible_starts(
    corrected: torch.Tensor, log_probability: torch.Tensor, most_probable: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of stiffnesses to start from, for n measurements.

    Parameters
    ----------
    corrected, log_probability
        (n, N_GUESSES) of `StiffnessScan`.
    most_probable
        (n,), which come first.

    Returns
    -------
    Which measurement each start belongs to, (m,); the starts, (m,).
    """
    likely = log_probability.exp() > LEAST_PROBABILITY
    owners = torch.arange(len(corrected), device=corrected.device)
    return (
        torch.cat([owners, likely.nonzero()[:, 0]]),
        torch.cat([most_probable, corrected[likely]]),
    )


def different(owners: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """Numbers of those crystals (m, n_coordinates) that no earlier one of their owner is like."""
    apart = torch.cdist(coordinates, coordinates) / coordinates.norm(dim=1)
    alike = ((apart < SAME) & (owners == owners[:, None])).tolist()
    kept: list[int] = []
    for number, row in enumerate(alike):
        if not any(row[other] for other in kept):
            kept.append(number)
    return torch.tensor(kept, device=owners.device)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well coordinates of n crystals explain gathered spectra, (n,) each.

    Attributes
    ----------
    surprise
        Negative logarithm of the likelihood, over the number of bins.
    misfit
        Squared differences over variances, mean over bins.
    background
        What does not go with the lines, as a share of all counts, from 0 to 1.
    """

    surprise: torch.Tensor
    misfit: torch.Tensor
    background: torch.Tensor


@torch.no_grad()
def agreement(spectra: CellSpectra, coordinates: torch.Tensor) -> Agreement:
    """Of gathered spectra with force constants.

    Scale and a sloping background are fitted; errors are those of counts and of `MODEL_ERROR`.

    Parameters
    ----------
    spectra
        Of n measurements.
    coordinates
        (n, n_coordinates) of force constants.
    """
    edges, counts, expected = spectra.binned()
    intensity = Lines.of(spectra, coordinates, edges).intensity
    along = 0.5 * (edges[1:] + edges[:-1]) / edges[-1]
    parts = torch.stack([intensity, torch.ones_like(intensity), along.expand_as(intensity)], -1)
    parts = parts * expected[..., None]
    scale = counts.sum(dim=(1, 2, 3)) / parts[..., 0].sum(dim=(1, 2, 3)).clamp(min=1e-9)
    fitting = scale[:, None, None, None] * parts[..., 0]
    measured = expected > 0
    for _ in range(_ROUNDS):
        weights = measured / _variance(counts, fitting)
        weighted = (parts * weights[..., None]).flatten(1, 3)
        matrix = weighted.mT @ parts.flatten(1, 3)
        right = (weighted.mT @ counts.flatten(1)[..., None])[..., 0]
        found = solution_of(matrix.double(), right.double()).float()
        found = torch.cat([found[:, :1].clamp(min=0), found[:, 1:]], dim=1)
        fitting = (parts @ found[:, None, None, :, None])[..., 0].clamp(min=0)
    variance = _variance(counts, fitting)
    misfit = (counts - fitting).square() / variance
    n_bins = measured.sum(dim=(1, 2, 3))
    of_lines = (found[:, 0, None, None, None] * parts[..., 0]).sum(dim=(1, 2, 3))
    in_all = fitting.sum(dim=(1, 2, 3)).clamp(min=1e-9)
    return Agreement(
        surprise=0.5 * ((misfit + variance.log()) * measured).sum(dim=(1, 2, 3)) / n_bins,
        misfit=(misfit * measured).sum(dim=(1, 2, 3)) / n_bins,
        background=(1 - of_lines / in_all).clamp(0.0, 1.0),
    )


def _variance(counts: torch.Tensor, fitting: torch.Tensor) -> torch.Tensor:
    by_counting = 0.5 * (fitting + counts) + _LEAST_VARIANCE
    highest = fitting.amax(dim=-1, keepdim=True)
    return by_counting + (MODEL_ERROR * fitting).square() + (FLOOR * highest).square()
