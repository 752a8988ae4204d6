"""Lowest phonon energies against phonopy."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.potentials import force_field_constants
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


def test_blocks_of_sets_change_nothing(silicon, monkeypatch):
    factors = np.linspace(-1, 2, 7)
    values = factors[:, None, None, None, None] * silicon.values
    together = lowest_energies(silicon.crystal, values)
    asked = []

    def one_by_one(n_items, *sizes):
        asked.append(n_items)
        return [slice(i, i + 1) for i in range(n_items)]

    monkeypatch.setattr("fcinv_core.ensemble.stability.block_slices", one_by_one)
    np.testing.assert_allclose(lowest_energies(silicon.crystal, values), together, atol=1e-6)
    assert asked == [7]


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


def test_sound_that_is_imaginary_close_to_gamma_only():
    """CHGNet's germanium at its own cell: every wave vector of the supercell is stable."""
    crystal = Crystal.from_file(DATA / "structures/Ge.cif")
    soft = force_field_constants(crystal)
    assert soft.frequencies(commensurate(crystal)[1:]).min() > 1
    directions = 0.02 * np.array(list(product((-1, 0, 1), repeat=3)))
    sound = np.delete(soft.frequencies(directions), 13, axis=0).min()  # without Γ itself
    assert sound < 0
    (energy,) = lowest_energies(crystal, soft.values[None])
    assert energy == pytest.approx(sound, abs=1e-3)
