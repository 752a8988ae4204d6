"""Quadrature over bins: moments, blurred boxes, and which bins share a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scattering.point_spectra import complete
from scipy.special import erfc

from fcinv_core.scattering.bins import BinSampling, gauss_rule, sample_offsets

FCC_ROTATIONS = complete("Si").crystal.point_group_rotations


def density(x, sigma):
    """A unit box around 0, blurred by a Gaussian."""
    edge = sigma * np.sqrt(2)
    return 0.5 * (erfc((np.abs(x) - 0.5) / edge) - erfc((np.abs(x) + 0.5) / edge))


@pytest.mark.parametrize("sigma", [0.02, 0.3, 1.0, 7.0])
@pytest.mark.parametrize("n_points", [1, 2, 3, 6, 10])
def test_moments_of_blurred_boxes(n_points, sigma):
    """A Gauss rule of n points has all moments below 2 n; by numerical integration."""
    nodes, weights = gauss_rule(n_points, sigma)
    assert (weights > 0).all() and (np.diff(nodes) > 0).all()
    # The trapezoidal rule is as exact as rounding for what is smooth and falls off.
    reach = 0.5 + 14 * sigma
    x, step = np.linspace(-reach, reach, 20_001, retstep=True)
    for power in range(2 * n_points):
        expected = step * np.sum(x**power * density(x, sigma))
        size = step * np.sum(np.abs(x) ** power * density(x, sigma))
        assert np.sum(weights * nodes**power) == pytest.approx(expected, abs=1e-10 * size)


@settings(max_examples=50, deadline=None)
@given(n_points=st.integers(20, 150), sigma=st.floats(0, 50), phase=st.floats(0.1, 2.5))
def test_waves_over_blurred_boxes(n_points, sigma, phase):
    """⟨cos kx⟩ = sinc · Gaussian in closed form, for as many points as anyone asks for."""
    nodes, weights = gauss_rule(n_points, sigma)
    k = phase / np.hypot(sigma, 0.3)
    expected = np.sinc(k / 2 / np.pi) * np.exp(-0.5 * (k * sigma) ** 2)
    assert np.sum(weights * np.cos(k * nodes)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sigma", [1e-12, 1e-7, 1e-4])
def test_narrow_blur_is_none(sigma):
    """However narrow: a fine grid of the blurred edges would not fit into memory."""
    for n_points in (1, 4, 30):
        found, expected = (np.array(gauss_rule(n_points, width)) for width in (sigma, 0.0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=n_points**3 * sigma**2 + 1e-12)


def test_offsets_are_a_grid():
    offsets, weights = sample_offsets((2, 3, 1), (0.0, 0.2, 0.5))
    assert offsets.shape == (6, 3) and weights.sum() == pytest.approx(1, abs=1e-14)
    second_moments = np.einsum("s,si->i", weights, offsets**2)
    np.testing.assert_allclose(second_moments, [1 / 12, 1 / 12 + 0.04, 0], atol=1e-14)


def test_bins_blurred_unequally_are_not_equivalent():
    """Bins (100) and (010) away from the origin: mirror images, unless one edge is blurred."""
    centres = np.array([[0.3, 0.1, 0.1], [0.1, 0.3, 0.1]])
    vectors = 0.05 * np.eye(3)
    sizes = []
    for spread in ((0.2, 0.2, 0.2), (0.9, 0.2, 0.2)):
        sampling = BinSampling.from_bins(centres, vectors, (2, 2, 2), FCC_ROTATIONS, spread=spread)
        sizes.append(len(sampling.points))
    assert sizes == [1, 2]


@pytest.mark.parametrize("polar", [False, True])
def test_no_bins(polar):
    reciprocal = np.eye(3) if polar else None
    sampling = BinSampling.from_bins(
        np.empty((0, 3)), 0.1 * np.eye(3), (2, 1, 1), FCC_ROTATIONS, reciprocal=reciprocal
    )
    assert sampling.points.shape == (0, 2, 3) and len(sampling.row) == 0
    assert len(sampling.q_points) == 0
