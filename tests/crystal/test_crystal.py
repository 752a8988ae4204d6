"""Structures from files, cells, symmetry."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.io import write
from ase.spacegroup import crystal as spacegroup_crystal

from fcinv_core import FcinvError
from fcinv_core.crystal import Crystal


def test_silicon_cif(data_folder):
    silicon = Crystal.from_file(data_folder / "structures/Si.cif")
    assert silicon.formula == "Si"
    assert silicon.space_group == "Fd-3m"
    assert (silicon.n_primitive, silicon.n_supercell) == (2, 64)
    assert silicon.supercell_matrix.tolist() == np.diag([2, 2, 2]).tolist()
    # Sears, Neutron News 3, 26 (1992): b_c of natural Si is 4.1491 fm.
    assert silicon.primitive_scattering_lengths == pytest.approx([4.149, 4.149], abs=0.003)
    assert silicon.primitive_masses == pytest.approx([28.0855, 28.0855], abs=1e-3)


def test_cells_agree_with_phonopy_load(data_folder):
    path = data_folder / "force_constants/MgO_dft.yaml"
    ours, theirs = Crystal.from_file(path), phonopy.load(path)
    vectors, multiplicity = theirs.primitive.get_smallest_vectors()
    assert np.allclose(ours.primitive_lattice, theirs.primitive.cell, atol=1e-12)
    assert np.allclose(ours.primitive_positions, theirs.primitive.scaled_positions)
    assert np.allclose(ours.shortest_vectors, vectors)
    assert np.array_equal(ours.multiplicity, multiplicity)
    assert np.array_equal(
        ours.primitive_to_supercell[ours.supercell_to_primitive], theirs.primitive.s2p_map
    )
    assert ours.primitive_symbols == ("Mg", "O")
    assert ours.primitive_masses == pytest.approx(theirs.primitive.masses)


@pytest.mark.parametrize(
    "atoms, n_operations",
    [
        (bulk("Cu", "fcc", a=3.61), 48),
        (bulk("Fe", "bcc", a=2.87), 48),
        (bulk("Mg", "hcp", a=3.21, c=5.21), 24),
        (bulk("Si", "diamond", a=5.43), 48),
    ],
    ids=["fcc", "bcc", "hcp", "diamond"],
)
def test_default_supercell_of_primitive_input(make_crystal, atoms, n_operations):
    crystal = make_crystal(atoms)
    lengths = np.linalg.norm(crystal.supercell_lattice, axis=1)
    assert np.all(lengths >= 10 - 1e-9)
    assert lengths.max() / lengths.min() < 1.5
    # A supercell that breaks the point group would lose operations.
    assert len(crystal.point_group_rotations) == n_operations


def test_point_group_maps_reciprocal_space_isometrically(wurtzite, q_points):
    rotations = wurtzite.point_group_rotations
    assert len(rotations) == 12  # 6mm, without inversion
    to_cartesian = np.linalg.inv(wurtzite.primitive_lattice)  # hkl @ inverse.T
    for rotation in rotations:
        turned = q_points @ rotation.T
        assert np.allclose(
            np.linalg.norm(turned @ to_cartesian.T, axis=1),
            np.linalg.norm(q_points @ to_cartesian.T, axis=1),
        )
    keys = {tuple(rotation.ravel()) for rotation in rotations}
    assert all(tuple((a @ b).ravel()) in keys for a, b in itertools.product(rotations, repeat=2))
    assert not any(np.array_equal(rotation, -np.eye(3)) for rotation in rotations)


def test_point_group_leaves_out_what_the_supercell_breaks(make_crystal):
    copper = make_crystal(bulk("Cu", cubic=True), supercell=[2, 2, 3])
    assert len(copper.point_group_rotations) == 16  # 4/mmm


def test_truncated_coordinates_of_a_cif_are_repaired(tmp_path):
    atoms = bulk("Mg", "hcp", a=3.209, c=5.211)
    path = tmp_path / "Mg.cif"
    write(path, atoms)
    rounded = re.sub(r"0\.\d{5,}", lambda number: f"{float(number[0]):.4f}", path.read_text())
    assert "0.3333 " in rounded and "0.33333" not in rounded
    path.write_text(rounded)
    assert Crystal.from_file(path).space_group == "P6_3/mmc"


def test_poscar_and_supercell(tmp_path):
    path = tmp_path / "POSCAR_test"
    write(path, bulk("NaCl", "rocksalt", a=5.64), format="vasp")
    crystal = Crystal.from_file(path, supercell=[3, 3, 3])
    assert crystal.n_supercell == 54
    assert crystal.primitive_symbols == ("Na", "Cl")
    with pytest.raises(FcinvError, match="integer"):
        Crystal.from_file(path, supercell=[3, 3, 0.5])


def test_deuterium_scatters_as_deuterium(make_crystal):
    from fcinv_core.crystal.elements import coherent_scattering_lengths

    # Sears 1992: H -3.7390 fm, D 6.671 fm.
    lengths = coherent_scattering_lengths(["H", "H"], np.array([1.008, 2.014]))
    assert lengths == pytest.approx([-3.739, 6.671], abs=0.01)


def test_incoherent_cross_sections(make_crystal):
    from fcinv_core.crystal.elements import incoherent_cross_sections

    # Sears, Neutron News 3 (3), 26 (1992), in barn; the second hydrogen is deuterium.
    symbols = ["H", "H", "V", "Na", "Al", "Si", "Ni", "Ge"]
    masses = np.array([1.008, 2.014, 50.94, 22.99, 26.98, 28.09, 58.69, 72.63])
    found = incoherent_cross_sections(symbols, masses)
    assert found == pytest.approx([80.26, 2.05, 5.08, 1.62, 0.0082, 0.004, 5.2, 0.18], rel=0.01)
    with pytest.raises(FcinvError, match="Po.*incoherent"):
        incoherent_cross_sections(["Po"], np.array([209.0]))


def test_cross_sections_follow_the_primitive_atoms(make_crystal):
    from ase.build import bulk

    crystal = make_crystal(bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    assert crystal.primitive_symbols == ("Na", "Cl")
    assert crystal.primitive_incoherent_cross_sections == pytest.approx([1.62, 5.3], rel=0.01)


def test_with_lattice_keeps_everything_else(silicon):
    other = silicon.crystal.with_lattice(silicon.crystal.lattice * 1.02)
    assert np.allclose(other.primitive_lattice, silicon.crystal.primitive_lattice * 1.02)
    assert np.array_equal(other.positions, silicon.crystal.positions)
    assert other.content_hash != silicon.crystal.content_hash
    same = silicon.crystal.with_lattice(silicon.crystal.lattice + 1e-12)
    assert same.content_hash == silicon.crystal.content_hash


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FcinvError, match=r"nothing\.cif does not exist"):
        Crystal.from_file(tmp_path / "nothing.cif")
    with pytest.raises(FcinvError, match="is a directory"):
        Crystal.from_file(tmp_path)
    for name, text in [
        ("a.cif", "no structure"),
        ("POSCAR", "no structure"),
        ("b.yaml", "a: [1, 2"),
        ("c.yaml", "phonopy:\n  version: 4\n"),
        ("unknown.txt", "hello"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(FcinvError, match=name) as caught:
            Crystal.from_file(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_born_file_is_told_where_to_go():
    with pytest.raises(FcinvError, match="a BORN file goes to --born"):
        Crystal.from_file(Path(__file__).parents[1] / "data/structures/MgO.BORN")


def test_partly_occupied_sites_are_refused(tmp_path):
    atoms = spacegroup_crystal(
        "Cu", [(0, 0, 0)], spacegroup=225, cellpar=[3.6, 3.6, 3.6, 90, 90, 90], occupancies=[0.7]
    )
    write(tmp_path / "half.cif", atoms)
    text = (tmp_path / "half.cif").read_text().replace("1.0000", "0.7000")
    (tmp_path / "half.cif").write_text(text)
    with pytest.raises(FcinvError, match="occupied"):
        Crystal.from_file(tmp_path / "half.cif")


def test_plain_data_and_back(dft):
    """Through JSON, to the last bit."""
    again = Crystal.from_dict(json.loads(json.dumps(dft.crystal.to_dict())))
    assert again.content_hash == dft.crystal.content_hash
    assert np.array_equal(again.lattice, dft.crystal.lattice)
    assert again.supercell_matrix.dtype == dft.crystal.supercell_matrix.dtype


@pytest.mark.parametrize("damage", [{"lattice": "a"}, {"symbols": None}])
def test_damaged_plain_data_is_refused(dft, damage):
    with pytest.raises(FcinvError, match="no crystal in a document"):
        Crystal.from_dict(dft.crystal.to_dict() | damage)
    with pytest.raises(FcinvError, match="no crystal in a document"):
        Crystal.from_dict({})
