"""Detector pixels of a direct-geometry spectrometer, as the sample sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.instrument_definition import InstrumentDefinition
from fcinv_core.histogram.reduction import instrument_xml

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram


@dataclass(frozen=True, eq=False)
class DetectorPixels:
    """Where neutrons are counted.

    Attributes
    ----------
    directions
        (n, 3) unit vectors from the sample in Mantid's laboratory frame (z along the beam,
        y up, x = y × z); of any length when given.
    solid_angles
        (n,) sr.

    Raises
    ------
    FcinvError
        Arrays that do not fit each other, a direction without length, or a solid angle that
        is negative or not finite.
    """

    directions: np.ndarray
    solid_angles: np.ndarray

    def __post_init__(self) -> None:
        directions = np.ascontiguousarray(self.directions, dtype=np.float64)
        solid_angles = np.ascontiguousarray(self.solid_angles, dtype=np.float64)
        if directions.shape != (*solid_angles.shape, 3) or solid_angles.ndim != 1:
            raise FcinvError(
                f"detector pixels: directions {directions.shape} and solid angles "
                f"{solid_angles.shape} do not fit; give (n, 3) and (n,)"
            )
        lengths = np.linalg.norm(directions, axis=1)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise FcinvError(
                "detector pixels: a direction has no length; leave out pixels at the sample"
            )
        if not (np.isfinite(solid_angles) & (solid_angles >= 0)).all():
            raise FcinvError("detector pixels: solid angles must be finite and not negative")
        object.__setattr__(self, "directions", directions / lengths[:, None])
        object.__setattr__(self, "solid_angles", solid_angles)

    @classmethod
    def from_definition(cls, definition: InstrumentDefinition) -> DetectorPixels:
        """The pixels of an instrument; see `InstrumentDefinition.from_xml`."""
        return cls(definition.positions, definition.solid_angles)

    @classmethod
    def from_histogram(cls, histogram: SQEHistogram) -> DetectorPixels:
        """The pixels of the instrument definition in a file; masks are not in it.

        Raises
        ------
        FcinvError
            No instrument in the file, or one without detectors or otherwise unreadable.
        """
        xml = instrument_xml(histogram)
        where = f"instrument definition in {histogram.source}"
        return cls.from_definition(InstrumentDefinition.from_xml(xml, where))

    def __len__(self) -> int:
        return len(self.solid_angles)

    def masked(self, keep: np.ndarray) -> DetectorPixels:
        """Only the pixels where ``keep`` (n,), bool, is true."""
        return DetectorPixels(self.directions[keep], self.solid_angles[keep])
