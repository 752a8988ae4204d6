"""Axis names, frames and the way to hkl."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, Projection

EDGES = np.linspace(-1, 1, 5)
CUBIC_UB = np.array([[0, 0.2, 0], [0, 0, 0.2], [0.2, 0, 0]])


def axes(*names, frame="HKL"):
    return [Axis(name, "r.l.u.", frame, EDGES) for name in names]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("[H,H,0]", (1, 1, 0)),
        ("[0,K,0]", (0, 1, 0)),
        ("[H,-H,0]", (1, -1, 0)),
        ("[2H,-H,0]", (2, -1, 0)),
        ("[0.5H,0.5H,-L]", None),
        ("[0.5H,1.5H,-H]", (0.5, 1.5, -1)),
        ("[-0.333K,0.667K,1e-17K]", (-0.333, 0.667, 0)),
        ("[ 0, 0.0, L ]", (0, 0, 1)),
        ("[.5H,+H,0]", (0.5, 1, 0)),
        ("H", (1, 0, 0)),
        ("L", (0, 0, 1)),
        ("[0,0,0]", None),
        ("[H,H]", None),
        ("[H,1,0]", None),
        ("Q_sample_x", None),
        ("DeltaE", None),
    ],
)
def test_directions_that_names_spell(name, direction):
    found = Axis(name, "r.l.u.", "HKL", EDGES).direction
    if direction is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, direction)


@pytest.mark.parametrize(
    ("direction", "name"),
    [
        # From Mantid's MDNorm: three digits, the letter of the largest component.
        ((1, 1, 0), "[H,H,0]"),
        ((1, -1, 0), "[H,-H,0]"),
        ((0, 0, 1), "[0,0,L]"),
        ((1 / 3, 2 / 3, 0), "[0.333K,0.667K,0]"),
        ((-2, 1, 0), "[-2H,H,0]"),
    ],
)
def test_axes_along_a_direction_are_named_as_mdnorm_does(direction, name):
    assert Axis.along(direction, EDGES).name == name


@pytest.mark.parametrize(
    ("name", "frame", "momentum_frame", "is_energy"),
    [
        ("[H,0,0]", "HKL", "HKL", False),
        ("[H,0,0]", "General Frame", "HKL", False),
        ("Q_sample_x", "QSample", "QSample", False),
        ("Q_sample_x", "Q_sample", "QSample", False),
        ("Q_lab_y", "Unknown frame", "QLab", False),
        ("DeltaE", "DeltaE", None, True),
        ("Energy", "deltae", None, True),
        ("DELTAE", "General Frame", None, True),
        ("|Q|", "General Frame", None, False),
        ("temperature", "General Frame", None, False),
    ],
)
def test_axes_are_told_apart_by_frame_and_name(name, frame, momentum_frame, is_energy):
    axis = Axis(name, "", frame, EDGES)
    assert axis.momentum_frame == momentum_frame
    assert axis.is_momentum == (momentum_frame is not None)
    assert axis.is_energy == is_energy


def test_bins_of_an_axis():
    axis = Axis.energy_transfer([0, 2, 4, 6])
    np.testing.assert_array_equal(axis.centres, [1, 3, 5])
    np.testing.assert_array_equal(axis.widths, [2, 2, 2])
    assert axis.width == 2 and axis.n_bins == 3 and axis.is_uniform and axis.is_energy
    assert not Axis.energy_transfer([0, 2, 4, 7]).is_uniform
    fine = (np.linspace(99, 100, 10001).astype(np.float32)).astype(float)
    assert Axis("x", "", "", fine).is_uniform  # as uniform as float32 coordinates can be


@pytest.mark.parametrize("edges", [[0], [1, 1, 2], [2, 1], [[0, 1]], [0, np.nan, 1]])
def test_edges_that_are_no_bins_are_refused(edges):
    with pytest.raises(FcinvError, match=r"'\[H,0,0\]'.*ascending"):
        Axis.along((1, 0, 0), edges)


@pytest.mark.parametrize("w_matrix", [None, np.eye(3)])
def test_exact_names_decide_when_w_matrix_says_nothing(w_matrix):
    projection = Projection.from_axes(axes("[0,0,L]", "[H,-H,0]", "[H,H,0]"), w_matrix)
    np.testing.assert_array_equal(projection.matrix, [[0, 1, 1], [0, -1, 1], [1, 0, 0]])
    assert projection.origin == "axis names"


def test_w_matrix_serves_where_names_are_rounded():
    w_matrix = np.array([[1 / 3, 1, 0], [2 / 3, -1, 0], [0, 0, 1]])
    # The axes are not in the order of QDimension0..2.
    names = ("[0,0,L]", "[0.333K,0.667K,0]", "[H,-H,0]")
    projection = Projection.from_axes(axes(*names), w_matrix)
    np.testing.assert_array_equal(projection.matrix, w_matrix[:, [2, 0, 1]])
    assert projection.origin == "W_MATRIX log"


def test_w_matrix_agrees_with_exact_names():
    w_matrix = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]], dtype=float)
    projection = Projection.from_axes(axes("[H,-H,0]", "[H,H,0]", "[0,0,L]"), w_matrix)
    np.testing.assert_array_equal(projection.matrix, w_matrix[:, [1, 0, 2]])


def test_rounded_names_alone_are_read_as_fractions():
    projection = Projection.from_axes(axes("[0.333K,0.667K,0]", "[H,-H,0]", "[0,0,1.25L]"))
    np.testing.assert_allclose(projection.matrix[:, 0], [1 / 3, 2 / 3, 0], rtol=1e-15)
    assert projection.matrix[2, 2] == 1.25
    assert "fractions" in projection.origin


@pytest.mark.parametrize(
    "w_matrix",
    [
        np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]], dtype=float),
        np.diag([1, 1, 2.0]),
    ],
)
def test_w_matrix_against_the_names_is_refused_and_both_are_shown(w_matrix):
    with pytest.raises(FcinvError) as caught:
        Projection.from_axes(axes("[H,0,0]", "[0,K,0]", "[0,0,0.5L]"), w_matrix)
    message = str(caught.value)
    assert "[H,0,0] [0,K,0] [0,0,0.5L]" in message
    assert f"({w_matrix[0, 0]:.4g}, {w_matrix[1, 0]:.4g}, {w_matrix[2, 0]:.4g})" in message
    assert "\n" not in message


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_q_sample_axes_go_through_ub(order):
    names = [("Q_sample_x", "Q_sample_y", "Q_sample_z")[i] for i in order]
    projection = Projection.from_axes(axes(*names, frame="QSample"), ub=CUBIC_UB)
    hkl = np.array([1.0, 2.0, 3.0])
    q_sample = 2 * np.pi * CUBIC_UB @ hkl
    np.testing.assert_allclose(projection.matrix @ q_sample[list(order)], hkl, rtol=1e-12)


def test_q_lab_axes_go_through_the_goniometer():
    names = ("Q_lab_x", "Q_lab_y", "Q_lab_z")
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=float)
    projection = Projection.from_axes(axes(*names, frame="QLab"), ub=CUBIC_UB, rotation=turn)
    hkl = np.array([1.0, 2.0, 3.0])
    q_lab = turn @ (2 * np.pi * CUBIC_UB @ hkl)
    np.testing.assert_allclose(projection.matrix @ q_lab, hkl, rtol=1e-12)
    with pytest.raises(FcinvError, match="several goniometer settings"):
        Projection.from_axes(axes(*names, frame="QLab"), ub=CUBIC_UB)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (axes("[H,0,0]", "[0,K,0]"), "not three of one frame"),
        (axes("[H,0,0]", "[0,K,0]") + axes("Q_sample_x", frame="QSample"), "of one frame"),
        (axes("[H,0,0]", "[0,K,0]", "mine"), "cannot read a direction.*'mine'"),
        (axes("[H,0,0]", "[0,K,0]", "[H,H,0]"), "not independent"),
        (axes("Q_sample_x", "Q_sample_y", "Q_sample_z", frame="QSample"), "SetUB"),
    ],
)
def test_projections_that_do_not_exist(found, message):
    with pytest.raises(FcinvError, match=message):
        Projection.from_axes(found)
