"""Which Q bins of a measurement a fit works on where it cannot work on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.inversion.preparation import PreparedHistogram

MOST_SAMPLES = 400_000
"""Of all bins together that derivatives by force constants are averaged over, which a fit works out
several times."""

MOST_VALUES = 2_000_000
"""Of all bins together that spectra are averaged over, for each step. A million of silicon took one
core 19 seconds where no two shared a wave vector."""

MOST_BYTES = 1 << 30
"""That derivatives of all bins may take; a fit holds several copies of them."""

BYTES_PER_NUMBER = 8


def most_rows(n_samples: int, n_derived: int, n_derivatives: int, share: float) -> int:
    """Number of rows within a share of `MOST_VALUES`, `MOST_SAMPLES` and `MOST_BYTES`.

    Parameters
    ----------
    n_samples, n_derived
        Of a row, for spectra and for derivatives.
    n_derivatives
        Of a row.
    """
    by_memory = MOST_BYTES / (BYTES_PER_NUMBER * n_derivatives)
    return max(1, int(share * min(MOST_VALUES / n_samples, MOST_SAMPLES / n_derived, by_memory)))


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
