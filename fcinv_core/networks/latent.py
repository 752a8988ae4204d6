"""A structured latent space between spectra and force constants.

A variational autoencoder (Kingma & Welling, arXiv:1312.6114) whose encoder sees spectra of any
coverage and whose two decoders give back what a measurement was made of: the force constants,
and the one-phonon spectrum at any Q. The encoder's evidence are the steps and fits of the
direct network; force constants are read off the latent by a linear map and a small
correction. Latent coordinates are normally distributed over the prior, so that distances and
straight lines in the latent space mean something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.networks.cell_modes import CellMatrices, trace_weights
from fcinv_core.networks.cell_network import (
    LARGEST_STIFFNESS,
    LEAST_STIFFNESS,
    CellNetwork,
    possible,
)
from fcinv_core.networks.mode_windows import intensities
from fcinv_core.networks.network import Settings
from fcinv_core.networks.spectra import CellSpectra

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior

USUAL = {"latent_size": 24, "width": 128}

N_ENERGIES = 40
"""Bins of decoded spectra, in the logarithm of energy."""

ENERGIES = (0.06, 1.3)
"""Their range, over the highest energy of the prior's centre, as stiff as the crystal is."""

LINE_WIDTH = 0.06
"""Of decoded lines, in the logarithm of energy."""

WEIGHT_OF_DIVERGENCE = 2e-3
WEIGHT_OF_POSTERIOR = 0.02
WEIGHT_OF_READING = 0.02
WEIGHT_OF_SPECTRA = 0.2

FARTHEST = 6.0
"""Relative coordinates beyond this are not told apart: the prior has long tails."""

_DRAWS = 256


