"""From the coordinates of a histogram's momentum axes to hkl."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.axes import Axis

_LARGEST_DENOMINATOR = 12
"""Largest denominator of the fractions that a rounded coefficient may stand for."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The linear map from momentum-axis coordinates to hkl.

    Attributes
    ----------
    matrix
        (3, 3): hkl = matrix @ x, with x the coordinates along the momentum axes in the
        order in which the histogram has them. Dimensionless for HKL axes, Å for Q axes.
    origin
        Where it comes from, for a person: "axis names", "W_MATRIX log", "UB".

    Notes
    -----
    Mantid's log ``W_MATRIX`` has QDimension0..2 as columns, whatever the axis order of
    the workspace, and MDNorm names an axis by its largest component, not by its
    QDimension. So columns are matched to axes by comparing all three components.
    """

    matrix: np.ndarray
    origin: str

    @classmethod
    def from_axes(
        cls,
        axes: Sequence[Axis],
        w_matrix: np.ndarray | None = None,
        ub: np.ndarray | None = None,
        rotation: np.ndarray | None = None,
    ) -> Projection:
        """Projection of three momentum axes.

        Parameters
        ----------
        axes
            The three momentum axes in histogram order.
        w_matrix
            (3, 3) W_MATRIX log, if there is one. Older MDNorm leaves it at the identity
            whatever the projection, so an identity says nothing.
        ub
            (3, 3) UB without 2π in 1/Å; needed for axes in 1/Å.
        rotation
            (3, 3) goniometer rotation R (Q_lab = R Q_sample), if all data share one;
            needed for axes in the laboratory frame.

        Raises
        ------
        FcinvError
            Names that cannot be read, W_MATRIX against the names, dependent directions,
            a missing UB or goniometer.
        """
        frames = {axis.momentum_frame for axis in axes}
        if len(axes) != 3 or len(frames) != 1:
            raise FcinvError(
                f"momentum axes {_names(axes)} are not three of one frame; reduce the data with "
                "MDNorm to three axes in HKL or Q_sample"
            )
        frame = frames.pop()
        if frame == "HKL":
            return cls._from_hkl_axes(axes, w_matrix)
        return cls._from_q_axes(axes, frame, ub, rotation)

    @classmethod
    def _from_hkl_axes(cls, axes: Sequence[Axis], w_matrix: np.ndarray | None) -> Projection:
        directions = []
        for axis in axes:
            if axis.direction is None:
                raise FcinvError(
                    f"cannot read a direction from the axis name {axis.name!r}; name momentum "
                    "axes as MDNorm does, for example [H,H,0]"
                )
            directions.append(axis.direction)
        named = np.column_stack(directions)
        if w_matrix is None or np.allclose(w_matrix, np.eye(3), atol=1e-6):
            matrix = np.vectorize(_unrounded)(named)
            origin = "axis names"
            if not np.array_equal(matrix, named):
                origin += " (three-digit numbers read as fractions)"
        else:
            matrix = _match_columns(named, w_matrix, axes)
            origin = "W_MATRIX log"
        if abs(np.linalg.det(matrix)) < 1e-5:
            raise FcinvError(
                f"the momentum axes {_names(axes)} are not independent directions; "
                "check the projection of the reduction"
            )
        return cls(matrix, origin)

    @classmethod
    def _from_q_axes(
        cls,
        axes: Sequence[Axis],
        frame: str | None,
        ub: np.ndarray | None,
        rotation: np.ndarray | None,
    ) -> Projection:
        if ub is None:
            raise FcinvError(
                f"axes {_names(axes)} are in 1/Å and there is no UB matrix to take them to hkl; "
                "run SetUB before the reduction"
            )
        components = [axis.name.strip().lower()[-1:] for axis in axes]
        if sorted(components) != ["x", "y", "z"]:
            raise FcinvError(
                f"cannot tell x, y and z from the axis names {_names(axes)}; reduce with "
                "MDNorm in HKL or along Q_sample_x, Q_sample_y, Q_sample_z"
            )
        to_sample = np.eye(3)[:, ["xyz".index(component) for component in components]]
        origin = "UB"
        if frame == "QLab":
            if rotation is None:
                raise FcinvError(
                    f"axes {_names(axes)} are in the laboratory frame of several goniometer "
                    "settings; convert to Q_sample or HKL instead"
                )
            to_sample = rotation.T @ to_sample
            origin = "UB and goniometer"
        return cls(np.linalg.solve(2 * np.pi * ub, to_sample), origin)


def _match_columns(named: np.ndarray, w_matrix: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """W_MATRIX with its columns in the order of the axes, or a refusal that shows both."""
    for order in itertools.permutations(range(3)):
        candidate = w_matrix[:, order]
        if np.all(np.abs(candidate - named) <= 1.01 * np.vectorize(_rounding)(named)):
            return np.ascontiguousarray(candidate)
    columns = " ".join(f"({', '.join(f'{x:.4g}' for x in column)})" for column in w_matrix.T)
    raise FcinvError(
        f"axis names {_names(axes)} contradict the W_MATRIX log, whose columns are {columns}; "
        "reduce the data again, or correct the log or the names"
    )


def _rounding(value: float) -> float:
    """Half a unit in the third significant digit, which is where MDNorm's names end."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1e-6


def _unrounded(value: float) -> float:
    """The simple fraction that a three-digit coefficient such as 0.333 stands for."""
    fraction = float(Fraction(value).limit_denominator(_LARGEST_DENOMINATOR))
    return fraction if abs(fraction - value) <= _rounding(value) else value


def _names(axes: Sequence[Axis]) -> str:
    return " ".join(axis.name for axis in axes)
