"""What the latent coordinates know, by linear regression, and in which directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.latent_space.cloud import Cloud


@dataclass(frozen=True)
class Reading:
    """How well a quantity is read off the latent coordinates by a straight line.

    Attributes
    ----------
    r_squared
        On the half of the cloud that the line was not fitted to.
    direction
        (latent size,) unit vector along which the quantity grows, in units of the cloud's spread.
    alignment
        Share of that direction in the first principal component of the cloud, squared.
    """

    r_squared: float
    direction: np.ndarray
    alignment: float


def readings(cloud: Cloud) -> dict[str, Reading]:
    """By quantity."""
    latent = cloud.mean.numpy().astype(float)
    standard = (latent - latent.mean(axis=0)) / latent.std(axis=0)
    first = np.linalg.svd(latent - latent.mean(axis=0), full_matrices=False)[2][0]
    order = np.random.default_rng(0).permutation(len(latent))
    train, test = np.array_split(order, 2)
    found = {}
    for name, values in cloud.physics.items():
        design = np.column_stack([standard, np.ones(len(standard))])
        line, *_ = np.linalg.lstsq(design[train], values[train], rcond=None)
        left = values[test] - design[test] @ line
        r_squared = 1 - float((left**2).mean() / values[test].var())
        slope = line[:-1] / latent.std(axis=0)
        direction = slope / np.linalg.norm(slope)
        found[name] = Reading(r_squared, direction, float((direction @ first) ** 2))
    return found


def principal_shares(cloud: Cloud) -> np.ndarray:
    """Shares of the variance along principal components, decreasing."""
    singular = np.linalg.svd(cloud.mean.numpy() - cloud.mean.numpy().mean(axis=0))[1]
    return singular**2 / (singular**2).sum()
