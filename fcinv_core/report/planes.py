"""Choose what of a fitted histogram fits on paper: a plane, or a line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.report.averages import Averages, exposure_of

if TYPE_CHECKING:
    from fcinv_core.histogram import Axis, SQEHistogram
    from fcinv_core.inversion.result import HistogramFit

AVERAGING_GAIN = 1.2
"""Averaging hides what goes on along an axis, so it has to show clearly more than a slice."""


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
class PlaneView(Averages):
    """One fit on a plane; arrays of shape (horizontal, vertical) or (n,).

    Attributes
    ----------
    plane
        Where it lies.
    """

    plane: Plane

    @classmethod
    def of(cls, fit: HistogramFit) -> PlaneView:
        """The most telling plane of a fit, see `choose_plane`."""
        return cls.on(choose_plane(fit.simulated, fit.used, exposure_of(fit.measured)), fit)

    @classmethod
    def on(cls, plane: Plane, fit: HistogramFit) -> PlaneView:
        """A fit on a given plane."""
        averages = Averages.over(plane.total, fit, bool(plane.averaged))
        return cls(**vars(averages), plane=plane)


def axis_label(axis: Axis) -> str:
    """Name and unit of an axis, for a person."""
    if axis.is_energy:
        return "Energy transfer (meV)"
    unit = unit_of(axis)
    return f"{axis.name} ({unit})" if unit else axis.name


def unit_of(axis: Axis) -> str:
    """For a person; Mantid's may be called like the axis."""
    if axis.is_energy:
        return "meV"
    return axis.unit.replace("Angstrom^-1", "1/Å")


def extent(low: float, high: float, axis: Axis) -> str:
    """A stretch of an axis in words."""
    return f"from {low:.3g} to {high:.3g} {unit_of(axis)}".rstrip()


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


def named_plane(
    histogram: SQEHistogram,
    across: str,
    up: str,
    at: Mapping[str, float] | None = None,
) -> Plane:
    """The plane of two axes at given places on others, averaged over the rest.

    Parameters
    ----------
    across, up
        Names of the horizontal and the vertical axis.
    at
        Places on other axes by name, in their units.

    Raises
    ------
    FcinvError
        When there is no such axis, or the place is outside of it.
    """
    axes = histogram.axes
    places = {_index(axes, name): value for name, value in (at or {}).items()}
    shown = _index(axes, across), _index(axes, up)
    if shown[0] == shown[1] or places.keys() & set(shown):
        raise FcinvError("a plane has two axes, and places on others: name each axis once")
    others = [i for i in range(len(axes)) if i not in shown]
    index = tuple(_bin(axes[i], places[i]) if i in places else 0 for i in others)
    averaged = tuple(i for i in others if i not in places and axes[i].n_bins > 1)
    return _plane(axes, shown, averaged, index)


def _index(axes: tuple[Axis, ...], name: str) -> int:
    names = [axis.name for axis in axes]
    if name not in names:
        raise FcinvError(f"there is no axis {name!r}: choose among {', '.join(names)}")
    return names.index(name)


def _bin(axis: Axis, place: float) -> int:
    if not axis.edges[0] <= place <= axis.edges[-1]:
        raise FcinvError(
            f"{place:g} is outside of {axis.name}, which goes from {axis.edges[0]:g} to "
            f"{axis.edges[-1]:g}"
        )
    return min(int(np.searchsorted(axis.edges, place, side="right")) - 1, axis.n_bins - 1)


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
        place = f"{axes[i].name} {extent(low, high, axes[i])}"
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
