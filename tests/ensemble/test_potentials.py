"""Force constants of force fields: harmonic toys, shipped results, CHGNet itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.ensemble import force_constant_cache
from fcinv_core.ensemble.potentials import (
    RELAXED_CELL,
    CrystalOfForceField,
    Recipe,
    force_field_constants,
)

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/force_fields"


def argon(a=5.3, supercell=(2, 2, 2)):
    atoms = bulk("Ar", "fcc", a=a, cubic=True)
    cell = StructureFile(
        atoms.cell.array, atoms.get_scaled_positions(), tuple(atoms.get_chemical_symbols())
    )
    return Crystal.from_cell(cell, supercell)


class TalkativeLennardJones(LennardJones):
    """Lennard-Jones argon that prints and warns, as force fields do."""

    calls = 0

    def __init__(self):
        super().__init__(sigma=3.4, epsilon=0.0104, rc=5.0, smooth=True)

    def calculate(self, *args, **kwargs):
        type(self).calls += 1
        print("computing on cpu")
        print("a warning", file=sys.stderr)
        super().calculate(*args, **kwargs)


TOY = f"{__name__}:TalkativeLennardJones"


@pytest.fixture(autouse=True)
def toy_is_importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    TalkativeLennardJones.calls = 0


def _this_module():
    import types

    module = types.ModuleType(__name__)
    module.TalkativeLennardJones = TalkativeLennardJones
    return module


def test_pair_potential_gives_its_second_derivatives(own_cache, capfd):
    """Of a smooth pair potential V, -r̂Φr̂ = V'' and the transverse constant is V'/r."""
    crystal = argon(a=5.5)
    stages = []
    constants = force_field_constants(crystal, TOY, lambda stage, done: stages.append(done))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert stages[0] == 0 and stages[-1] == 1 and stages == sorted(stages)

    (kept,) = own_cache.iterdir()
    relaxed = ForceConstants.from_file(kept).crystal
    distance = np.linalg.norm(relaxed.lattice[0]) / np.sqrt(2)

    def pair_energy(r):
        from ase import Atoms

        pair = Atoms("Ar2", positions=[(0, 0, 0), (0, 0, r)], calculator=TalkativeLennardJones())
        return pair.get_potential_energy()

    h = 1e-3
    slope = (pair_energy(distance + h) - pair_energy(distance - h)) / (2 * h)
    curvature = (
        pair_energy(distance + h) - 2 * pair_energy(distance) + pair_energy(distance - h)
    ) / h**2
    for j in range(crystal.n_supercell):
        count, first = crystal.multiplicity[j, 0]
        vector = crystal.shortest_vectors[first] @ relaxed.primitive_lattice
        if count == 1 and abs(np.linalg.norm(vector) - distance) < 1e-3:
            r = vector / np.linalg.norm(vector)
            tensor = constants.values[0, j]
            assert -r @ tensor @ r == pytest.approx(curvature, rel=0.02)
            across = -(np.trace(tensor) - r @ tensor @ r) / 2
            assert across == pytest.approx(slope / distance, abs=0.02 * curvature)
            break
    else:
        pytest.fail("no nearest neighbour in the supercell")
    # Relaxed: no stress, so the nearest-neighbour shell balances the second one.
    assert np.allclose(constants.crystal.lattice, crystal.lattice)


def test_kept_results_serve_other_lattice_constants(own_cache):
    first = force_field_constants(argon(a=5.3), TOY)
    calls = TalkativeLennardJones.calls
    second = force_field_constants(argon(a=5.35), TOY)
    assert TalkativeLennardJones.calls == calls
    assert np.allclose(first.values, second.values)
    assert second.crystal.lattice[0, 0] == pytest.approx(5.35)
    force_field_constants(argon(supercell=(2, 2, 1)), TOY)
    assert len(list(own_cache.iterdir())) == 2


