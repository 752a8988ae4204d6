"""What networks have in common that look at spectra gathered onto cells of the wedge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from fcinv_core.networks.calibration import Calibration, features_of
from fcinv_core.networks.cell_modes import CellMatrices, CellModes, Waves
from fcinv_core.networks.mode_windows import intensities, mode_windows
from fcinv_core.networks.network import Estimates, Network, Settings
from fcinv_core.networks.normal_equations import solved
from fcinv_core.networks.spectra import CellSpectra, SpectraGatherer
from fcinv_core.networks.spectra_fit import SpectraFit
from fcinv_core.networks.step import Step
from fcinv_core.networks.stiffness_scan import StiffnessScan, conditions_of
from fcinv_core.networks.valleys import agreement, different, possible_starts
from fcinv_core.networks.wedge import WedgeMesh

if TYPE_CHECKING:
    from fcinv_core.ensemble.measurement_group import MeasurementGroup
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.inversion.preparation import PreparedHistogram

LEAST_STIFFNESS, LARGEST_STIFFNESS = 0.1, 12.0

USUAL = {"scan_width": 32, "step_width": 64}

HALF_WIDTHS = (0.55, 0.35, 0.2)
"""Of the windows of each step, in the logarithm of energy."""

SPREADS = (0.15, 0.06, 0.03)
"""How far modes may be from where they are believed to be, then."""

N_FITS = 3
"""Times that spectra themselves are fitted, after all steps."""

N_MORE_FITS = 2
"""Times that the last fit is repeated outside of training."""

PERTURBATION = 0.2
"""Of the logarithm of the stiffness that steps start from in half of the training."""

WEIGHT_OF_SPREAD = 0.01

DISPERSION_FLOOR = 1e-5
"""Relative error (squared) of dynamical matrices below which it hardly matters."""

Evidence = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Coordinates, the inverse of their covariance, and what the last step pooled."""


