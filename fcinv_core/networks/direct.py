"""Supervised regression from spectra to force constants.

First the overall stiffness (`StiffnessScan`), then a few steps. Each looks at the data in windows
around the modes as believed so far, says for each mode by how much its energy is wrong and how
sure that is, and solves for the force constants that these energies belong to
(`normal_equations`). Windows become narrower from step to step. What is learned is local, what
force constants do to energies is exact, and the normal equations give the spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from fcinv_core.networks.cell_modes import CellModes, Waves
from fcinv_core.networks.mode_windows import N_FEATURES, intensities, mode_windows
from fcinv_core.networks.network import NETWORKS, Estimates, Network, Settings
from fcinv_core.networks.normal_equations import solved
from fcinv_core.networks.spectra import CellSpectra, SpectraGatherer
from fcinv_core.networks.stiffness_scan import N_CONDITIONS, StiffnessScan, conditions_of
from fcinv_core.networks.wedge import WedgeMesh

if TYPE_CHECKING:
    from fcinv_core.ensemble.measurement_group import MeasurementGroup
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.inversion.preparation import PreparedHistogram

HALF_WIDTHS = (0.55, 0.35, 0.2)
"""Of the windows of each step, in the logarithm of energy."""

SPREADS = (0.15, 0.06, 0.03)
"""How far modes may be from where they are believed to be, then."""

LEAST_STIFFNESS, LARGEST_STIFFNESS = 0.1, 12.0

USUAL = {"scan_width": 32, "step_width": 64}

_PERTURBATION = 0.2
"""Of the logarithm of the stiffness that steps start from in half of the training."""


class Step(torch.nn.Module):
    """Corrections of all modes, from what windows around them show."""

    def __init__(self, width: int) -> None:
        super().__init__()
        linear, gelu = torch.nn.Linear, torch.nn.GELU
        self.look = torch.nn.Sequential(
            linear(N_FEATURES, width), gelu(), linear(width, width), gelu()
        )
        self.whole = torch.nn.Sequential(linear(width + N_CONDITIONS, width), gelu())
        self.cell = linear(width, width // 2)
        self.answer = torch.nn.Sequential(
            linear(2 * width + width // 2, width), gelu(), linear(width, 2)
        )
        self.dependence = linear(width, 1)

    def forward(
        self, features: torch.Tensor, usable: torch.Tensor, conditions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Change, logarithm of its inverse variance, and what share of it counts.

        Parameters
        ----------
        features
            (n, n_cells, n_modes, N_FEATURES).
        usable
            (n_cells, n_modes).
        conditions
            (N_CONDITIONS,).

        Returns
        -------
        Twice (n, n_cells, n_modes), and (n, 1, 1): errors of neighbouring modes are alike, so that
        all together count for less than the sum.
        """
        seen = self.look(features) * usable[..., None]
        pooled = seen.sum(dim=(1, 2)) / usable.sum().clamp(min=1)
        whole = self.whole(torch.cat([pooled, conditions.expand(len(pooled), -1)], dim=-1))
        neighbours = self.cell(seen).mean(dim=2, keepdim=True)
        n, n_cells, n_modes, _ = seen.shape
        answer = self.answer(
            torch.cat(
                [
                    seen,
                    whole[:, None, None].expand(-1, n_cells, n_modes, -1),
                    neighbours.expand(-1, -1, n_modes, -1),
                ],
                dim=-1,
            )
        )
        counting = torch.sigmoid(self.dependence(whole) - 3)[..., None]
        return answer[..., 0], (answer[..., 1] + 2).clamp(-4.0, 9.0), counting


