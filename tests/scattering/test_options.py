"""Settings of the forward model, each against what it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scattering.point_spectra import PointSpectra, bare, charges_of, complete, histogram_of

from fcinv_core import Axis, FcinvError, ForwardModel, SQEHistogram
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.incoherent import IncoherentScattering
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.line_shape import SkewedLine
from fcinv_core.scattering.resolution import PolynomialWidth

BOLTZMANN = 0.08617333262
FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
EDGES = np.linspace(-60, 80, 71)
START = np.array([2.1, 0.2, 0.3])
SIZE = np.array([0.06, 0.04, 0.08])


def one_bin(crystal, edges=EDGES, size=SIZE, **keywords):
    sides = [[start, start + width] for start, width in zip(START, size, strict=True)]
    return histogram_of(crystal, sides, edges, **keywords)


def simulated(force_constants, histogram, energy_fwhm=2.5, **settings):
    model = ForwardModel(force_constants.crystal, histogram, energy_fwhm=energy_fwhm, **settings)
    return model(force_constants).reshape(-1)


def centre_of(crystal, size=SIZE):
    """Primitive coordinates of the middle of `one_bin`."""
    hkl = START + size / 2
    return (hkl @ np.linalg.inv(crystal.lattice).T @ crystal.primitive_lattice.T)[None]


@pytest.mark.parametrize("fwhm", [0.02, 0.1])
def test_spread_of_q(fwhm):
    """Against many points, drawn evenly from the bin and shifted along its edges by a Gaussian.

    Points of a lattice in place of random ones, which converges as 1/n.
    """
    given = bare("Si")
    crystal = given.crystal
    found = simulated(given, one_bin(crystal), q_fwhm=fwhm, tolerance=1e-4)
    n = 12_000
    # Kronecker's sequence with the generalised golden ratio: fills six dimensions evenly.
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / 7)
    even = (0.5 + np.arange(1, n + 1)[:, None] * ratio ** -np.arange(1.0, 7)) % 1
    normal = math.sqrt(2) * torch.erfinv(torch.from_numpy(2 * even[:, 3:] - 1)).numpy()
    edges = SIZE * np.eye(3)
    lengths = 2 * np.pi * SIZE / np.diag(crystal.lattice)
    relative = even[:, :3] + fwhm / FWHM_PER_SIGMA / lengths * normal
    hkl = START + relative @ edges
    points = hkl @ np.linalg.inv(crystal.lattice).T @ crystal.primitive_lattice.T
    spectra = PointSpectra(crystal, points, EDGES, resolution=EnergyResolution.constant(2.5))
    expected = spectra(torch.tensor(given.values))[spectra.plan.row].mean(dim=0).numpy()
    sharp = simulated(given, one_bin(crystal), tolerance=1e-4)
    assert np.abs(sharp - expected).max() > 10 * np.abs(found - expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * expected.max())


def test_scale_of_the_extent():
    """Half the extent is the same as a bin of half the size around the same centre."""
    given = bare("MgO")
    half = histogram_of(
        given.crystal, [[s + w / 4, s + 3 * w / 4] for s, w in zip(START, SIZE, strict=True)], EDGES
    )
    found = simulated(given, one_bin(given.crystal), q_spread_scale=0.5, q_fwhm=0.03)
    np.testing.assert_allclose(found, simulated(given, half, q_fwhm=0.03), rtol=0, atol=1e-10)
    assert np.abs(simulated(given, one_bin(given.crystal), q_fwhm=0.03) - found).max() > 1e-4


def test_centres_only():
    """Infinite tolerance: S at the centre of the bin."""
    given = bare("Si")
    found = simulated(given, one_bin(given.crystal), tolerance=math.inf)
    resolution = EnergyResolution.constant(2.5)
    spectra = PointSpectra(given.crystal, centre_of(given.crystal), EDGES, resolution=resolution)
    expected = spectra(torch.tensor(given.values))[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected.max())


@pytest.mark.parametrize(
    "settings",
    [
        {"q_fwhm": math.nan},
        {"q_fwhm": -1.0},
        {"q_spread_scale": math.nan},
        {"q_spread_scale": 0.0},
        {"tolerance": 0.0},
        {"tolerance": math.nan},
    ],
)
def test_impossible_settings_are_refused(settings):
    given = bare("Si")
    with pytest.raises(FcinvError):
        simulated(given, one_bin(given.crystal), **settings)


def test_force_constants_of_another_crystal_are_refused():
    crystal = complete("MgO").crystal
    model = ForwardModel(crystal, one_bin(crystal), energy_fwhm=2.5)
    with pytest.raises(FcinvError):
        model(complete("NaCl"))
    with pytest.raises(FcinvError):
        ForwardModel(crystal, one_bin(crystal), energy_fwhm=2.5, reference=complete("NaCl"))


def test_force_constants_are_carried_to_the_lattice_of_the_model():
    """Thermal expansion changes lattice constants, not which crystal it is."""
    given = complete("MgO")
    wider = given.crystal.with_lattice(1.01 * given.crystal.lattice)
    carried = given.on(wider)
    model = ForwardModel(wider, one_bin(wider), energy_fwhm=2.5)
    np.testing.assert_array_equal(model(given), model(carried))


def test_widths_that_turn_negative_are_refused():
    given = bare("Si")
    resolution = EnergyResolution.polynomial([2.0, -0.03])
    with pytest.raises(FcinvError, match="energy resolution falls"):
        simulated(given, one_bin(given.crystal), resolution)


def test_automatic_device():
    given = bare("Si")
    found = simulated(given, one_bin(given.crystal), device="auto")
    expected = simulated(given, one_bin(given.crystal))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def narrow_lines(given, **settings):
    """Spectrum at one Q with lines far narrower than their distances, and the energies."""
    edges = np.arange(-80, 80.001, 0.05)
    resolution = EnergyResolution.constant(0.05)
    histogram = one_bin(given.crystal, edges, np.full(3, 1e-6), incident_energy=85.0)
    signal = simulated(given, histogram, resolution, tolerance=math.inf, **settings)
    return 0.5 * (edges[1:] + edges[:-1]), signal


@pytest.mark.parametrize("temperature", [40.0, 300.0, 1200.0])
def test_detailed_balance_of_every_mode(temperature):
    """Gain over loss is exp(-E/kT), line by line, before the resolution blurs it."""
    given = bare("ZnO")
    centres, signal = narrow_lines(given, temperature=temperature)
    energies = given.frequencies(centre_of(given.crystal, np.full(3, 1e-6)))[0]
    compared = 0
    for energy in energies:
        loss = signal[np.abs(centres - energy) < 0.3].sum()
        gain = signal[np.abs(centres + energy) < 0.3].sum()
        alone = np.sort(np.abs(energies - energy))[1] > 0.6
        if loss < 1e-3 or not alone:
            continue
        expected = math.exp(-energy / (BOLTZMANN * temperature))
        assert gain / loss == pytest.approx(expected, rel=1e-4, abs=1e-9)
        compared += 1
    assert compared > 4


def test_kf_over_ki():
    """A factor √(1 - E/Ei) on narrow lines; none beyond Ei."""
    given = bare("ZnO")
    centres, plain = narrow_lines(given)
    _, found = narrow_lines(given, kf_over_ki=True)
    factor = np.sqrt(1 - centres / 85.0)
    # A line of 0.05 meV: the factor varies by 1e-3 in its tails.
    np.testing.assert_allclose(found, plain * factor, rtol=4e-3, atol=1e-6 * plain.max())
    histogram = one_bin(given.crystal, incident_energy=40.0)
    cut = simulated(given, histogram, 1.0, kf_over_ki=True)
    whole = simulated(given, histogram, 1.0)
    beyond = EDGES[:-1] > 42
    assert cut[beyond].max() == 0 and whole[beyond].max() > 0.1


def moments(edges, signal, around, reach):
    """Integral, mean, standard deviation and skewness of a line, box of the bins corrected."""
    centres = 0.5 * (edges[1:] + edges[:-1])
    near = np.abs(centres - around) < reach
    weights, energy = signal[near] * np.diff(edges)[near], centres[near]
    total = weights.sum()
    mean = weights @ energy / total
    deviation = energy - mean
    variance = weights @ deviation**2 / total
    third = weights @ deviation**3 / total
    return total, mean, math.sqrt(variance - np.diff(edges)[0] ** 2 / 12), third / variance**1.5


@pytest.mark.parametrize("scale", [1.0, 1.3])
@pytest.mark.parametrize("skew", [0.8, -1.2, 0.0])
def test_shape_of_lines(skew, scale):
    """The optic line of Si near Γ: moments of a skewed line of tabulated width."""
    given = bare("Si")
    crystal = given.crystal
    edges = np.arange(40, 90, 0.1)
    histogram = histogram_of(crystal, [[3, 3.0 + 1e-6], [1, 1.0 + 1e-6], [1, 1.0 + 1e-6]], edges)
    resolution = EnergyResolution.tabulated([0, 40, 80], [3.0, 2.0, 1.0])
    line = SkewedLine(skew) if skew else None
    model = ForwardModel(crystal, histogram, energy_fwhm=resolution, line=line, tolerance=math.inf)
    values = torch.tensor(given.values)
    signal = model(values, resolution_scale=scale).reshape(-1).numpy()
    energy = given.frequencies([[2.0, 1.0, 2.0]])[0, -1]
    sigma = scale * float(resolution.sigma(torch.tensor([energy]))[0][0])
    total, mean, width, skewness = moments(edges, signal, energy, 12)
    assert mean == pytest.approx(energy, abs=2e-3)
    assert width == pytest.approx(sigma, rel=2e-3)
    assert skewness == pytest.approx(skew, abs=0.02)
    sharp = ForwardModel(crystal, histogram, energy_fwhm=0.3, tolerance=math.inf)(given)
    assert total == pytest.approx(moments(edges, sharp.reshape(-1), energy, 12)[0], rel=1e-5)


def test_tabulated_width_of_a_polynomial():
    """Finely tabulated, a polynomial gives the spectra of the polynomial."""
    given = complete("MgO")
    polynomial = EnergyResolution.polynomial([3.0, -0.02])
    energies = np.linspace(-100, 110, 211)
    widths = PolynomialWidth((3.0, -0.02)).at(torch.from_numpy(energies))[0]
    table = EnergyResolution.tabulated(energies, widths)
    histogram = one_bin(given.crystal)
    expected = simulated(given, histogram, polynomial)
    np.testing.assert_allclose(
        simulated(given, histogram, table), expected, rtol=0, atol=1e-6 * expected.max()
    )


def test_charges_without_dielectric_tensor_are_refused():
    given = complete("MgO")
    model = ForwardModel(given.crystal, one_bin(given.crystal), energy_fwhm=2.5)
    born, dielectric = charges_of(given)
    for arguments in ((born, None), (None, dielectric)):
        with pytest.raises(FcinvError):
            model(torch.tensor(given.values), *arguments)


def test_bare_force_constants_first():
    """Plans made without dipoles do not serve polar force constants at Bragg points.

    Neutrons see the longitudinal mode there, at 82.6 meV; without dipoles it is at 46 meV.
    """
    given = complete("MgO")
    edges = [[1.9999, 2.0001], [-1e-4, 1e-4], [-1e-4, 1e-4]]
    histogram = histogram_of(given.crystal, edges, np.arange(20.0, 100, 2))
    settings = {"energy_fwhm": 2.5, "tolerance": math.inf}
    expected = ForwardModel(given.crystal, histogram, **settings)(given).reshape(-1)
    assert abs(np.arange(21.0, 100, 2)[expected.argmax()] - 82.6) < 1.5
    for reference in (None, bare("MgO")):
        model = ForwardModel(given.crystal, histogram, reference=reference, **settings)
        without = model(bare("MgO")).reshape(-1)
        assert without.argmax() != expected.argmax()
        found = model(given).reshape(-1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def test_default_tolerance():
    """Single bins of all shapes: within 2e-3 of what they converge to, half of them 5e-4.

    Measured with 127 of them: 1.1e-3 at most, 1.9e-4 in the middle.
    """
    random = np.random.default_rng(1)
    deviations = []
    for name in ("Si", "Al", "MgO") * 6:
        given = bare(name)
        centre, sides = random.uniform(1.2, 2.8, 3), np.exp(random.uniform(-4.6, -1.6, 3))
        if np.linalg.norm(centre - np.rint(centre)) < 0.4:
            continue
        edges = np.linspace(0, 100, random.choice([2, 6, 51]))
        sides = [[c - w / 2, c + w / 2] for c, w in zip(centre, sides, strict=True)]
        histogram = histogram_of(given.crystal, sides, edges)
        fwhm = float(random.choice([1.0, 3.0]))
        found, expected = (
            simulated(given, histogram, fwhm, **settings) for settings in ({}, {"tolerance": 1e-5})
        )
        deviations.append(np.abs(found - expected).max() / expected.max())
    assert len(deviations) > 12
    assert max(deviations) < 2e-3 and np.median(deviations) < 5e-4


def test_incoherent_and_multiphonon_scattering_are_added():
    """At the centre of each measured bin, equivalent bins alike; nothing where nothing is."""
    given = complete("MgO")
    axes = [
        Axis.along((1, 1, 0), [2.1, 2.2, 2.3]),
        Axis.along((1, -1, 0), [-0.1, 0.1]),
        Axis.along((0, 0, 1), [-0.3, -0.1, 0.1, 0.3]),
        Axis.energy_transfer(np.linspace(-20, 120, 36)),
    ]
    signal = np.ones([axis.n_bins for axis in axes])
    signal[1, 0, 2] = np.nan
    ub = np.linalg.inv(given.crystal.lattice)
    histogram = SQEHistogram.from_arrays(axes, signal, ub=ub, temperature=600.0)
    settings = {"energy_fwhm": 3.0, "tolerance": math.inf}
    wanted = {"incoherent": True, "multiphonon": True}
    found = ForwardModel(given.crystal, histogram, **settings, **wanted)(given)
    found -= ForwardModel(given.crystal, histogram, **settings)(given)

    dynamics = LatticeDynamics(given.crystal)
    polar = dynamics.polar_part_of(given)
    real_space = dynamics.real_space(torch.from_numpy(given.values)[None], polar)
    tensors = dynamics.tensors(real_space, 600.0, polar)
    edges = torch.from_numpy(axes[3].edges)
    kernel = ModeKernel(edges, 600.0, EnergyResolution.constant(3.0))
    scattering = IncoherentScattering(dynamics, kernel, one_phonon=True, multiphonon=True)
    momenta = torch.from_numpy(2 * np.pi * histogram.q_bin_centres() @ ub)
    expected = scattering.spectra(real_space, momenta, tensors, polar=polar)[0].numpy()
    expected = histogram.from_spectra(expected)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(signal))
    measured = ~np.isnan(signal)
    assert expected.min() > 0
    np.testing.assert_allclose(found[measured], expected[measured], rtol=1e-9, atol=1e-12)
