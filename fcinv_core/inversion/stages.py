"""How model and measurement are compared, from far away to the counting limit.

Plain least squares on counts is blind until lines overlap. Cumulative spectra, the running
integral over energy at each Q, differ by an amount that grows with the distance between lines
(a transport distance), so they lead from afar; smoothed spectra bring lines to overlap; the
Poisson deviance of the counts themselves has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fcinv_core.inversion.evaluation import Expectation
from fcinv_core.inversion.problem import HistogramProblem

MODEL_TOLERANCE = 0.05
"""Relative error granted to the model in the stages that only lead the way."""

SMALLEST_SIGNAL = 1e-3
"""Share of the typical signal around which Poisson means leave an expected signal that falls to
0 and below: see `positive_signal`."""

BLOCK_ROWS = 256
"""Rows whose derivatives are copied at a time."""


@dataclass(frozen=True)
class NormalEquations:
    """Cost, its gradient (n,) and Gauss-Newton curvature (n, n)."""

    cost: float
    gradient: np.ndarray
    curvature: np.ndarray

    @classmethod
    def from_residuals(cls, residuals: np.ndarray, jacobian: np.ndarray) -> NormalEquations:
        """Half the sum of squares of residuals (...,) with derivatives (..., n)."""
        flat = residuals.reshape(-1)
        slopes = jacobian.reshape(len(flat), jacobian.shape[-1])
        return cls(0.5 * float(flat @ flat), slopes.T @ flat, slopes.T @ slopes)


class Stage(Protocol):
    """A way to compare the expected signal with a measurement."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def only_leads(self) -> bool:
        """Whether it only leads the way: by the shape of spectra, of one phonon alone."""

    def compare(self, problem: HistogramProblem, expected: Expectation) -> NormalEquations:
        """Normal equations of the misfit."""


@dataclass(frozen=True)
class Cumulative:
    """Running integrals over the measured energies of each row."""

    name: str = "cumulative spectra"
    only_leads: bool = True

    def compare(self, problem: HistogramProblem, expected: Expectation) -> NormalEquations:
        """Differences of running integrals over the error of the whole integral."""
        widths = np.diff(problem.prepared.edges) * (problem.exposure > 0)
        signal = measured_signal(problem)
        exposed = np.where(problem.exposure > 0, problem.exposure, 1.0)
        total = (signal * widths).sum(axis=1)
        spread = (problem.counts * (widths / exposed) ** 2).sum(axis=1)
        spread += (MODEL_TOLERANCE * total) ** 2
        weight = 1.0 / np.sqrt(np.maximum(spread, 1e-300) * widths.shape[1])
        weight = np.where(total > 0, weight, 0.0)[:, None]
        residuals = np.cumsum((expected.signal - signal) * widths, axis=1) * weight
        slopes = np.cumsum(expected.jacobian * widths[..., None], axis=1) * weight[..., None]
        return NormalEquations.from_residuals(residuals, slopes)


@dataclass(frozen=True)
class Smoothed:
    """Spectra convolved with a Gaussian of ``width`` energy bins (standard deviation)."""

    width: float
    only_leads: bool = True

    @property
    def name(self) -> str:
        """For messages."""
        return f"spectra smoothed by {self.width:g} bins"

    def compare(self, problem: HistogramProblem, expected: Expectation) -> NormalEquations:
        """Exposure-weighted running means, measured and expected alike.

        Errors come from the measurement alone: errors that grow with the expectation would
        reward a model that grows without bound.
        """
        exposure = problem.exposure
        bins = np.arange(exposure.shape[1])
        kernel = np.exp(-0.5 * ((bins[:, None] - bins) / self.width) ** 2)
        norm = np.where(exposure > 0, exposure @ kernel, 1.0)
        mean = problem.counts @ kernel / norm
        level = np.maximum(mean, SMALLEST_SIGNAL * problem.typical_signal)
        spread = level * (exposure @ kernel**2) / norm**2 + (MODEL_TOLERANCE * level) ** 2
        # neighbouring means share bins: count each of them only for its own part
        shared = 2 * np.sqrt(np.pi) * self.width
        weight = np.where(exposure > 0, 1.0, 0.0) / np.sqrt(np.maximum(spread, 1e-300) * shared)
        residuals = ((exposure * expected.signal) @ kernel / norm - mean) * weight
        slopes = np.einsum("re,rep,ef->rfp", exposure, expected.jacobian, kernel, optimize=True)
        return NormalEquations.from_residuals(residuals, slopes * (weight / norm)[..., None])


@dataclass(frozen=True)
class Counts:
    """Poisson deviance of the counts."""

    name: str = "counts"
    only_leads: bool = False

    def compare(self, problem: HistogramProblem, expected: Expectation) -> NormalEquations:
        """Half the deviance; curvature is the Fisher information."""
        n_free = expected.jacobian.shape[-1]
        cost, gradient, curvature = 0.0, np.zeros(n_free), np.zeros((n_free, n_free))
        for first in range(0, problem.n_rows, BLOCK_ROWS):  # of millions of bins copies are large
            rows = slice(first, first + BLOCK_ROWS)
            used = problem.exposure[rows] > 0
            signal, slope = positive_signal(expected.signal[rows][used], problem.typical_signal)
            slopes = expected.jacobian[rows][used] * slope[:, None]
            counts, exposure = problem.counts[rows][used], problem.exposure[rows][used]
            cost += 0.5 * float(poisson_deviance(counts, exposure * signal).sum())
            gradient += slopes.T @ (exposure - counts / signal)
            curvature += slopes.T @ (slopes * (exposure / signal)[:, None])
        return NormalEquations(cost, gradient, curvature)


STAGES: tuple[Stage, ...] = (Cumulative(), Smoothed(6.0), Smoothed(3.0), Smoothed(1.5))
"""The way from afar; `Counts` comes last."""


def positive_signal(signal: np.ndarray, typical: float) -> tuple[np.ndarray, np.ndarray]:
    """f ln(1 + exp(s/f)) of a signal s, with f `SMALLEST_SIGNAL` of the typical one; its slope.

    What Poisson means need, smoothly: the same above a few f, positive below, so that a model
    with too little background is led back. A sharp floor would have no slope there.
    """
    floor = SMALLEST_SIGNAL * typical
    ratio = np.maximum(signal / floor, -100.0)
    return floor * np.logaddexp(0.0, ratio), np.exp(-np.logaddexp(0.0, -ratio))


def poisson_deviance(counts: np.ndarray, means: np.ndarray) -> np.ndarray:
    """2 [n ln(n/μ) - n + μ] for (possibly weighted, so fractional) counts n and means μ > 0."""
    ratio = np.where(counts > 0, counts, 1.0) / means
    return 2 * (np.where(counts > 0, counts * np.log(ratio), 0.0) - counts + means)


def measured_signal(problem: HistogramProblem) -> np.ndarray:
    """(n_rows, n_energy) counts over exposure; 0 where there is no exposure."""
    exposed = np.where(problem.exposure > 0, problem.exposure, 1.0)
    return problem.counts / exposed
