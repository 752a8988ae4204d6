"""Samples of a force field: EMT against phonopy, failures, and what comes with fcinv."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from fcinv_core import FcinvError
from fcinv_core.crystal import Crystal, ForceConstantBasis
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.ensemble import samples
from fcinv_core.ensemble.potentials import RELAXED_CELL, Recipe, force_field_constants
from fcinv_core.ensemble.samples import force_field_samples

DATA = Path(__file__).parents[1] / "data"
EMT_NAME = "ase.calculators.emt:EMT"
KINDS = [
    "relaxed cell",
    "measured lattice",
    "volume -4 %",
    "volume -2 %",
    "volume +2 %",
    "volume +4 %",
    "displacements of 0.1 Å",
    "rattled by 0.05 Å (effective)",
    "rattled by 0.1 Å (effective)",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("FCINV_CACHE", str(cache))


@pytest.fixture(scope="module")
def copper():
    return Crystal.from_file(DATA / "structures/Cu.cif", (2, 2, 2))


@pytest.fixture
def of_copper(copper, own_cache):
    return force_field_samples(copper, [EMT_NAME])


def test_every_kind_is_there(of_copper, copper):
    assert [sample.kind for sample in of_copper.samples] == KINDS
    assert {sample.potential for sample in of_copper.samples} == {EMT_NAME}
    assert of_copper.failures == ()
    assert of_copper.stable == of_copper.samples
    lengths = {sample.kind: sample.lattice[0, 0] for sample in of_copper.samples}
    relaxed = lengths["relaxed cell"]
    assert lengths["measured lattice"] == pytest.approx(3.615)
    assert lengths["displacements of 0.1 Å"] == lengths["rattled by 0.1 Å (effective)"] == relaxed
    for percent in (-4, -2, 2, 4):
        length = lengths[f"volume {percent:+} %"]
        assert length**3 == pytest.approx((1 + percent / 100) * relaxed**3)
    basis = ForceConstantBasis.from_crystal(copper)
    for sample in of_copper.samples:
        assert sample.force_constants.crystal is copper
        assert basis.residual_of(sample.force_constants) < 1e-10


def test_force_constants_are_phonopys_at_the_lattice_of_the_forces(of_copper, copper):
    for sample in (of_copper.samples[place] for place in (0, 1, 5, 6)):
        phonon = copper.with_lattice(sample.lattice).phonopy()
        distance = 0.1 if "0.1" in sample.kind else 0.03
        phonon.generate_displacements(distance=distance, is_plusminus=True)
        phonon.forces = [emt_forces(cell) for cell in phonon.supercells_with_displacements]
        phonon.produce_force_constants(calculate_full_force_constants=False)
        phonon.symmetrize_force_constants(use_symfc_projector=True)
        assert sample.force_constants.values == pytest.approx(phonon.force_constants, abs=1e-5)


def emt_forces(cell):
    atoms = Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces()


def test_relaxed_cell_is_what_the_inversion_starts_from(of_copper, copper):
    alone = force_field_constants(copper, EMT_NAME)
    assert np.array_equal(alone.values, of_copper.samples[0].force_constants.values)


def test_same_again_from_the_cache(of_copper, copper, monkeypatch):
    monkeypatch.setattr("ase.calculators.emt.EMT", None)
    kept = force_field_samples(copper, [EMT_NAME])
    # phonopy's files hold 15 decimals.
    assert differences(of_copper.samples, kept.samples) < 1e-14


def test_same_again_from_scratch(of_copper, copper, tmp_path, monkeypatch):
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path))
    places = (0, 2, 8)
    recipes = [samples.RECIPES[place] for place in places]
    fresh = force_field_samples(copper, [EMT_NAME], recipes=recipes)
    assert differences([of_copper.samples[place] for place in places], fresh.samples) < 1e-14


def differences(some, others):
    return max(
        np.abs(one.force_constants.values - other.force_constants.values).max()
        for one, other in zip(some, others, strict=True)
    )


def test_progress_runs_from_0_to_1_and_may_print(copper, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path))
    heard = []

    def hear(stage, done):
        heard.append((done, stage))
        print(stage)

    recipes = (RELAXED_CELL, Recipe(volume=1.02), Recipe(is_random=True))
    force_field_samples(copper, [EMT_NAME], recipes=recipes, progress=hear)
    out, err = capfd.readouterr()
    assert out.splitlines() == [stage for _, stage in heard] and err == ""
    fractions = [done for done, _ in heard]
    assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1)
    assert any("volume +2 %" in stage for done, stage in heard if 1 / 3 < done < 2 / 3)


def bcc_copper():
    cell = StructureFile(2.87 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), ("Cu", "Cu"))
    return Crystal.from_cell(cell, (3, 3, 3))


def test_unstable_crystals_are_reported_and_kept():
    """Copper is not bcc: the long-wavelength shear along [110] is imaginary."""
    result = force_field_samples(bcc_copper(), [EMT_NAME], recipes=(RELAXED_CELL,))
    (sample,) = result.samples
    line = np.linspace(0.05, 0.5, 10)[:, None] * [0, 0, 1]  # [110] in the primitive cell
    assert sample.force_constants.frequencies(line).min() < -1
    assert not sample.is_stable and result.stable == ()
    assert sample.lowest_energy < -1
    (line,) = result.failures
    assert line.startswith(f"{EMT_NAME}, relaxed cell: unstable, lowest mode -")


class PoorEMT(EMT):
    """Knows nothing of wide cells, and gives no numbers in very dense ones."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        per_atom = atoms.get_volume() / len(atoms)
        if per_atom > 12.0:
            raise ValueError("atoms too far apart")
        if per_atom < 11.2:
            self.results["forces"] = np.full((len(atoms), 3), np.nan)


