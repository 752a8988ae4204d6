"""Choose what of a fitted histogram fits on paper: a plane, or a line."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.histogram import Axis, SQEHistogram
    from fcinv_core.inversion.result import HistogramFit

AVERAGING_GAIN = 1.2
"""Averaging hides what goes on along an axis, so it has to show clearly more than a slice."""

_TINY = 1e-9
"""Expected counts where a model falls to zero or below: the bin has no say, and no 0/0."""


@dataclass(frozen=True)
class Plane:
    """The part of a histogram that is drawn.

    Attributes
    ----------
    axes
        The two axes that span it (horizontal, vertical), or one for a line.
    selection
        Index that takes the plane out of an array in the histogram's axis order, after the
        averaged axes have been reduced to one bin.
    averaged
        Indices of the axes that are averaged over.
    transposed
        Whether the array that ``selection`` yields has the vertical axis first.
    description
        Where it lies on the other axes, in words; empty when nothing was left out.
    """

    axes: tuple[Axis, ...]
    selection: tuple[int | slice, ...]
    averaged: tuple[int, ...]
    transposed: bool
    description: str

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the averaged axes, shape (horizontal, vertical) or (n,)."""
        part = np.sum(values, axis=self.averaged, keepdims=True)[self.selection]
        return part.T if self.transposed else part


@dataclass(frozen=True)
class PlaneView:
    """One fit on a plane; arrays of shape (horizontal, vertical) or (n,).

    Attributes
    ----------
    plane
        Where it lies.
    measured, simulated, sigma
        Averages with the exposure as weight, so that they are all counts over all exposure, and
        the standard deviation of ``measured``; NaN where not measured.
    residual
        Difference of all counts from those expected over its standard deviation, NaN where no
        bin was used.
    used
        Where bins took part in the fit.
    """

    plane: Plane
    measured: np.ndarray
    simulated: np.ndarray
    sigma: np.ndarray
    residual: np.ndarray
    used: np.ndarray

    @classmethod
    def of(cls, fit: HistogramFit) -> PlaneView:
        """The most telling plane of a fit, see `choose_plane`."""
        return cls.on(choose_plane(fit.simulated, fit.used, _exposure(fit.measured)), fit)

    @classmethod
    def on(cls, plane: Plane, fit: HistogramFit) -> PlaneView:
        """A fit on a given plane."""
        weights = _exposure(fit.measured)
        if not plane.averaged:
            # Bins without a known exposure (a background was subtracted) are shown as well.
            weights = fit.measured.covered.astype(float)
        variance = np.where(weights > 0, fit.measured.variance, 0.0)
        # (n - μ)/√μ of several bins together: √μ is the weight of each. Bins that the fit came
        # to disbelieve have no residual.
        judged = fit.used & np.isfinite(fit.residual)
        expected = np.where(judged, np.maximum(weights * fit.simulated.signal, _TINY), 0.0)
        pulls = np.where(judged, fit.residual, 0.0) * np.sqrt(expected)
        return cls(
            plane=plane,
            measured=_mean(plane, fit.measured.signal, weights),
            simulated=_mean(plane, fit.simulated.signal, weights),
            sigma=_ratio(np.sqrt(plane.total(weights**2 * variance)), plane.total(weights)),
            residual=_ratio(plane.total(pulls), np.sqrt(plane.total(expected))),
            used=plane.total(fit.used) > 0,
        )


def axis_label(axis: Axis) -> str:
    """Name and unit of an axis, for a person."""
    if axis.is_energy:
        return "Energy transfer (meV)"
    return f"{axis.name} ({axis.unit})" if axis.unit else axis.name


def choose_plane(histogram: SQEHistogram, used: np.ndarray, weights: np.ndarray) -> Plane:
    """The most telling plane of a histogram.

    Energy against a momentum axis (two momentum axes where energy is integrated). Of all
    slices the one whose bins in ``used`` vary most in sum, on the square-root scale on which
    they are drawn. Data of one crystal orientation lie on a surface that a slice only meets
    in a line; then axes are averaged over, as long as that shows more.

    Parameters
    ----------
    histogram
        Any number of axes; best the simulated one, which has no noise.
    used
        Shape of the signal, bool.
    weights
        Shape of the signal, for averages.
    """
    axes = histogram.axes
    long = [i for i, axis in enumerate(axes) if axis.n_bins > 1] or [0]
    energy = [i for i in long if axes[i].is_energy]
    momentum = [i for i in long if not axes[i].is_energy]
    spans: list[tuple[int, ...]]
    if energy:
        spans = [(i, energy[0]) for i in momentum] or [(energy[0],)]
    else:
        spans = list(itertools.combinations(momentum, 2)) or [tuple(long)]

    kept = used & (weights > 0) & np.isfinite(histogram.signal)
    signal = np.where(kept, histogram.signal, 0.0)
    weights = np.where(kept, weights, 0.0)
    best: tuple[float, tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None = None
    for n_averaged in range(len(long)):
        gain = AVERAGING_GAIN if n_averaged else 1.0
        for shown in spans:
            others = [i for i in long if i not in shown]
            for averaged in itertools.combinations(others, n_averaged):
                variation, index = _most_varied(signal, weights, shown, averaged)
                if best is None or variation > gain * best[0]:
                    best = variation, shown, averaged, index
    assert best is not None  # the first span without averages
    return _plane(axes, *best[1:])


def _plane(
    axes: tuple[Axis, ...], shown: tuple[int, ...], averaged: tuple[int, ...], at: tuple[int, ...]
) -> Plane:
    selection: list[int | slice] = [slice(None)] * len(axes)
    places = []
    for i, index in zip((i for i in range(len(axes)) if i not in shown), at, strict=True):
        selection[i] = index
        low, high = axes[i].edges[index], axes[i].edges[index + 1]
        if i in averaged:
            low, high = axes[i].edges[0], axes[i].edges[-1]
        unit = "meV" if axes[i].is_energy else axes[i].unit
        place = f"{axes[i].name} from {low:.3g} to {high:.3g} {unit}".rstrip()
        places.append(f"average over {place}" if i in averaged else place)
    return Plane(
        axes=tuple(axes[i] for i in shown),
        selection=tuple(selection),
        averaged=averaged,
        transposed=len(shown) == 2 and shown[0] > shown[1],
        description=", ".join(places),
    )


def _most_varied(
    signal: np.ndarray, weights: np.ndarray, shown: tuple[int, ...], averaged: tuple[int, ...]
) -> tuple[float, tuple[int, ...]]:
    """Largest sum of squared deviations of √signal in a plane, and its place on other axes."""
    total = weights.sum(axis=averaged, keepdims=True)
    mean = (weights * signal).sum(axis=averaged, keepdims=True) / np.where(total > 0, total, 1.0)
    root = np.sqrt(np.maximum(mean, 0.0))
    count = np.maximum((total > 0).sum(axis=shown), 1)
    variation = (root**2).sum(axis=shown) - root.sum(axis=shown) ** 2 / count
    place = np.unravel_index(int(np.argmax(variation)), variation.shape) if variation.ndim else ()
    return float(variation[place]), tuple(int(index) for index in place)


def _exposure(histogram: SQEHistogram) -> np.ndarray:
    """Weights for averages: counts per unit of signal, or 1 where nothing is known of them."""
    exposure = np.where(histogram.covered, np.nan_to_num(histogram.exposure()), 0.0)
    return exposure if exposure.any() else histogram.covered.astype(float)


def _mean(plane: Plane, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = plane.total(np.where(weights > 0, values, 0.0) * weights)
    return _ratio(total, plane.total(weights))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.where(
        denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan
    )
