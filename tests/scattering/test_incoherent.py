"""Incoherent and multiphonon scattering: against Euphonic's modes, time-domain forms, sum rules.

Oracles get nothing from the modules under test: modes are Euphonic's on a mesh of their own, or
Einstein's; intermediate scattering functions are transformed with NumPy.
"""

from __future__ import annotations

from dataclasses import replace

import euphonic
import numpy as np
import pytest
import torch
from scattering.euphonic_oracle import EuphonicOracle, shifted_mesh
from scattering.point_spectra import complete
from scipy.special import ive, ndtr

from fcinv_core.crystal import ForceConstants
from fcinv_core.scattering import incoherent
from fcinv_core.scattering.displacements import brillouin_mesh
from fcinv_core.scattering.hermitian import packed
from fcinv_core.scattering.incoherent import IncoherentScattering
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.line_shape import SkewedLine
from fcinv_core.scattering.partial_densities import (
    diagonalised,
    partial_densities,
)
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.units import (
    BOLTZMANN_MEV_PER_K,
    ENERGY_SQUARED_PER_DYNAMICAL,
    FWHM_PER_SIGMA,
    HBAR_SQUARED_OVER_U,
)

FWHM = 3.0
SIGMA = FWHM / FWHM_PER_SIGMA
MBARN_PER_BARN = 1000.0
FINE_MESH = incoherent.mesh_length
INCOHERENT = {"V": 5.08, "Cl": 5.3, "Mg": 0.08}  # barn (Sears 1992)
DIRECTIONS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.6, -0.4, 0.7]])


def kernel_of(edges, temperature, fwhm=FWHM, **keywords):
    resolution = EnergyResolution.constant(fwhm)
    return ModeKernel(torch.from_numpy(np.array(edges)), temperature, resolution, **keywords)


def renamed(force_constants, **symbols):
    """Other elements in the same places, with the same masses and no coherent scattering."""
    crystal = force_constants.crystal
    changed = replace(
        crystal,
        symbols=tuple(symbols[symbol] for symbol in crystal.symbols),
        scattering_lengths=np.zeros(len(crystal.symbols)),
    )
    return ForceConstants(changed, force_constants.values)


class Model:
    """Incoherent scattering of given force constants, in NumPy."""

    def __init__(self, force_constants, kernel, *, dtype=torch.float64, **options):
        self.dynamics = LatticeDynamics(force_constants.crystal, dtype=dtype)
        self.polar = self.dynamics.polar_part_of(force_constants)
        self.kernel = kernel
        values = torch.from_numpy(force_constants.values)[None]
        self.real_space = self.dynamics.real_space(values.to(dtype), self.polar)
        self.scattering = IncoherentScattering(self.dynamics, kernel, **options)

    def tensors(self):
        return self.dynamics.tensors(self.real_space, self.kernel.temperature, self.polar)

    def __call__(self, momenta, tensors=None, scale=1.0):
        given = self.tensors() if tensors is None else torch.from_numpy(tensors)[None]
        momenta = torch.from_numpy(np.array(momenta, dtype=float))
        spectra = self.scattering.spectra(self.real_space, momenta, given, scale, self.polar)
        return spectra[0].numpy()


def thermal(energies, temperature):
    if temperature == 0:
        return np.zeros_like(energies)
    return 1 / np.expm1(energies / (BOLTZMANN_MEV_PER_K * temperature))


def bin_averages(centres, edges):
    """Of Gaussian lines, (n, n_bins) in 1/meV."""
    return np.diff(ndtr((edges - centres[:, None]) / SIGMA)) / np.diff(edges)


@pytest.fixture(autouse=True)
def coarse_mesh(monkeypatch):
    """For speed, where the mesh does not matter."""
    monkeypatch.setattr(incoherent, "mesh_length", lambda crystal, n_modes: 45.0)


