"""How well a network does on measurements that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.prior_widths import mean_square_energy
from fcinv_core.ensemble.stability import probe_points
from fcinv_core.networks.model_card import HeldOutScore
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.threads import block_slices

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.ensemble.measurement_group import MeasurementGroup
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.networks.network import Network

GROUP_SIZE = 8
"""Few share a geometry, so that many geometries have their say."""

IDEALISED_EVERY = 4
"""One group in so many is idealised."""

Part = TypeVar("Part")

_CASES_AT_ONCE = 64

_EXACT = 0.01
"""Percent: smaller errors count as this."""


@dataclass(frozen=True)
class ValidationScores:
    """Errors of a network on simulated measurements.

    Attributes
    ----------
    error
        Geometric mean over all cases of the rms error of phonon energies, in percent of the
        highest one of the truth: it falls when good estimates become better and when bad ones
        become fewer. Training makes this small.
    kinds
        The same and more for "idealised" and "noisy" measurements.
    coverage
        By kind: share of cases in which the mean squared phonon energy lies within one standard
        deviation of the estimate; 0.68 is right.
    """

    error: float
    kinds: dict[str, HeldOutScore]
    coverage: dict[str, float]

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ValidationScores:
        """The inverse of `to_dict`."""
        kinds = {kind: HeldOutScore(**score) for kind, score in document["kinds"].items()}
        return cls(document["error"], kinds, dict(document["coverage"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class PhononEnergies:
    """Phonon energies of many crystals at probe wave vectors of the Brillouin zone."""

    def __init__(self, prior: Prior, device: torch.device | str = "cpu") -> None:
        self._prior = prior
        self._dynamics = LatticeDynamics(prior.crystal, device)
        self._polar = self._dynamics.polar_part_with(prior.born_charges, prior.dielectric)
        self._points = probe_points(prior.crystal)

    @torch.no_grad()
    def __call__(self, parameters: torch.Tensor) -> torch.Tensor:
        """(n, n_q, n_modes) in meV of parameters (n, n_parameters); unstable ones negative."""
        found = []
        for some in block_slices(len(parameters), 1, _CASES_AT_ONCE):
            values = self._prior.values(parameters[some])
            real_space = self._dynamics.real_space(values, self._polar)
            found.append(self._dynamics.modes(real_space, self._points, self._polar).energies)
        return torch.cat(found)


class ValidationSet:
    """Measurements that stay the same throughout a training, and their truth.

    Parameters
    ----------
    batches
        Where they come from; its groups should be small (`GROUP_SIZE`).
    n
        How many.
    seed
        The same seed gives the same measurements.
    network
        Prepares them; whatever its weights.
    """

    def __init__(self, batches: MeasurementBatches, n: int, seed: int, network: Network) -> None:
        self._prior = batches.prior
        self._energies = PhononEnergies(self._prior, batches.device)
        groups = observed(batches, n, seed)
        self.parameters = torch.cat([group.parameters for group in groups])
        self.idealised = torch.tensor(
            [group.idealised for group in groups for _ in range(len(group))]
        )
        self._truth = self._energies(self.parameters)
        per_part = _CASES_AT_ONCE // GROUP_SIZE
        with torch.no_grad():
            self._parts = [
                network.prepare(groups[start : start + per_part])
                for start in range(0, len(groups), per_part)
            ]

    @torch.no_grad()
    def scores(
        self, network: Network, *, at_leisure: bool = False, progress: Report | None = None
    ) -> ValidationScores:
        """How well it does now, in a hurry or ``at_leisure`` (see `Network.estimate`)."""
        network.eval()
        found = [
            network.estimate(part, at_leisure=at_leisure)
            for part in _told(self._parts, "Judging the model", progress)
        ]
        parameters = torch.cat([each.parameters for each in found]).double()
        covariance = torch.cat([each.covariance for each in found]).double()
        # Whoever estimates nothing has all energies wrong.
        parameters = parameters.nan_to_num(0.0, 0.0, 0.0)
        errors = (self._energies(parameters) - self._truth).square().mean(dim=(1, 2)).sqrt().cpu()
        percent = 100 * errors / self._truth.amax(dim=(1, 2)).cpu()
        squares = torch.from_numpy(mean_square_energy(self._prior.basis)).to(parameters)
        offsets = (parameters - self.parameters) @ squares
        variances = torch.einsum("i,nij,j->n", squares, covariance, squares)
        within = (offsets.square() <= variances).cpu()
        kinds, coverage = {}, {}
        for kind, chosen in (("idealised", self.idealised), ("noisy", ~self.idealised)):
            if chosen.any():
                kinds[kind] = HeldOutScore(
                    median_mev=float(errors[chosen].median()),
                    mean_mev=float(errors[chosen].mean()),
                    median_percent=float(percent[chosen].median()),
                    mean_percent=float(percent[chosen].mean()),
                )
                coverage[kind] = float(within[chosen].double().mean())
        error = float(percent.clamp(min=_EXACT).log().mean().exp())
        return ValidationScores(error, kinds, coverage)


def calibrate(
    network: Network,
    batches: MeasurementBatches,
    n: int,
    seed: int,
    progress: Report | None = None,
) -> None:
    """Let a network see how far its estimates of ``n`` measurements are from the truth.

    Parameters
    ----------
    batches
        Where the measurements come from, as for `ValidationSet`.
    seed
        The same seed gives the same measurements.
    """
    network.eval()
    groups = observed(batches, n, seed)
    prepared = (network.prepare([each]) for each in _told(groups, "Calibrating spreads", progress))
    network.calibrate(prepared, torch.cat([group.parameters for group in groups]))


def _told(parts: Sequence[Part], what: str, progress: Report | None) -> Iterator[Part]:
    """The parts, each told when it is begun."""
    for number, part in enumerate(parts):
        if progress is not None:
            progress(what, number / len(parts))
        yield part


def observed(batches: MeasurementBatches, n: int, seed: int) -> Sequence[MeasurementGroup]:
    """One observation of each of ``n`` crystals; one group in `IDEALISED_EVERY` idealised."""
    groups = []
    for number, group in enumerate(batches.simulate(n, seed)):
        share = 1.0 if number % IDEALISED_EVERY == 0 else 0.0
        like = replace(group, ranges=replace(group.ranges, idealised=share))
        groups.append(like.observe(np.random.default_rng((seed, number, 1))))
    return groups
