"""What random measurements are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcinv_core.ensemble.cuts import KINDS
from fcinv_core.errors import FcinvError

Range = tuple[float, float]

MOST_MASKED = 0.95
"""Fraction of the detectors that may be masked at most."""

_TINY = 1e-12
_LEAST = {
    "top_energy_over_incident": _TINY,
    "temperature": _TINY,
    "width_excess": _TINY,
    "n_orientations": 1,
    "orientation_step": _TINY,
    "q_step": _TINY,
    "thickness": _TINY,
    "energy_bin_over_width": _TINY,
    "energy_bins": 1,
    "peak_counts": _TINY,
    "flat_background": _TINY,
    "background_slope": -np.inf,
    "elastic_tail": _TINY,
    "elastic_decay": _TINY,
    "masked_detectors": 0.0,
    "scale": _TINY,
}
"""What is drawn uniformly in the logarithm, or divided by, is above 0."""


@dataclass(frozen=True)
class MeasurementRanges:
    """What random measurements are drawn from.

    Pairs are lowest and highest. Those marked log are uniform in the logarithm.

    Attributes
    ----------
    spectrometers
        Names for `Spectrometer.load`, or data files.
    top_energy_over_incident
        Highest phonon energy over the incident energy: above about 0.9 not all bands fit.
    temperature
        K; log.
    width_excess
        True over stated width of the resolution: computed widths are 10 to 20 % too small.
    n_orientations
        Goniometer settings; log.
    orientation_step
        Degrees between them; log.
    kinds
        Some of "slice" (Q x E), "map" (Q x Q at one energy), "slab" (Q x Q x E), "volume"
        (Q x Q x Q x E); drawn with equal probability.
    q_step
        Bin width along scanned directions, 1/Å; log.
    thickness
        Extent of integrated directions, 1/Å; log.
    energy_bin_over_width
        Energy bin over the elastic width of the resolution; log.
    energy_bins
        Number of energy bins, fewest and most.
    peak_counts
        Counts in the highest bins of strong peaks; log.
    flat_background
        Over the intensity of these peaks; log.
    background_slope
        Change of the flat background over the energy range, relative.
    elastic_tail
        Height of the elastic tail at zero energy over these peaks' intensity; log.
    elastic_decay
        Its decay over the elastic width of the resolution.
    masked_detectors
        Fraction of the detectors that are masked, in whole stretches of the banks.
    scale
        Signal per mbarn/meV per primitive cell; log.
    idealised
        Share of the groups of a batch that see all their bins equally, without background and
        noise.
    matched
        Share of the groups of a batch whose energy bins end near the top of the spectrum.
    """

    spectrometers: tuple[str, ...] = (
        "ARCS",
        "SEQUOIA",
        "CNCS",
        "HYSPEC",
        "MERLIN",
        "LET",
        "MAPS",
        "4SEASONS",
    )
    top_energy_over_incident: Range = (0.4, 1.05)
    temperature: Range = (5.0, 900.0)
    width_excess: Range = (0.95, 1.25)
    n_orientations: Range = (1, 100)
    orientation_step: Range = (0.5, 4.0)
    kinds: tuple[str, ...] = KINDS
    q_step: Range = (0.03, 0.12)
    thickness: Range = (0.05, 0.4)
    energy_bin_over_width: Range = (0.25, 1.0)
    energy_bins: tuple[int, int] = (32, 120)
    peak_counts: Range = (5.0, 5000.0)
    flat_background: Range = (1e-3, 0.1)
    background_slope: Range = (-0.8, 0.8)
    elastic_tail: Range = (1e-2, 10.0)
    elastic_decay: Range = (0.3, 2.0)
    masked_detectors: Range = (0.0, 0.15)
    scale: Range = (1e-2, 1e2)
    idealised: float = 0.0
    matched: float = 0.85

    def __post_init__(self) -> None:
        unknown = set(self.kinds) - set(KINDS)
        if unknown or not self.kinds:
            raise FcinvError(f"kinds {self.kinds} of measurements: give some of {', '.join(KINDS)}")
        for name, least in _LEAST.items():
            low, high = getattr(self, name)
            most = MOST_MASKED if name == "masked_detectors" else np.inf
            if not (least <= low <= high <= most and high < np.inf):
                raise FcinvError(
                    f"{name} {(low, high)} of random measurements: give lowest and highest, "
                    f"between {least:g} and {most:g}"
                )
        for name in ("idealised", "matched"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise FcinvError(f"{name} {share} of random measurements: give a share, 0 to 1")


def log_uniform(random: np.random.Generator, limits: Range) -> float:
    """Uniform in the logarithm."""
    return float(np.exp(random.uniform(*np.log(limits))))
