"""Cells of the wedge: symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.crystal import ForceConstants
from fcinv_core.networks.wedge import FINEST, MOST_MODES, WedgeMesh


def distance(offsets, crystal):
    """To the nearest lattice vector, 1/Å."""
    offsets = offsets - np.rint(offsets)
    shifts = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    images = (offsets[:, None] + shifts) @ crystal.reciprocal_lattice
    return np.linalg.norm(images, axis=2).min(axis=1)


@pytest.mark.parametrize("name", ["Ge_standin", "ZnO_dft", "SiO2_dft"])
def test_equivalent_points_fall_into_the_same_cell(name, request):
    crystal = ForceConstants.from_file(
        request.path.parents[1] / f"data/force_constants/{name}.yaml"
    ).crystal
    mesh = WedgeMesh.of(crystal)
    assert mesh.n_along <= FINEST
    assert 3 * crystal.n_primitive * len(mesh.q_points) <= MOST_MODES
    random = np.random.default_rng(1)
    centres = random.uniform(-3, 3, (200, 3))
    cell, turned = mesh.place(centres)
    for rotation in crystal.point_group_rotations:
        for sign in (1, -1):
            other_cell, other = mesh.place(sign * centres @ rotation.T)
            assert np.array_equal(other_cell, cell)
            np.testing.assert_allclose(other, turned, atol=1e-9)


def test_turned_points_are_equivalent_and_near_their_cell(germanium):
    crystal = germanium.crystal
    mesh = WedgeMesh.of(crystal)
    assert mesh.n_along == FINEST
    random = np.random.default_rng(2)
    centres = random.uniform(-3, 3, (300, 3))
    cell, turned = mesh.place(centres)
    offset = turned - mesh.q_points[cell]
    reached = distance(offset, crystal)
    points = np.indices((FINEST,) * 3).reshape(3, -1).T / FINEST
    nearest = [distance(points - centre, crystal).min() for centre in centres]
    np.testing.assert_allclose(reached, nearest, atol=1e-9)
    lengths = [np.linalg.norm(q @ crystal.reciprocal_lattice, axis=1) for q in (centres, turned)]
    np.testing.assert_allclose(*lengths, rtol=1e-9)
    np.testing.assert_allclose(
        germanium.frequencies(turned), germanium.frequencies(centres), atol=1e-6
    )
