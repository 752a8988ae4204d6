"""Force constants in and out of phonopy's files, and on other lattices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import phonopy
import pytest
from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

from fcinv_core import FcinvError
from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.units import MEV_PER_THZ


def test_frequencies_are_phonopys(dft, data_folder, q_points):
    name = dft.crystal.formula
    theirs = phonopy.load(data_folder / f"force_constants/{name}_dft.yaml")
    energies = theirs.run_qpoints(q_points).frequencies * MEV_PER_THZ
    # phonopy's unit conversion rests on older constants: 1.3e-7 relative.
    assert dft.frequencies(q_points) == pytest.approx(energies, rel=3e-7, abs=1e-5)


def test_round_trip_through_a_file(dft, tmp_path, q_points):
    dft.save(tmp_path / "fc.yaml")
    again = ForceConstants.from_file(tmp_path / "fc.yaml")
    assert np.abs(again.frequencies(q_points) - dft.frequencies(q_points)).max() < 1e-6
    assert [path.name for path in tmp_path.iterdir()] == ["fc.yaml"]
    theirs = phonopy.load(tmp_path / "fc.yaml")
    assert theirs.force_constants is not None
    assert (theirs.nac_params is None) == (dft.born_charges is None)
    energies = theirs.run_qpoints(q_points).frequencies * MEV_PER_THZ
    assert energies == pytest.approx(dft.frequencies(q_points), rel=3e-7, abs=1e-5)


def test_isotope_masses_survive_a_file(silicon, tmp_path):
    heavy = replace(silicon.crystal, masses=silicon.crystal.masses + 1)
    ForceConstants(heavy, silicon.values).save(tmp_path / "fc.yaml")
    again = ForceConstants.from_file(tmp_path / "fc.yaml")
    assert again.crystal.primitive_masses == pytest.approx([29.0855, 29.0855])


@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
@pytest.mark.parametrize("kind", ["text", "hdf5"])
def test_bare_force_constants(magnesia, tmp_path, full, kind):
    phonon = magnesia.to_phonopy()
    values = magnesia.values
    if full:
        values = compact_fc_to_full_fc(phonon.primitive, values)
    p2s = phonon.primitive.p2s_map
    path = tmp_path / ("FORCE_CONSTANTS" if kind == "text" else "force_constants.hdf5")
    if kind == "text":
        write_FORCE_CONSTANTS(values, filename=path, p2s_map=p2s)
    else:
        write_force_constants_to_hdf5(values, filename=path, p2s_map=p2s)
    read = ForceConstants.from_file(path, magnesia.crystal)
    assert read.values == pytest.approx(magnesia.values, abs=1e-12)
    with pytest.raises(FcinvError, match="structure"):
        ForceConstants.from_file(path)
    with pytest.raises(FcinvError, match="supercell"):
        ForceConstants.from_file(path, magnesia.crystal.with_supercell([1, 1, 1]))


def test_forces_are_turned_into_force_constants(silicon, tmp_path):
    phonon = silicon.to_phonopy()
    full = compact_fc_to_full_fc(phonon.primitive, silicon.values)
    phonon.generate_displacements(distance=0.01, is_plusminus=True)
    forces = [
        -np.einsum("jab,b->ja", full[:, entry["number"]], entry["displacement"])
        for entry in phonon.dataset["first_atoms"]
    ]
    phonon.forces = forces
    phonon.save(tmp_path / "forces.yaml", settings={"force_constants": False, "force_sets": True})
    made = ForceConstants.from_file(tmp_path / "forces.yaml")
    assert made.values == pytest.approx(silicon.values, abs=1e-6)

    phonon.save(tmp_path / "none.yaml", settings={"force_constants": False, "force_sets": False})
    with pytest.raises(FcinvError, match="neither force constants nor forces"):
        ForceConstants.from_file(tmp_path / "none.yaml")


def test_files_beside_a_yaml_are_not_read(silicon, tmp_path, monkeypatch):
    # phonopy.load would take a BORN file from the working directory.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BORN").write_text("14.4\n3 0 0 0 3 0 0 0 3\n" + "1 0 0 0 1 0 0 0 1\n" * 2)
    silicon.save(tmp_path / "fc.yaml")
    assert ForceConstants.from_file(tmp_path / "fc.yaml").born_charges is None


def test_born_file(silicon, magnesia, tmp_path):
    path = tmp_path / "BORN"
    path.write_text(
        "14.4\n3.4 0 0 0 3.4 0 0 0 3.4\n2 0 0 0 2 0 0 0 2\n-1.9 0 0 0 -1.9 0 0 0 -1.9\n"
    )
    polar = magnesia.with_born_file(path)
    assert polar.born_charges[0] == pytest.approx(1.95 * np.eye(3))  # sums to zero
    assert polar.born_charges.sum(axis=0) == pytest.approx(np.zeros((3, 3)), abs=1e-12)
    path.write_text("nonsense")
    with pytest.raises(FcinvError, match="BORN"):
        magnesia.with_born_file(path)


def test_scaling_scales_energies(silicon, q_points):
    assert silicon.scaled(0.81).frequencies(q_points) == pytest.approx(
        0.9 * silicon.frequencies(q_points)
    )


def test_carried_to_another_lattice_constant(silicon, q_points):
    larger = silicon.crystal.with_lattice(1.01 * silicon.crystal.lattice)
    carried = silicon.on(larger)
    assert np.array_equal(carried.values, silicon.values)
    assert carried.frequencies(q_points) == pytest.approx(silicon.frequencies(q_points))


def test_carried_to_another_orientation(magnesia, q_points):
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.3, -0.5, 0.8]).as_matrix()
    turned = magnesia.on(magnesia.crystal.with_lattice(magnesia.crystal.lattice @ turn))
    assert not np.allclose(turned.values, magnesia.values, atol=1e-2)
    assert turned.frequencies(q_points) == pytest.approx(magnesia.frequencies(q_points), abs=1e-6)


def test_not_carried_to_another_crystal(silicon, magnesia):
    with pytest.raises(FcinvError, match="same atoms"):
        silicon.on(magnesia.crystal)


def test_describes_same_crystal(silicon, data_folder, make_crystal):
    from ase.build import bulk

    assert (
        silicon.describes_same_crystal(Crystal.from_file(data_folder / "structures/Si.cif")) is None
    )
    assert silicon.describes_same_crystal(make_crystal(bulk("Si", "diamond", a=5.45))) is None
    assert "Ge" in silicon.describes_same_crystal(
        Crystal.from_file(data_folder / "structures/Ge.cif")
    )
    assert "5%" in silicon.describes_same_crystal(make_crystal(bulk("Si", "diamond", a=5.9)))
    zincblende = make_crystal(bulk("Si", "fcc", a=5.43))
    assert "primitive cells differ" in silicon.describes_same_crystal(zincblende)


def test_wrong_shapes_and_unwritable_paths(silicon, tmp_path):
    with pytest.raises(FcinvError, match="do not fit"):
        ForceConstants(silicon.crystal, silicon.values[:, :5])
    with pytest.raises(FcinvError, match="finite"):
        ForceConstants(silicon.crystal, silicon.values * np.nan)
    with pytest.raises(FcinvError, match="cannot be written"):
        silicon.save(tmp_path / "no such folder/fc.yaml")


def test_units_of_other_calculators(magnesia, tmp_path, q_points):
    """A file in bohr and Ry, as phonopy writes for Quantum ESPRESSO."""
    bohr, rydberg = 0.529177, 13.605693  # Å, eV
    cell = magnesia.crystal.phonopy().unitcell
    cell.cell = cell.cell / bohr
    phonon = phonopy.Phonopy(
        cell,
        supercell_matrix=magnesia.crystal.supercell_matrix,
        primitive_matrix=magnesia.crystal.primitive_matrix,
        calculator="qe",
    )
    phonon.force_constants = magnesia.values * bohr**2 / rydberg
    phonon.nac_params = {
        "born": magnesia.born_charges,
        "dielectric": magnesia.dielectric,
        "factor": 2.0,
    }
    phonon.save(tmp_path / "qe.yaml", settings={"force_constants": True})
    read = ForceConstants.from_file(tmp_path / "qe.yaml")
    assert read.crystal.lattice == pytest.approx(magnesia.crystal.lattice, rel=1e-5, abs=1e-9)
    assert read.nac_factor == pytest.approx(14.3996, rel=1e-4)
    energies = magnesia.frequencies(q_points)
    assert read.frequencies(q_points) == pytest.approx(energies, rel=1e-4)