class ModeSums:
    """Modes of an oracle at some q points, and what neutrons see of them."""

    def __init__(self, crystal, oracle, temperature, q_points, weights=None):
        modes = oracle.modes(q_points)
        self.energies = np.array(modes.frequencies.to("meV").magnitude).reshape(-1)
        shape = (-1, crystal.n_primitive, 3)
        self.vectors = np.array(modes.eigenvectors).reshape(shape)
        self.masses = crystal.primitive_masses
        equal = np.full(len(q_points), 1 / len(q_points))
        self.weights = np.repeat(equal if weights is None else weights, 3 * crystal.n_primitive)
        self.occupation = thermal(self.energies, temperature)

    def strengths(self, momentum, atom):
        """ħ²|Q·e|²/(2 m E) of each mode: 2W is their sum times 2n + 1."""
        squares = np.abs(self.vectors[:, atom] @ momentum) ** 2
        factor = HBAR_SQUARED_OVER_U / (2 * self.masses[atom] * self.energies)
        return self.weights * factor * squares

    def exponent(self, momentum, atom):
        return np.sum(self.strengths(momentum, atom) * (2 * self.occupation + 1))

    def tensors(self):
        """⟨u u⟩ of the mesh, from 2W along six directions."""
        unit = np.eye(3)
        result = np.zeros((len(self.masses), 3, 3))
        for atom in range(len(self.masses)):
            single = [self.exponent(axis, atom) for axis in unit]
            for a in range(3):
                for b in range(3):
                    pair = self.exponent(unit[a] + unit[b], atom)
                    result[atom, a, b] = 0.5 * (pair - single[a] - single[b])
        return result

    def one_phonon(self, momentum, atom, edges):
        """Bin averages of e^{-2W} times the one-phonon spectrum, in 1/meV."""
        strengths = self.strengths(momentum, atom)
        loss = (strengths * (self.occupation + 1)) @ bin_averages(self.energies, edges)
        gain = (strengths * self.occupation) @ bin_averages(-self.energies, edges)
        return np.exp(-self.exponent(momentum, atom)) * (loss + gain)

    def multiphonon(self, momenta, atom, edges):
        """The same for exp(γ(t) - γ(0)) less its terms of no and of one phonon.

        The mean of several momenta that are alike makes up for what the mesh lacks of the
        symmetry.
        """
        weights = np.mean([self.strengths(momentum, atom) for momentum in momenta], axis=0)
        step = np.pi / 700
        times = np.arange(0, 7 / SIGMA, step)
        wave = np.exp(-1j * np.outer(times, self.energies))
        gamma = wave @ (weights * (self.occupation + 1)) + wave.conj() @ (weights * self.occupation)
        function = np.exp(-gamma[0].real) * (np.exp(gamma) - 1 - gamma)
        function = function * np.exp(-0.5 * (SIGMA * times) ** 2)
        function[0] *= 0.5
        middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        average = np.sinc(np.outer(width, times) / (2 * np.pi))
        back = np.exp(1j * np.outer(middle, times)) * average
        return (back @ function).real * step / np.pi


@pytest.mark.parametrize(
    ("name", "elements", "temperature"),
    [("ZnO", {"Zn": "V", "O": "Cl"}, 300.0), ("Si", {"Si": "V"}, 0.0)],
)
def test_one_phonon_scattering_of_euphonic_modes(
    name, elements, temperature, force_constants, oracle, monkeypatch
):
    """Within 1 % of the largest value where the plain mesh of the oracle has modes enough."""
    model = renamed(force_constants(name), **elements)
    sums = ModeSums(model.crystal, oracle(name), temperature, shifted_mesh(16))
    edges = np.linspace(-90, 90, 91)
    momenta = 4 * DIRECTIONS
    expected = np.zeros((len(momenta), 90))
    for row, momentum in zip(expected, momenta, strict=True):
        for atom, symbol in enumerate(model.crystal.primitive_symbols):
            strength = INCOHERENT[symbol] / (4 * np.pi) * MBARN_PER_BARN
            row += strength * sums.one_phonon(momentum, atom, edges)
    kernel = kernel_of(edges, temperature)
    monkeypatch.setattr(incoherent, "mesh_length", FINE_MESH)
    found = Model(model, kernel, one_phonon=True, multiphonon=False)(momenta, sums.tensors())
    far = np.abs(edges[1:] - 1) > 8
    np.testing.assert_allclose(found[:, far], expected[:, far], rtol=0, atol=0.01 * expected.max())


