"""A network that learns the overall stiffness from mean spectra, in no time."""

from __future__ import annotations

import torch

from fcinv_core.networks.network import Estimates, Network

N_FEATURES = 67


class TinyNetwork(Network):
    """Linear but for the noise that it adds in training; made for 64 energy bins."""

    architecture = "tiny"

    def __init__(self, prior, settings=None):
        super().__init__(prior)
        self._settings = {"noise": 0.01, **(settings or {})}
        self.answer = torch.nn.Linear(N_FEATURES, 2)
        self.register_buffer("centre", torch.from_numpy(prior.centre))
        self.register_buffer("steps", torch.zeros(1))

    def settings(self):
        return self._settings

    def prepare(self, groups):
        found = []
        for group in groups:
            rates = group.counts.sum(dim=1) / group.exposure.sum(dim=1).clamp(min=1e-9)
            spectrum = rates / rates.amax(dim=1, keepdim=True).clamp(min=1e-9)
            top, hot = float(group.energy_edges[-1].log()), group.temperature / 300
            known = torch.tensor([1.0, top - 3, hot], device=rates.device)
            found.append(torch.cat([spectrum, known.expand(len(group), -1)], dim=1))
        return torch.cat(found).float()

    def log_stiffness(self, parameters):
        return (parameters @ self.centre / (self.centre @ self.centre)).clamp(min=0.01).log()

    def losses(self, spectra, parameters):
        self.steps += 1
        noisy = spectra + self._settings["noise"] * torch.randn_like(spectra)
        mean, log_sigma = self.answer(noisy).unbind(dim=1)
        error = mean - self.log_stiffness(parameters).float()
        return {
            "misfit": 0.5 * (error / log_sigma.exp()).square().clamp(max=50).mean(),
            "width": log_sigma.mean(),
        }

    def estimate(self, spectra, *, at_leisure=False):
        mean, log_sigma = self.answer(spectra).double().unbind(dim=1)
        parameters = mean.exp()[:, None] * self.centre
        width = (log_sigma.exp())[:, None] * parameters
        eye = 1e-6 * torch.eye(len(self.centre), dtype=torch.float64, device=mean.device)
        return Estimates(parameters, width[:, :, None] * width[:, None, :] + eye)
