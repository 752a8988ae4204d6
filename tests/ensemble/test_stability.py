"""Lowest phonon energies against phonopy."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fcinv_core.crystal import ForceConstants
from fcinv_core.ensemble.stability import lowest_energies

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def silicon():
    return ForceConstants.from_file(DATA / "force_constants/Si_dft.yaml")


@pytest.fixture(scope="module")
def magnesia():
    return ForceConstants.from_file(DATA / "force_constants/MgO_dft.yaml")


def commensurate(crystal):
    """Wave vectors of a supercell of 2 x 2 x 2 conventional fcc cells, by hand."""
    points = np.array(list(product(np.arange(4) / 4, repeat=3)))
    cartesian = points @ np.linalg.inv(crystal.primitive_lattice).T
    phases = crystal.supercell_lattice @ cartesian.T
    return points[np.abs(phases - np.rint(phases)).max(axis=0) < 1e-6]


def test_stable_crystals(silicon):
    (energy,) = lowest_energies(silicon.crystal, silicon.values[None])
    points = commensurate(silicon.crystal)
    assert len(points) == 32
    assert 0 < energy <= silicon.frequencies(points[1:]).min() + 1e-9


def test_several_sets_at_once(silicon):
    energies = lowest_energies(silicon.crystal, np.stack([silicon.values, -silicon.values]))
    alone = lowest_energies(silicon.crystal, silicon.values[None])
    assert energies[0] == pytest.approx(alone[0])
    assert energies[1] == pytest.approx(-62, abs=3)  # the highest mode is imaginary now


def test_a_mode_that_is_imaginary_at_gamma_only(magnesia):
    """A force between the sublattices as wholes acts at Γ and at no other wave vector."""
    crystal = magnesia.crystal
    species = crystal.supercell_to_primitive
    same = np.where(species == np.arange(2)[:, None], 1.0, -1.0)
    cells = crystal.n_supercell / 2
    values = magnesia.values - 20 / cells * same[:, :, None, None] * np.eye(3)
    bare = ForceConstants(crystal, values)
    expected = bare.frequencies([0, 0, 0]).min()
    assert expected < -10
    (energy,) = lowest_energies(crystal, values[None])
    assert energy < 0.9 * expected
    unchanged = ForceConstants(crystal, magnesia.values)
    points = commensurate(crystal)[1:]
    assert bare.frequencies(points) == pytest.approx(unchanged.frequencies(points), abs=1e-6)