@pytest.mark.parametrize(("name", "temperature"), [("Al", 300.0), ("MgO", 0.0), ("MgO", 600.0)])
def test_multiphonon_scattering_in_the_time_domain(
    name, temperature, force_constants, oracle, monkeypatch
):
    """1e-3 of the largest value; coherent and incoherent cross sections both count.

    Euphonic's modes are on the same mesh: others have no modes next to Γ, which weigh much.
    The mesh is so coarse that none of them is below 0.5 meV, where fcinv continues 1/E.
    """
    given = force_constants(name)
    crystal = given.crystal
    monkeypatch.setattr(incoherent, "mesh_length", lambda crystal, n_modes: 24.0)
    mesh = brillouin_mesh(crystal.primitive_lattice, 24.0)
    sums = ModeSums(crystal, oracle(name), temperature, *mesh)
    edges = np.linspace(-100, 250, 141)
    momenta = np.array([5.0, 9.0])[:, None] * DIRECTIONS[2]
    expected = np.zeros((len(momenta), 140))
    total = {"Al": 1.503, "Mg": 3.71, "O": 4.232}  # barn (Sears 1992)
    for row, momentum in zip(expected, momenta, strict=True):
        for atom, symbol in enumerate(crystal.primitive_symbols):
            strength = total[symbol] / (4 * np.pi) * MBARN_PER_BARN
            row += strength * sums.multiphonon(np.linalg.norm(momentum) * np.eye(3), atom, edges)
    model = Model(given, kernel_of(edges, temperature), one_phonon=False, multiphonon=True)
    traces = np.trace(sums.tensors(), axis1=1, axis2=2)
    found = model(momenta, traces[:, None, None] / 3 * np.eye(3))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.max())


@pytest.mark.parametrize("along", [(1, 0, 0), (0, 0, 1)])
def test_direction_in_anisotropic_crystals(along, force_constants, oracle, monkeypatch):
    """Two phonons, here 95 %, know the direction of Q: averaged over it they are off by 7 %."""
    given = force_constants("ZnO")
    monkeypatch.setattr(incoherent, "mesh_length", lambda crystal, n_modes: 24.0)
    mesh = brillouin_mesh(given.crystal.primitive_lattice, 24.0)
    sums = ModeSums(given.crystal, oracle("ZnO"), 300.0, *mesh)
    edges = np.linspace(-100, 250, 141)
    momentum = 7.0 * np.array(along)
    total = {"Zn": 4.131, "O": 4.232}  # barn (Sears 1992)
    expected = np.zeros(140)
    for atom, symbol in enumerate(given.crystal.primitive_symbols):
        strength = total[symbol] / (4 * np.pi) * MBARN_PER_BARN
        expected += strength * sums.multiphonon([momentum], atom, edges)
    model = Model(given, kernel_of(edges, 300.0), one_phonon=False, multiphonon=True)
    found = model(momentum[None], sums.tensors())[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.004 * expected.max())


@pytest.fixture(scope="module")
def scatterer(force_constants):
    """Al's springs between atoms that scatter incoherently only, as vanadium does."""
    return renamed(force_constants("Al"), Al="V")


WIDE = np.concatenate([np.arange(-500, 1500, 5.0), [1500.0]])
V_STRENGTH = INCOHERENT["V"] / (4 * np.pi) * MBARN_PER_BARN


@pytest.mark.parametrize("temperature", [0.0, 300.0])
def test_sum_rules(temperature, scatterer):
    """Areas of one and of more phonons, and the recoil energy ħ²Q²/2m of all of them together.

    One phonon has 2W e^{-2W}, two and more the rest of 1 - e^{-2W}.
    """
    kernel = kernel_of(WIDE, temperature)
    one = Model(scatterer, kernel, one_phonon=True, multiphonon=False)
    many = Model(scatterer, kernel, one_phonon=False, multiphonon=True)
    momenta = np.array([2.0, 7.0, 18.0])[:, None] * DIRECTIONS[2]
    exponent = np.einsum("qa,ab,qb->q", momenta, one.tensors()[0, 0].numpy(), momenta)
    assert exponent[-1] > 1
    widths, middle = np.diff(WIDE), 0.5 * (WIDE[1:] + WIDE[:-1])
    first, rest = one(momenta), many(momenta)
    # The mesh of the displacements is another one.
    wanted = V_STRENGTH * exponent * np.exp(-exponent)
    np.testing.assert_allclose(first @ widths, wanted, rtol=5e-3)
    wanted = V_STRENGTH * (1 - np.exp(-exponent) * (1 + exponent))
    np.testing.assert_allclose(rest @ widths, wanted, rtol=2e-6)
    mass = scatterer.crystal.primitive_masses[0]
    recoil = HBAR_SQUARED_OVER_U * np.sum(momenta**2, axis=1) / (2 * mass)
    moment = (first + rest) @ (widths * middle)
    np.testing.assert_allclose(moment, V_STRENGTH * recoil, rtol=5e-3)