def test_damaged_results_are_computed_anew(own_cache):
    crystal = argon()
    first = force_field_constants(crystal, TOY)
    (kept,) = own_cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-200])
    calls = TalkativeLennardJones.calls
    again = force_field_constants(crystal, TOY)
    assert TalkativeLennardJones.calls > calls
    assert np.allclose(first.values, again.values)
    assert np.allclose(ForceConstants.from_file(kept).values, first.values)


def test_unwritable_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path / "file"))
    assert force_field_constants(argon(), TOY).values.shape == (1, 32, 3, 3)


@pytest.mark.parametrize(
    "formula, shape",
    [("Si", (2, 64)), ("Ge", (2, 64)), ("MgO", (2, 216)), ("NaCl", (2, 64))]
    + [("Al", (1, 108)), ("Cu", (1, 108))],
)
def test_shipped_results_need_no_force_field(formula, shape, monkeypatch, own_cache):
    monkeypatch.setitem(sys.modules, "chgnet", None)
    crystal = Crystal.from_file(DATA / f"structures/{formula}.cif")
    constants = force_field_constants(crystal)
    assert constants.values.shape == (*shape, 3, 3)
    assert np.allclose(constants.crystal.lattice, crystal.lattice)
    energies = constants.frequencies([[0, 0, 0], [0.5, 0.5, 0], [0.1, 0.2, 0.3]])
    assert energies.min() > -1e-3
    assert not own_cache.exists()


def test_chgnet_again_gives_what_is_shipped(capfd, tmp_path, monkeypatch, own_cache):
    pytest.importorskip("chgnet")
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(force_constant_cache, "SHIPPED", shipped)
    crystal = Crystal.from_file(DATA / "structures/Si.cif")
    computed = force_field_constants(crystal)
    assert capfd.readouterr() == ("", "")
    again = CrystalOfForceField(crystal, "chgnet")
    (kept,) = own_cache.iterdir()
    kept.unlink()
    assert np.array_equal(again.force_constants(RELAXED_CELL).values, computed.values)
    monkeypatch.undo()
    kept = force_field_constants(crystal)
    assert computed.values == pytest.approx(kept.values, abs=1e-3)
    # Softer than silicon is (62 meV at Γ), as universal force fields are.
    assert 40 < computed.frequencies([0, 0, 0]).max() < 60


def test_recipes_in_words():
    assert Recipe().kind == "relaxed cell"
    assert Recipe(volume=None).kind == "measured lattice"
    assert Recipe(volume=0.96).kind == "volume -4 %"
    assert Recipe(volume=1.02).kind == "volume +2 %"
    assert Recipe(displacement=0.1).kind == "displacements of 0.1 Å"
    rattled = Recipe(volume=None, displacement=0.08, is_random=True)
    assert rattled.kind == "measured lattice, rattled by 0.08 Å (effective)"


@pytest.mark.parametrize("recipe", [Recipe(volume=None), Recipe(volume=None, is_random=True)])
def test_measured_lattices_are_told_apart(recipe, own_cache):
    close, wide = (CrystalOfForceField(argon(a=a), TOY) for a in (5.3, 5.4))
    first, second = close.force_constants(recipe), wide.force_constants(recipe)
    assert np.abs(first.values).max() > 1.2 * np.abs(second.values).max()
    assert first.crystal.lattice[0, 0] == pytest.approx(5.3)
    assert len(list(own_cache.iterdir())) == 2


def test_every_recipe_starts_from_one_relaxed_cell():
    asked = CrystalOfForceField(argon(), TOY)
    wide = asked.force_constants(Recipe(volume=1.331)).crystal.lattice[0, 0]
    relaxed = asked.force_constants(RELAXED_CELL).crystal.lattice[0, 0]
    calls = TalkativeLennardJones.calls
    later = CrystalOfForceField(argon(), TOY).force_constants(Recipe(volume=1.05))
    # One displaced supercell, and one look at the unit cell whether it is at rest.
    assert TalkativeLennardJones.calls - calls <= 3
    assert wide == pytest.approx(1.1 * relaxed)
    assert later.crystal.lattice[0, 0] == pytest.approx(1.05 ** (1 / 3) * relaxed)
