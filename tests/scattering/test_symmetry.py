"""Fewer q points by symmetry, without any change of the spectra."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scattering.point_spectra import complete

from fcinv_core.crystal import Crystal
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.irreducible import IrreducibleQ, first_of_each
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.spectra import spectra

NO_SYMMETRY = np.eye(3)[None]
EDGES = torch.linspace(-80, 80, 81, dtype=torch.float64)


def baddeleyite():
    """Monoclinic ZrO2: a point group of four operations."""
    from ase.spacegroup import crystal

    atoms = crystal(
        ["Zr", "O", "O"],
        [(0.2754, 0.0395, 0.2083), (0.07, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)],
        spacegroup=14,
        cellpar=[5.1505, 5.2116, 5.3173, 90, 99.23, 90],
    )
    cell = StructureFile(
        atoms.cell.array, atoms.get_scaled_positions(), tuple(atoms.get_chemical_symbols())
    )
    return Crystal.from_cell(cell, [1, 1, 1])


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize(
    ("name", "mesh"),
    [("Si", (8, 8, 8)), ("MgO", (7, 7, 7)), ("ZnO", (6, 6, 5)), ("ZrO2", (5, 4, 6))],
)
def test_number_of_irreducible_points_is_spglibs(name, mesh, shift, force_constants):
    if name == "ZnO" and any(shift):
        shift = (0, 0, 1)  # others break the hexagonal symmetry of the mesh
    crystal = baddeleyite() if name == "ZrO2" else force_constants(name).crystal
    numbers = crystal.primitive.numbers
    cell = (crystal.primitive_lattice, crystal.primitive_positions, numbers)
    mapping, grid = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=shift, is_time_reversal=True)
    points = (grid + 0.5 * np.array(shift)) / mesh
    reduced = IrreducibleQ.from_points(points, crystal.point_group_rotations)
    assert len(reduced.q_points) == len(np.unique(mapping))
    # The same points belong together.
    pairs = np.unique(np.stack([mapping, reduced.index]), axis=1)
    assert pairs.shape[1] == len(reduced.q_points)


def test_equivalent_points_are_equivalent(force_constants):
    """Each Q' is Q turned by an operation of the group or its negative, and is q + G."""
    crystal = force_constants("ZnO").crystal
    points = np.random.default_rng(0).uniform(-5, 5, (50, 3))
    reduced = IrreducibleQ.from_points(points, crystal.point_group_rotations)
    images = np.einsum("oij,nj->noi", crystal.point_group_rotations, points)
    images = np.concatenate([images, -images], axis=1)
    distance = np.abs(images - reduced.equivalent[:, None]).max(axis=-1).min(axis=1)
    assert distance.max() < 1e-9
    lattice_vectors = reduced.equivalent - reduced.q_points[reduced.index]
    np.testing.assert_allclose(lattice_vectors, np.rint(lattice_vectors), atol=1e-9)
    assert (reduced.q_points > -1e-6).all() and (reduced.q_points < 1).all()


def calculate(force_constants, tensors, points, rotations, bin_vectors=None, counts=(1, 1, 1)):
    """Spectra of bins around ``points`` and the number of diagonalisations."""
    crystal = force_constants.crystal
    bin_vectors = 0.01 * np.eye(3) if bin_vectors is None else bin_vectors
    sampling = BinSampling.from_bins(points, bin_vectors, counts, rotations)
    dynamics = LatticeDynamics(crystal)
    kernel = ModeKernel(EDGES, 300.0, EnergyResolution.constant(2.0))
    plan = SpectraPlan(crystal, sampling, dynamics.fourier, kernel)
    real_space = dynamics.real_space(torch.from_numpy(force_constants.values)[None])
    return spectra(plan, real_space, tensors)[0].numpy()[plan.row], len(sampling.q_points)


def displacement_tensors(force_constants):
    dynamics = LatticeDynamics(force_constants.crystal)
    real_space = dynamics.real_space(torch.from_numpy(force_constants.values)[None])
    return dynamics.tensors(real_space, 300.0)


@pytest.mark.parametrize("name", ["Si", "MgO", "ZnO"])
def test_spectra_have_the_symmetry_of_the_crystal(name, force_constants):
    """S(RQ, E) = S(-Q, E) = S(Q, E), computed Q by Q; and with reduction the same in one go."""
    crystal = force_constants(name).crystal
    tensors = displacement_tensors(force_constants(name))
    random = np.random.default_rng(4).uniform(-4, 4, (5, 3))
    starts = np.vstack([random, [[0.5, 0.5, 3.0], [1.5, 2.5, -0.5], [1 / 3, 1 / 3, 2]]])
    rotations = crystal.point_group_rotations
    images = np.einsum("oij,nj->noi", np.concatenate([rotations, -rotations]), starts)
    n_images = images.shape[1]
    points = images.reshape(-1, 3)

    plain, _ = calculate(force_constants(name), tensors, points, NO_SYMMETRY)
    reduced, n_q = calculate(force_constants(name), tensors, points, rotations)
    assert n_q == len(starts)
    expected = np.repeat(plain.reshape(len(starts), n_images, -1)[:, :1], n_images, axis=1)
    scale = plain.max()
    np.testing.assert_allclose(plain, expected.reshape(plain.shape), rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(reduced, plain, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 2, 1), (2, 3, 3)])
