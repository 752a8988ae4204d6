"""The overall stiffness first: how well do bands of the force field's shape fit, stretched?"""

from __future__ import annotations

import math

import torch

from fcinv_core.networks.cell_modes import CellModes, Waves
from fcinv_core.networks.mode_windows import N_FEATURES, intensities, mode_windows
from fcinv_core.networks.spectra import CellSpectra

N_GUESSES = 9

REACH = 2.3
"""Guesses reach so many standard deviations of the prior's stiffness to either side."""

HALF_WIDTH, SPREAD = 0.5, 0.15
"""Of windows around modes, and how far shapes may be from that of the prior's centre."""

MOST_CELLS = 48
"""Cells that are looked at, those with the most expected counts."""

TARGET_WIDTH = 0.15
"""Guesses so close to the truth (in the logarithm) count as right, in training."""

N_CONDITIONS = 5


class StiffnessScan(torch.nn.Module):
    """Looks at all modes at several overall stiffnesses, and says which it believes.

    Parameters
    ----------
    median, spread
        Of the prior's stiffness: median and standard deviation of the logarithm.
    width
        Of the network.
    """

    guesses: torch.Tensor

    def __init__(self, median: float, spread: float, width: int) -> None:
        super().__init__()
        reach = REACH * spread
        guesses = torch.linspace(-reach, reach, N_GUESSES) + math.log(median)
        self.register_buffer("guesses", guesses, persistent=False)
        self.look = torch.nn.Sequential(
            torch.nn.Linear(N_FEATURES, width),
            torch.nn.GELU(),
            torch.nn.Linear(width, width),
            torch.nn.GELU(),
        )
        self.judge = torch.nn.Sequential(
            torch.nn.Linear(width + N_CONDITIONS, width), torch.nn.GELU(), torch.nn.Linear(width, 2)
        )

    def forward(self, spectra: CellSpectra, modes: CellModes) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithm of the stiffness at each guess as corrected, and its log probability.

        Returns
        -------
        Two of (n, N_GUESSES).
        """
        spectra = spectra.best(MOST_CELLS)
        n = len(spectra)
        coordinates = torch.zeros(N_GUESSES, modes.n_coordinates, device=self.guesses.device)
        coordinates[:, 0] = self.guesses.exp()
        waves = spectra.matrices.waves(coordinates)
        shares = intensities(spectra, waves).repeat_interleave(n, dim=0)
        waves = Waves(
            *(
                part.repeat_interleave(n, dim=0)
                for part in (waves.squares, waves.outer[..., :0], waves.slopes, waves.remainder)
            )
        )
        stiffness = coordinates[:, 0].repeat_interleave(n)
        features = mode_windows(spectra, waves, shares, stiffness, HALF_WIDTH, SPREAD)
        usable = spectra.matrices.usable[..., None]
        seen = self.look(features) * usable
        pooled = seen.sum(dim=(1, 2)) / usable.sum().clamp(min=1)
        pooled = pooled.unflatten(0, (N_GUESSES, n)).transpose(0, 1)
        conditions = conditions_of(spectra, modes).expand(n, N_GUESSES, -1)
        answer = self.judge(torch.cat([pooled, conditions], dim=-1))
        step = self.guesses[1] - self.guesses[0]
        corrected = self.guesses + step * answer[..., 0]
        return corrected, answer[..., 1].log_softmax(dim=-1)

    def loss(
        self, corrected: torch.Tensor, log_probability: torch.Tensor, truth: torch.Tensor
    ) -> torch.Tensor:
        """Scalar for true logarithms of the stiffness (n,)."""
        distance = (self.guesses - truth[:, None]) / TARGET_WIDTH
        target = torch.softmax(-0.5 * distance.square(), dim=1)
        right_guess = -(target * log_probability).sum(dim=1).mean()
        error = (target * (corrected - truth[:, None]).abs()).sum(dim=1).mean()
        return 0.3 * right_guess + error


def conditions_of(spectra: CellSpectra, modes: CellModes) -> torch.Tensor:
    """(N_CONDITIONS,) of the measurement, of order 1."""
    return torch.tensor(
        [
            10 * spectra.energy_fwhm / modes.top,
            math.log(spectra.temperature / 100.0),
            spectra.incident_energy / modes.top / 2,
            spectra.lowest / modes.top,
            spectra.highest / modes.top,
        ],
        device=modes.device,
    )