@pytest.mark.parametrize("temperature", [0.0, 300.0])
def test_einstein_solid(temperature, scatterer, monkeypatch):
    """Lines at multiples of one energy, with modified Bessel functions for areas.

    Squires, section 3.10 and W. M. Visscher, Ann. Phys. 9, 194 (1960).
    """
    monkeypatch.setattr(incoherent, "mesh_length", FINE_MESH)
    crystal = scatterer.crystal
    stiffness = 5.0
    values = np.zeros_like(scatterer.values)
    values[0, crystal.primitive_to_supercell[0]] = stiffness * np.eye(3)
    mass = crystal.primitive_masses[0]
    quantum = np.sqrt(stiffness * ENERGY_SQUARED_PER_DYNAMICAL / mass)
    n = thermal(np.array(quantum), temperature)
    momentum = 9 * DIRECTIONS[2]
    x = HBAR_SQUARED_OVER_U * momentum @ momentum / (2 * mass * quantum)
    lines = np.arange(-3, 8)
    edges = (np.arange(-3, 9) - 0.5) * quantum
    exponent = x * (2 * n + 1)
    if temperature == 0:
        factorials = np.cumprod(np.maximum(np.arange(8), 1.0))
        areas = np.append(np.zeros(3), np.exp(-x) * x ** np.arange(8) / factorials)
    else:
        argument = 2 * x * np.sqrt(n * (n + 1))
        areas = ive(lines, argument) * np.exp(argument - exponent)
        areas *= ((n + 1) / n) ** (lines / 2)
    areas[lines == 0] -= np.exp(-exponent)
    one_phonon = np.zeros_like(areas)
    one_phonon[lines == 1] = x * (n + 1) * np.exp(-exponent)
    one_phonon[lines == -1] = x * n * np.exp(-exponent)
    for options, expected in (
        ({"one_phonon": True, "multiphonon": False}, one_phonon),
        ({"one_phonon": False, "multiphonon": True}, areas - one_phonon),
        ({"one_phonon": True, "multiphonon": True}, areas),
    ):
        model = Model(
            ForceConstants(crystal, values), kernel_of(edges, temperature, 2.0), **options
        )
        found = model(momentum[None], exponent / (momentum @ momentum) * np.eye(3)[None])[0]
        np.testing.assert_allclose(
            found * np.diff(edges), V_STRENGTH * expected, rtol=0, atol=2e-5 * V_STRENGTH
        )


def test_detailed_balance_of_one_phonon(scatterer):
    """Exact for each mode: with a line much narrower than the bins, S(-E)/S(E) = exp(-E/kT).

    Bins are symmetric around zero and narrow against kT.
    """
    edges = np.arange(-40.0, 40.1, 0.25)
    kernel = kernel_of(edges, 50.0, fwhm=0.001)
    found = Model(scatterer, kernel, one_phonon=True, multiphonon=False)([[3.0, 1.0, 0.5]])[0]
    middle = 0.5 * (edges[1:] + edges[:-1])
    loss, gain = found[160:], found[:160][::-1]
    seen = loss > 1e-3 * loss.max()
    assert seen.sum() > 80
    ratio = np.log(gain[seen] / loss[seen]) * BOLTZMANN_MEV_PER_K * 50.0
    np.testing.assert_allclose(-ratio, middle[160:][seen], rtol=0, atol=0.125)


