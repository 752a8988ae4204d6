"""Whether numbers can be those of a crystal.

Libraries crash on some that are not, or never return, so these are asked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal.supercell_size import MOST_ATOMS
from fcinv_core.errors import FcinvError

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


MOST_CHARGE = 0.5
"""Of the largest Born charge, that all together may have: exact ones add up to zero, and those of
calculations nearly."""

LARGEST_CHARGE = 50.0
"""e: of perovskites, which have the largest Born charges, 10."""

DIELECTRIC = (0.5, 1000.0)
"""Of the vacuum it is 1, of lead telluride 30."""


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


def check_charges(charges: np.ndarray, dielectric: np.ndarray) -> None:
    """Refuse tensors that no crystal has, before symmetry averages over what is wrong with them.

    Parameters
    ----------
    charges
        (n_primitive, 3, 3) in e.
    dielectric
        (3, 3).

    Raises
    ------
    FcinvError
    """
    if not np.isfinite(charges).all() or np.abs(charges).max() > LARGEST_CHARGE:
        raise FcinvError(
            f"Born charges must be finite numbers of at most {LARGEST_CHARGE:.0f} e: correct them"
        )
    total = float(np.abs(charges.sum(axis=0)).max())
    if total > MOST_CHARGE * max(float(np.abs(charges).max()), 1e-3):
        raise FcinvError(
            f"the Born charges add up to {total:.3g} e in a cell that is neutral: correct them"
        )
    symmetric = 0.5 * dielectric + 0.5 * dielectric.T
    lowest, highest = DIELECTRIC
    fits = np.shape(dielectric) == (3, 3) and np.isfinite(dielectric).all()
    if not fits or not lowest < np.linalg.eigvalsh(symmetric).min() <= np.abs(symmetric).max():
        raise FcinvError(
            f"the high-frequency dielectric tensor must be 3 x 3 numbers and above {lowest} in "
            "every direction: correct it"
        )
    if np.abs(symmetric).max() > highest:
        raise FcinvError(
            f"a high-frequency dielectric tensor of {np.abs(symmetric).max():.3g} is that of no "
            "insulator: correct it"
        )


def _closest(lattice: np.ndarray, positions: np.ndarray) -> float:
    """Å between the closest two atoms; right where they are much closer than a lattice vector."""
    closest = np.inf
    for i in range(1, len(positions)):
        offsets = positions[:i] - positions[i]
        offsets -= np.rint(offsets)
        closest = min(closest, float(np.linalg.norm(offsets @ lattice, axis=1).min()))
    return closest
