"""What a direct-geometry spectrometer sees: MDNorm's normalisation of every bin.

Each pixel of each run sees a curve in (Q, energy transfer): the final wave vector keeps its
direction and grows in length. A bin's exposure is the energy interval that the curve spends in
it, times the pixel's solid angle and the run's proton charge, summed over pixels and runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.scattering.detectors import DetectorPixels


def exposure(
    histogram: SQEHistogram,
    pixels: DetectorPixels,
    incident_energy: float,
    rotations: np.ndarray,
    energy_range: tuple[float, float],
    *,
    ub: np.ndarray | None = None,
    charges: np.ndarray | None = None,
) -> np.ndarray:
    """MDNorm's normalisation; NaN where no trajectory passes.

    Parameters
    ----------
    histogram
        Its bins are used; its values are not.
    pixels
        Of the instrument.
    incident_energy
        meV.
    rotations
        (n_runs, 3, 3) goniometer of each run: Q_lab = R Q_sample.
    energy_range
        Lowest and highest energy transfer of the reduced runs, meV.
    ub
        (3, 3) UB in 1/Å without 2π; the histogram's by default.
    charges
        (n_runs,) proton charge of each run, or any other weight; 1 by default.

    Returns
    -------
    numpy.ndarray
        Shape of the histogram, sr·meV times charge.
    """
    raise NotImplementedError
