"""Which Q bins of a measurement a fit works on where it cannot work on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.inversion.preparation import PreparedHistogram

MOST_SAMPLES = 400_000
"""Of all bins together that derivatives by force constants are averaged over: these take a dozen
seconds then, spectra half as long, and a fit asks for twenty of them."""

MOST_BYTES = 1 << 30
"""That derivatives of all bins may take; a fit holds several copies of them."""

BYTES_PER_NUMBER = 8


def most_rows(samples_per_row: int, derivatives_per_row: int, share: float) -> int:
    """Number of rows within a share of `MOST_SAMPLES` and `MOST_BYTES`."""
    by_memory = MOST_BYTES / (BYTES_PER_NUMBER * derivatives_per_row)
    return max(1, int(share * min(MOST_SAMPLES / samples_per_row, by_memory)))


def most_counted_bins(prepared: PreparedHistogram, most: int | None) -> np.ndarray:
    """Indices of Q bins with data: all of them, or about ``most`` with the most counts."""
    bins = np.flatnonzero(prepared.used.any(axis=1))
    if most is None or len(bins) <= most:
        return bins
    weight = prepared.used.sum(axis=1)[bins] * np.sqrt(prepared.counts.sum(axis=1)[bins] + 1)
    return bins[best_of_neighbours(weight, most)]


def best_of_neighbours(weight: np.ndarray, most: int) -> np.ndarray:
    """Indices of the heaviest of each of ``most`` groups of neighbours.

    So a selection still covers the whole of Q.
    """
    groups = np.array_split(np.arange(len(weight)), most)
    return np.array([group[np.argmax(weight[group])] for group in groups])


def information_on_energies(
    signal: np.ndarray, exposure: np.ndarray, energies: np.ndarray
) -> np.ndarray:
    """(n_rows,) Fisher information on a common shift of the lines of each row, up to a factor.

    Parameters
    ----------
    signal, exposure
        (n_rows, n_energy) expected signal without background, and counts per unit of it.
    energies
        (n_energy,) meV.

    Notes
    -----
    Σ exposure (∂S/∂E)² / S of Poisson counts. As the background is not known yet, that of a
    typical signal is added to S: lines below it tell little.
    """
    if len(energies) < 2:
        return (exposure * signal).sum(axis=1)
    slopes = np.gradient(signal, energies, axis=1)
    level = signal + max(float(signal.mean()), np.finfo(float).tiny)
    return (exposure * slopes**2 / level).sum(axis=1)