@pytest.fixture
def poor(monkeypatch):
    monkeypatch.setattr("ase.calculators.emt.PoorEMT", PoorEMT, raising=False)
    return "ase.calculators.emt:PoorEMT"


def test_one_failure_does_not_stop_the_rest(copper, poor):
    recipes = (Recipe(volume=1.05), RELAXED_CELL, Recipe(volume=0.95), Recipe(volume=1.01))
    result = force_field_samples(copper, [poor, EMT_NAME], recipes=recipes)
    assert [(sample.potential, sample.kind) for sample in result.samples] == [
        (poor, "relaxed cell"),
        (poor, "volume +1 %"),
        *((EMT_NAME, recipe.kind) for recipe in recipes),
    ]
    wide, dense = result.failures
    assert wide == (f"{poor}, volume +5 %: {poor} fails (ValueError: atoms too far apart)")
    assert dense.startswith(f"{poor}, volume -5 %: ")


def test_nothing_at_all_is_an_error(copper, poor, monkeypatch):
    with pytest.raises(FcinvError, match="no force field gave force constants of Cu: mace"):
        monkeypatch.setitem(sys.modules, "mace", None)
        force_field_samples(copper, ["mace"])
    with pytest.raises(FcinvError, match="unknown force field 'nothing'"):
        force_field_samples(copper, ["nothing", EMT_NAME])


@pytest.mark.parametrize("formula", ["Si", "Ge", "MgO", "NaCl", "Al", "Cu"])
def test_shipped_samples_need_no_force_field(formula, monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet", None)
    crystal = Crystal.from_file(DATA / f"structures/{formula}.cif")
    result = force_field_samples(crystal)
    assert [sample.kind for sample in result.samples] == KINDS
    assert len(result.failures) == len(result.samples) - len(result.stable)
    # CHGNet hardly holds germanium together.
    assert len(result.stable) >= (3 if formula == "Ge" else 8)
    relaxed = result.samples[0].lattice[0, 0]
    # Universal force fields find cells within 2 % of the measured ones.
    assert relaxed == pytest.approx(crystal.lattice[0, 0], rel=0.02)
    zone_boundary = [[0.5, 0.5, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]]
    for sample in result.samples:
        lowest = sample.force_constants.frequencies(zone_boundary).min()
        assert sample.lowest_energy <= lowest + 1e-6
        assert np.allclose(sample.force_constants.crystal.lattice, crystal.lattice)


def test_default_recipes_are_unlike_each_other():
    assert len({recipe.kind for recipe in samples.RECIPES}) == len(samples.RECIPES) == len(KINDS)
