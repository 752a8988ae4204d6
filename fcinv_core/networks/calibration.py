"""Stated spreads that hold the truth as often as they should.

Steps and fits learn their spread from likelihoods, where a few estimates in wrong valleys weigh
more than all others, and they learn it for one start each, while estimates are the best of
several. So after the training the standard deviations of the overall stiffness and of shapes get
a factor each, whose logarithm depends on a few numbers of the measurement. It is found by
quantile regression (Koenker & Bassett, Econometrica 46, 33 (1978)): on measurements that were
not trained on, 68 % of errors are below.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.networks.valleys import agreement

if TYPE_CHECKING:
    from fcinv_core.networks.spectra import CellSpectra

COVERAGE = math.erf(0.5**0.5)
"""Of one standard deviation to either side."""

N_FEATURES = 6

FARTHEST = 2.0
"""Features are clipped so many standard deviations from their mean."""

_LEAST_MISFIT = 0.03
_LEAST_BACKGROUND = 0.03
_LARGEST_LOGARITHM = 6.0
_SMOOTHNESS = 0.05
_RIDGE = 1e-3


class Calibration(torch.nn.Module):
    """Factors on the standard deviations of coordinates; 1 before `fit`."""

    mean: torch.Tensor
    scale: torch.Tensor
    slopes: torch.Tensor
    offsets: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_FEATURES))
        self.register_buffer("scale", torch.ones(N_FEATURES))
        self.register_buffer("slopes", torch.zeros(2, N_FEATURES))
        self.register_buffer("offsets", torch.zeros(2))

    def reset(self) -> None:
        """All factors are 1 again."""
        self.load_state_dict(Calibration().state_dict())

    def forward(self, covariance: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(n, n_coordinates, n_coordinates) with the factors for `features_of`."""
        relative = ((features - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)
        factors = (self.offsets + relative @ self.slopes.T).exp().to(covariance)
        n_shapes = covariance.shape[-1] - 1
        each = torch.cat([factors[:, :1], factors[:, 1:].expand(-1, n_shapes)], dim=1)
        return each[:, :, None] * covariance * each[:, None, :]

    def fit(self, errors: torch.Tensor, covariance: torch.Tensor, features: torch.Tensor) -> None:
        """Find the factors.

        Parameters
        ----------
        errors
            (n, n_coordinates) of estimates.
        covariance
            (n, n_coordinates, n_coordinates) as stated without factors.
        features
            (n, N_FEATURES) of `features_of`.
        """
        deviations = covariance.diagonal(dim1=1, dim2=2).clamp(min=1e-30).sqrt()
        logarithms = (errors.to(deviations).abs() / deviations).clamp(min=1e-30).log()
        ratios = _array(logarithms.clamp(-_LARGEST_LOGARITHM, _LARGEST_LOGARITHM))
        mean, scale = features.mean(dim=0), features.std(dim=0).clamp(min=1e-3)
        relative = _array(((features - mean) / scale).clamp(-FARTHEST, FARTHEST))
        found = [_quantile_of(part, relative) for part in (ratios[:, :1], ratios[:, 1:])]
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.offsets.copy_(torch.tensor([offset for offset, _ in found]))
        self.slopes.copy_(torch.from_numpy(np.stack([slopes for _, slopes in found])))


def features_of(
    spectra: CellSpectra, coordinates: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """(n, N_FEATURES): logarithms of counts, cells, stated errors, misfit and background.

    Parameters
    ----------
    spectra
        Of n measurements.
    coordinates
        (n, n_coordinates) as estimated.
    covariance
        (n, n_coordinates, n_coordinates) as stated without factors.
    """
    counts = spectra.counts[..., -1].sum(dim=(1, 2)).clamp(min=1.0)
    cells = torch.full_like(counts, len(spectra.cells))
    deviations = covariance.diagonal(dim1=1, dim2=2).clamp(min=1e-30).sqrt().to(counts)
    relative = deviations / coordinates[:, :1]
    of_shapes = relative[:, 1:].square().mean(dim=1).sqrt()
    found = agreement(spectra, coordinates)
    misfit, background = found.misfit + _LEAST_MISFIT, found.background + _LEAST_BACKGROUND
    return torch.stack([counts, cells, relative[:, 0], of_shapes, misfit, background], dim=1).log()


def _quantile_of(values: np.ndarray, features: np.ndarray) -> tuple[float, np.ndarray]:
    """Offset and slopes of the quantile `COVERAGE` of values (n, m), given features (n, k)."""
    from scipy.optimize import minimize

    def loss(unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        above = values - (unknowns[0] + features @ unknowns[1:])[:, None]
        # The pinball loss, its corner rounded.
        rounded = _SMOOTHNESS * np.logaddexp(0.0, -above / _SMOOTHNESS)
        below = 1 / (1 + np.exp(np.clip(above / _SMOOTHNESS, -50.0, 50.0)))
        slope = (below - COVERAGE).mean(axis=1)
        gradient = np.concatenate([[slope.mean()], features.T @ slope / len(slope)])
        gradient[1:] += _RIDGE * unknowns[1:]
        total = (COVERAGE * above + rounded).mean() + 0.5 * _RIDGE * np.square(unknowns[1:]).sum()
        return float(total), gradient

    start = np.zeros(features.shape[1] + 1)
    start[0] = np.quantile(values, COVERAGE)
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    # Rounded corners and the ridge move the quantile a little.
    left = values - (features @ found[1:])[:, None]
    return float(np.quantile(left, COVERAGE)), found[1:]


def _array(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.cpu().double())