class CellNetwork(Network):
    """A stiffness scan, steps and fits, for networks to build on.

    Parameters
    ----------
    prior, settings
        See `Network`.
    """

    def __init__(self, prior: Prior, settings: Settings | None = None) -> None:
        super().__init__(prior)
        self._settings = {**USUAL, **(settings or {})}
        self._mesh = WedgeMesh.of(prior.crystal)
        self.modes = CellModes(prior)
        self._gatherer = SpectraGatherer(prior, self._mesh, self.modes)
        self._everywhere: CellMatrices | None = None
        self.scan = StiffnessScan(
            prior.widths.stiffness_median,
            prior.widths.stiffness_spread,
            int(self._settings["scan_width"]),
        )
        width = int(self._settings["step_width"])
        self.steps = torch.nn.ModuleList([Step(width) for _ in HALF_WIDTHS])
        self.fits = torch.nn.ModuleList([SpectraFit(width) for _ in range(N_FITS)])
        self.calibration = Calibration()

    def settings(self) -> dict[str, int | float]:
        """Widths of the layers."""
        return dict(self._settings)

    def begin_with(self, other: Network) -> None:
        """See `Network`; spreads are calibrated anew after the training."""
        super().begin_with(other)
        self.calibration.reset()

    def prepare(self, groups: Sequence[MeasurementGroup]) -> list[CellSpectra]:
        """One for each group."""
        return [self._gatherer.of_group(group) for group in groups]

    @torch.no_grad()
    def estimate_from(self, prepared: Sequence[PreparedHistogram]) -> Estimates:
        """All histograms together, from each stiffness that the scan does not exclude."""
        spectra = self.gathered(prepared)
        owners, evidence = self._ends(spectra)
        return self._in_parameters(spectra.taken(owners), evidence)

    def gathered(self, prepared: Sequence[PreparedHistogram]) -> CellSpectra:
        """What the network sees of all histograms together."""
        return self._gatherer.of_prepared(prepared)

    def losses(
        self, spectra: Sequence[CellSpectra], parameters: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Means over all measurements, by what is judged."""
        every: dict[str, torch.Tensor] = {}
        parts = parameters.split([len(item) for item in spectra])
        for item, truth in zip(spectra, parts, strict=True):
            for name, value in self._losses_of(item, self.modes.coordinates(truth)).items():
                share = value * len(item) / len(parameters)
                every[name] = every[name] + share if name in every else share
        return every

    def _losses_of(self, spectra: CellSpectra, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def estimate(self, spectra: Sequence[CellSpectra], *, at_leisure: bool = False) -> Estimates:
        """From the most probable stiffness; ``at_leisure`` from all that are not excluded."""
        end = self.best_end if at_leisure else self._first_end
        found = [self._in_parameters(item, end(item)) for item in spectra]
        return Estimates(
            torch.cat([each.parameters for each in found]),
            torch.cat([each.covariance for each in found]),
        )

    @torch.no_grad()
    def calibrate(self, spectra: Iterable[Sequence[CellSpectra]], parameters: torch.Tensor) -> None:
        """See `Network`."""
        parts = []
        for item in (item for several in spectra for item in several):
            coordinates, covariance = self._answer(*self.best_end(item))
            parts.append((coordinates, covariance, features_of(item, coordinates, covariance)))
        found, covariance, features = (torch.cat(part) for part in zip(*parts, strict=True))
        errors = found - self.modes.coordinates(parameters)
        self.calibration.fit(errors, covariance, features)

    def _in_parameters(self, spectra: CellSpectra, evidence: Evidence) -> Estimates:
        """What is answered to ``evidence`` from ``spectra``, with calibrated spreads."""
        coordinates, covariance = self._answer(*evidence)
        features = features_of(spectra, coordinates, covariance)
        covariance = self.calibration(covariance, features)
        to_parameters = self.modes.to_parameters
        return Estimates(
            self.modes.parameters_of(coordinates), to_parameters @ covariance @ to_parameters.T
        )

    def _answer(
        self, found: torch.Tensor, matrix: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates and their covariance (float64), from what `best_end` gives."""
        raise NotImplementedError

    def _first_end(self, spectra: CellSpectra) -> Evidence:
        """Where steps and fits lead each measurement from its most probable stiffness."""
        start = most_probable(*self.scan(spectra, self.modes))
        return self._fitted(spectra, *self._stepped_from(spectra, start))

    def best_end(self, spectra: CellSpectra) -> Evidence:
        """Where steps and fits lead each measurement from the best of its possible stiffnesses."""
        owners, (found, matrix, whole) = self._ends(spectra)
        first = torch.searchsorted(owners, torch.arange(len(spectra), device=owners.device))
        return found[first], matrix[first], whole[first]

    def _ends(self, spectra: CellSpectra) -> tuple[torch.Tensor, Evidence]:
        """Where steps and fits lead from each stiffness that the scan does not exclude.

        Returns
        -------
        Which measurement each end belongs to, rising, (m,); evidence, the best of each
        measurement first.
        """
        corrected, log_probability = self.scan(spectra, self.modes)
        likeliest = most_probable(corrected, log_probability)
        owners, starts = possible_starts(corrected, log_probability, likeliest)
        present, whole = self._stepped_from(spectra.taken(owners), starts)
        kept = different(owners, present)
        owners, present, whole = owners[kept], present[kept], whole[kept]
        each = spectra.taken(owners)
        found, matrix, whole = self._fitted(each, present, whole)
        order = agreement(each, found).surprise.argsort(stable=True)
        order = order[owners[order].argsort(stable=True)]
        return owners[order], (found[order], matrix[order], whole[order])

    def _stepped_from(
        self, spectra: CellSpectra, log_stiffness: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates after all steps from logarithms of stiffnesses (n,), and what was pooled."""
        present = self._start(log_stiffness)
        for number in range(len(self.steps)):
            waves, change, _, weights, whole = self._look(number, spectra, present)
            found, _ = solved(waves, change, weights, present[:, 0])
            present = possible(found)
        return present, whole

    def _fitted(self, spectra: CellSpectra, present: torch.Tensor, whole: torch.Tensor) -> Evidence:
        """After all fits from coordinates that steps have led to."""
        for number in (*range(N_FITS), *[N_FITS - 1] * N_MORE_FITS):
            found, matrix = self._fit(number)(spectra, present, whole, self.modes.top)
            present = possible(found)
        return present, self._fit(number).widened(matrix, whole), whole

    def taught(
        self, spectra: CellSpectra, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The same in training, and the losses of scan, steps and fits.

        Each step starts from what the one before has found, without gradient.
        """
        present, scan = self._scanned(spectra, truth)
        losses = {"scan": scan}
        for number in range(len(self.steps)):
            found, matrix, whole, of_step = self._stepped(number, spectra, present, truth)
            losses |= of_step
            present = possible(found.detach())
        whole = whole.detach()
        for number in range(len(self.fits)):
            found, matrix = self._fit(number)(spectra, present, whole, self.modes.top)
            matrix = self._fit(number).widened(matrix, whole)
            surprise = surprise_of(found, matrix, truth, present[:, 0]).clamp(max=100.0)
            losses |= {
                f"fit {number + 1}": self.relative_error(found, truth).mean(),
                f"spread of fit {number + 1}": WEIGHT_OF_SPREAD * surprise.mean(),
            }
            present = possible(found.detach())
        return found, matrix, whole, losses

    def _scanned(
        self, spectra: CellSpectra, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates to start from in training, and the loss of the scan.

        Some start where the scan leads, others near the truth: steps learn for both.
        """
        log_stiffness = truth[:, 0].clamp(min=LEAST_STIFFNESS).log()
        corrected, log_probability = self.scan(spectra, self.modes)
        loss = self.scan.loss(corrected, log_probability, log_stiffness)
        found = most_probable(corrected, log_probability).detach()
        near = log_stiffness + PERTURBATION * torch.randn_like(log_stiffness)
        chosen = torch.rand_like(near) < 0.5
        return self._start(torch.where(chosen, found, near)), loss

    def _step(self, number: int) -> Step:
        step = self.steps[number]
        assert isinstance(step, Step)
        return step

    def _fit(self, number: int) -> SpectraFit:
        fit = self.fits[number]
        assert isinstance(fit, SpectraFit)
        return fit

    def _start(self, log_stiffness: torch.Tensor) -> torch.Tensor:
        """Coordinates of the centre's shape, stretched."""
        shape = (len(log_stiffness), self.modes.n_coordinates - 1)
        return possible(
            torch.cat([log_stiffness.exp()[:, None], log_stiffness.new_zeros(shape)], 1)
        )

    def _look(
        self, number: int, spectra: CellSpectra, present: torch.Tensor
    ) -> tuple[Waves, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What step ``number`` says around ``present`` coordinates.

        Returns
        -------
        Present modes; the change of the logarithm of their squared energies; the logarithm of
        its inverse variance; the weight of each in normal equations; what the step pooled.
        """
        waves = spectra.matrices.waves(present)
        half_width = HALF_WIDTHS[number]
        features = mode_windows(
            spectra,
            waves,
            intensities(spectra, waves),
            present[:, 0],
            half_width,
            SPREADS[number],
        )
        usable = spectra.matrices.usable
        change, precision, counting, whole = self._step(number)(
            features, usable, conditions_of(spectra, self.modes)
        )
        # Twice: changes are of squared energies.
        return waves, 2 * half_width * change, precision, precision.exp() * usable * counting, whole

    def _stepped(
        self, number: int, spectra: CellSpectra, present: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """One step in training.

        Returns
        -------
        Coordinates, the inverse of their covariance, what the step pooled, and losses.
        """
        waves, change, precision, weights, whole = self._look(number, spectra, present)
        usable = spectra.matrices.usable
        linear = torch.einsum("ncmk,nk->ncm", waves.slopes, truth) + waves.remainder
        error = change - linear.clamp(min=0.05).log()
        unlikely = (0.5 * error.square() * precision.exp() - 0.5 * precision).clamp(max=10.0)
        found, matrix = solved(waves, change, weights, present[:, 0])
        matrix = self._step(number).widened(matrix, whole)
        surprise = surprise_of(found, matrix, truth, present[:, 0]).clamp(max=100.0)
        step = number + 1
        losses = {
            f"energies {step}": 0.5
            * (unlikely * usable).sum()
            / (usable.sum().clamp(min=1) * len(truth)),
            f"dispersion {step}": self.relative_error(found, truth).mean(),
            f"spread {step}": WEIGHT_OF_SPREAD * surprise.mean(),
        }
        return found, matrix, whole, losses

    def relative_error(self, found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """rms error of dynamical matrices over the zone over their rms, (n,)."""
        if self._everywhere is None or self._everywhere.linear.device != found.device:
            self._everywhere = self.modes.at(self._mesh.q_points)
        matrices = self._everywhere
        wrong = matrices.dynamical(found - truth) - matrices.constant
        right = matrices.dynamical(truth)
        ratio = wrong.square().sum(dim=(1, 2)) / right.square().sum(dim=(1, 2))
        return (ratio + DISPERSION_FLOOR).sqrt().clamp(max=1.0)


def most_probable(corrected: torch.Tensor, log_probability: torch.Tensor) -> torch.Tensor:
    """(n,) mean around the most probable guess: there may be several valleys."""
    best = log_probability.argmax(dim=1, keepdim=True)
    number = torch.arange(log_probability.shape[1], device=best.device)
    near = (number - best).abs() <= 1
    weight = log_probability.exp() * near
    return (weight * corrected).sum(dim=1) / weight.sum(dim=1)


def possible(coordinates: torch.Tensor) -> torch.Tensor:
    """With an overall stiffness that is possible."""
    stiffness = coordinates[:, :1].clamp(LEAST_STIFFNESS, LARGEST_STIFFNESS)
    return torch.cat([stiffness, coordinates[:, 1:]], dim=1)


def surprise_of(
    found: torch.Tensor, matrix: torch.Tensor, truth: torch.Tensor, stiffness: torch.Tensor
) -> torch.Tensor:
    """Negative logarithm of the probability density of the truth, in units of the stiffness.

    Parameters
    ----------
    found, matrix
        (n, n_coordinates) and the inverse of their covariance.
    truth
        (n, n_coordinates).
    stiffness
        (n,).
    """
    error = ((found - truth) / stiffness[:, None]).double()
    relative = (matrix * stiffness.square()[:, None, None]).double()
    misfit = (error[:, None] @ relative @ error[..., None])[:, 0, 0]
    return (0.5 * misfit - 0.5 * torch.linalg.slogdet(relative)[1]).float()
