"""CIFs that name a space group and leave its operations out, as people type them."""

from __future__ import annotations

from collections import Counter

import pytest

from fcinv_core import Crystal
from fcinv_core.errors import FcinvError

CUPRITE = """data_Cu2O
_cell_length_a 4.2696(2)
_cell_length_b 4.2696(2)
_cell_length_c 4.2696(2)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{group}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu {copper}
O {oxygen}
"""
ATOMS = {"1": ("0.25 0.25 0.25", "0 0 0"), "2": ("0 0 0", "0.25 0.25 0.25")}
"""Places of copper and oxygen, by the choice of the origin."""

SYMBOL = "_symmetry_space_group_name_H-M 'P n -3 m{}'"
NUMBER = "_symmetry_Int_Tables_number 224"


def _read(tmp_path, text):
    path = tmp_path / "typed.cif"
    path.write_text(text)
    return Crystal.from_file(path)


def _cuprite(tmp_path, group, origin):
    copper, oxygen = ATOMS[origin]
    return _read(tmp_path, CUPRITE.format(group=group, copper=copper, oxygen=oxygen))


@pytest.mark.parametrize(
    ("group", "origin"),
    [
        (f"{SYMBOL.format(' :2')}\n{NUMBER}", "2"),
        (f"{SYMBOL.format(':1')}\n{NUMBER}", "1"),
        (SYMBOL.format(" Z"), "2"),
        (SYMBOL.format(" S"), "1"),
        (f"{NUMBER}\n_space_group_IT_coordinate_system_code 2", "2"),
        ("_space_group_name_Hall '-P 4bc 2bc 3'", "2"),
        ("_symmetry_space_group_name_H-M 'P n 3 m :2'", "2"),
    ],
)
def test_origin_that_the_file_names_is_taken(tmp_path, group, origin):
    crystal = _cuprite(tmp_path, group, origin)
    assert Counter(crystal.symbols) == {"Cu": 4, "O": 2}


@pytest.mark.parametrize("group", [NUMBER, SYMBOL.format("")])
def test_origin_that_stays_open_is_refused(tmp_path, group):
    with pytest.raises(FcinvError, match="which of the two origins of Pn-3m .number 224"):
        _cuprite(tmp_path, group, "2")


def test_listed_operations_count_whatever_the_group_is_called(tmp_path):
    shift = ("x,y,z", "x+1/2,y+1/2,z", "x+1/2,y,z+1/2", "x,y+1/2,z+1/2")
    listed = "loop_\n_symmetry_equiv_pos_as_xyz\n" + "\n".join(shift)
    group = f"_symmetry_space_group_name_H-M 'F of my own'\n{listed}"
    assert Counter(_cuprite(tmp_path, group, "2").symbols) == {"Cu": 4, "O": 4}


def test_symbol_of_other_axes_counts_more_than_the_number(tmp_path):
    text = CUPRITE.replace("_b 4.2696(2)", "_b 5.6").replace("_c 4.2696(2)", "_c 7.6")
    group = "_symmetry_space_group_name_H-M 'P b n m'\n_symmetry_Int_Tables_number 62"
    filled = text.format(group=group, copper="0 0.5 0", oxygen="0.1 0.48 0.25")
    assert Counter(_read(tmp_path, filled).symbols) == {"Cu": 4, "O": 4}


@pytest.mark.parametrize(
    "group",
    ["_space_group_name_H-M_alt 'P no such'", f"{SYMBOL.format(':2')}\n_space_group_IT_number 225"],
)
def test_unknown_groups_are_refused(tmp_path, group):
    with pytest.raises(FcinvError, match="is not known: list the operations"):
        _cuprite(tmp_path, group, "2")


@pytest.mark.parametrize(("angle", "atoms"), [(60, 2), (120, 6)])
def test_axes_of_rhombohedral_groups_follow_from_the_cell(tmp_path, angle, atoms):
    text = CUPRITE.format(
        group="_space_group_name_H-M_alt 'R -3 m'", copper="0 0 0", oxygen="0 0 0.5"
    ).replace("_gamma 90", f"_gamma {angle}")
    if angle == 60:
        text = text.replace("alpha 90", "alpha 60").replace("beta 90", "beta 60")
        text = text.replace("O 0 0 0.5", "O 0.5 0.5 0.5")
    assert len(_read(tmp_path, text).symbols) == atoms
