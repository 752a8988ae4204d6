"""What Mantid knows of one run: lattice and orientation, goniometer, temperature, energy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.hdf5_values import hard_child, values_of

TEMPERATURE_LOGS = (
    "SampleTemperature",
    "SampleTemp",
    "TemperatureSample",
    "TempSample",
    "T_sample",
    "SampleT",
    "Temperature",
    "Temp",
)
"""Log names that hold the sample temperature in K, best first; case and "_" don't matter."""

INCIDENT_ENERGY_LOGS = ("Ei", "IncidentEnergy", "EnergyRequest", "EiNominal", "EFixed")
"""Log names that hold the incident energy in meV, best first; case and "_" don't matter."""

RUN_NUMBER_LOGS = ("run_number", "run")
"""Log names that hold the run number, best first."""

_CELL_VOLUMES = (1.0, 1e7)
"""Å³: smallest and largest volume of a unit cell that a UB matrix can mean."""


@dataclass(frozen=True)
class GoniometerAxis:
    """One axis of a goniometer: name, angle in degrees, direction, sense (1 CCW, -1 CW)."""

    name: str
    angle: float
    direction: tuple[float, float, float]
    sense: int = 1

    @classmethod
    def from_rotation(cls, rotation: np.ndarray, name: str = "goniometer") -> GoniometerAxis:
        """The axis and angle of a rotation matrix (3, 3)."""
        from scipy.spatial.transform import Rotation

        vector = Rotation.from_matrix(np.array(rotation)).as_rotvec(degrees=True)
        angle = float(np.linalg.norm(vector))
        x, y, z = (float(component) for component in vector / angle) if angle else (0.0, 1.0, 0.0)
        return cls(name, angle, (x, y, z))

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) rotation matrix."""
        x, y, z = np.asarray(self.direction) / np.linalg.norm(self.direction)
        angle = np.radians(self.angle) * self.sense
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


class Logs:
    """The logs of a run, found by names whose case and separators do not matter.

    Parameters
    ----------
    names
        All there are; of several that differ in case or separators the first is meant.
    read
        The value or values of the log of a name.
    """

    def __init__(self, names: Sequence[str], read: Callable[[str], Any]) -> None:
        self._by_name = {_plain(name): name for name in reversed(names)}
        self._read = read

    def numbers(self, name: str, count: int | None = None) -> np.ndarray | None:
        """A log as a flat float array; None if missing, not numbers, or not ``count`` of them."""
        known = self._by_name.get(_plain(name))
        return None if known is None else _as_numbers(partial(self._read, known), count)

    def positive(self, names: Sequence[str]) -> float | None:
        """Mean of the first log of these names that has a positive one (0 means unset)."""
        for name in names:
            values = self.numbers(name)
            if values is not None:
                values = values[np.isfinite(values)]
                with np.errstate(over="ignore"):
                    mean = float(values.mean()) if values.size else 0.0
                if mean > 0:
                    return mean
        return None

    def text(self, names: Sequence[str]) -> str:
        """The first value, as text, of the first log of these names that has any."""
        for name in names:
            known = self._by_name.get(_plain(name))
            text = "" if known is None else _as_text(partial(self._read, known))
            if text:
                return text
        return ""


@dataclass(frozen=True, eq=False)
class ExperimentInfo:
    """Facts about one run, as far as they are known.

    Attributes
    ----------
    ub
        (3, 3) UB in 1/Å without 2π: Q_sample = 2π ub @ hkl. None if there is no lattice.
    lattice
        a, b, c in Å and alpha, beta, gamma in degrees, or None.
    temperature
        Mean sample temperature in K, or None.
    incident_energy
        In meV, or None.
    goniometer
        Axes from the outermost to the one nearest the sample.
    run_number
        As in the log, possibly empty.
    w_matrix
        (3, 3) log W_MATRIX (columns are MDNorm's QDimension0..2), or None.
    instrument
        Name of the instrument, possibly empty.
    """

    ub: np.ndarray | None = None
    lattice: tuple[float, ...] | None = None
    temperature: float | None = None
    incident_energy: float | None = None
    goniometer: tuple[GoniometerAxis, ...] = ()
    run_number: str = ""
    w_matrix: np.ndarray | None = None
    instrument: str = ""

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) R with Q_lab = R Q_sample; the identity without a goniometer."""
        rotation = np.eye(3)
        for axis in self.goniometer:
            rotation = rotation @ axis.rotation
        return rotation

    @classmethod
    def from_nexus(cls, group: Any) -> ExperimentInfo:
        """Read an ``experimentN`` group (h5py) of a file written by SaveMD.

        Whatever is missing or unreadable is left unknown, as Mantid's own loader does.

        Raises
        ------
        FcinvError
            When there is a UB matrix that can be none.
        """
        crystal = child(group, "sample/oriented_lattice")
        ub = _numbers(crystal, "orientation_matrix", 9)
        if ub is not None:
            _check_ub(ub.reshape(3, 3))
        cell = [_numbers(crystal, f"unit_cell_{name}", 1) for name in _CELL]
        logs = child(group, "logs")
        return cls.from_logs(
            Logs(
                [] if logs is None else list(logs),
                lambda name: values_of(child(logs, f"{name}/value")),
            ),
            ub=None if ub is None else ub.reshape(3, 3),
            lattice=_lattice(cell, ub),
            goniometer=_goniometer(logs),
            instrument=text_of(child(group, "instrument/name")),
        )

    @classmethod
    def from_logs(
        cls,
        logs: Logs,
        *,
        ub: np.ndarray | None,
        lattice: tuple[float, ...] | None,
        goniometer: tuple[GoniometerAxis, ...],
        instrument: str,
    ) -> ExperimentInfo:
        """Temperature, energy, run number and W_MATRIX from logs; the rest as it is given."""
        w_matrix = logs.numbers("W_MATRIX", 9)
        return cls(
            ub=ub,
            lattice=lattice,
            temperature=logs.positive(TEMPERATURE_LOGS),
            incident_energy=logs.positive(INCIDENT_ENERGY_LOGS),
            goniometer=goniometer,
            run_number=logs.text(RUN_NUMBER_LOGS),
            w_matrix=None if w_matrix is None else w_matrix.reshape(3, 3),
            instrument=instrument,
        )


def lattice_from_ub(ub: np.ndarray) -> tuple[float, ...]:
    """a, b, c (Å) and alpha, beta, gamma (degrees) of the cell behind a UB without 2π.

    (UBᵀ UB)⁻¹ is the metric tensor of the direct lattice (Busing & Levy, Acta Cryst. 22,
    457 (1967)).
    """
    metric = np.linalg.inv(ub.T @ ub)
    lengths = np.sqrt(np.diag(metric))
    cosines = [metric[i, j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    return tuple(float(x) for x in (*lengths, *np.degrees(np.arccos(cosines))))


def _check_ub(ub: np.ndarray) -> None:
    smallest, largest = _CELL_VOLUMES
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = abs(float(np.linalg.det(ub)))
    if not np.isfinite(ub).all() or not 1 / largest < determinant < 1 / smallest:
        raise FcinvError(
            "the UB matrix of the sample is not that of a crystal: it is singular, not finite, or "
            "of a cell of an impossible volume; run SetUB on the data before the reduction"
        )


_CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def _lattice(cell: list[np.ndarray | None], ub: np.ndarray | None) -> tuple[float, ...] | None:
    known = [float(x[0]) for x in cell if x is not None]
    if len(known) == 6:
        return tuple(known)
    return None if ub is None else lattice_from_ub(ub.reshape(3, 3))


def _goniometer(logs: Any) -> tuple[GoniometerAxis, ...]:
    group = child(logs, "goniometer")
    count = _numbers(group, "num_axes", 1)
    axes = []
    for i in range(0 if count is None else int(count[0])):
        axis = child(group, f"axis{i}")
        angle = _numbers(axis, "angle", 1)
        direction = _numbers(axis, "rotationaxis", 3)
        if angle is None or direction is None:
            return ()
        attributes = axis["angle"].attrs
        degrees = float(angle[0])
        if _decode(attributes.get("unit", "deg")) == "rad":
            degrees = float(np.degrees(degrees))
        if not np.isfinite([degrees, *direction]).all() or not direction.any():
            return ()
        x, y, z = (float(component) for component in direction)
        sense = -1 if _decode(attributes.get("sense", "CCW")) == "CW" else 1
        axes.append(GoniometerAxis(text_of(child(axis, "name")), degrees, (x, y, z), sense))
    return tuple(axes)


def child(group: Any, path: str) -> Any:
    """The group or dataset at ``path``, or None; links out of the file are not followed."""
    if group is None:
        return None
    try:
        return hard_child(group, path)
    except (KeyError, ValueError, TypeError, OSError, RuntimeError):
        return None


def _numbers(group: Any, path: str, count: int | None = None) -> np.ndarray | None:
    """A dataset as a flat float array; None if missing, not numbers, or not ``count`` of them."""
    return _as_numbers(lambda: values_of(child(group, path)), count)


def _as_numbers(read: Callable[[], Any], count: int | None) -> np.ndarray | None:
    try:
        values = np.asarray(read()).ravel()
        if values.dtype.kind in "SO":
            values = np.array([_decode(value) for value in values])
        elif values.dtype.kind not in "fiub":
            return None
        values = values.astype(np.float64)
    except (TypeError, ValueError, OSError, RuntimeError):
        return None
    return values if count is None or values.size == count else None


def text_of(dataset: Any) -> str:
    """The first value of a dataset as text; empty if there is none."""
    return _as_text(lambda: values_of(dataset))


def _as_text(read: Callable[[], Any]) -> str:
    try:
        values = np.asarray(read()).ravel()
        return _decode(values[0]) if values.size else ""
    except (TypeError, ValueError, OSError, RuntimeError):
        return ""


def _decode(value: Any) -> str:
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \0")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
