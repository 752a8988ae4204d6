"""The symmetry-reduced basis, its readable parameters, and shells."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

from fcinv_core import FcinvError
from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.crystal.shells import shell_constants


@pytest.fixture(scope="module", params=["diamond", "rocksalt primitive", "wurtzite", "hcp"])
def basis(request, make_crystal, wurtzite):
    crystals = {
        "diamond": lambda: make_crystal(bulk("Si", cubic=True), [1, 1, 2]),
        "rocksalt primitive": lambda: make_crystal(bulk("NaCl", "rocksalt", a=5.64), [3, 3, 3]),
        "wurtzite": lambda: wurtzite,
        "hcp": lambda: make_crystal(bulk("Mg", "hcp", a=3.21, c=5.21)),
    }
    return ForceConstantBasis.from_crystal(crystals[request.param]())


def random_force_constants(basis):
    """Springs that decay with distance, so that the acoustic branches stay near zero at Γ."""
    rng = np.random.default_rng(3)
    return basis.force_constants(rng.normal(size=basis.n_parameters) * np.exp(-basis.distances))


def test_dft_force_constants_are_reproduced(dft):
    basis = ForceConstantBasis.from_crystal(dft.crystal)
    parameters = basis.parameters_of(dft)
    assert basis.residual_of(dft) < 1e-9
    assert basis.force_constants(parameters).values == pytest.approx(dft.values, abs=1e-9)
    # Parameters are the named elements of the force constants themselves.
    i, j, alpha, beta = basis.elements.T
    assert parameters == pytest.approx(dft.values[i, j, alpha, beta], abs=1e-9)


def test_parameters_are_elements_and_names_unique(basis):
    i, j, alpha, beta = basis.elements.T
    constants = random_force_constants(basis)
    parameters = basis.parameters_of(constants)
    assert constants.values[i, j, alpha, beta] == pytest.approx(parameters, abs=1e-10)
    assert len(set(basis.names)) == basis.n_parameters
    assert np.all(basis.shell_index >= 0)  # no on-site element is needed
    assert np.all(np.diff(basis.distances) > -1e-3)
    assert np.linalg.cond(basis.map) < 100


def test_sum_rule_and_permutation(basis):
    constants = random_force_constants(basis)
    full = compact_fc_to_full_fc(basis.crystal.phonopy().primitive, constants.values)
    assert np.abs(full.sum(axis=1)).max() < 1e-10
    assert np.abs(full - full.transpose(1, 0, 3, 2)).max() < 1e-10


def test_space_group_of_frequencies(basis, q_points):
    constants = random_force_constants(basis)
    energies = constants.frequencies(q_points)
    assert np.abs(energies).max() > 1
    for rotation in basis.crystal.point_group_rotations:
        turned = constants.frequencies(q_points @ rotation.T)
        assert np.sign(turned) * turned**2 == pytest.approx(
            np.sign(energies) * energies**2, abs=1e-6 * np.abs(energies).max() ** 2
        )


def test_broken_symmetry_shows_as_residual(silicon):
    basis = ForceConstantBasis.from_crystal(silicon.crystal)
    broken = silicon.values.copy()
    broken[0, 1, 0, 0] += 0.5
    expected = np.linalg.norm(broken - silicon.values) / np.linalg.norm(broken)
    residual = basis.residual_of(ForceConstants(silicon.crystal, broken))
    assert 0.5 * expected < residual < expected


def test_number_of_parameters_of_diamond(silicon):
    # Per shell of the diamond structure, by the site symmetry of its bonds (Herman 1959):
    # 2, 4, 4, 2 (the reduced symmetry of a supercell's border comes only further out).
    basis = ForceConstantBasis.from_crystal(silicon.crystal, cutoff=4.6)
    assert np.bincount(basis.shell_index).tolist() == [2, 4, 4]
    assert basis.names[:2] == ("Si-Si 1st shell 2.37 Å xx", "Si-Si 1st shell 2.37 Å xy")


def test_cutoff(silicon):
    basis = ForceConstantBasis.from_crystal(silicon.crystal, cutoff=4.0)
    constants = random_force_constants(basis)
    far = basis.neighbours.distances > 4.0
    assert np.all(constants.values[far] == 0)
    assert basis.n_parameters == 6
    with pytest.raises(FcinvError, match="cutoff"):
        ForceConstantBasis.from_crystal(silicon.crystal, cutoff=-1)
    with pytest.raises(FcinvError, match="cutoff"):
        ForceConstantBasis.from_crystal(silicon.crystal, cutoff=1.0)


def test_deterministic(silicon):
    first, second = (ForceConstantBasis.from_crystal(silicon.crystal) for _ in range(2))
    assert np.array_equal(first.elements, second.elements)
    assert first.map == pytest.approx(second.map, abs=1e-12)


def test_another_supercell_is_refused(silicon, magnesia):
    basis = ForceConstantBasis.from_crystal(silicon.crystal.with_supercell([1, 1, 1]))
    with pytest.raises(FcinvError, match="do not fit"):
        basis.parameters_of(silicon)


def test_shells_of_known_springs(make_crystal):
    """fcc with one longitudinal and one transverse spring: they come back."""
    crystal = make_crystal(bulk("Cu", "fcc", a=3.6))
    basis = ForceConstantBasis.from_crystal(crystal, cutoff=3.0)
    values = np.zeros((1, crystal.n_supercell, 3, 3))
    for j in np.flatnonzero(basis.neighbours.shell_index[0] == 0):
        (vector,) = basis.neighbours.vectors(0, j)
        along = np.outer(vector, vector) / (vector @ vector)
        values[0, j] = -1.7 * along - 0.2 * (np.eye(3) - along)
    values[0, crystal.primitive_to_supercell[0]] = -values[0].sum(axis=0)
    parameters = basis.parameters_of(ForceConstants(crystal, values))
    assert basis.residual_of(ForceConstants(crystal, values)) < 1e-12
    rng = np.random.default_rng(0)
    root = rng.normal(size=(basis.n_parameters,) * 2) * 0.01
    (shell,) = shell_constants(basis, parameters, root @ root.T)
    assert shell.multiplicity == 12
    assert shell.name == "1st neighbours Cu-Cu 2.55 Å"
    assert (shell.longitudinal, shell.transverse) == pytest.approx((1.7, 0.2))
    # The constants are linear: their variance is the sum over the columns of the root.
    shifted = [
        shell_constants(basis, parameters + column, np.zeros_like(root))[0] for column in root.T
    ]
    longitudinal = np.array([s.longitudinal for s in shifted]) - shell.longitudinal
    transverse = np.array([s.transverse for s in shifted]) - shell.transverse
    assert shell.longitudinal_sigma == pytest.approx(np.linalg.norm(longitudinal))
    assert shell.transverse_sigma == pytest.approx(np.linalg.norm(transverse))


def test_shells_at_the_border_of_the_supercell(silicon):
    """The same springs in a larger supercell and in one that sees images at its border."""
    crystal = silicon.crystal.with_supercell([1, 1, 1])
    basis = ForceConstantBasis.from_crystal(crystal)
    values = np.zeros((2, crystal.n_supercell, 3, 3))
    for i, j in np.argwhere(basis.neighbours.shell_index >= 0):
        for vector in basis.neighbours.vectors(i, j):
            along = np.outer(vector, vector) / (vector @ vector)
            values[i, j] -= 2.0 * along + 0.3 * (np.eye(3) - along)
    for i, home in enumerate(crystal.primitive_to_supercell):
        values[i, home] = -values[i].sum(axis=0)
    parameters = basis.parameters_of(ForceConstants(crystal, values))
    shells = shell_constants(basis, parameters, np.zeros((len(parameters),) * 2))
    assert [shell.multiplicity for shell in shells][:2] == [4, 12]
    for shell in shells:
        mean = (shell.longitudinal + 2 * shell.transverse) / 3
        assert mean == pytest.approx((2.0 + 2 * 0.3) / 3)
    assert (shells[0].longitudinal, shells[0].transverse) == pytest.approx((2.0, 0.3))


def test_stored_basis_is_the_same(silicon):
    basis = ForceConstantBasis.from_crystal(silicon.crystal, cutoff=5.0)
    again = ForceConstantBasis.from_arrays(silicon.crystal, 5.0, basis.to_arrays())
    assert again.names == basis.names
    np.testing.assert_array_equal(again.shell_index, basis.shell_index)
    parameters = again.parameters_of(silicon)
    np.testing.assert_array_equal(parameters, basis.parameters_of(silicon))


def test_stored_basis_of_another_crystal_is_refused(silicon, magnesia):
    arrays = ForceConstantBasis.from_crystal(silicon.crystal).to_arrays()
    with pytest.raises(FcinvError, match="does not fit"):
        ForceConstantBasis.from_arrays(magnesia.crystal.with_supercell([1, 1, 1]), None, arrays)


def test_one_atom_has_no_force_constants(make_crystal):
    with pytest.raises(FcinvError, match="supercell of one atom"):
        ForceConstantBasis.from_crystal(make_crystal(bulk("Cu", "sc", a=2.4), [1, 1, 1]))
