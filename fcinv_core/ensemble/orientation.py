"""How a crystal is mounted and turned: a low-index zone axis vertical, a scan about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.histogram.experiment import GoniometerAxis

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

ZONES = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 1, 0), (1, -1, 0), (0, 0, 1)),
    ((1, 1, 0), (0, 0, 1), (1, -1, 0)),
    ((1, -1, 0), (0, 0, 1), (1, 1, 0)),
    ((1, -1, 0), (1, 1, -2), (1, 1, 1)),
)
"""Usual mountings: two reciprocal-lattice directions in the horizontal plane and a third one, the
axes along which data are binned."""

GENERAL = 0.15
"""Share of mountings and axes with other small indices."""


@dataclass(frozen=True, eq=False)
class Scan:
    """Orientation matrix, goniometer settings, and the axes of a reduction.

    Attributes
    ----------
    ub
        (3, 3) UB in 1/Å without 2π.
    axes
        (3, 3) columns are the directions in hkl along which data are binned.
    goniometer
        One axis, vertical, for each run.
    """

    ub: np.ndarray
    axes: np.ndarray
    goniometer: tuple[GoniometerAxis, ...]

    @property
    def rotations(self) -> np.ndarray:
        """(n_runs, 3, 3) with Q_lab = R Q_sample."""
        return np.array([axis.rotation for axis in self.goniometer])


def random_scan(
    crystal: Crystal,
    n_orientations: tuple[float, float],
    step: tuple[float, float],
    random: np.random.Generator,
) -> Scan:
    """A mounting and a scan of a vertical goniometer axis.

    Parameters
    ----------
    crystal
        Its unit cell is that of hkl, or the conventional cell where that one is smaller.
    n_orientations, step
        Fewest and most settings, smallest and largest step in degrees; uniform in the logarithm.
    """
    directions = np.array(ZONES[random.integers(len(ZONES))], dtype=float)
    if random.random() < GENERAL:
        directions = _general(random)
    # Bins along the same axes as the mounting or, sometimes, along those of the cell.
    axes = np.eye(3) if random.random() < GENERAL else directions.T
    n = round(np.exp(random.uniform(*np.log(n_orientations))))
    width = float(np.exp(random.uniform(*np.log(step))))
    start = random.uniform(-180.0, 180.0)
    angles = start + width * np.arange(min(n, int(360 / width) + 1))
    settings = (GoniometerAxis("psi", round(float(angle), 3), (0.0, 1.0, 0.0)) for angle in angles)
    return Scan(orientation(_indexed_lattice(crystal), *directions[:2]), axes, tuple(settings))


def _indexed_lattice(crystal: Crystal) -> np.ndarray:
    """(3, 3) rows in Å: nobody indexes on the primitive cell of a centred lattice."""
    own, conventional = crystal.lattice, crystal.conventional_lattice
    is_smaller = abs(np.linalg.det(own)) < 0.99 * abs(np.linalg.det(conventional))
    return conventional if is_smaller else own


def orientation(lattice: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(3, 3) UB without 2π of a crystal with ``u`` along the beam and ``v`` horizontal.

    As Mantid's SetUB: z along the beam, y up, v on the side of x.

    Parameters
    ----------
    lattice
        (3, 3) rows in Å.
    u, v
        Directions in hkl.
    """
    b_matrix = np.linalg.inv(lattice)
    along, beside = b_matrix @ u, b_matrix @ v
    z = along / np.linalg.norm(along)
    y = np.cross(along, beside)
    y /= np.linalg.norm(y)
    turn: np.ndarray = np.array([np.cross(y, z), y, z])
    return turn @ b_matrix


def _general(random: np.random.Generator) -> np.ndarray:
    """Three independent directions with indices from -2 to 2, rows."""
    while True:
        directions = random.integers(-2, 3, (3, 3)).astype(float)
        directions /= np.gcd.reduce(directions.astype(int), axis=1, keepdims=True).clip(min=1)
        volume = abs(np.linalg.det(directions))
        if volume > 0.5 * np.prod(np.linalg.norm(directions, axis=1)):
            return directions
