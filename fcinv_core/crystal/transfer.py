"""Force constants of one description of a crystal in another: cell, orientation, supercell.

A supercell holds what its commensurate q points determine. So force constants are carried as
dynamical matrices at the commensurate q points of the new supercell: exact where both supercells
share them, interpolated (with the dipole term, where there are Born charges) elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fcinv_core.crystal.crystal import Crystal
from fcinv_core.crystal.force_constants import ForceConstants, rotation_between
from fcinv_core.crystal.matching import EQUALLY_GOOD, cells_like, strain_between
from fcinv_core.errors import FcinvError

LARGEST_STRAIN = 0.1
"""Between the two lattices: force fields relax to cells a few percent off."""

LARGEST_SHIFT = 0.3
"""Å between the positions of an atom in both descriptions, once the cells coincide."""

SIMILAR_SHIFT = 0.02
"""Å: differences of that size are no reason to prefer one of them."""


@dataclass(frozen=True, eq=False)
class Correspondence:
    """How the primitive cell of one description lies in that of another.

    Attributes
    ----------
    cell
        (3, 3) integers: the vectors of the new primitive cell (rows) in those of the old one.
    atoms
        (n_primitive,) old atom that each new atom is.
    rotation
        (3, 3): Cartesian v_new = v_old @ rotation.
    """

    cell: np.ndarray
    atoms: np.ndarray
    rotation: np.ndarray


def carried_to(force_constants: ForceConstants, crystal: Crystal) -> ForceConstants:
    """Force constants on another description of the same crystal.

    Origin, setting, orientation, supercell and lattice constants may differ.

    Parameters
    ----------
    force_constants
        Total ones.
    crystal
        The new description. Its masses do not matter: force constants have none.

    Raises
    ------
    FcinvError
        When the crystals are not the same up to 10 % of strain and 0.3 Å in positions.
    """
    from phonopy.harmonic.dynmat_to_fc import DynmatToForceConstants

    own = force_constants.crystal
    found = correspondence(own, crystal)
    transform: Any = DynmatToForceConstants(crystal.primitive, crystal.supercell, is_full_fc=False)
    q_points = transform.commensurate_points
    matrices = force_constants.dynamical_matrices(q_points @ np.linalg.inv(found.cell).T)
    n = crystal.n_primitive
    blocks = matrices.reshape(-1, n, 3, n, 3)
    blocks = blocks.transpose(0, 1, 3, 2, 4)[:, found.atoms][:, :, found.atoms]
    blocks = found.rotation.T @ blocks @ found.rotation
    old, new = own.primitive_masses[found.atoms], crystal.primitive_masses
    weights = np.sqrt(np.outer(old, old) / np.outer(new, new))
    # Phonopy's phases hold separations of atoms, which need not be quite the same.
    there = own.primitive_positions[found.atoms] @ np.linalg.inv(found.cell)
    offset = crystal.primitive_positions - there
    change = offset[None, :] - offset[:, None]
    change -= np.rint(change)
    phases = np.exp(2j * np.pi * np.einsum("qx,ijx->qij", q_points, change))
    blocks = blocks * (weights * phases)[..., None, None]
    transform.dynamical_matrices = blocks.transpose(0, 1, 3, 2, 4).reshape(-1, 3 * n, 3 * n)
    transform.run()
    carried = ForceConstants(crystal, np.array(transform.force_constants))
    if force_constants.born_charges is None or force_constants.dielectric is None:
        return carried
    turn = found.rotation
    return carried.with_born_charges(
        turn.T @ force_constants.born_charges[found.atoms] @ turn,
        turn.T @ force_constants.dielectric @ turn,
        force_constants.nac_factor,
    )


def correspondence(old: Crystal, new: Crystal) -> Correspondence:
    """How the new primitive cell lies in the old one.

    The one with the least strain; of those about as good the one whose atoms fit best. Of the
    rest the one with the least rotation: axes of similar lengths, or the ends of a polar axis,
    are not exchanged that way. Which of several equivalent ones is taken does not matter.

    Raises
    ------
    FcinvError
        When the crystals are not the same up to 10 % of strain and 0.3 Å in positions.
    """
    found: list[tuple[tuple[float, ...], Correspondence]] = []
    if sorted(old.primitive_symbols) == sorted(new.primitive_symbols):
        target = new.primitive_lattice
        metric = target @ target.T
        cells = cells_like(metric, old.primitive_lattice, LARGEST_STRAIN)
        for cell in cells[np.rint(np.linalg.det(cells)) == 1]:
            shift, atoms = _matched_atoms(old, new, cell)
            if atoms is None:
                continue
            lattice = cell @ old.primitive_lattice
            turn = rotation_between(lattice, target)
            strain = strain_between(metric, lattice)
            rank = (strain // EQUALLY_GOOD, shift // SIMILAR_SHIFT, -float(np.trace(turn)))
            found.append((rank, Correspondence(cell, atoms, turn)))
    if found:
        return min(found, key=lambda ranked: ranked[0])[1]
    raise FcinvError(
        f"force constants of {old.formula} ({old.space_group}) cannot be carried to "
        f"{new.formula} ({new.space_group}): give force constants of the same structure"
    )


def _matched_atoms(old: Crystal, new: Crystal, cell: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Largest distance in Å, and for each new atom the old one at its place, or None.

    For the best common shift.
    """
    there = old.primitive_positions @ np.linalg.inv(cell)
    same = np.array(new.primitive_symbols)[:, None] == np.array(old.primitive_symbols)
    best: tuple[float, np.ndarray | None] = (LARGEST_SHIFT, None)
    for origin in np.flatnonzero(same[0]):
        shift = there[origin] - new.primitive_positions[0]
        gaps = new.primitive_positions[:, None] + shift - there
        gaps -= np.rint(gaps)
        distances = np.linalg.norm(gaps @ new.primitive_lattice, axis=-1)
        distances[~same] = np.inf
        atoms = distances.argmin(axis=1)
        # All atoms may be off the first one's shift; what counts is how far they are from a
        # common one.
        chosen = gaps[np.arange(len(atoms)), atoms]
        largest = np.linalg.norm((chosen - chosen.mean(axis=0)) @ new.primitive_lattice, axis=1)
        if len(set(atoms.tolist())) == len(atoms) and largest.max() < best[0]:
            best = float(largest.max()), atoms
    return best
