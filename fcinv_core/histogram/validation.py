"""Whether a histogram has what an inversion needs."""

from __future__ import annotations

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.model import SQEHistogram


def check_invertible(histogram: SQEHistogram, temperature: float | None = None) -> None:
    """Refuse, with the reason, a histogram that force constants cannot be fitted to.

    Parameters
    ----------
    histogram
        Measured data.
    temperature
        In K, if the user gives one; otherwise the sample logs must have it.

    Raises
    ------
    FcinvError
        No energy dimension, not three momentum axes, no lattice, nothing measured, or an
        unknown temperature.
    """
    _ = histogram.energy_axis, histogram.momentum_axes
    if histogram.ub is None:
        raise FcinvError(
            f"no lattice (UB matrix) in {histogram.source}; run SetUB on the data before the "
            "reduction, or copy the sample with CopySample"
        )
    _ = histogram.projection
    if not histogram.covered.any():
        raise FcinvError(
            f"nothing is measured in {histogram.source}: every bin is NaN, infinite or masked; "
            "check the ranges of the reduction"
        )
    if temperature is None and histogram.temperature is None:
        raise FcinvError(f"no sample temperature in the logs of {histogram.source}; give one in K")
