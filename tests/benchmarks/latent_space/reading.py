"""What the latent coordinates know, by linear regression, and in which directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.latent_space.cloud import Cloud

FOLDS = 5


@dataclass(frozen=True)
class Reading:
    """How well a quantity is read off the latent coordinates by a straight line.

    Attributes
    ----------
    r_squared
        Each part of the cloud read by a line fitted to the others.
    component
        Number of the principal component of the cloud that the quantity goes along with most,
        the first is 1.
    share
        Squared correlation with that component alone.
    """

    r_squared: float
    component: int
    share: float


def readings(cloud: Cloud) -> dict[str, Reading]:
    """By quantity."""
    points, _ = cloud.components
    design = np.column_stack([points, np.ones(len(points))])
    found = {}
    for name, values in cloud.physics.items():
        shares = [np.corrcoef(along, values)[0, 1] ** 2 for along in points.T]
        best = int(np.argmax(shares))
        found[name] = Reading(_cross_validated(design, values), best + 1, float(shares[best]))
    return found


def principal_shares(cloud: Cloud) -> np.ndarray:
    """Shares of the variance along principal components, decreasing."""
    points, _ = cloud.components
    return (points**2).sum(axis=0) / (points**2).sum()


def _cross_validated(design: np.ndarray, values: np.ndarray) -> float:
    order = np.random.default_rng(0).permutation(len(values))
    left = np.empty(len(values))
    for test in np.array_split(order, FOLDS):
        train = np.setdiff1d(order, test)
        line, *_ = np.linalg.lstsq(design[train], values[train], rcond=None)
        left[test] = values[test] - design[test] @ line
    return 1 - float((left**2).mean() / values.var())
