"""One axis of a histogram: its bins, and what its name and frame say about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.errors import FcinvError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)?(?:e[+-]?\d+)?"
_COMPONENT = re.compile(rf"^({_NUMBER})\*?([HKL]?)$", re.IGNORECASE)
_MOMENTUM_FRAMES = {"hkl": "HKL", "qsample": "QSample", "qlab": "QLab"}
_FRAMES_THAT_SAY_NOTHING = ("", "generalframe", "unknownframe", "unknown")
_NEGLIGIBLE = 1e-6
"""Components this small in an axis name are numerical noise (MDNorm prints "1e-17H")."""
_BEYOND_REACH = 1e6
"""No momentum, energy or component of a direction is as large in any unit that axes have."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A regular axis of a histogram.

    Attributes
    ----------
    name
        As Mantid shows it, for example "[H,H,0]", "Q_sample_x" or "DeltaE".
    unit
        "r.l.u." for HKL axes, "Angstrom^-1" for Q; "DeltaE" or "meV" both mean meV.
    frame
        Mantid's frame: "HKL", "QSample", "QLab", "DeltaE", "General Frame", ...
    edges
        (n_bins + 1,) ascending bin edges in ``unit``.
    identifier
        Name of the axis in its file: the name again in older files, "D0" in newer ones.

    Raises
    ------
    FcinvError
        The edges do not ascend, or there are fewer than two.
    """

    name: str
    unit: str
    frame: str
    edges: np.ndarray
    identifier: str = ""

    def __post_init__(self) -> None:
        edges = np.ascontiguousarray(self.edges, dtype=np.float64)
        if (
            edges.ndim != 1
            or edges.size < 2
            or not np.all(np.abs(edges) < _BEYOND_REACH)
            or not np.all(np.diff(edges) > 0)
        ):
            raise FcinvError(
                f"axis {self.name!r}: bin edges must be at least two ascending numbers; "
                "check the binning of this dimension"
            )
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "identifier", self.identifier or self.name)

    @classmethod
    def along(cls, direction: Sequence[float], edges: Sequence[float] | np.ndarray) -> Axis:
        """Momentum axis along ``direction`` (3 components in hkl), named as MDNorm does."""
        vector = np.asarray(direction, dtype=float)
        letter = "HKL"[int(np.argmax(np.abs(vector)))]
        parts = []
        for component in vector:
            if component == 0:
                parts.append("0")
            elif abs(component) == 1:
                parts.append(("-" if component < 0 else "") + letter)
            else:
                parts.append(f"{component:.3g}{letter}")
        name = f"[{','.join(parts)}]"
        return cls(name, "r.l.u.", "HKL", np.asarray(edges, dtype=float))

    @classmethod
    def energy_transfer(cls, edges: Sequence[float] | np.ndarray) -> Axis:
        """Energy-transfer axis with ``edges`` in meV."""
        return cls("DeltaE", "DeltaE", "DeltaE", np.asarray(edges, dtype=float))

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.edges.size - 1

    @property
    def centres(self) -> np.ndarray:
        """(n_bins,) bin centres in ``unit``."""
        return 0.5 * (self.edges[:-1] + self.edges[1:])

    @property
    def widths(self) -> np.ndarray:
        """(n_bins,) bin widths in ``unit``."""
        return np.diff(self.edges)

    @property
    def width(self) -> float:
        """Mean bin width in ``unit``; Mantid's axes are uniform."""
        return float(self.edges[-1] - self.edges[0]) / self.n_bins

    @property
    def is_uniform(self) -> bool:
        """Whether all bins are equally wide, to the float32 precision of Mantid's axes."""
        coordinate_rounding = 4 * float(np.finfo(np.float32).eps) * float(np.abs(self.edges).max())
        deviation = float(np.abs(self.widths - self.width).max())
        return deviation <= 1e-4 * self.width + coordinate_rounding

    @property
    def is_energy(self) -> bool:
        """Whether this is the energy-transfer axis, by frame or name, never by position."""
        return "deltae" in (_plain(self.frame), _plain(self.name))

    @property
    def momentum_frame(self) -> str | None:
        """ "HKL", "QSample" or "QLab" for an axis of momentum transfer, otherwise None.

        The frame decides; where it says nothing ("General Frame") the name does.
        """
        frame = _plain(self.frame)
        if frame in _MOMENTUM_FRAMES:
            return _MOMENTUM_FRAMES[frame]
        if frame in _FRAMES_THAT_SAY_NOTHING:
            if self.direction is not None:
                return "HKL"
            for prefix, known in _MOMENTUM_FRAMES.items():
                if _plain(self.name) in (prefix + "x", prefix + "y", prefix + "z"):
                    return known
        return None

    @property
    def is_momentum(self) -> bool:
        """Whether this is an axis of momentum transfer."""
        return self.momentum_frame is not None

    @property
    def direction(self) -> np.ndarray | None:
        """(3,) direction in hkl that the name spells ("[H,-H,0]", "K"), or None."""
        name = self.name.strip()
        if name.upper() in ("H", "K", "L"):
            return np.eye(3)["HKL".index(name.upper())]
        if not (name.startswith("[") and name.endswith("]")):
            return None
        parts = [_COMPONENT.match(part.strip()) for part in name[1:-1].split(",")]
        if len(parts) != 3:
            return None
        direction = np.zeros(3)
        letters = set()
        for i, part in enumerate(parts):
            if part is None:
                return None
            number, letter = part.groups()
            if letter:
                value = float(number + "1" if number in ("", "+", "-") else number)
                if not abs(value) < _BEYOND_REACH:
                    return None
                if abs(value) > _NEGLIGIBLE:
                    direction[i] = value
                    letters.add(letter.upper())
            elif number in ("", "+", "-") or float(number) != 0:
                return None
        return direction if len(letters) == 1 else None


def _plain(text: str) -> str:
    """Lower case without separators, so that "Q_sample" and "QSample" are one."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
