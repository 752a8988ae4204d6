"""A network that knows its answer, for what surrounds networks."""

from __future__ import annotations

import torch

from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.model import Model
from fcinv_core.networks.model_card import HeldOutScore, ModelCard
from fcinv_core.networks.network import Estimates, Network

SCORES = {
    "idealised": HeldOutScore(0.1, 0.12, 0.2, 0.25),
    "noisy": HeldOutScore(0.5, 0.7, 1.0, 1.4),
}


class ToyNetwork(Network):
    """Says the same whatever was measured: its weights, plus or minus a share of them.

    They start as ``stiffness`` times the centre of the prior.
    """

    architecture = "toy"

    def __init__(self, prior, settings=None):
        super().__init__(prior, settings)
        self.numbers = {"stiffness": 1.6, "spread": 0.1} | dict(settings or {})
        self.answer = torch.nn.Parameter(
            torch.from_numpy(self.numbers["stiffness"] * prior.centre).float()
        )
        self.asked = []

    def settings(self):
        return self.numbers

    def estimate_from(self, prepared):
        self.asked.append(prepared)
        factor = torch.from_numpy(self.prior.factor)
        scatter = self.numbers["spread"] * factor
        along = self.numbers["spread"] * self.answer.double()[:, None]
        covariance = scatter @ scatter.T + along @ along.T
        return Estimates(self.answer.double()[None], covariance[None])


def register(monkeypatch):
    """Make the architecture known for the time of a test."""
    monkeypatch.setitem(NETWORKS, ToyNetwork.architecture, ToyNetwork)


def toy_model(prior, truth=None, scores=SCORES, **settings):
    """A model that says ``truth`` (n_parameters,), or the centre times a stiffness."""
    network = ToyNetwork(prior, settings)
    if truth is not None:
        network.answer.data = torch.as_tensor(truth).float()
    card = ModelCard.describing(
        network, training={"measurements": 100, "seed": 1}, scores=scores, command="fcinv train"
    )
    return Model(prior, network, card)
