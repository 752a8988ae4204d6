"""Several stiffnesses may explain spectra nearly as well: which of them does it best?

A mode that is taken for its neighbour leads steps and fits into another valley. From each
stiffness that the scan does not exclude they lead somewhere; what the gathered spectra say of the
ends decides.
"""

from __future__ import annotations

import torch

from fcinv_core.networks.lines import Lines
from fcinv_core.networks.normal_equations import solution_of
from fcinv_core.networks.spectra import CellSpectra

LEAST_PROBABILITY = 0.01
"""Of a stiffness that is tried."""

MODEL_ERROR = 0.15
"""Of the counts that lines give, relative: cells are no points."""

FLOOR = 0.05
"""The same for all bins of a cell, relative to the highest of them."""

_LEAST_VARIANCE = 0.3
_ROUNDS = 3


def possible_starts(
    corrected: torch.Tensor, log_probability: torch.Tensor, most_probable: torch.Tensor
) -> torch.Tensor:
    """(m,) logarithms of stiffnesses to start from, for one measurement.

    Parameters
    ----------
    corrected, log_probability
        (1, N_GUESSES) of `StiffnessScan`.
    most_probable
        (1,), which comes first.
    """
    likely = log_probability[0].exp() > LEAST_PROBABILITY
    return torch.cat([most_probable, corrected[0][likely]])


@torch.no_grad()
def surprise(spectra: CellSpectra, coordinates: torch.Tensor) -> torch.Tensor:
    """(n,) negative logarithm of the likelihood of gathered spectra, over the number of bins.

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
    unlikely = (counts - fitting).square() / variance + variance.log()
    return 0.5 * (unlikely * measured).sum(dim=(1, 2, 3)) / measured.sum(dim=(1, 2, 3))


def _variance(counts: torch.Tensor, fitting: torch.Tensor) -> torch.Tensor:
    by_counting = 0.5 * (fitting + counts) + _LEAST_VARIANCE
    highest = fitting.amax(dim=-1, keepdim=True)
    return by_counting + (MODEL_ERROR * fitting).square() + (FLOOR * highest).square()