class LatentNetwork(CellNetwork):
    """Encoder, latent space and decoders; see the module."""

    architecture = "latent"
    edges: torch.Tensor

    def __init__(self, prior: Prior, settings: Settings | None = None) -> None:
        super().__init__(prior, {**USUAL, **(settings or {})})
        n = self.modes.n_coordinates
        size, width = int(self._settings["latent_size"]), int(self._settings["width"])
        self.size = size
        self._median = float(np.log(prior.widths.stiffness_median))
        self._spread = prior.widths.stiffness_spread
        linear, gelu = torch.nn.Linear, torch.nn.GELU
        step_width = int(self._settings["step_width"])
        self.encode_linear = linear(n, size)
        self.encode = torch.nn.Sequential(
            linear(2 * n + step_width, width), gelu(), linear(width, 2 * size)
        )
        self.read_linear = linear(size, n)
        self.read = torch.nn.Sequential(linear(size, width), gelu(), linear(width, n))
        self.tenth_log_errors = torch.nn.Parameter(torch.full((n,), -0.2))
        self.decode = torch.nn.Sequential(
            linear(size + n, width),
            gelu(),
            linear(width, width),
            gelu(),
            linear(width, N_ENERGIES),
        )
        # Begin as linear maps, from each coordinate to one of the latent and back.
        for layers in (self.encode[-1], self.read[-1]):
            for parameter in layers.parameters():
                torch.nn.init.zeros_(parameter)
        for layer in (self.encode_linear, self.read_linear):
            torch.nn.init.eye_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        edges = torch.linspace(
            float(np.log(ENERGIES[0])), float(np.log(ENERGIES[1])), N_ENERGIES + 1
        )
        self.register_buffer("edges", edges, persistent=False)

    def relative(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Standardised logarithm of the stiffness, then shapes: of order 1, (n, n_coordinates)."""
        stiffness = coordinates[:, :1].clamp(LEAST_STIFFNESS, LARGEST_STIFFNESS)
        return torch.cat(
            [(stiffness.log() - self._median) / self._spread, coordinates[:, 1:] / stiffness], dim=1
        )

    def absolute(self, relative: torch.Tensor) -> torch.Tensor:
        """Coordinates of what `relative` has made."""
        stiffness = (self._median + self._spread * relative[:, :1]).exp()
        return torch.cat([stiffness, relative[:, 1:] * stiffness], dim=1)

    def posterior(
        self, found: torch.Tensor, matrix: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of latent coordinates, from what `CellNetwork.best_end` gives.

        Returns
        -------
        Mean and logarithm of the standard deviation, (n, size); and (n, size, size): times
        independent unit normal numbers, these have the correlations of the evidence.
        """
        units = self._units(found)
        covariance = torch.linalg.inv(matrix.double()).float()
        covariance = covariance / (units[:, :, None] * units[:, None, :])
        errors = covariance.diagonal(dim1=1, dim2=2).clamp(min=1e-12).log() / 2
        relative = self.relative(found).clamp(-FARTHEST, FARTHEST)
        more = self.encode(torch.cat([relative, errors / 2, whole], dim=1))
        mean = self.encode_linear(relative) + more[:, : self.size]
        encode = self.encode_linear.weight
        latent = encode @ covariance @ encode.T + 1e-8 * torch.eye(self.size, device=encode.device)
        widths = latent.diagonal(dim1=1, dim2=2).sqrt()
        factor = torch.linalg.cholesky(latent.double()).float() / widths[:, :, None]
        return mean, (widths.log() + more[:, self.size :]).clamp(-6.0, 2.0), factor

    def _units(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Changes of coordinates that change `relative` by 1."""
        stiffness = coordinates[:, :1].clamp(LEAST_STIFFNESS, LARGEST_STIFFNESS)
        return torch.cat(
            [self._spread * stiffness, stiffness.expand(-1, coordinates.shape[1] - 1)], dim=1
        )

    def coordinates_of(self, latent: torch.Tensor) -> torch.Tensor:
        """Force constants that latent coordinates (n, size) stand for."""
        return self.absolute(self._read_off(latent))

    @property
    def _log_errors(self) -> torch.Tensor:
        """Of what is read off, as `relative` has it. Tenths are learned: sizes may differ by
        orders of magnitude, and steps of learning are alike for all weights.
        """
        return 10 * self.tenth_log_errors

    def _read_off(self, latent: torch.Tensor) -> torch.Tensor:
        """As `relative` has them."""
        return self.read_linear(latent) + self.read(latent)

    def spectrum_of(
        self, latent: torch.Tensor, directions: torch.Tensor, matrices: CellMatrices
    ) -> torch.Tensor:
        """Decoded one-phonon spectra: logarithm of the share of each energy bin.

        Parameters
        ----------
        latent
            (n, size).
        directions
            (..., n_q, (3 n_atoms)²) of v* v^T as in `CellSpectra`.
        matrices
            At the n_q points.

        Returns
        -------
        (n, ..., n_q, N_ENERGIES); energies are `edges` over those of the prior's centre as stiff
        as the crystal is.
        """
        seen = fingerprints(directions, matrices, self.modes.top)
        shape = (len(latent), *seen.shape)
        latent = latent.reshape(len(latent), *[1] * (seen.dim() - 1), -1)
        both = torch.cat([latent.expand(*shape[:-1], -1), seen.expand(shape)], dim=-1)
        return self.decode(both).log_softmax(dim=-1)

    def _lines(self, spectra: CellSpectra, truth: torch.Tensor) -> torch.Tensor:
        """What `spectrum_of` should give: shares (n, KINDS, n_cells, N_ENERGIES)."""
        waves = spectra.matrices.waves(truth)
        shares = intensities(spectra, waves)
        stiffness = truth[:, 0].clamp(min=LEAST_STIFFNESS)
        relative = waves.energies / (self.modes.top * stiffness.sqrt()[:, None, None])
        positions = (self.edges - relative.log()[..., None]) / LINE_WIDTH
        lines = 0.5 * torch.erf(positions * 0.5**0.5).diff(dim=-1)
        return torch.einsum("nkcm,ncmb->nkcb", shares, lines)

    def _losses_of(self, spectra: CellSpectra, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        found, matrix, whole, losses = self.taught(spectra, truth)
        mean, log_deviation, _ = self.posterior(found.detach(), matrix.detach(), whole)
        deviation = log_deviation.exp()
        divergence = 0.5 * (mean.square() + deviation.square() - 1) - log_deviation
        relative = self.relative(truth).clamp(-FARTHEST, FARTHEST)
        exact = self.encode_linear(relative)
        # Where a perfect measurement lies, by the stated distribution: this makes widths honest.
        away = ((mean - exact.detach()) / deviation).square()
        surprise = (0.5 * away + log_deviation).clamp(max=50.0)
        latent = mean + deviation * torch.randn_like(mean)
        error = self._read_off(exact) - relative
        unlikely = 0.5 * (error / self._log_errors.exp()).square() + self._log_errors
        of_mean = self.coordinates_of(mean)
        target = self._lines(spectra, truth)
        decoded = self.spectrum_of(latent, spectra.directions, spectra.matrices)
        weights = target.sum(dim=-1)
        misfit = -(target * decoded).sum() / weights.sum().clamp(min=1e-9)
        return losses | {
            "divergence": WEIGHT_OF_DIVERGENCE * divergence.sum(dim=1).mean(),
            "posterior": WEIGHT_OF_POSTERIOR * surprise.sum(dim=1).mean(),
            "reading": WEIGHT_OF_READING * unlikely.clamp(max=50.0).sum(dim=1).mean(),
            "dispersion": 2 * self.relative_error(possible(of_mean), truth).mean(),
            "spectra": WEIGHT_OF_SPECTRA * misfit,
        }

    def encoded(self, spectra: CellSpectra) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the standard deviation of latent coordinates, (n, size)."""
        mean, log_deviation, _ = self.posterior(*self.best_end(spectra))
        return mean, log_deviation

    def _answer(
        self, found: torch.Tensor, matrix: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_deviation, factor = self.posterior(found, matrix, whole)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(_DRAWS, 1, self.size, generator=generator).to(mean.device)
        alike = torch.einsum("nij,snj->sni", factor, noise.expand(-1, len(mean), -1))
        latent = mean + log_deviation.exp() * alike
        read = self._read_off(latent)
        errors = self._log_errors.exp() * torch.randn(read.shape, generator=generator).to(
            mean.device
        )
        draws = self.absolute((read + errors).flatten(0, 1)).unflatten(0, (_DRAWS, -1))
        best = possible(self.coordinates_of(mean))
        around = (draws - best).double()
        covariance = torch.einsum("sni,snj->nij", around, around) / _DRAWS
        return best, covariance


def fingerprints(directions: torch.Tensor, matrices: CellMatrices, top: float) -> torch.Tensor:
    """How fast the motions are that Q bins see, by coordinate: (..., n_q, n_coordinates).

    v^T D_k v* over the square of the highest energy: linear in the force constants, and the same
    for equivalent Q.
    """
    seen = torch.einsum("...cx,cxk->...ck", directions * trace_weights(directions), matrices.linear)
    return seen / top**2
