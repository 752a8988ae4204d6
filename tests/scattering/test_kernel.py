"""One mode in energy bins: detailed balance, integrals, continuation, derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fcinv_core.errors import FcinvError
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.kernel import (
    DEGENERACY,
    MINIMUM_ENERGY_MEV,
    ModeKernel,
    bose_occupation,
    continued_energy,
    divided_differences,
)

# CODATA 2022: k_B in meV/K, ħ²/u in meV Å².
BOLTZMANN = 0.08617333262
HBAR_SQUARED_OVER_U = 4.180159
MBARN_PER_SQUARE_FM = 10

energies_mev = st.floats(3.0, 150.0)
temperatures_k = st.floats(5.0, 1500.0)


def spectrum(energies, edges, temperature, fwhm=0.1, scale=1.0, **settings):
    """(n_modes, n_bins) of modes at ``energies`` with unit |F|²."""
    squares = torch.tensor(energies, dtype=torch.float64) ** 2
    resolution = EnergyResolution.constant(fwhm)
    kernel = ModeKernel(torch.as_tensor(edges), temperature, resolution, **settings)
    lines = kernel.lines(squares, scale)
    return lines.dense(lines.value)


@settings(max_examples=60, deadline=None)
@given(energy=energies_mev, temperature=temperatures_k, fwhm=st.floats(0.1, 0.8))
def test_detailed_balance_and_sum_rule(energy, temperature, fwhm):
    """Loss over gain is exp(E/kT); both add up to ħ²/2E coth(E/2kT)."""
    edges = torch.tensor([-200.0, 0.0, 200.0], dtype=torch.float64)
    gain, loss = (spectrum([energy], edges, temperature, fwhm)[0] * 200).tolist()
    reduced = energy / (BOLTZMANN * temperature)
    prefactor = HBAR_SQUARED_OVER_U * MBARN_PER_SQUARE_FM / (2 * energy)
    assert loss == pytest.approx(prefactor / -math.expm1(-reduced), rel=1e-6)
    assert gain == pytest.approx(loss * math.exp(-reduced), rel=1e-6, abs=1e-12)
    assert loss + gain == pytest.approx(prefactor / math.tanh(reduced / 2), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    energy=energies_mev,
    fwhm=st.floats(0.5, 6.0),
    edges=st.lists(st.floats(-250.0, 250.0), min_size=1, max_size=30, unique=True),
)
def test_bins_cut_up_the_integral(energy, fwhm, edges):
    """However the range is divided into bins, they add up to the whole, and none is negative."""
    edges = torch.tensor(sorted([-300.0, 300.0, *edges]), dtype=torch.float64)
    value = spectrum([energy], edges, 300.0, fwhm)[0]
    assert (value >= 0).all()
    total = float((value * torch.diff(edges)).sum())
    whole = HBAR_SQUARED_OVER_U * 5 / energy / math.tanh(energy / (2 * BOLTZMANN * 300))
    assert total == pytest.approx(whole, rel=1e-6)


def test_line_shape_is_the_gaussian():
    """Narrow bins, T = 0: the density of a normal distribution with the given FWHM."""
    edges = np.linspace(10, 30, 4001)
    centres = 0.5 * (edges[1:] + edges[:-1])
    value = spectrum([20.0], edges, 0.0, fwhm=3.0)[0].numpy()
    peak = value.max()
    above_half = centres[value > peak / 2]
    assert above_half[-1] - above_half[0] == pytest.approx(3.0, abs=0.011)
    shape = np.exp(-4 * np.log(2) * ((centres - 20.0) / 3.0) ** 2)
    # The average over a bin of 5 µeV is not quite the value at its centre.
    np.testing.assert_allclose(value / peak, shape, rtol=0, atol=5e-6)


def test_resolution_scale_widens_the_line():
    edges = np.linspace(-5, 45, 101)
    scaled = spectrum([20.0], edges, 10.0, fwhm=1.5, scale=1.2)
    torch.testing.assert_close(scaled, spectrum([20.0], edges, 10.0, fwhm=1.8))


def test_no_gain_at_zero_temperature():
    edges = np.linspace(-100, 100, 201)
    value = spectrum([5.0, 20.0, 60.0], edges, 0.0, fwhm=1.0)
    assert value[:, edges[1:] <= -1].abs().max() < 1e-9
    assert (value.sum(dim=-1) > 0).all()
    # The limit of low temperatures is the same.
    cold = spectrum([5.0, 20.0, 60.0], edges, 0.5, fwhm=1.0)
    torch.testing.assert_close(value, cold, rtol=0, atol=1e-12)


def test_bose_occupation():
    energy = torch.tensor([0.5, 8.617333262, 86.17333262], dtype=torch.float64)
    occupation, slope = bose_occupation(energy, 100.0)
    assert float(occupation[1]) == pytest.approx(1 / (math.e - 1), rel=1e-9)
    shifted = bose_occupation(energy * (1 + 1e-6), 100.0)[0]
    np.testing.assert_allclose(slope, (shifted - occupation) / (energy * 1e-6), rtol=1e-4)


squares_mev2 = st.floats(-50.0, 50.0)


@settings(max_examples=200, deadline=None)
@given(square=squares_mev2, step=st.floats(1e-6, 1e-2))
@example(square=MINIMUM_ENERGY_MEV**2, step=1e-4)
@example(square=MINIMUM_ENERGY_MEV**2, step=1e-6)
def test_continued_energy_is_smooth(square, step):
    """Positive, increasing, and nowhere farther from its tangent than its curvature allows."""
    around = torch.tensor([square - step, square, square + step], dtype=torch.float64)
    energy, slope = continued_energy(around)
    assert (energy >= 0.5 * MINIMUM_ENERGY_MEV).all()
    assert (torch.diff(energy) >= 0).all() and (slope >= 0).all()
    # |E''| <= 1/(2 E_min³) in the tail, half of it for the root.
    curvature = 0.5 / MINIMUM_ENERGY_MEV**3
    change = float(energy[2] - energy[0])
    tolerance = 1.01 * curvature * step**2 + 1e-14
    assert abs(change - 2 * step * float(slope[1])) <= tolerance
    assert abs(float(slope[2] - slope[0])) <= 1.01 * 4 * curvature * step


@settings(max_examples=50, deadline=None)
@given(energy=st.floats(MINIMUM_ENERGY_MEV, 200.0))
def test_stable_modes_keep_their_energy(energy):
    found, _ = continued_energy(torch.tensor([energy**2], dtype=torch.float64))
    assert float(found) == pytest.approx(energy, rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(
    first=st.floats(1.0, 1e4),
    gap=st.one_of(st.just(0.0), st.floats(1e-12, 10.0)),
)
def test_divided_differences_of_the_square_root(first, gap):
    """(√a - √b)/(a - b) = 1/(√a + √b), however close a and b are."""
    squares = torch.tensor([first, first + gap], dtype=torch.float64)
    found = divided_differences(squares, squares.sqrt(), 0.5 / squares.sqrt())
    a, b = squares.sqrt().tolist()
    expected = [[0.5 / a, 1 / (a + b)], [1 / (a + b), 0.5 / b]]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert max(DEGENERACY.values()) <= 1e-3


def test_resolution_polynomial_and_its_derivative():
    resolution = EnergyResolution.polynomial((2.0, -0.02, 1e-4))
    energy = torch.tensor([-10.0, 0.0, 25.0], dtype=torch.float64)
    sigma, slope = resolution.sigma(energy)
    expected = np.array([2.21, 2.0, 1.5625]) / (2 * math.sqrt(2 * math.log(2)))
    np.testing.assert_allclose(sigma, expected, rtol=1e-12)
    step = 1e-6
    ahead, _ = resolution.sigma(energy + step)
    np.testing.assert_allclose(slope, (ahead - sigma) / step, rtol=1e-5)


@pytest.mark.parametrize("fwhm", [0.0, -1.0, math.nan, math.inf])
def test_impossible_widths_are_refused(fwhm):
    with pytest.raises(FcinvError, match="above 0"):
        EnergyResolution.constant(fwhm)