class DirectNetwork(Network):
    """Stiffness scan and steps; see the module."""

    architecture = "direct"

    def __init__(self, prior: Prior, settings: Settings | None = None) -> None:
        super().__init__(prior)
        self._settings = {**USUAL, **(settings or {})}
        mesh = WedgeMesh.of(prior.crystal)
        self.modes = CellModes(prior)
        self._everywhere = self.modes.at(mesh.q_points)
        self._gatherer = SpectraGatherer(prior, mesh, self.modes)
        widths = prior.widths
        self.scan = StiffnessScan(
            widths.stiffness_median, widths.stiffness_spread, int(self._settings["scan_width"])
        )
        width = int(self._settings["step_width"])
        self.steps = torch.nn.ModuleList([Step(width) for _ in HALF_WIDTHS])

    def settings(self) -> dict[str, int | float]:
        """Widths of the layers."""
        return dict(self._settings)

    def prepare(self, groups: Sequence[MeasurementGroup]) -> list[CellSpectra]:
        """One for each group."""
        return [self._gatherer.of_group(group) for group in groups]

    def losses(
        self, spectra: Sequence[CellSpectra], parameters: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Of the scan, and of each step: energies, force constants, spread."""
        every: dict[str, torch.Tensor] = {}
        parts = parameters.split([len(item) for item in spectra])
        for item, truth in zip(spectra, parts, strict=True):
            for name, value in self._losses_of(item, self.modes.coordinates(truth)).items():
                every[name] = every.get(name, 0.0) + value * len(item) / len(parameters)
        return every

    def _losses_of(self, spectra: CellSpectra, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        log_stiffness = truth[:, 0].clamp(min=LEAST_STIFFNESS).log()
        corrected, log_probability = self.scan(spectra, self.modes)
        losses = {"scan": self.scan.loss(corrected, log_probability, log_stiffness)}
        scanned = _most_probable(corrected, log_probability).detach()
        # Some start where the scan leads, others near the truth: steps learn for both.
        near = log_stiffness + _PERTURBATION * torch.randn_like(log_stiffness)
        chosen = torch.rand_like(near) < 0.5
        present = self._start(torch.where(chosen, scanned, near))
        for number in range(len(HALF_WIDTHS)):
            waves, change, precision, counting, usable = self._look(number, spectra, present)
            linear = torch.einsum("ncmk,nk->ncm", waves.slopes, truth) + waves.remainder
            error = change - linear.clamp(min=0.05).log()
            unlikely = (0.5 * error.square() * precision.exp() - 0.5 * precision).clamp(max=10.0)
            losses[f"energies {number + 1}"] = (
                0.5 * (unlikely * usable).sum() / (usable.sum().clamp(min=1) * len(truth))
            )
            weights = precision.exp() * usable * counting
            found, matrix = solved(waves, change, weights, present[:, 0])
            losses[f"dispersion {number + 1}"] = self._relative_error(found, truth).mean()
            losses[f"spread {number + 1}"] = (
                0.005 * _surprise(found, matrix, truth, present[:, 0]).clamp(max=100.0).mean()
            )
            present = _kept(found.detach())
        return losses

    def _relative_error(self, found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """rms error of dynamical matrices over their rms."""
        matrices = self._everywhere
        wrong = matrices.dynamical(found - truth) - matrices.constant
        right = matrices.dynamical(truth)
        ratio = wrong.square().sum(dim=(1, 2)) / right.square().sum(dim=(1, 2))
        return (ratio + 1e-5).sqrt().clamp(max=1.0)

    def _start(self, log_stiffness: torch.Tensor) -> torch.Tensor:
        start = torch.zeros(
            len(log_stiffness), self.modes.n_coordinates, device=log_stiffness.device
        )
        start[:, 0] = log_stiffness.exp()
        return _kept(start)

    def _look(
        self, number: int, spectra: CellSpectra, present: torch.Tensor
    ) -> tuple[Waves, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        waves = spectra.matrices.waves(present)
        features = mode_windows(
            spectra,
            waves,
            intensities(spectra, waves),
            present[:, 0],
            HALF_WIDTHS[number],
            SPREADS[number],
        )
        usable = spectra.matrices.usable
        change, precision, counting = self.steps[number](
            features, usable, conditions_of(spectra, self.modes)
        )
        # Twice: changes are of squared energies.
        return waves, 2 * HALF_WIDTHS[number] * change, precision, counting, usable

    @torch.no_grad()
    def estimate(self, spectra: Sequence[CellSpectra]) -> Estimates:
        """From the most probable stiffness of the scan."""
        found = [self._estimate_of(item) for item in spectra]
        return Estimates(*(torch.cat(part) for part in zip(*found, strict=True)))

    def _estimate_of(self, spectra: CellSpectra) -> tuple[torch.Tensor, torch.Tensor]:
        present = self._start(_most_probable(*self.scan(spectra, self.modes)))
        for number in range(len(HALF_WIDTHS)):
            waves, change, precision, counting, usable = self._look(number, spectra, present)
            weights = precision.exp() * usable * counting
            found, matrix = solved(waves, change, weights, present[:, 0])
            present = _kept(found)
        covariance = torch.linalg.inv(matrix.double())
        to_parameters = self.modes.to_parameters
        return (
            self.modes.parameters_of(present),
            to_parameters @ covariance @ to_parameters.T,
        )

    def estimate_from(self, prepared: Sequence[PreparedHistogram]) -> Estimates:
        """All histograms together."""
        return self.estimate([self._gatherer.of_prepared(prepared)])


def _most_probable(corrected: torch.Tensor, log_probability: torch.Tensor) -> torch.Tensor:
    """(n,) mean around the most probable guess: there may be several valleys."""
    best = log_probability.argmax(dim=1, keepdim=True)
    number = torch.arange(log_probability.shape[1], device=best.device)
    near = (number - best).abs() <= 1
    weight = log_probability.exp() * near
    return (weight * corrected).sum(dim=1) / weight.sum(dim=1)


def _kept(coordinates: torch.Tensor) -> torch.Tensor:
    """With an overall stiffness that is possible."""
    stiffness = coordinates[:, :1].clamp(LEAST_STIFFNESS, LARGEST_STIFFNESS)
    return torch.cat([stiffness, coordinates[:, 1:]], dim=1)


def _surprise(
    found: torch.Tensor, matrix: torch.Tensor, truth: torch.Tensor, stiffness: torch.Tensor
) -> torch.Tensor:
    """Negative logarithm of the probability density of the truth, shapes relative to stiffness."""
    scale = stiffness[:, None]
    relative = (matrix * stiffness.square()[:, None, None]).double()
    error = ((found - truth) / scale).double()
    misfit = (error[:, None] @ relative @ error[..., None])[:, 0, 0]
    return (0.5 * misfit - 0.5 * torch.linalg.slogdet(relative)[1]).float()


NETWORKS[DirectNetwork.architecture] = DirectNetwork
