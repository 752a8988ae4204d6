"""A polar crystal whose primitive cell has 20 atoms, for benchmarks and tests of scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

from fcinv_core.crystal import ForceConstants

FOLDER = Path(__file__).parent / "data/force_constants"


DOUBLING = np.array([[1, -1, 0], [0, 0, -1], [1, 1, -1]])
"""Lattice vectors of the doubled cell in those of the primitive cell."""


def corundum_of_20_atoms() -> ForceConstants:
    """Al2O3 with a cell of twice the primitive volume declared primitive.

    The crystal is the same: its modes at q are those of the small cell at both of `unfolded`.
    """
    small = ForceConstants.from_file(FOLDER / "Al2O3_dft.yaml")
    lattice = DOUBLING @ small.crystal.primitive_lattice
    columns = (lattice @ np.linalg.inv(small.crystal.lattice)).T
    crystal = replace(small.crystal, primitive_matrix=columns)
    rows = crystal.primitive_to_supercell
    full = compact_fc_to_full_fc(small.crystal.primitive, np.array(small.values, order="C"))
    return replace(
        small,
        crystal=crystal,
        values=full[rows],
        born_charges=small.born_charges[small.crystal.supercell_to_primitive[rows]],
    )


def unfolded(q_points: np.ndarray) -> np.ndarray:
    """(2, n, 3) in coordinates of the small cell, from q in those of the doubled cell."""
    small = np.asarray(q_points) @ np.linalg.inv(DOUBLING).T
    return np.stack([small, small + [0.5, 0.5, 0.0]])
