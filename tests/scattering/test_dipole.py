"""Dipole-dipole term of polar crystals: against Euphonic, phonopy, and what must be true of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import euphonic
import numpy as np
import pytest
import torch
from polar_cell import corundum_of_20_atoms, unfolded

import fcinv_core.scattering.dipole as dipole_module
from fcinv_core.crystal import ForceConstants
from fcinv_core.scattering.dipole import DipoleTerm
from fcinv_core.units import ENERGY_SQUARED_PER_DYNAMICAL, MEV_PER_THZ

FOLDER = Path(__file__).parents[1] / "data/force_constants"
NAMES = ("MgO", "NaCl", "ZnO", "Al2O3", "SiO2")
MEV_PER_INVERSE_CM = MEV_PER_THZ * 0.0299792458

GENERIC = np.random.default_rng(5).uniform(-1, 1, (12, 3))
BOUNDARY = np.array([[0.5, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0.25, -0.5]])
NEAR_ORIGIN = 1e-4 * np.array([[1, 0, 0], [0, 0, 1], [1, -2, 0.5], [1, 1, 1]])


@dataclass(frozen=True)
class Polar:
    """A polar crystal with its dipole term and the arguments of the latter."""

    force_constants: ForceConstants
    term: DipoleTerm
    born_charges: torch.Tensor
    dielectric: torch.Tensor

    @classmethod
    def of(cls, force_constants: ForceConstants) -> Polar:
        return cls(
            force_constants,
            DipoleTerm(
                force_constants.crystal, force_constants.dielectric, force_constants.nac_factor
            ),
            torch.from_numpy(force_constants.born_charges),
            torch.from_numpy(force_constants.dielectric),
        )

    def matrices(self, q_points, term=None) -> np.ndarray:
        points = torch.from_numpy(np.array(q_points, dtype=float))
        return (term or self.term).matrices(points, self.born_charges, self.dielectric).numpy()

    @property
    def short_ranged(self) -> np.ndarray:
        values = self.term.supercell_values(self.born_charges, self.dielectric)
        return self.force_constants.values - values.numpy()

    def total(self, q_points) -> np.ndarray:
        """Dynamical matrices, eV/Å², with phases of atomic separations."""
        crystal = self.force_constants.crystal
        phases = np.exp(2j * np.pi * np.asarray(q_points) @ crystal.primitive_positions.T)
        phases = np.repeat(phases, 3, axis=1)
        dipoles = phases.conj()[:, :, None] * self.matrices(q_points) * phases[:, None]
        return fourier_sum(crystal, self.short_ranged, q_points) + dipoles

    def energies(self, q_points) -> np.ndarray:
        masses = np.repeat(self.force_constants.crystal.primitive_masses, 3)
        weighted = self.total(q_points) / np.sqrt(np.outer(masses, masses))
        squares = ENERGY_SQUARED_PER_DYNAMICAL * np.linalg.eigvalsh(weighted)
        return np.sign(squares) * np.sqrt(np.abs(squares))


@cache
def polar(name: str) -> Polar:
    return Polar.of(ForceConstants.from_file(FOLDER / f"{name}_dft.yaml"))


def fourier_sum(crystal, values, q_points) -> np.ndarray:
    """Interpolation of supercell force constants, term by term."""
    n = crystal.n_primitive
    result = np.zeros((len(q_points), n, 3, n, 3), complex)
    for i, j in np.ndindex(n, crystal.n_supercell):
        count, start = crystal.multiplicity[j, i]
        vectors = crystal.shortest_vectors[start : start + count]
        phases = np.exp(2j * np.pi * np.asarray(q_points) @ vectors.T).mean(axis=1)
        result[:, i, :, crystal.supercell_to_primitive[j]] += np.multiply.outer(
            phases, values[i, j]
        )
    return result.reshape(len(q_points), 3 * n, 3 * n)


def commensurate_points(crystal) -> np.ndarray:
    """q in [0, 1)³ at which supercell translations have phase one, found by trial."""
    supercell = crystal.supercell_lattice @ np.linalg.inv(crystal.primitive_lattice)
    order = round(np.linalg.det(supercell))
    ticks = np.arange(order) / order
    grid = np.stack(np.meshgrid(ticks, ticks, ticks), axis=-1).reshape(-1, 3)
    phases = grid @ np.rint(supercell).T
    return grid[np.abs(phases - np.rint(phases)).max(axis=1) < 1e-9]


def euphonic_energies(force_constants: ForceConstants, q_points, folder: Path) -> np.ndarray:
    """meV. Euphonic 2.1 contracts the field with the second index of phonopy's charges."""
    turned = force_constants.born_charges.transpose(0, 2, 1)
    replace(force_constants, born_charges=turned).save(folder / "phonopy.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = euphonic.ForceConstants.from_phonopy(path=folder, summary_name="phonopy.yaml")
        modes = loaded.calculate_qpoint_frequencies(
            np.array(q_points), dipole=True, asr=None, splitting=False
        )
    return modes.frequencies.to("meV").magnitude


# Euphonic takes 11 s to prepare the supercell of Al2O3.
@pytest.mark.parametrize("name", ["MgO", "NaCl", "ZnO", "SiO2"])
def test_energies_equal_euphonics(name, tmp_path):
    crystal = polar(name)
    q_points = np.concatenate([GENERIC, BOUNDARY, NEAR_ORIGIN, np.zeros((1, 3))])
    expected = euphonic_energies(crystal.force_constants, q_points, tmp_path)
    np.testing.assert_allclose(crystal.energies(q_points), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_commensurate_points_have_the_total_force_constants(name):
    crystal = polar(name)
    q_points = commensurate_points(crystal.force_constants.crystal)
    assert len(q_points) > 3
    values = crystal.force_constants.values
    expected = fourier_sum(crystal.force_constants.crystal, values, q_points)
    np.testing.assert_allclose(crystal.total(q_points), expected, atol=1e-10)
    # Between them the term must not cancel.
    between = fourier_sum(crystal.force_constants.crystal, values, NEAR_ORIGIN)
    assert np.abs(crystal.total(NEAR_ORIGIN) - between).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_sums_do_not_depend_on_the_ewald_parameter(name, factor):
    crystal = polar(name)
    given = crystal.force_constants
    other = DipoleTerm(
        given.crystal,
        given.dielectric,
        given.nac_factor,
        ewald_parameter=factor * crystal.term.ewald_parameter,
    )
    assert other.n_terms[0] != crystal.term.n_terms[0]
    q_points = np.concatenate([GENERIC, BOUNDARY, NEAR_ORIGIN, np.zeros((1, 3))])
    matrices = crystal.matrices(q_points)
    np.testing.assert_allclose(
        crystal.matrices(q_points, other), matrices, rtol=0, atol=1e-10 * np.abs(matrices).max()
    )


@pytest.mark.parametrize("name", NAMES)
def test_direction_dependence_at_the_origin(name):
    """(q·Z*)(q·Z*) / (q·ε·q), Gonze and Lee eq. 75, whatever the sums hold otherwise."""
    crystal = polar(name)
    given = crystal.force_constants
    reciprocal = 2 * np.pi * np.linalg.inv(given.crystal.primitive_lattice).T
    difference = crystal.matrices(NEAR_ORIGIN * 1e-6) - crystal.matrices(np.zeros((1, 3)))
    volume = abs(np.linalg.det(given.crystal.primitive_lattice))
    for direction, found in zip(NEAR_ORIGIN @ reciprocal, difference, strict=True):
        charges = np.einsum("a,kab->kb", direction, given.born_charges).ravel()
        expected = np.outer(charges, charges) / (direction @ given.dielectric @ direction)
        expected *= 4 * np.pi * given.nac_factor / volume
        np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "transverse", "longitudinal"), [("MgO", 401, 719), ("NaCl", 164, 264)]
)
def test_longitudinal_modes_split_off(name, transverse, longitudinal):
    """Measured energies in 1/cm (C. Kittel, Introduction to Solid State Physics), within 10 %."""
    energies = polar(name).energies(np.concatenate([NEAR_ORIGIN, np.zeros((1, 3))]))
    energies /= MEV_PER_INVERSE_CM
    np.testing.assert_allclose(energies[:-1, 3:5], transverse, rtol=0.1)
    np.testing.assert_allclose(energies[:-1, 5], longitudinal, rtol=0.1)
    np.testing.assert_allclose(energies[-1, 3:], energies[0, 3], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_phonopy_approaches_these_energies(name):
    """Phonopy leaves out the sum over R, which then counts as short ranged.

    Its range is longer the fewer G are taken: with the usual 300, energies are up to 0.03 meV
    off; with 1.7³ times as many they agree within 0.0002 meV.
    """
    crystal = polar(name)
    q_points = np.concatenate([GENERIC, BOUNDARY, NEAR_ORIGIN])
    energies = crystal.energies(q_points)
    usual = crystal.force_constants.frequencies(q_points)
    assert 1e-3 < np.abs(energies - usual).max() < 0.03
    phonon = crystal.force_constants.to_phonopy()
    phonon.unit_conversion_factor = np.sqrt(ENERGY_SQUARED_PER_DYNAMICAL)
    cutoff = 1.7 * phonon.dynamical_matrix._G_cutoff
    phonon.nac_params = {**phonon.nac_params, "G_cutoff": cutoff}
    more = phonon.run_qpoints(q_points).frequencies
    np.testing.assert_allclose(energies, more, rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_matrices_are_hermitian_periodic_and_real_in_space(name):
    crystal = polar(name)
    q_points = np.concatenate([GENERIC, NEAR_ORIGIN])
    matrices = crystal.matrices(q_points)
    np.testing.assert_allclose(matrices, matrices.conj().swapaxes(1, 2), atol=1e-14)
    np.testing.assert_allclose(crystal.matrices(-q_points), matrices.conj(), atol=1e-10)
    moved = GENERIC + [1, -2, 3]
    np.testing.assert_allclose(crystal.matrices(moved), matrices[: len(moved)], atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_rigid_translations_are_free(name):
    crystal = polar(name)
    n = crystal.force_constants.crystal.n_primitive
    force = crystal.matrices(np.zeros((1, 3))).reshape(n, 3, n, 3).sum(axis=2).real
    np.testing.assert_allclose(force + force.transpose(0, 2, 1), 0, atol=1e-10)
    if name in ("MgO", "NaCl", "ZnO"):
        np.testing.assert_allclose(force, 0, atol=1e-10)
    short = crystal.short_ranged.sum(axis=1)
    np.testing.assert_allclose(short + short.transpose(0, 2, 1), 0, atol=1e-10)


def test_doubled_cell_has_the_modes_of_both_wave_vectors():
    doubled, small = Polar.of(corundum_of_20_atoms()), polar("Al2O3")
    assert doubled.force_constants.crystal.n_primitive == 20
    q_points = np.concatenate([GENERIC[:3], BOUNDARY, NEAR_ORIGIN])
    both = np.concatenate([small.energies(points) for points in unfolded(q_points)], axis=1)
    np.testing.assert_allclose(doubled.energies(q_points), np.sort(both), atol=1e-6)


@pytest.mark.parametrize("q_point", [[0.0, 0.0, 0.0], [0.31, -0.12, 0.4], [1e-4, 0, 2e-4]])
def test_gradients(q_point):
    crystal = polar("ZnO")
    points = torch.tensor([q_point], dtype=torch.float64)

    def matrices(born_charges, dielectric):
        return crystal.term.matrices(points, born_charges, dielectric)

    arguments = (
        crystal.born_charges.clone().requires_grad_(),
        crystal.dielectric.clone().requires_grad_(),
    )
    assert torch.autograd.gradcheck(matrices, arguments, fast_mode=True)


def test_second_derivatives_and_those_of_supercell_values():
    crystal = polar("NaCl")
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(
        crystal.force_constants.values.shape, generator=generator, dtype=torch.float64
    )

    def weighted(born_charges, dielectric):
        return (weights * crystal.term.supercell_values(born_charges, dielectric)).sum()

    arguments = (
        crystal.born_charges.clone().requires_grad_(),
        crystal.dielectric.clone().requires_grad_(),
    )
    assert torch.autograd.gradcheck(weighted, arguments)
    assert torch.autograd.gradgradcheck(weighted, arguments)


def test_blocks_of_q_points_do_not_show(monkeypatch):
    crystal = polar("SiO2")
    together = crystal.matrices(GENERIC)
    monkeypatch.setattr(dipole_module, "BLOCK_BYTES", 1)
    np.testing.assert_allclose(crystal.matrices(GENERIC), together, atol=1e-12)
    assert crystal.matrices(np.zeros((0, 3))).shape == (0, 27, 27)


def test_fitted_dielectric_keeps_the_accuracy():
    """Lists made for one dielectric tensor serve others nearby."""
    crystal = polar("ZnO")
    given = crystal.force_constants
    for factor, tolerance in ((1.1, 1e-9), (0.9, 1e-9)):
        dielectric = factor * given.dielectric
        fresh = DipoleTerm(given.crystal, dielectric, given.nac_factor)
        points = torch.from_numpy(GENERIC)
        expected, found = (
            term.matrices(points, crystal.born_charges, torch.from_numpy(dielectric))
            for term in (fresh, crystal.term)
        )
        np.testing.assert_allclose(found, expected, atol=tolerance)
