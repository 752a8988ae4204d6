"""Force constants from the energies of modes: linear least squares with the prior's shape.

A mode whose squared energy is believed to be exp(d) times that of the present force constants is
one equation, Σ_k slope_k β_k + remainder = exp(d), linear in the coordinates β of `CellModes`.
Any number of them, from any cells, add up in the normal equations.
"""

from __future__ import annotations

import torch

from fcinv_core.networks.cell_modes import Waves

STIFFNESS_WIDTH = 0.4
"""Relative width of the prior of the overall stiffness around the present one."""

SHAPE_WIDTH = 1.2
"""Width of the prior of shapes, in units of the prior's factor."""

LARGEST_CHANGE = 1.2
"""Of the logarithm of a squared energy in one step."""

RIDGE = 1e-6


def solved(
    waves: Waves, change: torch.Tensor, weights: torch.Tensor, stiffness: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Most probable coordinates and the inverse of their covariance.

    Parameters
    ----------
    waves
        Of the present force constants.
    change
        (n, n_cells, n_modes): believed logarithm of squared energies over the present ones.
    weights
        Same shape: inverse variance of ``change``.
    stiffness
        (n,) of the present force constants.

    Returns
    -------
    (n, n_coordinates) and (n, n_coordinates, n_coordinates); differentiable by ``change`` and
    ``weights``.
    """
    n, n_coordinates = len(stiffness), waves.slopes.shape[-1]
    shrink = (-change.clamp(-LARGEST_CHANGE, LARGEST_CHANGE)).exp()
    rows = (waves.slopes * shrink[..., None]).reshape(n, -1, n_coordinates)
    goal = (1 - waves.remainder * shrink).reshape(n, -1)
    flat = weights.reshape(n, -1)
    precision = prior_precision(n_coordinates, stiffness)
    weighted = rows * flat[..., None]
    matrix = torch.diag_embed(precision) + rows.mT @ weighted
    right = (weighted.mT @ goal[..., None])[..., 0]
    right = right + torch.nn.functional.pad(
        (precision[:, 0] * stiffness)[:, None], (0, n_coordinates - 1)
    )
    return solution_of(matrix, right), matrix


def prior_precision(n_coordinates: int, stiffness: torch.Tensor) -> torch.Tensor:
    """(n, n_coordinates): inverse variances of coordinates around those of a stiffness (n,)."""
    precision = stiffness.new_full((len(stiffness), n_coordinates), 1 / SHAPE_WIDTH**2)
    precision[:, 0] = 1 / STIFFNESS_WIDTH**2
    return precision / stiffness.square()[:, None]


def solution_of(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x (n, m) of ``matrix`` x = ``right``, whatever the scales of the unknowns are."""
    scale = matrix.diagonal(dim1=1, dim2=2).clamp(min=1e-30).sqrt()
    scaled = matrix / (scale[:, :, None] * scale[:, None, :])
    scaled = scaled + RIDGE * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    factor = torch.linalg.cholesky(scaled)
    return torch.cholesky_solve((right / scale)[..., None], factor)[..., 0] / scale
