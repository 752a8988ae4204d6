"""Shape of the resolution function in energy.

A shape is a normalised line of zero mean and unit standard deviation; its variable z is the
distance from the centre in units of the standard deviation σ that
`fcinv_core.scattering.EnergyResolution` gives. The average over an energy bin is a difference of
its cumulative, so it is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from fcinv_core.errors import FcinvError

REACH_GAUSSIAN = 6.0
"""Standard deviations beyond which a Gaussian holds less than 1e-9 on either side."""

NO_SKEW = 1e-9
"""Skewness below which a skewed line is a Gaussian to better than 1e-9."""

LARGEST_SKEW = 1.99


class LineShape(Protocol):
    """A normalised line of zero mean and unit standard deviation."""

    @property
    def reach(self) -> tuple[float, float]:
        """Lower and upper z; the cumulative is within 1e-9 of 0 below and of 1 above."""
        ...

    def cumulative(self, z: torch.Tensor) -> torch.Tensor:
        """Integral of the line from minus infinity to ``z``; same shape, precision, device."""
        ...

    def density(self, z: torch.Tensor) -> torch.Tensor:
        """The line itself, the derivative of `cumulative`."""
        ...


@dataclass(frozen=True)
class GaussianLine:
    """The normal distribution."""

    @property
    def reach(self) -> tuple[float, float]:
        """Lower and upper z; the cumulative is within 1e-9 of 0 below and of 1 above."""
        return -REACH_GAUSSIAN, REACH_GAUSSIAN

    def cumulative(self, z: torch.Tensor) -> torch.Tensor:
        """Integral of the line from minus infinity to ``z``."""
        return 0.5 * torch.erfc(z * -math.sqrt(0.5))

    def density(self, z: torch.Tensor) -> torch.Tensor:
        """The line itself."""
        return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class SkewedLine:
    """A Gaussian convolved with an exponential tail to one side.

    The exponentially modified Gaussian, shifted to zero mean and scaled to unit standard
    deviation: the tail has the decay constant τ = (s/2)^(1/3), s the magnitude of the skewness, and
    the Gaussian the standard deviation √(1 - τ²) [1].

    Attributes
    ----------
    skew
        Skewness (third standardised moment), -1.99 to 1.99: positive for a tail towards higher
        energy transfer, negative for one towards lower, zero for a Gaussian. Neutrons that leave
        the moderator late and still pass the chopper are fast, and are taken for scattered with
        an energy gain: moderator tails have negative skew.

    Raises
    ------
    FcinvError
        When ``skew`` is out of range; at ±2 the line would be a bare exponential.

    References
    ----------
    .. [1] E. Grushka, Anal. Chem. 44, 1733 (1972).
    """

    skew: float

    def __post_init__(self) -> None:
        if not abs(self.skew) <= LARGEST_SKEW:
            raise FcinvError(
                f"skewness {self.skew} of the line shape: give one from {-LARGEST_SKEW} to "
                f"{LARGEST_SKEW}"
            )

    @property
    def _tail(self) -> float:
        """Decay constant τ of the exponential, in units of the line's standard deviation."""
        return math.cbrt(abs(self.skew) / 2)

    @property
    def _core(self) -> float:
        """Standard deviation of the Gaussian, in units of the line's."""
        return math.sqrt(1 - self._tail**2)

    @property
    def reach(self) -> tuple[float, float]:
        """Lower and upper z; the cumulative is within 1e-9 of 0 below and of 1 above."""
        if abs(self.skew) < NO_SKEW:
            return GaussianLine().reach
        # With u as in `_core_variable` and a = core/tail, the share below is less than the
        # Gaussian's Φ(u). That above is Φ(-u) and exp(a²/2 - a u) Φ(u - a), which is less than
        # exp(-u²/2)/2 where u < a: 5e-10 at 6.44, as is the exponential at a/2 + 21.42/a.
        ratio = self._core / self._tail
        upper = 6.44 if ratio > 6.44 else max(6.44, ratio / 2 + 21.42 / ratio)
        ends = (-REACH_GAUSSIAN * self._core - self._tail, upper * self._core - self._tail)
        return ends if self.skew > 0 else (-ends[1], -ends[0])

    def _core_variable(self, z: torch.Tensor) -> torch.Tensor:
        """Distance from the Gaussian's centre, positive towards the tail, in its own widths."""
        return (z * math.copysign(1.0, self.skew) + self._tail) / self._core

    def cumulative(self, z: torch.Tensor) -> torch.Tensor:
        """Integral of the line from minus infinity to ``z``."""
        if abs(self.skew) < NO_SKEW:
            return GaussianLine().cumulative(z)
        side = math.copysign(1.0, self.skew)
        gaussian = GaussianLine().cumulative(side * self._core_variable(z))
        return gaussian - side * self._tail * self.density(z)

    def density(self, z: torch.Tensor) -> torch.Tensor:
        """The line itself."""
        if abs(self.skew) < NO_SKEW:
            return GaussianLine().density(z)
        # exp(a²/2 - a u) erfc((a - u)/√2)/2τ: either factor overflows on its own side of u = a.
        # The clamps keep the side that is not taken finite, for the sake of derivatives.
        ratio, u = self._core / self._tail, self._core_variable(z)
        low, high = u.clamp(max=ratio), u.clamp(min=ratio)
        head = torch.exp(-0.5 * low * low) * torch.special.erfcx((ratio - low) * math.sqrt(0.5))
        tail = torch.exp(ratio * (ratio / 2 - high)) * torch.erfc((ratio - high) * math.sqrt(0.5))
        return torch.where(u < ratio, head, tail) / (2 * self._tail)


def gaussians_in_bins(
    edges: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, area: torch.Tensor
) -> torch.Tensor:
    """Averages of Gaussians over energy bins, to single precision in their tails.

    `GaussianLine` is exact there, at several times the cost.

    Parameters
    ----------
    edges
        (n_bins + 1,) meV.
    centre, width, area
        Any one shape: position and standard deviation in meV, and integral.

    Returns
    -------
    (..., n_bins).
    """
    cumulative = torch.erf((edges - centre[..., None]) * (0.5**0.5 / width)[..., None])
    return torch.diff(cumulative) * (0.5 * area)[..., None] / torch.diff(edges)
