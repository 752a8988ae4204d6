"""Stated spreads are stretched until they hold the truth as often as they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks.groups import group_of

from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.calibration import COVERAGE, N_FEATURES, Calibration

N, N_COORDINATES = 4000, 5


def stated(factors, tails=False):
    """Errors, covariances that are ``factors`` (n, n_coordinates) too narrow, features."""
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(N, N_FEATURES, generator=generator)
    root = 0.3 * torch.randn(N, N_COORDINATES, N_COORDINATES, generator=generator).double()
    covariance = root @ root.mT + 0.1 * torch.eye(N_COORDINATES).double()
    normal = torch.randn(N, N_COORDINATES, 1, generator=generator).double()
    errors = (torch.linalg.cholesky(covariance) @ normal)[..., 0] * factors(features)
    if tails:  # one in twenty is in a wrong valley
        errors[::20] *= 50
    return errors, covariance, features


def coverage(errors, covariance):
    inside = errors.abs() < covariance.diagonal(dim1=1, dim2=2).sqrt()
    return inside.double().mean(dim=0)


def test_nothing_is_changed_before():
    _, covariance, features = stated(lambda features: 1.0)
    assert torch.equal(Calibration()(covariance, features), covariance)


@pytest.mark.parametrize("tails", [False, True])
def test_stiffness_and_shapes_have_a_factor_each(tails):
    factors = torch.tensor([0.5, 3.0, 3.0, 3.0, 3.0]).double()
    errors, covariance, features = stated(lambda features: factors, tails)
    calibration = Calibration()
    calibration.fit(errors, covariance, features)
    found = coverage(errors, calibration(covariance, features))
    torch.testing.assert_close(found, torch.full_like(found, COVERAGE), rtol=0, atol=0.02)
    if not tails:
        assert calibration.offsets.exp().tolist() == pytest.approx([0.5, 3.0], rel=0.05)


def test_factors_depend_on_the_measurement():
    def factors(features):
        return (0.7 * features[:, 1:2] - 0.4 * features[:, 3:4]).exp().double()

    errors, covariance, features = stated(factors)
    calibration = Calibration()
    calibration.fit(errors, covariance, features)
    for chosen in (features[:, 1] > 0.5, features[:, 1] < -0.5, features[:, 3] > 1):
        found = coverage(errors[chosen], calibration(covariance, features)[chosen])
        assert float(found.mean()) == pytest.approx(COVERAGE, abs=0.03)
    farther = calibration(covariance[:1], 100 * torch.ones(1, N_FEATURES))
    assert torch.isfinite(farther).all()


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_of_a_network(architecture, germanium_prior):
    """Estimates stay; covariances of the calibration measurements hold their truth."""
    torch.manual_seed(3)
    network = NETWORKS[architecture](germanium_prior, {"scan_width": 12, "step_width": 16})
    centres = np.random.default_rng(7).uniform(-2.5, 2.5, (10, 3))
    groups = [
        group_of(germanium_prior, germanium_prior.sample(16, seed), centres, counts=counts)
        for seed, counts in ((11, 1e4), (12, 30.0))
    ]
    parameters = torch.cat([group.parameters for group in groups])
    prepared = [network.prepare([group]) for group in groups]
    before = network.estimate([item for part in prepared for item in part], at_leisure=True)
    network.calibrate(prepared, parameters)
    after = network.estimate([item for part in prepared for item in part], at_leisure=True)
    torch.testing.assert_close(after.parameters, before.parameters)
    inverse = network.modes.from_parameters
    errors = (after.parameters - parameters) @ inverse.T
    inside = coverage(errors, inverse @ after.covariance @ inverse.T)
    assert inside[0] == pytest.approx(COVERAGE, abs=0.1)
    assert inside[1:].mean() == pytest.approx(COVERAGE, abs=0.03)
    assert not torch.allclose(after.covariance, before.covariance, rtol=0.05, atol=0)
    # Another training that begins with these weights has its own spreads to find.
    other = NETWORKS[architecture](germanium_prior, network.settings())
    other.begin_with(network)
    assert float(other.calibration.offsets.abs().sum()) == 0
