"""Held-out crystals, measured and encoded: a cloud of points in the latent space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.networks import materials
from benchmarks.networks.cases import make_case

from fcinv_core.crystal.shells import shell_constants
from fcinv_core.ensemble.prior import Prior
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.networks.latent import LatentNetwork

SEEN = "noisy-1000"
"""Kind of the measurements, see `benchmarks.networks.cases`: what one hopes for."""

SHELLS = 3


@dataclass(frozen=True, eq=False)
class Cloud:
    """Encoded measurements of n crystals drawn from the prior.

    Attributes
    ----------
    mean, deviation
        (n, latent size) of the encoder's distributions.
    exact
        (n, latent size) where perfect measurements would lie.
    physics
        What the latent may know, by name: (n,) each.
    """

    mean: np.ndarray
    deviation: np.ndarray
    exact: np.ndarray
    physics: dict[str, np.ndarray]

    @classmethod
    def of(cls, network: LatentNetwork, material: str, n: int) -> Cloud:
        """Simulate ``n`` measurements and encode them."""
        cases = [make_case(material, SEEN, materials.DRAWN, number) for number in range(n)]
        found = [encoded(network, case.prepared) for case in cases]
        basis = network.prior.basis
        parameters = np.array([basis.parameters_of(case.truth) for case in cases])
        coordinates = network.modes.coordinates(torch.from_numpy(parameters))
        with torch.no_grad():
            exact = network.encode_linear(network.relative(coordinates).float())
        temperature = np.array([case.prepared.temperature for case in cases])
        return cls(
            np.array([mean for mean, _ in found]),
            np.array([deviation for _, deviation in found]),
            exact.numpy(),
            physics_of(network.prior, parameters) | {"temperature (log)": np.log(temperature)},
        )

    @property
    def spread(self) -> np.ndarray:
        """(latent size,) standard deviations of the crystals themselves."""
        return self.exact.std(axis=0)

    @property
    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """Points along principal components (n, k), and these (k, latent size)."""
        offsets = self.mean - self.mean.mean(axis=0)
        axes = np.linalg.svd(offsets, full_matrices=False)[2]
        return offsets @ axes.T, axes

    def rank(self, point: np.ndarray) -> float:
        """Share of the cloud that lies closer to its middle (Mahalanobis)."""
        inverse = np.linalg.pinv(np.cov(self.mean.T))
        offsets = np.vstack([point, self.mean]) - self.mean.mean(axis=0)
        squares = np.einsum("ni,ij,nj->n", offsets, inverse, offsets)
        return float((squares[1:] < squares[0]).mean())


@torch.no_grad()
def encoded(network: LatentNetwork, prepared: PreparedHistogram) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the latent coordinates of one histogram."""
    mean, log_deviation = network.encoded(network.gathered([prepared]))
    return mean[0].numpy(), log_deviation[0].exp().numpy()


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
