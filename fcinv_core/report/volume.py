"""All bins of a fit, small enough to lie in a page: what its viewer shows slices of."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.report.averages import Averages
from fcinv_core.report.planes import Plane, axis_label, unit_of

if TYPE_CHECKING:
    from fcinv_core.histogram import Axis
    from fcinv_core.inversion.result import HistogramFit

MISSING = 65535
"""Code of an intensity that is not known; others are 0 to 65534."""

RESIDUAL_STEP, LARGEST_RESIDUAL = 0.1, 12.7
"""Standard deviations: steps in which residuals are kept, and what stands for larger ones."""

_FEWEST_CHARACTERS = 1.0
"""Of a measured bin, once deflated: below that there is no need to try."""


@dataclass(frozen=True)
class Volume(Averages):
    """A fit on its own bins, or on bins that were merged to save space.

    Attributes
    ----------
    axes
        Of the arrays; as many as the histogram has.
    merged
        How many bins of the histogram are one along each axis.
    """

    axes: tuple[Axis, ...]
    merged: tuple[int, ...]

    @classmethod
    def of(cls, fit: HistogramFit, merged: tuple[int, ...]) -> Volume:
        """A fit with so many bins merged along each axis."""

        def total(values: np.ndarray) -> np.ndarray:
            for i, factor in enumerate(merged):
                starts = np.arange(0, values.shape[i], factor)
                values = np.add.reduceat(values, starts, axis=i) if factor > 1 else values
            return values

        averages = Averages.over(total, fit, max(merged) > 1)
        axes = tuple(
            _with_wide_bins(axis, factor)
            for axis, factor in zip(fit.measured.axes, merged, strict=True)
        )
        return cls(**vars(averages), axes=axes, merged=merged)

    @classmethod
    def packed_within(cls, fit: HistogramFit, largest: int) -> tuple[Volume, str]:
        """The finest volume whose `packed` bytes are no more than ``largest`` characters.

        Bins are merged in pairs, where there are most of them along an axis.
        """
        sizes = np.array(fit.measured.shape)
        merged = np.ones_like(sizes)
        measured = np.count_nonzero(fit.measured.covered)
        while True:
            bins = -(-sizes // merged)
            widest = int(np.argmax(bins))
            if measured / merged.prod() * _FEWEST_CHARACTERS <= largest or bins[widest] == 1:
                volume = cls.of(fit, tuple(merged.tolist()))
                packed = volume.packed()
                if len(packed) <= largest or bins[widest] == 1:
                    return volume, packed
            merged[widest] *= 2

    def packed(self) -> str:
        """The arrays in base64, deflated.

        One bit a bin, whether it was measured (most significant first, in C order); then of
        each measured bin the codes of `roots` for the measured and the simulated intensity (all
        high bytes, all low bytes), of the exposure (`exposure_scale`; 0: not known) and of the
        residual (128 at zero in steps of `RESIDUAL_STEP`; 0: the bin was not used).
        """
        covered = np.isfinite(self.measured)
        parts = [np.packbits(covered.ravel())]
        low, step = self.roots
        for values in (self.measured[covered], self.simulated[covered]):
            known = np.isfinite(values)
            roots = np.sign(values) * np.sqrt(np.abs(values))
            codes = np.where(known, np.rint((np.where(known, roots, low) - low) / step), MISSING)
            codes = codes.astype(np.uint16)
            parts += [(codes >> 8).astype(np.uint8), (codes & 255).astype(np.uint8)]
        exposure = self.exposure[covered]
        smallest, ratio = self.exposure_scale
        steps = np.log(np.where(exposure > 0, exposure, smallest) / smallest) / ratio
        parts.append(np.where(exposure > 0, 1 + np.rint(steps), 0).astype(np.uint8))
        pulls = np.clip(np.nan_to_num(self.residual[covered]), -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        judged = np.isfinite(self.residual[covered])
        parts.append(np.where(judged, 128 + np.rint(pulls / RESIDUAL_STEP), 0).astype(np.uint8))
        return base64.b64encode(zlib.compress(np.concatenate(parts).tobytes())).decode()

    @property
    def roots(self) -> tuple[float, float]:
        """Lowest √|intensity|, with the sign of the intensity, and step of its codes."""
        both = np.concatenate([self.measured.ravel(), self.simulated.ravel()])
        both = both[np.isfinite(both)]
        low, high = (both.min(), both.max()) if both.size else (0.0, 1.0)
        low, high = (float(np.sign(end) * np.sqrt(abs(end))) for end in (low, high))
        return low, (high - low) / (MISSING - 1) or 1.0

    @property
    def exposure_scale(self) -> tuple[float, float]:
        """Smallest exposure, and step of the logarithm from one code to the next."""
        known = self.exposure[self.exposure > 0]
        if not known.size:
            return 1.0, 1.0
        return float(known.min()), float(np.log(known.max() / known.min())) / 254 or 1.0

    def shown(self, plane: Plane) -> dict[str, Any]:
        """A plane of the histogram as the viewer wants it: bins of ``axes``, None for averages."""
        across, up = (i for i, part in enumerate(plane.selection) if isinstance(part, slice))
        places = [
            None if i in plane.averaged or isinstance(place, slice) else place // factor
            for i, (place, factor) in enumerate(zip(plane.selection, self.merged, strict=True))
        ]
        return {"shown": [up, across] if plane.transposed else [across, up], "places": places}

    def described_axes(self) -> list[dict[str, Any]]:
        """Labels and edges, for JSON."""
        return [
            {
                "name": "E" if axis.is_energy else axis.name,
                "label": axis_label(axis),
                "unit": unit_of(axis),
                "edges": [float(f"{edge:.7g}") for edge in axis.edges],
            }
            for axis in self.axes
        ]


def _with_wide_bins(axis: Axis, factor: int) -> Axis:
    """``factor`` bins in one; those that are left over at the end are one, too."""
    edges = axis.edges[:-1][::factor]
    return replace(axis, edges=np.append(edges, axis.edges[-1]))
