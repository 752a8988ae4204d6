"""Orientation matrices against those that Mantid's SetUB wrote."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core import Crystal, SQEHistogram
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.ensemble.orientation import orientation, random_scan
from fcinv_core.histogram.experiment import lattice_from_ub


def test_as_mantid_sets_it(mantid_file):
    """u = (1,0,0), v = (0,1,0), as tests/data/README.md says."""
    ub = SQEHistogram.load(mantid_file("si_300K_five_orientations_HHL0_slice_clean.nxs")).ub
    found = orientation(5.431 * np.eye(3), np.array([1.0, 0, 0]), np.array([0.0, 1, 0]))
    np.testing.assert_allclose(found, ub, atol=1e-9)


@pytest.fixture(scope="module")
def hexagonal():
    lattice = np.array([[3.2, 0, 0], [-1.6, 1.6 * 3**0.5, 0], [0, 0, 5.1]])
    return Crystal.from_cell(StructureFile(lattice, np.zeros((1, 3)), ("Co",)), [3, 3, 2])


def test_u_along_the_beam_and_v_horizontal(hexagonal):
    u, v = np.array([1.0, 1, 0]), np.array([0.0, 0, 1])
    ub = orientation(hexagonal.lattice, u, v)
    metric = hexagonal.lattice @ hexagonal.lattice.T
    np.testing.assert_allclose(np.linalg.inv(ub.T @ ub), metric, atol=1e-9)
    along, beside = ub @ u, ub @ v
    np.testing.assert_allclose(along / np.linalg.norm(along), [0, 0, 1], atol=1e-12)
    assert abs(beside[1]) < 1e-12 and beside[0] > 0


def test_scans_stay_within_a_turn_and_can_be_repeated(hexagonal):
    scans = [
        random_scan(hexagonal, (1, 100), (0.5, 8.0), np.random.default_rng(seed))
        for seed in range(40)
    ]
    numbers = {len(scan.goniometer) for scan in scans}
    assert min(numbers) < 5 and max(numbers) > 30
    for scan in scans:
        angles = [axis.angle for axis in scan.goniometer]
        assert angles[-1] - angles[0] <= 360
        assert abs(np.linalg.det(scan.axes)) > 0.4
        np.testing.assert_allclose(np.linalg.det(scan.rotations), 1, atol=1e-12)
    again = random_scan(hexagonal, (1, 100), (0.5, 8.0), np.random.default_rng(7))
    np.testing.assert_array_equal(again.ub, scans[7].ub)
    np.testing.assert_array_equal(again.rotations, scans[7].rotations)


def test_primitive_cells_are_indexed_as_people_do():
    """hkl of silicon are those of the cube, whatever cell the structure file has."""
    lattice = 5.431 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    primitive = StructureFile(lattice, np.array([[0, 0, 0], [0.25, 0.25, 0.25]]), ("Si", "Si"))
    crystal = Crystal.from_cell(primitive, [3, 3, 3])
    scan = random_scan(crystal, (1, 5), (1.0, 2.0), np.random.default_rng(0))
    np.testing.assert_allclose(lattice_from_ub(scan.ub), [5.431] * 3 + [90.0] * 3, rtol=1e-6)
