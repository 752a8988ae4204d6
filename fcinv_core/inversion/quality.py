"""How well a fitted model describes the counts of one histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.inversion.evaluation import Expectation
from fcinv_core.inversion.nuisances import NUISANCES
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.stages import poisson_deviance, positive_signal

if TYPE_CHECKING:
    from fcinv_core.inversion.evaluation import Evaluation

_MEANS = np.geomspace(1e-4, 1e3, 141)
_LARGEST_COUNT = 2000

GOOD_PEARSON = 1.3
"""χ² per degree of freedom up to which scatter counts as that of counting."""

LITTLE_MORE = 0.05
"""Excess of the deviance per degree of freedom that is no sign of a wrong valley."""

WORTH_A_LOOK = 0.03
"""Excess from which other force constants are looked for: that costs time, not trust."""

ALL_EXPLAINED = 0.99
"""Share of the signal's variation that lines in wrong places do not reach, as they leave whole
peaks unexplained."""


@dataclass(frozen=True)
class FitQuality:
    """Numbers that judge the fit of one histogram.

    Attributes
    ----------
    residuals
        (n_q, n_energy) of the whole histogram: (n - μ)/√μ, NaN where not used.
    deviance_per_dof
        Poisson deviance over its expectation, per degree of freedom.
    pearson_per_dof
        Pearson χ² per degree of freedom.
    explained
        Share of the signal's variation that the model explains, 1 at best, weighted by
        exposure so that badly measured bins do not decide.
    correlation
        Of residuals in neighbouring energy bins, clipped to a few standard deviations: 0 for
        mere scatter, positive where the model misses structure.
    n_bins
        Number of bins used.
    counts_per_bin
        Mean over these.
    """

    residuals: np.ndarray
    deviance_per_dof: float
    pearson_per_dof: float
    explained: float
    correlation: float
    n_bins: int
    counts_per_bin: float

    @property
    def is_at_counting_limit(self) -> bool:
        """Whether the deviance is 1 within four times its own scatter, √(2/n), or nearly 1."""
        return self._excess < max(LITTLE_MORE, 4 * self._chance)

    @property
    def leaves_nothing_to_find(self) -> bool:
        """Whether other force constants could hardly fit better.

        An excess that chance gives to less than one good fit in a hundred may be that of a wrong
        valley, where counts are few. Of many counts even small faults of a model show that is
        right about every line: these leave no lines in wrong places.
        """
        if self._excess < max(WORTH_A_LOOK, 2.5 * self._chance):
            return True
        faults = self._excess / self.counts_per_bin
        return (
            self.deviance_per_dof < GOOD_PEARSON
            and self.explained > ALL_EXPLAINED
            and faults < 1 - ALL_EXPLAINED
        )

    @property
    def _excess(self) -> float:
        return self.deviance_per_dof - 1

    @property
    def _chance(self) -> float:
        """Standard deviation of the deviance per degree of freedom of a right model."""
        return float(np.sqrt(2 / self.n_bins))

    @property
    def scatter(self) -> float:
        """Factor on the variance of the counts, 1 for Poisson counts.

        Pearson χ² per degree of freedom where it exceeds 1; where neighbours deviate together,
        each bin tells less, by (1 + r)/(1 - r) for a first-order process of correlation r.
        """
        if self.pearson_per_dof <= GOOD_PEARSON:
            return max(self.pearson_per_dof, 1.0)
        shared = min(max(self.correlation, 0.0), 0.9)
        return self.pearson_per_dof * (1 + shared) / (1 - shared)

    @classmethod
    def of(cls, problem: HistogramProblem, expected: Expectation, n_fitted: float) -> FitQuality:
        """Judge ``expected`` (on the problem's rows); ``n_fitted`` numbers were adjusted."""
        prepared = problem.prepared
        used = prepared.used[problem.bins] & (problem.believed > 0.5)
        counts = prepared.counts[problem.bins]
        exposure = prepared.exposure[problem.bins]
        means = np.where(used, expected_counts(problem, expected), 1.0)
        pulls = np.where(used, (counts - means) / np.sqrt(means), np.nan)
        n_bins = int(used.sum())
        weights = problem.believed[used]
        residuals = np.full(prepared.used.shape, np.nan)
        residuals[problem.bins] = pulls
        return cls(
            residuals,
            deviance_per_dof(counts[used], means[used], weights, n_fitted),
            float(np.average(pulls[used] ** 2, weights=weights) / _freedom(n_bins, n_fitted)),
            _explained(counts[used], exposure[used], means[used] / exposure[used]),
            _neighbour_correlation(pulls),
            n_bins,
            float(counts[used].mean()),
        )


def deviance_per_dof(
    counts: np.ndarray, means: np.ndarray, weights: np.ndarray, n_fitted: float
) -> float:
    """Weighted Poisson deviance of bins (n,) over its expectation, per degree of freedom."""
    deviance = weights @ poisson_deviance(counts, means)
    expected = weights @ expected_deviance(means)
    return float(deviance / expected / _freedom(len(counts), n_fitted))


def _freedom(n_bins: int, n_fitted: float) -> float:
    """Share of the bins that is left when so many numbers were fitted."""
    return max(1.0 - n_fitted / n_bins, 1.0 / n_bins)


def expected_counts(problem: HistogramProblem, expected: Expectation) -> np.ndarray:
    """(n_bins, n_energy) Poisson means of the problem's bins; 0 where there is no exposure."""
    signal, _ = positive_signal(expected.signal, problem.typical_signal)
    return problem.prepared.exposure[problem.bins] * signal[problem.row]


def believed_exposure(problem: HistogramProblem, expected: Expectation) -> np.ndarray:
    """Probability (n_bins, n_energy) that a bin was exposed as assumed; 1 where it counted.

    The exposure of a bin without counts is a guess from its neighbours. At the edges of
    coverage the guess is often far too high. So an empty bin is one of two kinds, exposed as
    guessed (no count with probability exp(-μ)) or hardly exposed at all; the share of the
    second kind among all bins follows by expectation maximisation.
    """
    used = problem.prepared.used[problem.bins]
    empty = used & (problem.prepared.counts[problem.bins] == 0)
    by_chance = np.exp(-np.minimum(expected_counts(problem, expected)[empty], 700.0))
    share, n_used = 0.01, used.sum()
    for _ in range(100):
        unexposed = share / (share + (1 - share) * by_chance)
        share = min(max(float(unexposed.sum()) / n_used, 1e-6), 0.5)
    believed = np.ones(used.shape)
    believed[empty] = 1 - unexposed
    return believed


def expected_deviance(means: np.ndarray) -> np.ndarray:
    """Mean of the Poisson deviance of one bin at each mean; tends to 1 for many counts."""
    inside = np.interp(np.log(means), np.log(_MEANS), _expected_deviance_table())
    return np.where(means > _MEANS[-1], 1 + 1 / (6 * means), inside)


@cache
def _expected_deviance_table() -> np.ndarray:
    from scipy.special import gammaln

    counts, means = np.arange(float(_LARGEST_COUNT)), _MEANS[:, None]
    probabilities = np.exp(counts * np.log(means) - means - gammaln(counts + 1))
    return (probabilities * poisson_deviance(counts[None], means)).sum(axis=1)


def _explained(counts: np.ndarray, exposure: np.ndarray, signal: np.ndarray) -> float:
    """1 - (scatter around the model)/(scatter around the mean), errors taken off both."""
    measured = counts / exposure
    weight = np.sqrt(exposure)
    weight = np.minimum(weight, 3 * np.median(weight))
    spread = np.clip(measured, 0, np.quantile(measured, 0.99))
    model = np.clip(signal, 0, np.quantile(measured, 0.99))
    mean = np.average(spread, weights=weight)
    around_mean = np.average((spread - mean) ** 2, weights=weight)
    around_model = np.average((spread - model) ** 2, weights=weight)
    noise = np.average(signal / exposure, weights=weight)
    if around_mean <= noise:
        return 0.0
    return float(1 - max(around_model - noise, 0.0) / (around_mean - noise))


def _neighbour_correlation(pulls: np.ndarray) -> float:
    """Lag-one correlation along the energy axis."""
    if pulls.shape[1] < 2:
        return 0.0
    limit = 3 * np.sqrt(np.nanmedian(pulls**2) / 0.4549)
    clipped = np.clip(pulls, -limit, limit)
    clipped = clipped - np.nanmean(clipped)
    products = clipped[:, 1:] * clipped[:, :-1]
    both = np.isfinite(products)
    if both.sum() < 20:
        return 0.0
    return float(products[both].mean() / np.nanmean(clipped**2))


def qualities_of(problems: Sequence[HistogramProblem], evaluation: Evaluation) -> list[FitQuality]:
    """Quality of each histogram; fitted force constants are shared out by number of bins.

    Each number counts as far as data decide it: a few bins determine a few combinations of force
    constants, however many there are.
    """
    sizes = np.array([problem.prepared.used[problem.bins].sum() for problem in problems])
    informed, n_par = evaluation.informed, len(evaluation.point.parameters)
    n_shared = informed[:n_par].sum() * sizes / sizes.sum()
    n_own = informed[n_par:].reshape(len(problems), len(NUISANCES)).sum(axis=1)
    return [
        FitQuality.of(problem, expected, float(n_fitted))
        for problem, expected, n_fitted in zip(
            problems, evaluation.expectations, n_shared + n_own, strict=True
        )
    ]


def overall_deviance(qualities: Sequence[FitQuality]) -> float:
    """Mean over all bins of all histograms."""
    return float(
        np.average(
            [quality.deviance_per_dof for quality in qualities],
            weights=[quality.n_bins for quality in qualities],
        )
    )
