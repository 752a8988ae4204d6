"""A measurement of known force constants: expected signal, counts, and what MDNorm makes of them.

Counts are Poisson with the mean exposure x signal. The exposure, counts per unit of signal, is
MDNorm's normalisation over the mean weight of its events; signal = counts/exposure and
variance = counts/exposure², so that the exposure can be read off a file where there are counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.ensemble.background import Background
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.forward import TOLERANCE, ForwardModel
from fcinv_core.scattering.resolution import EnergyResolution

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstants
    from fcinv_core.histogram import SQEHistogram

NO_BACKGROUND = Background()


def simulate_measurement(
    force_constants: ForceConstants,
    template: SQEHistogram,
    exposure: np.ndarray,
    *,
    temperature: float | None = None,
    energy_fwhm: float | EnergyResolution | None = None,
    background: Background = NO_BACKGROUND,
    scale: float = 1.0,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> SQEHistogram:
    """A measurement with counting noise on the bins of ``template``.

    Parameters
    ----------
    force_constants
        Of the crystal that is measured.
    template
        Its bins and logs; values are not used.
    exposure
        Shape of the template: counts per unit of signal; NaN or 0 where nothing is seen. A
        fraction of it in some bins is what masked detectors leave.
    temperature, energy_fwhm
        K and meV (full width at half maximum); from the template's logs if left out, see
        `ForwardModel`.
    background
        In the same units as the scattering by phonons.
    scale
        Signal per mbarn/meV per primitive cell; that of real data is arbitrary.
    seed
        The same seed gives the same counts.
    tolerance
        Of the sampling of bins, see `ForwardModel`: less than the counting errors is enough.

    Raises
    ------
    FcinvError
        As `ForwardModel`; or when the exposure does not fit the template or is negative.
    """
    expected = expected_signal(
        force_constants,
        template,
        exposure,
        temperature=temperature,
        energy_fwhm=energy_fwhm,
        background=background,
        scale=scale,
        tolerance=tolerance,
    )
    return counted(expected, exposure, seed)


def expected_signal(
    force_constants: ForceConstants,
    template: SQEHistogram,
    exposure: np.ndarray,
    *,
    temperature: float | None = None,
    energy_fwhm: float | EnergyResolution | None = None,
    background: Background = NO_BACKGROUND,
    scale: float = 1.0,
    tolerance: float = TOLERANCE,
) -> SQEHistogram:
    """What `simulate_measurement` finds after an infinite counting time; variance 0."""
    seen = _seen(template, exposure)
    bins = replace(
        template.with_values(np.where(seen, 0.0, np.nan)),
        mask=np.zeros(template.shape, dtype=bool),
    )
    model = ForwardModel(
        force_constants.crystal,
        bins,
        temperature,
        energy_fwhm,
        tolerance=tolerance,
        multiphonon=background.multiphonon,
    )
    edges = torch.from_numpy(template.axes[template.energy_axis].edges)
    smooth = template.along_energy(background.spectrum(edges).numpy())
    return bins.with_values(scale * (model(force_constants) + smooth))


def counted(expected: SQEHistogram, exposure: np.ndarray, seed: int) -> SQEHistogram:
    """Counts on an expected signal: what a finite counting time makes of it.

    Where a bin is seen and nothing was counted, signal and variance are 0; where none is seen,
    NaN.
    """
    seen = _seen(expected, exposure)
    known = np.where(seen, exposure, 1.0)
    # Between lines, where nothing is expected, interpolated lines may be a trifle below zero.
    means = np.where(seen, np.maximum(known * expected.signal, 0.0), 0.0)
    counts = np.random.default_rng(seed).poisson(means)
    return replace(
        expected,
        signal=np.where(seen, counts / known, np.nan),
        variance=np.where(seen, counts / known**2, np.nan),
        num_events=counts.astype(float),
        source="simulated measurement",
    )


def _seen(histogram: SQEHistogram, exposure: np.ndarray) -> np.ndarray:
    if np.shape(exposure) != histogram.shape:
        raise FcinvError(
            f"exposure of shape {np.shape(exposure)} for bins of shape {histogram.shape}: give one "
            "number for each bin, in the order of the axes"
        )
    if np.any(exposure < 0):
        raise FcinvError("negative exposure: give counts per unit of signal, NaN where not seen")
    return np.asarray(np.isfinite(exposure) & (exposure > 0))
