"""Line shapes against SciPy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.line_shape import GaussianLine, SkewedLine

SKEWS = (-1.99, -1.0, -0.2, -1e-3, 1e-12, 1e-7, 0.02, 0.5, 1.0, 1.5, 1.9)
SHAPES = [GaussianLine(), *map(SkewedLine, SKEWS)]
Z = np.concatenate([np.linspace(-9.0, 9.0, 721), [-1e4, -60.0, -25.0, 25.0, 60.0, 1e4]])


def distribution(shape):
    """SciPy's distribution of zero mean and unit variance, and the sign of its argument."""
    skew = getattr(shape, "skew", 0.0)
    tail = np.cbrt(abs(skew) / 2)
    if tail < 1e-3:
        return stats.norm(), 1
    core = np.sqrt(1 - tail**2)
    return stats.exponnorm(tail / core, loc=-tail, scale=core), np.sign(skew)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scipy_agrees(shape):
    z = torch.from_numpy(Z)
    oracle, side = distribution(shape)
    cumulative = oracle.cdf(Z) if side > 0 else oracle.sf(-Z)
    # The oracle of a tiny skew is a Gaussian, from which it differs by about skew/6.
    tolerance = max(1e-13, 1e-7 if abs(getattr(shape, "skew", 0)) <= 1e-7 else 0)
    np.testing.assert_allclose(shape.cumulative(z), cumulative, atol=tolerance)
    np.testing.assert_allclose(shape.density(z), oracle.pdf(side * Z), atol=10 * tolerance)
    single = z.to(torch.float32)
    assert shape.cumulative(single).dtype == shape.density(single).dtype == torch.float32
    np.testing.assert_allclose(shape.cumulative(single), cumulative, atol=1e-5)
    np.testing.assert_allclose(shape.density(single), oracle.pdf(side * Z), atol=3e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unit_area_zero_mean_unit_variance_and_skewness(shape):
    z = torch.linspace(-45.0, 45.0, 900_001, dtype=torch.float64)
    density = shape.density(z)
    moments = [float(torch.trapezoid(density * z**n, z)) for n in range(4)]
    skew = getattr(shape, "skew", 0.0)
    np.testing.assert_allclose(moments, [1.0, 0.0, 1.0, skew], atol=1e-6)
    assert (density >= 0).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_density_is_the_derivative_of_the_cumulative(shape):
    inner = torch.linspace(-6.0, 6.0, 97, dtype=torch.float64)
    step = 1e-5
    slope = (shape.cumulative(inner + step) - shape.cumulative(inner - step)) / (2 * step)
    np.testing.assert_allclose(slope, shape.density(inner), atol=2e-8)
    leaf = torch.from_numpy(Z).requires_grad_()
    shape.cumulative(leaf).sum().backward()
    np.testing.assert_allclose(leaf.grad, shape.density(leaf.detach()), atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_derivatives_of_both_pass_gradcheck(shape):
    z = torch.tensor([-30.0, -5.0, -1.3, 0.1, 0.9, 4.0, 30.0], dtype=torch.float64)
    z.requires_grad_()
    assert torch.autograd.gradcheck(shape.cumulative, (z,), atol=1e-6)
    assert torch.autograd.gradcheck(shape.density, (z,), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_is_beyond_the_reach(shape):
    lower, upper = shape.reach
    z = torch.tensor([lower, upper], dtype=torch.float64)
    below, up_to = shape.cumulative(z).tolist()
    assert below <= 1e-9
    assert 1 - up_to <= 1e-9
    # and it is no farther than it need be: 2.5 times as near, something is left
    near = shape.cumulative(z / 2.5).tolist()
    assert near[0] > 1e-9 or lower > -3
    assert 1 - near[1] > 1e-9 or upper < 3


def test_extreme_arguments_stay_finite_in_single_precision():
    z = torch.tensor([-1e30, -1e10, -90.0, 90.0, 1e10, 1e30])
    for shape in SHAPES:
        assert shape.cumulative(z).tolist() == [0, 0, pytest.approx(0, abs=1e-30), 1, 1, 1]
        leaf = z.clone().requires_grad_()
        (shape.density(leaf).sum() + shape.cumulative(leaf).sum()).backward()
        assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("skew", [2.0, -2.5, float("nan")])
def test_impossible_skewness_is_refused(skew):
    with pytest.raises(FcinvError, match="skewness"):
        SkewedLine(skew)