def test_detailed_balance_of_many_phonons(scatterer):
    """The resolution shifts it by σ²/2(kT)², here 0.2 %."""
    edges = np.arange(-80.0, 80.1, 2.0)
    kernel = kernel_of(edges, 400.0, fwhm=0.5)
    found = Model(scatterer, kernel, one_phonon=False, multiphonon=True)([[3.0, 4.0, 5.0]])[0]
    middle = 0.5 * (edges[1:] + edges[:-1])[40:]
    expected = np.exp(-middle / (BOLTZMANN_MEV_PER_K * 400.0))
    np.testing.assert_allclose(found[:40][::-1] / found[40:], expected, rtol=0.01)


def test_nothing_gains_energy_at_zero_temperature(scatterer):
    edges = np.arange(-40.0, 80.1, 1.0)
    kernel = kernel_of(edges, 0.0, fwhm=1.0)
    found = Model(scatterer, kernel, one_phonon=True, multiphonon=True)([[3.0, 4.0, 5.0]])[0]
    assert (found[:30] < 1e-10 * found.max()).all()
    assert found[-1] > 1e-4 * found.max()


def test_kf_over_ki_follows_the_energy(scatterer):
    """√(1 - E/E_i) where lines are narrow, and nothing beyond E_i."""
    edges = np.arange(-40.0, 80.1, 1.0)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for options in ({"one_phonon": True}, {"multiphonon": True}):
        options = {"one_phonon": False, "multiphonon": False, **options}
        kernels = [kernel_of(edges, 300.0, 0.3, incident_energy=e) for e in (None, 30.0)]
        plain, changed = (Model(scatterer, k, **options)([[3.0, 4.0, 5.0]])[0] for k in kernels)
        expected = plain * np.sqrt(np.clip(1 - middle / 30.0, 0, None))
        away = np.abs(middle - 30.0) > 3
        np.testing.assert_allclose(
            changed[away], expected[away], rtol=0.03, atol=1e-9 * plain.max()
        )


def test_long_range_field_of_polar_crystals(tmp_path):
    """MgO with Born charges: the longitudinal optic modes of Euphonic are in the spectrum."""
    polar = complete("MgO")
    polar.save(tmp_path / "phonopy.yaml")
    loaded = euphonic.ForceConstants.from_phonopy(path=tmp_path, summary_name="phonopy.yaml")
    sums = ModeSums(polar.crystal, EuphonicOracle(polar, loaded), 300.0, shifted_mesh(10))
    edges = np.linspace(20, 101, 28)
    expected = INCOHERENT["Mg"] / (4 * np.pi) * MBARN_PER_BARN
    expected = expected * sums.one_phonon(DIRECTIONS[2], 0, edges)
    model = Model(polar, kernel_of(edges, 300.0), one_phonon=True, multiphonon=False)
    found = model(DIRECTIONS[2:], sums.tensors())[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * expected.max())
    short = replace(polar, born_charges=None, dielectric=None)
    without = Model(short, kernel_of(edges, 300.0), one_phonon=True, multiphonon=False)
    other = without(DIRECTIONS[2:], sums.tensors())[0]
    assert np.abs(other - expected).max() > 0.1 * expected.max()


