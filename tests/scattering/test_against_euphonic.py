"""Modes, structure factors and displacement tensors against Euphonic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scattering.euphonic_oracle import shifted_mesh, tensors_of

from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.displacements import brillouin_mesh
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectra import mode_amplitudes
from fcinv_core.units import HBAR_SQUARED_OVER_U, MBARN_PER_SQUARE_FM

CRYSTALS = ("Si", "MgO", "Al", "Cu", "ZnO")
TEMPERATURE = 300.0
NO_SYMMETRY = np.eye(3)[None]
SMALL_BIN = 0.01 * np.eye(3)
SPECIAL = [
    # Zone boundaries (X, W, K, L of fcc; M, K, A of hexagonal), with odd and negative G.
    [0.5, 0.5, 0.0],
    [3.5, 2.5, 1.0],
    [0.5, 0.25, 0.75],
    [1.375, 0.375, 2.75],
    [0.5, 0.5, 0.5],
    [-2.5, 1.5, 3.5],
    [1 / 3, 1 / 3, 2.0],
    [0.0, 1.0, 2.5],
    # Near and on reciprocal-lattice points: optic modes at Γ.
    [3.01, 2.0, 1.0],
    [3.0, 2.0, 1.0],
    [-1.0, 5.0, 0.0],
]


def momenta() -> np.ndarray:
    """Scattered Q in seven zones around, each with its opposite, and special points."""
    scattered = np.random.default_rng(3).uniform(-7, 7, (60, 3))
    points = np.vstack([scattered, SPECIAL])
    return np.vstack([points, -points])


def mode_strengths(force_constants, points, tensors):
    """Energies (meV) and |F|² ħ²/2E (mbarn per primitive cell) of each mode at each Q."""
    crystal = force_constants.crystal
    dynamics = LatticeDynamics(crystal)
    polar = dynamics.polar_part_of(force_constants)
    reciprocal = 2 * np.pi * np.linalg.inv(crystal.primitive_lattice).T
    sampling = BinSampling.from_bins(
        points,
        SMALL_BIN,
        (1, 1, 1),
        NO_SYMMETRY,
        reciprocal=None if polar is None else reciprocal,
    )
    kernel = ModeKernel(torch.tensor([0.0, 1.0]), TEMPERATURE, EnergyResolution.constant(1.0))
    plan = SpectraPlan(crystal, sampling, dynamics.fourier, kernel)
    real_space = dynamics.real_space(torch.from_numpy(force_constants.values)[None], polar)
    energies = np.empty((plan.n_rows, 3 * crystal.n_primitive))
    strengths = np.empty_like(energies)
    for block in plan.blocks:
        modes = plan.modes(block, real_space, plan.waves(block), polar)
        for samples in plan.samples(block, 1):
            amplitudes = mode_amplitudes(
                plan, samples, torch.from_numpy(tensors)[None], modes.eigenvectors
            )[0]
            energies[samples.rows] = modes.energies[0, samples.index[:, 0]].numpy()
            strengths[samples.rows] = amplitudes.abs().square().numpy()
    strengths *= MBARN_PER_SQUARE_FM * HBAR_SQUARED_OVER_U / (2 * np.abs(energies))
    return energies[plan.row], strengths[plan.row]


def sums_over_degenerate(energies, strengths):
    """Strength of each group of modes closer than 1 µeV, in place of each of its members."""
    groups = np.cumsum(np.diff(energies, prepend=energies[:1]) > 1e-3)
    return np.bincount(groups, strengths)[groups]


def compare(oracle, points, tolerance, euphonic_points=None, negligible=1e-10):
    """Energies and strengths of groups of degenerate modes, with Debye-Waller factors."""
    mesh = shifted_mesh(6)
    weights = np.full(len(mesh), 1 / len(mesh))
    debye_waller = oracle.debye_waller(mesh, weights, TEMPERATURE)
    given = points if euphonic_points is None else euphonic_points
    expected_energies, expected = oracle.mode_strengths(given, debye_waller)
    tensors = tensors_of(debye_waller)
    energies, strengths = mode_strengths(oracle.force_constants, points, tensors)

    # Acoustic modes at Γ are zero to rounding in both, and left out below as their 1/E is.
    on_lattice = np.abs(points - np.rint(points)).max(axis=1) < 1e-9
    first = np.where(on_lattice, 3, 0)
    compared = 0
    for q in range(len(points)):
        np.testing.assert_allclose(
            energies[q, first[q] :], expected_energies[q, first[q] :], rtol=tolerance, atol=1e-6
        )
        found = sums_over_degenerate(energies[q, first[q] :], strengths[q, first[q] :])
        wanted = sums_over_degenerate(expected_energies[q, first[q] :], expected[q, first[q] :])
        # Modes that vanish by symmetry are left to rounding: others have about 1 mbarn.
        np.testing.assert_allclose(
            found, wanted, rtol=tolerance, atol=negligible, err_msg=str(points[q])
        )
        compared += np.count_nonzero(wanted > 1e-3)
    return compared, expected_energies


@pytest.mark.parametrize("name", CRYSTALS)
def test_structure_factors(name, oracle):
    """Euphonic's constants are CODATA 2018, ours 2022: energies differ by 6e-10."""
    compared, _ = compare(oracle(name), momenta(), 1e-8)
    assert compared > 100


