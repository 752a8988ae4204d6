"""What a spectrometer counts besides coherent scattering by one phonon."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fcinv_core.errors import FcinvError

Number = float | torch.Tensor


@dataclass(frozen=True)
class Background:
    """Background that depends on the energy transfer, and whether several phonons scatter.

        B(E) = flat + slope E + elastic exp(-|E|/decay), not below 0

    Numbers, or tensors (n, 1, 1) for n measurements at once.

    Attributes
    ----------
    flat
        mbarn/meV per primitive cell, as the scattering by phonons; at zero energy transfer.
    slope
        Change per meV of energy transfer.
    elastic
        Height of the tail of the elastic line at zero energy transfer, mbarn/meV per primitive
        cell.
    decay
        meV over which that tail falls to 1/e, on both sides.
    multiphonon
        Whether scattering by two and more phonons is there, too.

    Raises
    ------
    FcinvError
        When the tail's decay is not above 0, or a number is not finite.
    """

    flat: Number = 0.0
    slope: Number = 0.0
    elastic: Number = 0.0
    decay: Number = 2.0
    multiphonon: bool = False

    def __post_init__(self) -> None:
        for name in ("flat", "slope", "elastic", "decay"):
            value = getattr(self, name)
            if isinstance(value, torch.Tensor):
                continue
            if not math.isfinite(value) or (name == "decay" and value <= 0):
                raise FcinvError(
                    f"{name} {value} of the background: give a finite number, and a "
                    "decay above 0 meV"
                )

    def spectrum(self, edges: torch.Tensor) -> torch.Tensor:
        """Averages over energy bins with ``edges`` (n_energy + 1,) in meV: (..., n_energy)."""
        centres, widths = 0.5 * (edges[:-1] + edges[1:]), torch.diff(edges)
        # The integral of exp(-|E|/decay) from 0.
        tail = edges.sign() * self.decay * -torch.expm1(-edges.abs() / self.decay)
        smooth = self.flat + self.slope * centres
        return (smooth + self.elastic * torch.diff(tail) / widths).clamp(min=0.0)
