"""Lattices of data found among the cells of a crystal."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import cell_to_cellpar
from ase.spacegroup import crystal as spacegroup_crystal

from fcinv_core import FcinvError
from fcinv_core.crystal import Crystal, match_lattice


def check(match, parameters, crystal, strain=1e-3):
    """The matched cell has the lengths and angles of the data, and integer axes."""
    cell = np.linalg.inv(match.to_primitive)
    assert np.allclose(cell, np.rint(cell), atol=1e-9)
    assert np.linalg.det(cell) > 0
    assert cell_to_cellpar(cell @ crystal.primitive_lattice) == pytest.approx(
        np.array(parameters), rel=strain
    )
    assert match.strain <= strain


@pytest.fixture(scope="module")
def bismuth(make_crystal):
    return make_crystal(
        spacegroup_crystal(
            "Bi", [(0, 0, 0.234)], spacegroup=166, cellpar=[4.546, 4.546, 11.862, 90, 90, 120]
        )
    )


@pytest.fixture(scope="module")
def zirconia(make_crystal):
    return make_crystal(
        spacegroup_crystal(
            ["Zr", "O", "O"],
            [(0.2754, 0.0395, 0.2083), (0.07, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)],
            spacegroup=14,
            cellpar=[5.1505, 5.2116, 5.3173, 90, 99.23, 90],
        )
    )


@pytest.mark.parametrize("cubic", [True, False], ids=["conventional file", "primitive file"])
def test_fcc(make_crystal, cubic):
    copper = make_crystal(bulk("Cu", "fcc", a=3.61, cubic=cubic))
    match = match_lattice((3.61, 3.61, 3.61, 90, 90, 90), copper)
    check(match, (3.61, 3.61, 3.61, 90, 90, 90), copper)
    assert not match.ambiguous
    # X = (1 0 0) of the cube has two half-integer primitive coordinates; (1 1 1) is integer.
    assert sorted(match.to_primitive @ [1, 0, 0]) == pytest.approx([0, 0.5, 0.5])
    assert (match.to_primitive @ [1, 1, 1]) == pytest.approx([1, 1, 1])
    length = 3.61 / np.sqrt(2)
    check(match_lattice((length,) * 3 + (60, 60, 60), copper), (length,) * 3 + (60, 60, 60), copper)


def test_bcc(make_crystal):
    iron = make_crystal(bulk("Fe", "bcc", a=2.866))
    match = match_lattice((2.866, 2.866, 2.866, 90, 90, 90), iron)
    check(match, (2.866, 2.866, 2.866, 90, 90, 90), iron)
    assert not match.ambiguous
    assert (match.to_primitive @ [1, 1, 0]) == pytest.approx(
        np.rint(match.to_primitive @ [1, 1, 0])
    )


def test_hexagonal_with_permuted_axes(make_crystal):
    titanium = make_crystal(bulk("Ti", "hcp", a=2.95, c=4.686))
    for parameters in (
        (2.95, 2.95, 4.686, 90, 90, 120),
        (2.95, 2.95, 4.686, 90, 90, 60),
        (4.686, 2.95, 2.95, 120, 90, 90),
    ):
        match = match_lattice(parameters, titanium)
        check(match, parameters, titanium)
        assert not match.ambiguous


def test_rhombohedral_in_both_settings(bismuth):
    hexagonal = match_lattice((4.546, 4.546, 11.862, 90, 90, 120), bismuth)
    check(hexagonal, (4.546, 4.546, 11.862, 90, 90, 120), bismuth)
    # Obverse and reverse axes have the same metric; the structure's own come first.
    assert hexagonal.ambiguous
    assert hexagonal.setting == "the unit cell of the structure"
    obverse = hexagonal.to_primitive @ [1, 0, 1]  # -h + k + l = 0: a reflection
    assert obverse == pytest.approx(np.rint(obverse), abs=1e-9)
    primitive = cell_to_cellpar(bismuth.primitive_lattice)
    rhombohedral = match_lattice(primitive, bismuth)
    check(rhombohedral, primitive, bismuth)
    assert not rhombohedral.ambiguous


def test_monoclinic_in_other_settings(zirconia):
    for axes in (
        np.eye(3),
        [[0, 0, -1], [0, -1, 0], [-1, 0, 0]],
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        [[0, 0, -1], [0, -1, 0], [-1, 0, -1]],
    ):
        parameters = cell_to_cellpar(np.array(axes) @ zirconia.lattice)
        match = match_lattice(parameters, zirconia)
        check(match, parameters, zirconia)
        assert not match.ambiguous


def test_pyrite_is_ambiguous_and_keeps_its_axes(make_crystal):
    pyrite = make_crystal(
        spacegroup_crystal(
            ["Fe", "S"],
            [(0, 0, 0), (0.385, 0.385, 0.385)],
            spacegroup=205,
            cellpar=[5.418, 5.418, 5.418, 90, 90, 90],
        )
    )
    match = match_lattice((5.418, 5.418, 5.418, 90, 90, 90), pyrite)
    assert match.ambiguous
    assert match.to_primitive == pytest.approx(np.eye(3))


def test_small_strain_is_accepted_and_reported(data_folder):
    silicon = Crystal.from_file(data_folder / "structures/Si.cif")
    match = match_lattice((5.4662, 5.4662, 5.4662, 90, 90, 90), silicon)
    assert match.strain == pytest.approx(5.4662 / 5.431 - 1, rel=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        (5.658, 5.658, 5.658, 90, 90, 90),  # germanium: 4 % apart
        (4.212, 4.212, 4.212, 90, 90, 90),  # MgO
        (5.431, 5.431, 5.7, 90, 90, 90),
        (5.431, 5.431, 5.431, 90, 90, 95),
    ],
)
def test_wrong_crystal_is_refused(data_folder, parameters):
    silicon = Crystal.from_file(data_folder / "structures/Si.cif")
    with pytest.raises(FcinvError) as caught:
        match_lattice(parameters, silicon)
    message = str(caught.value)
    assert f"{parameters[2]:.4g}" in message and "5.431" in message and "UB" in message


def test_impossible_lattice_is_refused(data_folder):
    silicon = Crystal.from_file(data_folder / "structures/Si.cif")
    with pytest.raises(FcinvError, match="no cell"):
        match_lattice((5, 5, 5, 10, 10, 170), silicon)
