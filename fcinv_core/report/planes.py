"""Choose what of a histogram fits on paper: a plane, or a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.histogram import Axis, SQEHistogram


@dataclass(frozen=True)
class Plane:
    """The part of a histogram that is drawn.

    Attributes
    ----------
    axes
        The two axes that span it (horizontal, vertical), or one for a line.
    selection
        Index that takes the plane out of an array in the histogram's axis order.
    transposed
        Whether the array that ``selection`` yields has the vertical axis first.
    description
        Where it lies on the other axes, in words; empty when nothing was left out.
    """

    axes: tuple[Axis, ...]
    selection: tuple[int | slice, ...]
    transposed: bool
    description: str

    def of(self, values: np.ndarray) -> np.ndarray:
        """The plane's part of ``values``, shape (horizontal, vertical) or (n,)."""
        part = np.asarray(values)[self.selection]
        return part.T if self.transposed else part


def axis_label(axis: Axis) -> str:
    """Name and unit of an axis, for a person."""
    if axis.is_energy:
        return "Energy transfer (meV)"
    return f"{axis.name} ({axis.unit})" if axis.unit else axis.name


def choose_plane(histogram: SQEHistogram, used: np.ndarray) -> Plane:
    """The most telling plane of a histogram.

    Energy against the longest momentum axis (two momentum axes where energy is integrated);
    of all such planes the one whose bins in ``used`` vary most in sum, as averaging over the
    other axes would wash the dispersion out.

    Parameters
    ----------
    histogram
        Any number of axes; best the simulated one, which has no noise.
    used
        Shape of the signal, bool.
    """
    axes = histogram.axes
    long = [i for i, axis in enumerate(axes) if axis.n_bins > 1] or [0]
    by_length = sorted(long, key=lambda i: (not axes[i].is_energy, -axes[i].n_bins))
    shown = sorted(by_length[:2], key=lambda i: (axes[i].is_energy, i))
    others = tuple(i for i in range(len(axes)) if i not in shown)

    selection: list[int | slice] = [slice(None)] * len(axes)
    places = []
    for i, index in zip(others, _most_varied(histogram.signal, used, tuple(shown)), strict=True):
        selection[i] = int(index)
        low, high = axes[i].edges[index], axes[i].edges[index + 1]
        unit = "meV" if axes[i].is_energy else axes[i].unit
        places.append(f"{axes[i].name} from {low:.3g} to {high:.3g} {unit}".rstrip())
    return Plane(
        axes=tuple(axes[i] for i in shown),
        selection=tuple(selection),
        transposed=len(shown) == 2 and shown[0] > shown[1],
        description=", ".join(places),
    )


def _most_varied(
    signal: np.ndarray, used: np.ndarray, shown: tuple[int, ...]
) -> tuple[np.intp, ...]:
    """Index over the axes that are not shown where the used bins vary most in sum."""
    mask = np.asarray(used) & np.isfinite(signal)
    values = np.where(mask, signal, 0.0)
    count = np.maximum(mask.sum(axis=shown), 1)
    variation = (values**2).sum(axis=shown) - values.sum(axis=shown) ** 2 / count
    return np.unravel_index(int(np.argmax(variation)), variation.shape) if variation.ndim else ()
