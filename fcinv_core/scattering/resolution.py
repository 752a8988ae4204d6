"""Energy resolution of the spectrometer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fcinv_core.errors import FcinvError
from fcinv_core.units import FWHM_PER_SIGMA


@dataclass(frozen=True)
class EnergyResolution:
    """Gaussian width as a polynomial in energy transfer.

    Attributes
    ----------
    fwhm_coefficients
        FWHM(E)/meV = c₀ + c₁ E + c₂ E² + ..., E in meV.
    """

    fwhm_coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(coefficient) for coefficient in self.fwhm_coefficients)
        if not finite or not self.fwhm_coefficients or self.fwhm_coefficients[0] <= 0:
            raise FcinvError(
                f"energy resolution {self.fwhm_coefficients} is no positive width at zero energy "
                "transfer: give a full width at half maximum in meV above 0"
            )

    @classmethod
    def constant(cls, fwhm: float) -> EnergyResolution:
        """The same full width at half maximum ``fwhm`` (meV) everywhere."""
        return cls((float(fwhm),))

    def sigma(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standard deviation in meV at ``energy`` and its derivative, same shapes."""
        fwhm, slope = torch.zeros_like(energy), torch.zeros_like(energy)
        for coefficient in reversed(self.fwhm_coefficients):
            slope = slope * energy + fwhm
            fwhm = fwhm * energy + coefficient
        return fwhm / FWHM_PER_SIGMA, slope / FWHM_PER_SIGMA