@pytest.mark.parametrize("name", ["Si", "ZnO"])
def test_equivalent_bins_share_rows_and_keep_their_spectra(name, counts, force_constants):
    """A skewed grid of bins around the origin, sampled unequally along its edges."""
    crystal = force_constants(name).crystal
    tensors = displacement_tensors(force_constants(name))
    cells = np.array([[1, 0, 0], [0.5, 1, 0], [0, 0, 1]]).T * [0.4, 0.4, 0.3]
    if name == "Si":  # along and across [110], as slices are
        to_primitive = crystal.primitive_lattice @ np.linalg.inv(crystal.lattice)
        cells = to_primitive @ np.array([[0.3, 0.3, 0], [0.3, -0.3, 0], [0, 0, 0.3]]).T
    ticks = np.arange(-3, 4)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = grid @ cells.T
    rotations = crystal.point_group_rotations
    plain, n_plain = calculate(force_constants(name), tensors, centres, NO_SYMMETRY, cells, counts)
    reduced, n_q = calculate(force_constants(name), tensors, centres, rotations, cells, counts)
    assert n_q < n_plain
    np.testing.assert_allclose(reduced, plain, rtol=0, atol=1e-9 * plain.max())


def test_reciprocal_lattice_vectors_change_structure_factors_only(force_constants):
    """Q and Q + G: the same modes, another intensity."""
    q = np.array([0.21, 0.13, 0.37])
    points = q + np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [-2, 1, 3]])
    sampling = BinSampling.from_bins(points, 0.01 * np.eye(3), (1, 1, 1), NO_SYMMETRY)
    assert len(sampling.q_points) == 1
    np.testing.assert_allclose(sampling.points[sampling.row, 0], points, atol=1e-12)

    result, _ = calculate(
        force_constants("ZnO"), displacement_tensors(force_constants("ZnO")), points, NO_SYMMETRY
    )
    energies = force_constants("ZnO").frequencies(points)
    np.testing.assert_allclose(energies, energies[[0] * 4], atol=1e-9)
    for other in result[1:]:
        assert np.abs(other - result[0]).max() > 0.1 * result[0].max()
    # No line appears elsewhere: bins far from any mode stay empty.
    centres = 0.5 * (EDGES[1:] + EDGES[:-1]).numpy()
    far = np.abs(np.abs(centres)[:, None] - energies[0]).min(axis=1) > 6
    assert far.any() and result[:, far].max() < 1e-6 * result.max()


coordinate = st.one_of(
    st.floats(-9, 9),
    st.tuples(st.integers(-36, 36), st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12])).map(
        lambda pair: pair[0] / pair[1]
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["Si", "Al", "NaCl", "ZnO", "Al2O3", "SiO2"]),
    points=st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=6),
    chosen=st.integers(0, 10**6),
)
def test_any_image_has_the_same_irreducible_point(name, points, chosen):
    """Points, moved by an operation and a lattice vector: one q for both, and Q' is an image."""
    rotations = complete(name).crystal.point_group_rotations
    operations = np.concatenate([rotations, -rotations])
    points = np.array(points)
    operation = operations[chosen % len(operations)]
    moved = points @ operation.T + np.random.default_rng(chosen).integers(-3, 4, points.shape)
    reduced = IrreducibleQ.from_points(np.vstack([points, moved]), rotations)
    rebuilt = reduced.equivalent - reduced.q_points[reduced.index]
    np.testing.assert_allclose(rebuilt, np.rint(rebuilt), atol=1e-9)
    for start, equivalent in zip(np.vstack([points, moved]), reduced.equivalent, strict=True):
        # Points closer than the grid count as one.
        assert np.abs(operations @ start - equivalent).max(axis=1).min() < 3e-6
    # Points that rounding tears apart cost a diagonalisation, no more; exact fractions never.
    fractions = np.abs(points * 720720 - np.rint(points * 720720)).max(axis=1) < 1e-6
    same = reduced.index[: len(points)] == reduced.index[len(points) :]
    assert same[fractions].all()


def test_first_of_each_with_huge_spreads():
    """More places than an integer holds, along one axis and along all."""
    random = np.random.default_rng(0)
    for extent in ([1e12, 1e-3, 1e-3], [1e9, 1e9, 1e9], [1e12, 1e12, 1e12]):
        distinct = random.uniform(-1, 1, (200, 3)) * extent
        points = distinct[random.integers(0, 200, 1000)]
        first, index = first_of_each(points)
        _, inverse = np.unique(points, axis=0, return_inverse=True)
        assert len(first) == inverse.max() + 1 == len(np.unique(index))
        np.testing.assert_array_equal(points[first][index], points)
        assert (first[index] <= np.arange(1000)).all()


def test_first_of_each_of_nothing():
    first, index = first_of_each(np.empty((0, 3)))
    assert len(first) == len(index) == 0
    reduced = IrreducibleQ.from_points(np.empty((0, 3)), NO_SYMMETRY)
    assert reduced.q_points.shape == reduced.equivalent.shape == (0, 3)
