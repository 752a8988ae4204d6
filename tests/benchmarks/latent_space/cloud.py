"""Held-out crystals, measured and encoded: a cloud of points in the latent space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fcinv_core.crystal.shells import shell_constants
from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_pool import measurement_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.networks.latent import LatentNetwork

SEED = 905_114_027
"""Of crystals, geometries and counts that no training has seen."""

GROUP_SIZE = 8
GEOMETRIES = 40
SHELLS = 3

RANGES = MeasurementRanges(
    top_energy_over_incident=(0.5, 0.85),
    temperature=(5.0, 400.0),
    n_orientations=(30, 100),
    elastic_tail=(0.01, 1.0),
    elastic_decay=(0.3, 0.7),
    peak_counts=(100.0, 1000.0),
    matched=1.0,
)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Encoded measurements of n crystals drawn from the prior.

    Attributes
    ----------
    coordinates
        (n, n_coordinates) of `CellModes`: the truth.
    mean, deviation
        (n, latent size) of the encoder's distributions.
    physics
        What the latent may know, by name: (n,) each.
    """

    coordinates: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    physics: dict[str, np.ndarray]

    @classmethod
    @torch.no_grad()
    def of(cls, network: LatentNetwork, n: int) -> Cloud:
        """Simulate ``n`` measurements and encode them."""
        prior = network.prior
        pool = measurement_pool(prior, GEOMETRIES, RANGES, SEED)
        batches = MeasurementBatches(prior, pool, ranges=RANGES, n_q=256, group_size=GROUP_SIZE)
        groups = [
            group.observe(np.random.default_rng((SEED, number)), 256)
            for number, group in enumerate(batches.simulate(n, SEED))
        ]
        encoded = [network.encoded(network.prepare([group])[0]) for group in groups]
        parameters = torch.cat([group.parameters for group in groups])
        temperature = np.repeat([group.temperature for group in groups], GROUP_SIZE)[:n]
        return cls(
            network.modes.coordinates(parameters),
            torch.cat([mean for mean, _ in encoded]),
            torch.cat([log_deviation for _, log_deviation in encoded]).exp(),
            physics_of(prior, parameters.numpy()) | {"temperature (log)": np.log(temperature)},
        )

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Mahalanobis distances (n,) of points (n, latent size) from the middle of the cloud."""
        offsets = points - self.mean.numpy().mean(axis=0)
        covariance = np.cov(self.mean.numpy().T)
        return np.sqrt(np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets))

    def rank(self, point: np.ndarray) -> float:
        """Share of the cloud that lies closer to its middle."""
        return float((self.distances(self.mean.numpy()) < self.distances(point[None])[0]).mean())


def physics_of(prior: Prior, parameters: np.ndarray) -> dict[str, np.ndarray]:
    """Overall stiffness, and springs of the first shells relative to it."""
    stiffness = prior.stiffness(parameters)
    found = {"stiffness (log)": np.log(stiffness)}
    nothing = np.zeros([parameters.shape[1]] * 2)
    shells = [shell_constants(prior.basis, each, nothing) for each in parameters]
    for number in range(min(SHELLS, len(shells[0]))):
        name = shells[0][number].name
        for kind in ("longitudinal", "transverse"):
            values = np.array([getattr(each[number], kind) for each in shells])
            found[f"{name}, {kind}"] = values / stiffness
    return found
