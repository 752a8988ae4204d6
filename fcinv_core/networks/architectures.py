"""Networks by the name of their architecture."""

from __future__ import annotations

from fcinv_core.networks.direct import DirectNetwork
from fcinv_core.networks.latent import LatentNetwork
from fcinv_core.networks.network import Network

NETWORKS: dict[str, type[Network]] = {
    network.architecture: network for network in (DirectNetwork, LatentNetwork)
}
