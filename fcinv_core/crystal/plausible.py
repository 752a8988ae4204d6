"""Whether numbers can be those of a crystal.

Libraries crash on some that are not, or never return, so these are asked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal.supercell_size import MOST_ATOMS

if TYPE_CHECKING:
    from fcinv_core.crystal.crystal import Crystal

VOLUME_PER_ATOM = (1.0, 2000.0)
"""Å³: solid hydrogen at the highest pressures has 2, and molecules in a box have the most."""

LONGEST_AXIS = 1e4
"""Å: of any unit cell."""

CLOSEST_ATOMS = 0.3
"""Å: no two nuclei come as close; those of hydrogen molecules are 0.74 apart."""

MASSES = (0.5, 500.0)
"""u: muons and single nucleons are lighter, and nothing is heavier."""


def problem_of_cell(lattice: np.ndarray, positions: np.ndarray) -> str | None:
    """None, or why a lattice (rows, Å) with fractional positions is no crystal, in words."""
    n = len(positions)
    if n == 0 or np.shape(lattice) != (3, 3) or np.shape(positions) != (n, 3):
        return "a crystal has three lattice vectors and three coordinates for each atom: give them"
    if not np.isfinite(lattice).all() or not np.isfinite(positions).all():
        return "lattice or positions are not all finite numbers: correct them"
    longest = float(np.abs(lattice).max())
    least, most = VOLUME_PER_ATOM
    volume = abs(float(np.linalg.det(lattice))) if longest < LONGEST_AXIS else np.inf
    if not least < volume / n < most:
        return (
            f"a cell of {volume:.4g} Å³ with {n} atoms is that of no crystal: give lattice vectors "
            "in Å, and all atoms"
        )
    if np.abs(positions).max() > LONGEST_AXIS:
        return "atoms lie far outside of their cell: correct their coordinates"
    closest = _closest(lattice, positions)
    if closest < CLOSEST_ATOMS:
        return f"two atoms are {closest:.2g} Å apart: give one atom for each site"
    return None


def problem_of(crystal: Crystal) -> str | None:
    """None, or why nothing could be worked out for a crystal, in words."""
    if (problem := problem_of_cell(crystal.lattice, crystal.positions)) is not None:
        return problem
    n = len(crystal.positions)
    lengths = {len(crystal.symbols), len(crystal.masses), len(crystal.scattering_lengths)}
    if lengths != {n}:
        return f"there are {n} positions, and another number of symbols or masses"
    lightest, heaviest = MASSES
    if not ((crystal.masses > lightest) & (crystal.masses < heaviest)).all():
        return "masses of atoms must be positive numbers in u: correct them, or leave them out"
    if not np.isfinite(crystal.scattering_lengths).all():
        return "scattering lengths are not all finite"
    if not isinstance(crystal.symprec, float) or not 0 < crystal.symprec < 1:
        return f"a symprec of {crystal.symprec!r} is no tolerance in Å: give 1e-5"
    if not np.isfinite(crystal.primitive_matrix).all():
        return "the primitive matrix is not finite: leave it out"
    cells = np.array(crystal.supercell_matrix, dtype=float)
    primitive = np.array(crystal.primitive_matrix, dtype=float)
    if cells.shape != (3, 3) or primitive.shape != (3, 3):
        return "supercell and primitive matrices have three rows of three numbers"
    n_supercell = abs(float(np.linalg.det(cells))) * n
    if not 0.5 < n_supercell < MOST_ATOMS + 0.5:
        return (
            f"a supercell {cells.tolist()} of {n} atoms holds {n_supercell:.6g}: give one of 1 to "
            f"{MOST_ATOMS} atoms"
        )
    if np.linalg.det(primitive) * n < 0.5:
        return (
            f"the primitive matrix {np.round(primitive, 4).tolist()} makes a cell without atoms, "
            "or the lattice is left-handed: give right-handed lattice vectors"
        )
    return None


def _closest(lattice: np.ndarray, positions: np.ndarray) -> float:
    """Å between the closest two atoms; right where they are much closer than a lattice vector."""
    closest = np.inf
    for i in range(1, len(positions)):
        offsets = positions[:i] - positions[i]
        offsets -= np.rint(offsets)
        closest = min(closest, float(np.linalg.norm(offsets @ lattice, axis=1).min()))
    return closest