@pytest.mark.parametrize("name", ["MgO", "NaCl", "ZnO", "SiO2"])
def test_structure_factors_of_polar_crystals(name, polar_oracle):
    """With the dipole term: at +Q and -Q, without inversion centre and of low symmetry.

    Reciprocal-lattice points are left to the next test: Euphonic takes q = 0 without direction.
    """
    points = momenta()
    points = points[np.abs(points - np.rint(points)).max(axis=1) > 1e-9]
    compared, _ = compare(polar_oracle(name), points, 1e-7, negligible=1e-8)
    assert compared > 500


@pytest.mark.parametrize(("name", "splitting"), [("MgO", 30.0), ("ZnO", 0.1)])
def test_bragg_points_of_polar_crystals(name, splitting, polar_oracle):
    """Modes at Q = G are those of q → 0 along G: neutrons see the longitudinal one.

    Euphonic gets G and 2e-5 of it, with which intensities change by twice as much; points that
    are closer it takes for q = 0, without direction.
    """
    points = np.array([[1.0, 0, 0], [0, 0, 1], [1, 1, 0], [2, -1, 1], [3, 1, 2], [-3, -1, -2]])
    _, energies = compare(polar_oracle(name), points, 2e-4, points * (1 + 2e-5), 1e-4)
    # Without direction, the longitudinal mode would lie with the transverse ones.
    assert (energies[:, -1] - energies[:, -2] > splitting).all()


def own_tensors(force_constants, temperature):
    dynamics = LatticeDynamics(force_constants.crystal)
    real_space = dynamics.real_space(torch.from_numpy(force_constants.values)[None])
    return dynamics.tensors(real_space, temperature)[0].numpy()


@pytest.mark.parametrize("temperature", [0.0, 80.0, 600.0])
@pytest.mark.parametrize("name", CRYSTALS)
def test_displacements_on_a_dense_mesh(name, temperature, force_constants, oracle):
    """Converged ⟨u u⟩ within 0.3 %.

    A mesh of n³ points misses 1/q² around Γ by a term proportional to 1/n, which drops out of
    the extrapolation from n = 16 and 32: what is left of it is 1e-4. Our mesh has 12 to 16
    points along each axis; beyond the isotropic 1/q² that it integrates exactly it is good to
    0.2 %, or 0.1 % of the intensity where the Debye-Waller factor is exp(-0.5).
    """
    expected = tensors_of(oracle(name).converged_debye_waller(temperature))
    found = own_tensors(force_constants(name), temperature)
    assert np.abs(found - expected).max() < 0.003 * np.abs(expected).max()


@pytest.mark.parametrize("name", CRYSTALS)
def test_displacements_on_the_same_mesh(name, force_constants, oracle):
    """With energies and temperature scaled up so that no mode is below the continuation."""
    stiff = force_constants(name).scaled(1e4)
    found = own_tensors(stiff, 100 * TEMPERATURE)
    q_points, weights = brillouin_mesh(stiff.crystal.primitive_lattice)
    # The same ratio of energy to temperature: ⟨u u⟩ shrinks as 1/E does.
    expected = oracle(name).displacements(q_points, weights, TEMPERATURE) / 100
    np.testing.assert_allclose(
        found, expected * weights.sum(), rtol=1e-7, atol=1e-10 * np.abs(found).max()
    )


@pytest.mark.parametrize("name", CRYSTALS)
def test_sum_over_modes_needs_no_modes(name, force_constants):
    """Σ_ν |F_ν(Q)|² = Σ_κ b_κ² Q² exp(-2W_κ)/m_κ, as eigenvectors are complete."""
    crystal = force_constants(name).crystal
    points = momenta()
    tensors = np.random.default_rng(2).normal(size=(crystal.n_primitive, 3, 3)) * 0.01
    tensors = tensors @ tensors.transpose(0, 2, 1) + 0.003 * np.eye(3)
    energies, strengths = mode_strengths(force_constants(name), points, tensors)
    generic = energies.min(axis=1) > 0.01
    squares = strengths * energies / (0.5 * HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM)
    momentum = 2 * np.pi * points @ np.linalg.inv(crystal.primitive_lattice).T
    double_exponent = np.einsum("qa,kab,qb->qk", momentum, tensors, momentum)
    per_atom = crystal.primitive_scattering_lengths**2 / crystal.primitive_masses
    expected = np.exp(-double_exponent) @ per_atom * np.sum(momentum**2, axis=1)
    np.testing.assert_allclose(squares.sum(axis=1)[generic], expected[generic], rtol=1e-9)
    assert generic.sum() > 100
