"""One measured histogram beside the model that was fitted to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.inversion.nuisances import Q_SPREAD, RESOLUTION, SCALE, estimates
from fcinv_core.inversion.result import HistogramFit
from fcinv_core.scattering.forward import TOLERANCE, ForwardModel

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.evaluation import Evaluation
    from fcinv_core.inversion.lattice import Lattice
    from fcinv_core.inversion.preparation import PreparedHistogram
    from fcinv_core.inversion.problem import HistogramProblem
    from fcinv_core.inversion.quality import FitQuality
    from fcinv_core.inversion.uncertainty import Uncertainty


def histogram_fit(
    prepared: PreparedHistogram,
    problem: HistogramProblem,
    quality: FitQuality,
    lattice: Lattice,
    best: Evaluation,
    uncertainty: Uncertainty,
    number: int,
    name: str,
) -> HistogramFit:
    """Nuisances in the units of the data, and what makes the simulated copy.

    Parameters
    ----------
    best, uncertainty
        Where the fit of all histograms ended.
    number, name
        Of this one among them, and of its source.
    """
    histogram = prepared.histogram
    values, sigmas = best.point.nuisances[number], uncertainty.nuisance_sigma[number]
    return HistogramFit(
        measured=histogram,
        simulate=partial(_simulated, problem, lattice, best.point.parameters, values),
        used=histogram.from_spectra(problem.used),
        residual=histogram.from_spectra(quality.residuals),
        nuisance=estimates(values, sigmas, problem.typical_signal, prepared),
        deviance_per_dof=quality.deviance_per_dof,
        pearson_per_dof=quality.pearson_per_dof,
        temperature=prepared.temperature,
        energy_fwhm=prepared.resolution.elastic_fwhm,
        q_points=len(problem.bins),
        orientations=histogram.orientations,
        source=name,
    )


def _simulated(
    problem: HistogramProblem, lattice: Lattice, parameters: np.ndarray, values: np.ndarray
) -> SQEHistogram:
    """The model on all bins of a histogram.

    Parameters
    ----------
    parameters, values
        (n_par,) eV/Å² and nuisances, as they were fitted.
    """
    prepared, force_constants = problem.prepared, lattice.force_constants(parameters)
    histogram = prepared.histogram
    scale, width = float(np.exp(values[SCALE])), float(np.exp(values[RESOLUTION]))
    model = ForwardModel(
        force_constants.crystal,
        histogram,
        prepared.temperature,
        prepared.resolution,
        q_spread_scale=float(1 + values[Q_SPREAD]),
        tolerance=max(TOLERANCE, problem.sampling_error),
    )
    signal = scale * histogram.spectra(model(force_constants, resolution_scale=width))
    smooth = problem.smooth(lattice.state(parameters), prepared.centres, values)
    signal = histogram.from_spectra(signal + smooth)
    return histogram.with_values(signal, np.where(np.isnan(signal), np.nan, 0.0))
