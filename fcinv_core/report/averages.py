"""What bins are together: all their counts over all their exposure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.result import HistogramFit

_TINY = 1e-9
"""Expected counts where a model falls to zero or below: the bin has no say, and no 0/0."""


@dataclass(frozen=True)
class Averages:
    """A fit on bins that were merged; arrays of one shape.

    Attributes
    ----------
    measured, simulated, sigma
        Averages with the exposure as weight, so that they are all counts over all exposure, and
        the standard deviation of ``measured``; NaN where not measured.
    exposure
        Sum of the weights: counts per unit of signal, where these are known; 0 where not.
    residual
        Difference of all counts from those expected over its standard deviation, NaN where no
        bin was used.
    used
        Where bins took part in the fit.
    """

    measured: np.ndarray
    simulated: np.ndarray
    sigma: np.ndarray
    exposure: np.ndarray
    residual: np.ndarray
    used: np.ndarray

    @classmethod
    def over(
        cls, total: Callable[[np.ndarray], np.ndarray], fit: HistogramFit, is_merged: bool
    ) -> Averages:
        """Averages over the groups of bins that ``total`` sums over.

        Parameters
        ----------
        is_merged
            Whether there is more than one bin in a group.
        """
        exposure = exposure_of(fit.measured)
        # Bins without a known exposure (a background was subtracted) are shown as well.
        weights = exposure if is_merged else fit.measured.covered.astype(float)
        variance = np.where(weights > 0, fit.measured.variance, 0.0)
        # (n - μ)/√μ of several bins together: √μ is the weight of each. Bins that the fit came
        # to disbelieve have no residual.
        judged = fit.used & np.isfinite(fit.residual)
        expected = np.where(judged, np.maximum(weights * fit.simulated.signal, _TINY), 0.0)
        pulls = np.where(judged, fit.residual, 0.0) * np.sqrt(expected)

        def mean(values: np.ndarray) -> np.ndarray:
            sums = total(np.where(weights > 0, values, 0.0) * weights)
            return _ratio(sums, total(weights))

        return cls(
            measured=mean(fit.measured.signal),
            simulated=mean(fit.simulated.signal),
            sigma=_ratio(np.sqrt(total(weights**2 * variance)), total(weights)),
            exposure=total(exposure),
            residual=_ratio(total(pulls), np.sqrt(total(expected))),
            used=total(fit.used.astype(float)) > 0,
        )


def exposure_of(histogram: SQEHistogram) -> np.ndarray:
    """Weights for averages: counts per unit of signal, or 1 where nothing is known of them."""
    exposure = np.where(histogram.covered, np.nan_to_num(histogram.exposure()), 0.0)
    return exposure if exposure.any() else histogram.covered.astype(float)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.where(
        denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan
    )
