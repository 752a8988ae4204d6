"""Force constants on disk: the same again, damaged ones never, and named by all that counts."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import phonopy
import pytest

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.calculators import ForceField
from fcinv_core.ensemble.force_constant_cache import file_name, keep, load, own_folder

DATA = Path(__file__).parents[1] / "data"
NAME = "result.yaml.xz"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def silicon():
    return ForceConstants.from_file(DATA / "force_constants/Si_dft.yaml")


def test_kept_results_come_back(silicon):
    other = silicon.on(silicon.crystal.with_lattice(1.01 * silicon.crystal.lattice))
    keep(NAME, other)
    kept = load(NAME, silicon.crystal)
    assert kept.values == pytest.approx(silicon.values, abs=1e-14)
    assert kept.crystal.lattice == pytest.approx(other.crystal.lattice, abs=1e-12)
    again = phonopy.load(own_folder() / NAME)
    assert again.force_constants == pytest.approx(silicon.values, abs=1e-14)
    assert load("another.yaml.xz", silicon.crystal) is None


def test_damage_is_noticed(silicon):
    keep(NAME, silicon)
    path = own_folder() / NAME
    whole = path.read_bytes()
    for damaged in (b"", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert load(NAME, silicon.crystal) is None
    for position in range(20, len(whole), len(whole) // 7):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        path.write_bytes(bytes(flipped))
        assert load(NAME, silicon.crystal) is None
    path.write_bytes(whole)
    assert load(NAME, silicon.crystal) is not None


def test_other_supercells_are_not_taken_for_it(silicon):
    keep(NAME, silicon)
    assert load(NAME, silicon.crystal.with_supercell((1, 1, 1))) is None


def test_many_writers_at_once_leave_it_whole(silicon):
    keep(NAME, silicon)
    writers = [
        threading.Thread(target=lambda: [keep(NAME, silicon) for _ in range(2)]) for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert load(NAME, silicon.crystal) is not None
    assert [path.name for path in own_folder().iterdir()] == [NAME]


def test_names_tell_apart_what_differs():
    emt = ForceField("ase.calculators.emt:EMT")
    crystal = Crystal.from_file(DATA / "structures/MgO.cif")
    settings = {"displacement": 0.03}

    def name(crystal=crystal, force_field=emt, label="a b", settings=settings):
        return file_name(crystal, force_field, label, settings)

    assert name() == name()
    assert name().startswith("MgO_ase.calculators.emt_EMT_a_b_")
    assert name(label="of 0.1 Å (+2 %)").startswith("MgO_ase.calculators.emt_EMT_of_0.1_A_+2_")
    assert name(crystal.with_lattice(1.02 * crystal.lattice)) == name()
    different = [
        name(crystal.with_lattice(crystal.lattice * [[1], [1], [1.05]])),
        name(crystal.with_supercell((2, 2, 2))),
        name(replace(crystal, symbols=tuple("Ca" if x == "Mg" else x for x in crystal.symbols))),
        name(force_field=ForceField("ase.calculators.lj:LennardJones")),
        name(settings={"displacement": 0.1}),
    ]
    assert len({name(), *different}) == 6


def test_free_positions_belong_to_the_name():
    emt = ForceField("ase.calculators.emt:EMT")
    zinc_oxide = ForceConstants.from_file(DATA / "force_constants/ZnO_dft.yaml").crystal
    along_z = np.outer([symbol == "O" for symbol in zinc_oxide.symbols], [0, 0, 2e-3])
    moved = replace(zinc_oxide, positions=zinc_oxide.positions + along_z)
    assert moved.space_group == zinc_oxide.space_group
    assert file_name(moved, emt, "", {}) != file_name(zinc_oxide, emt, "", {})