def test_derivatives_by_central_differences(force_constants, monkeypatch):
    """By force constants, displacements and the width of lines, with all terms and a tail."""
    monkeypatch.setattr(incoherent, "mesh_length", lambda crystal, n_modes: 20.0)
    given = renamed(force_constants("ZnO"), Zn="V", O="Cl")
    edges = np.linspace(-60, 120, 46)
    kernel = kernel_of(edges, 200.0, 2.5, line=SkewedLine(-0.8), incident_energy=150.0)
    model = Model(given, kernel, one_phonon=True, multiphonon=True)
    generator = torch.Generator().manual_seed(5)
    momenta = 4 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 6, 45, generator=generator, dtype=torch.float64)
    values = torch.from_numpy(given.values)
    values = torch.stack([values, 1.1 * values])
    tensors = torch.cat([model.tensors(), 0.9 * model.tensors()])
    scale = torch.tensor(1.1, dtype=torch.float64)

    def total(values, tensors, scale):
        real_space = model.dynamics.real_space(values)
        return (weights * model.scattering.spectra(real_space, momenta, tensors, scale)).sum()

    inputs = [part.clone().requires_grad_() for part in (values, tensors, scale)]
    gradients = torch.autograd.grad(total(*inputs), inputs)
    for place, gradient in enumerate(gradients):
        direction = torch.randn(inputs[place].shape, generator=generator, dtype=torch.float64)
        direction = direction * (1e-2 * inputs[place].detach().abs().max())
        # Atoms must stay equivalent: orders average over those that are.
        if place == 0:
            direction = inputs[0].detach() * torch.tensor([0.01, -0.03])[:, None, None, None, None]
        ends = []
        for sign in (1, -1):
            moved = [part.detach() for part in inputs]
            moved[place] = moved[place] + sign * 1e-3 * direction
            ends.append(total(*moved))
        expected = float(ends[0] - ends[1]) / 2e-3
        found = float((gradient * direction).sum())
        assert found == pytest.approx(expected, rel=1e-5), place
        assert abs(expected) > 1e-6


def test_gradient_at_degenerate_modes():
    """Σ Re(e e†) k_j(λ) of a matrix function: its derivative by every component of D."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.complex128))[0]
    squares = torch.tensor([100.0, 100.0, 100.0, 400.0, 900.0, 900.0], dtype=torch.complex128)
    matrices = packed((vectors * squares) @ vectors.mH)[None, None].requires_grad_()
    kernel = kernel_of(np.linspace(-40, 40, 9), 100.0, 4.0)
    weights = torch.ones(1, dtype=torch.float64)

    def densities(matrices):
        given = (matrices, diagonalised(matrices), weights, kernel.lines)
        return partial_densities(*given)

    assert torch.autograd.gradcheck(densities, matrices, eps=1e-4, atol=1e-7, rtol=1e-5)


def test_chunks_of_momenta_change_nothing(scatterer, monkeypatch):
    kernel = kernel_of(np.linspace(-40, 80, 25), 300.0)
    model = Model(scatterer, kernel, one_phonon=True, multiphonon=True)
    momenta = torch.from_numpy(np.random.default_rng(2).normal(0, 4, (60, 3)))
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 60, 24)))
    results = []
    for n_bytes in (2**26, 2**12):
        monkeypatch.setattr(incoherent, "_CHUNK_BYTES", n_bytes)
        tensors = model.tensors().requires_grad_()
        found = model.scattering.spectra(model.real_space, momenta, tensors)
        results.append((found.detach(), torch.autograd.grad((weights * found).sum(), tensors)[0]))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)


def test_single_precision(scatterer):
    kernel = kernel_of(np.linspace(-40, 80, 61), 300.0, 1.0)
    momenta = 6 * DIRECTIONS
    options = {"one_phonon": True, "multiphonon": True}
    exact = Model(scatterer, kernel, **options)(momenta)
    found = Model(scatterer, kernel, dtype=torch.float32, **options)(momenta)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 * exact.max())


def test_poor_starts_stay_finite(scatterer):
    """Unstable modes, thermal factors without end: numbers remain, and no negative ones."""
    unstable = ForceConstants(scatterer.crystal, -scatterer.values)
    kernel = kernel_of(np.linspace(-40, 80, 61), 900.0)
    model = Model(unstable, kernel, one_phonon=True, multiphonon=True)
    exponent = 400 * float(model.tensors().max())
    assert exponent > 100
    found = model(20 * DIRECTIONS)
    assert np.isfinite(found).all()
    assert found.min() > -1e-9 * V_STRENGTH


def test_momenta_of_zero_and_none_at_all(scatterer):
    kernel = kernel_of(np.linspace(-40, 80, 61), 300.0)
    model = Model(scatterer, kernel, one_phonon=True, multiphonon=True)
    assert model(np.zeros((0, 3))).shape == (0, 60)
    assert np.abs(model(np.zeros((1, 3)))).max() < 1e-20
    neither = Model(scatterer, kernel, one_phonon=False, multiphonon=False)
    np.testing.assert_array_equal(neither(DIRECTIONS), np.zeros((3, 60)))
