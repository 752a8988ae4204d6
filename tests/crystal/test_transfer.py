"""Force constants carried between descriptions of one crystal."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.crystal.transfer import correspondence as found
from fcinv_core.errors import FcinvError


def another_description(crystal, rotation=None, shift=(0.0, 0.0, 0.0), order=None, cell=None):
    """The same crystal turned, shifted, in another order of atoms, in another cell."""
    cell = np.eye(3) if cell is None else np.array(cell)
    lattice = cell @ crystal.lattice
    positions, symbols = [], []
    for place in np.ndindex(3, 3, 3):
        for position, symbol in zip(crystal.positions, crystal.symbols, strict=True):
            inside = (position + np.array(place) - 1) @ np.linalg.inv(cell)
            if np.all(inside > -1e-6) and np.all(inside < 1 - 1e-6):
                positions.append(inside + shift)
                symbols.append(symbol)
    order = range(len(symbols)) if order is None else order(len(symbols))
    if rotation is not None:
        lattice = lattice @ rotation
    structure = StructureFile(
        lattice, np.array([positions[k] for k in order]), tuple(symbols[k] for k in order)
    )
    return structure


def turn(degrees):
    """A rotation about an axis of no symmetry."""
    from scipy.spatial.transform import Rotation

    axis = np.array([1.0, 2.0, -0.5])
    return Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()


def all_energies(force_constants, n=4):
    """Sorted energies on a mesh that every setting of the cell maps onto itself."""
    grid = np.stack(np.meshgrid(*[np.arange(n) / n] * 3), axis=-1).reshape(-1, 3)
    return np.sort(force_constants.frequencies(grid).ravel())


def test_same_description_changes_nothing(dft):
    plain = ForceConstants(dft.crystal, dft.values)
    carried = carried_to(plain, dft.crystal)
    np.testing.assert_allclose(carried.values, dft.values, atol=1e-7)


def test_turned_shifted_and_reordered(dft):
    """Energies are phonopy's before and after; Born charges come along."""
    structure = another_description(
        dft.crystal, turn(25), (0.11, -0.03, 0.4), order=lambda n: range(n - 1, -1, -1)
    )
    crystal = Crystal.from_cell(structure, dft.crystal.supercell_matrix)
    plain = ForceConstants(dft.crystal, dft.values)
    carried = carried_to(plain, crystal)
    np.testing.assert_allclose(all_energies(carried), all_energies(plain), atol=2e-3)
    assert np.abs(carried.values - dft.values).max() > 0.1
    if dft.born_charges is not None:
        with_charges = carried_to(dft, crystal)
        np.testing.assert_allclose(all_energies(with_charges), all_energies(dft), atol=0.03)
        positive = [symbol in ("Mg", "Na") for symbol in crystal.primitive_symbols]
        assert np.array_equal(with_charges.born_charges[:, 0, 0] > 0, positive)


def test_low_symmetry_with_atoms_in_another_order(data_folder):
    """Wurtzite has two atoms of each kind, which must not be exchanged."""
    zinc_oxide = ForceConstants.from_file(data_folder / "force_constants/ZnO_dft.yaml")
    plain = ForceConstants(zinc_oxide.crystal, zinc_oxide.values)
    structure = another_description(
        plain.crystal, turn(70), (0.2, 0.1, 0.3), order=lambda n: np.roll(range(n), 1)
    )
    crystal = Crystal.from_cell(structure, plain.crystal.supercell_matrix)
    carried = carried_to(plain, crystal)
    np.testing.assert_allclose(all_energies(carried), all_energies(plain), atol=2e-3)


def test_from_conventional_to_primitive_cell(silicon):
    lattice = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    structure = another_description(silicon.crystal, cell=lattice)
    cubic = np.rint(np.linalg.inv(lattice)).astype(int)
    crystal = Crystal.from_cell(structure, 2 * cubic)
    carried = carried_to(silicon, crystal)
    assert crystal.n_supercell == silicon.crystal.n_supercell
    np.testing.assert_allclose(all_energies(carried), all_energies(silicon), atol=2e-3)


def test_larger_supercell_holds_the_same_force_constants(silicon):
    """Twice the supercell has twice as fine a mesh; phonopy interpolates both alike."""
    crystal = silicon.crystal.with_supercell([4, 4, 4])
    carried = carried_to(silicon, crystal)
    q_points = np.random.default_rng(0).random((30, 3))
    # Where the supercell's border cuts a bond in half, both halves count: not quite the same.
    difference = carried.frequencies(q_points) - silicon.frequencies(q_points)
    assert np.abs(difference).max() < 0.1


