"""Counting statistics of normalised intensities.

A bin of MDNorm's output is (sum of event weights) / (normalisation), with the error from
the sum of squared weights. So counts and exposure follow from signal and error alone:
counts = signal²/error², and exposure = signal/error² is the number of counts per unit of
signal. Both are those of Poisson counts with the mean weight of the bin's events.
"""

from __future__ import annotations

import numpy as np

_LARGEST_PLAUSIBLE_MEAN = 5.0
"""Expected counts above which none at all is no accident: the probability is exp(-5)."""
_EXTREMES = (1e-100, 1e100)
"""Signals and variances outside are damage, and their squares are no numbers any more."""


def effective_counts(signal: np.ndarray, variance: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Number of counts behind each bin: signal²/error², 0 where nothing was counted.

    NaN where not covered, and where the signal is not a ratio of counts to exposure
    (negative after background subtraction, or finite without an error).
    """
    counted, empty = _kinds(signal, variance, covered)
    counts = np.full(signal.shape, np.nan)
    counts[counted] = signal[counted] ** 2 / variance[counted]
    counts[empty] = 0.0
    return counts


def exposure(signal: np.ndarray, variance: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Counts per unit of signal in each bin.

    Parameters
    ----------
    signal, variance, covered
        (n_q, n_energy); ``covered`` is bool.

    Returns
    -------
    numpy.ndarray
        (n_q, n_energy). signal/error² where there are counts. Where nothing was counted
        (signal and error² both 0) it is interpolated in its logarithm along the energy
        between counted bins at the same Q, taken from the nearest one beyond them, and
        from the median of all counted bins at a Q where nothing was counted at all. NaN
        where not covered, where the signal is not a ratio of counts to exposure, and where
        the counted bins so used have so many counts that none here can only mean that the
        exposure differs: the slivers at the edges of coverage.
    """
    counted, empty = _kinds(signal, variance, covered)
    result = np.full(signal.shape, np.nan)
    result[counted] = signal[counted] / variance[counted]
    if not counted.any():
        return result
    counts = signal * result
    overall = np.median(np.log([result[counted], counts[counted]]), axis=1)
    bins = np.arange(signal.shape[1])
    for q in np.flatnonzero(empty.any(axis=1)):
        here, there = bins[counted[q]], bins[empty[q]]
        if here.size:
            guess = [np.interp(there, here, np.log(x[q, here])) for x in (result, counts)]
        else:
            guess = [np.full(there.size, value) for value in overall]
        # Five counts on either side are common: rounding must not decide.
        plausible = guess[1] <= np.log(_LARGEST_PLAUSIBLE_MEAN) + 1e-9
        result[q, there] = np.where(plausible, np.exp(guess[0]), np.nan)
    return result


def normalized_exposure(
    signal: np.ndarray, variance: np.ndarray, covered: np.ndarray, normalization: np.ndarray
) -> np.ndarray:
    """Counts per unit of signal in each bin, where MDNorm's normalisation is known.

    Parameters
    ----------
    signal, variance, covered, normalization
        All of one shape; ``signal`` is weights of events over ``normalization``.

    Returns
    -------
    numpy.ndarray
        signal/error² where there are counts; the normalisation over the mean weight of all events
        where nothing was counted; NaN where not covered, and where the signal is not a ratio of
        counts to exposure.
    """
    counted, empty = _kinds(signal, variance, covered)
    result = np.full(signal.shape, np.nan)
    result[counted] = signal[counted] / variance[counted]
    weights = float((signal * normalization)[counted].sum())
    squared_weights = float((variance * normalization**2)[counted].sum())
    if weights > 0:
        result[empty] = normalization[empty] * weights / squared_weights
    return result


def _kinds(
    signal: np.ndarray, variance: np.ndarray, covered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bins with counts, and covered bins in which nothing was counted."""
    low, high = _EXTREMES
    counted = covered & (signal > low) & (signal < high) & (variance > low) & (variance < high)
    empty = covered & (signal == 0) & (variance == 0)
    return counted, empty
