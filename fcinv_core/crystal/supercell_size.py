"""Supercells as users ask for them, and how large they may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.crystal.crystal import Crystal

MOST_ATOMS = 2000
"""Of a supercell: the basis of its force constants would take hours and gigabytes beyond."""


def with_checked_supercell(crystal: Crystal, supercell: Sequence[int]) -> Crystal:
    """The same crystal with another supercell.

    Parameters
    ----------
    supercell
        Three multiples, or nine numbers of a matrix row by row.

    Raises
    ------
    FcinvError
        When nothing could be worked out for it.
    """
    numbers = np.array(supercell, dtype=float)  # which may be larger than NumPy's integers
    if numbers.size not in (3, 9):
        raise FcinvError(f"supercell of {numbers.size} numbers: give 3 multiples or a 3 x 3 matrix")
    matrix = np.diag(numbers) if numbers.size == 3 else numbers.reshape(3, 3)
    n_atoms = round(abs(float(np.linalg.det(matrix)))) * len(crystal.symbols)
    asked_for = " ".join(str(number) for number in supercell)
    if n_atoms == 0:
        raise FcinvError(f"the supercell {asked_for} has no volume: give three independent vectors")
    if n_atoms > MOST_ATOMS:
        raise FcinvError(
            f"the supercell {asked_for} of {crystal.formula} holds {n_atoms} atoms, more than the "
            f"{MOST_ATOMS} that can be handled: some 10 Å along each axis are enough"
        )
    return crystal.with_supercell(matrix.astype(int))