def test_smaller_supercell_agrees_at_its_own_wave_vectors(magnesia):
    crystal = magnesia.crystal.with_supercell([1, 1, 1])
    carried = carried_to(magnesia, crystal)
    commensurate = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    np.testing.assert_allclose(
        carried.frequencies(commensurate), magnesia.frequencies(commensurate), atol=0.02
    )


def test_strained_lattice_keeps_the_force_constants(silicon):
    crystal = silicon.crystal.with_lattice(1.04 * silicon.crystal.lattice)
    carried = carried_to(silicon, crystal)
    np.testing.assert_allclose(carried.values, silicon.values, atol=1e-7)


def test_upside_down_is_turned_round(silicon):
    """Half a turn is a symmetric matrix, as a strain is."""
    half_turn = np.diag([1.0, -1.0, -1.0])
    values = silicon.values.copy()
    values[:, :, 0, 1] += 0.1
    odd = silicon.with_values(values)
    turned = odd.on(silicon.crystal.with_lattice(silicon.crystal.lattice @ half_turn))
    np.testing.assert_allclose(turned.values, half_turn @ values @ half_turn, atol=1e-12)


@pytest.mark.parametrize("change", ["order of the axes", "direction of the polar axis"])
def test_what_is_nearly_a_symmetry_is_none(change):
    """A tetragonal polar perovskite, c/a = 1.06, in a file with other axes."""
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.53], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    symbols = ("Pb", "Ti", "O", "O", "O")
    lattice, order = np.diag([4.0, 4.0, 4.24]), [2, 0, 1]
    old = Crystal.from_cell(StructureFile(lattice, positions, symbols), [2, 2, 2])
    basis = ForceConstantBasis.from_crystal(old)
    parameters = np.random.default_rng(0).normal(size=basis.n_parameters)
    force_constants = basis.force_constants(parameters)
    if change == "order of the axes":
        same = StructureFile(lattice[order][:, order], positions[:, order], symbols)
    else:
        same = StructureFile(lattice, -positions, symbols)
    new = Crystal.from_cell(same, [2, 2, 2])
    carried = carried_to(force_constants, new)
    np.testing.assert_allclose(all_energies(carried), all_energies(force_constants), atol=1e-4)
    assert ForceConstantBasis.from_crystal(new).residual_of(carried) < 1e-6
    # Atoms are where they were: titanium closer to one of its oxygens along the polar axis.
    there = found(old, new)
    moved = there.cell @ old.primitive_lattice @ there.rotation
    np.testing.assert_allclose(moved, new.primitive_lattice, atol=1e-9)
    separations = [
        (crystal.primitive_positions[atoms] - crystal.primitive_positions[atoms[0]]) @ cell
        for crystal, atoms, cell in (
            (old, there.atoms, old.primitive_lattice @ there.rotation),
            (new, np.arange(5), new.primitive_lattice),
        )
    ]
    offsets = (separations[0] - separations[1]) @ np.linalg.inv(new.primitive_lattice)
    np.testing.assert_allclose(offsets, np.rint(offsets), atol=1e-9)


def test_axes_of_similar_lengths_are_not_exchanged():
    """One atom in a tetragonal cell, c/a = 1.04, listed with c first: only lengths tell."""
    one = np.zeros((1, 3))
    old = Crystal.from_cell(StructureFile(np.diag([2.5, 2.5, 2.6]), one, ("Cu",)), [3, 3, 3])
    basis = ForceConstantBasis.from_crystal(old)
    parameters = np.random.default_rng(0).normal(size=basis.n_parameters)
    new = Crystal.from_cell(StructureFile(np.diag([2.6, 2.5, 2.5]), one, ("Cu",)), [3, 3, 3])
    carried = carried_to(basis.force_constants(parameters), new)
    assert ForceConstantBasis.from_crystal(new).residual_of(carried) < 1e-6


@pytest.mark.parametrize("problem", ["composition", "structure", "lattice"])
def test_another_crystal_is_refused_in_one_line(silicon, magnesia, problem):
    crystal = magnesia.crystal
    if problem == "structure":
        structure = StructureFile(
            silicon.crystal.primitive_lattice, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), ("Si",) * 2
        )
        crystal = Crystal.from_cell(structure, [2, 2, 2])
    elif problem == "lattice":
        crystal = silicon.crystal.with_lattice(1.3 * silicon.crystal.lattice)
    with pytest.raises(FcinvError, match="cannot be carried to") as caught:
        carried_to(silicon, crystal)
    assert "\n" not in str(caught.value)
