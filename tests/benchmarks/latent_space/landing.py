"""Where real crystals land in the cloud, and what a single orientation does to the latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.latent_space.cloud import SEEN, Cloud, encoded
from benchmarks.networks import materials
from benchmarks.networks.cases import make_case

from fcinv_core.networks.latent import LatentNetwork

BLIND = "one-orientation"
KINDS = (SEEN, BLIND)


@dataclass(frozen=True, eq=False)
class Landing:
    """A measurement in the latent space.

    Attributes
    ----------
    origin
        Of the force constants behind it.
    kind
        Of the measurement.
    mean, deviation
        (latent size,).
    rank
        Share of the cloud that lies closer to its middle.
    """

    origin: str
    kind: str
    mean: np.ndarray
    deviation: np.ndarray
    rank: float


def landings(
    network: LatentNetwork, cloud: Cloud, material: str, origin: str, kind: str, n: int
) -> list[Landing]:
    """``n`` measurements."""
    found = []
    for number in range(n):
        case = make_case(material, kind, origin, number)
        mean, deviation = encoded(network, case.prepared)
        found.append(Landing(origin, kind, mean, deviation, cloud.rank(mean)))
    return found


def other_origins(material: str) -> tuple[str, ...]:
    """Everything but draws from the prior."""
    return tuple(origin for origin in materials.origins(material) if origin != materials.DRAWN)
