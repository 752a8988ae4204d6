"""What is read off latent spaces whose content is known."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.latent_space.cloud import Cloud
from benchmarks.latent_space.reading import principal_shares, readings

N, SIZE = 300, 5


@pytest.fixture(scope="module")
def cloud():
    random = np.random.default_rng(4)
    latent = random.normal(size=(N, SIZE)) * [3.0, 1.0, 0.3, 0.3, 0.3]
    turned = np.linalg.qr(random.normal(size=(SIZE, SIZE)))[0]
    physics = {
        "known": latent @ [1.0, 0.0, 0.0, 2.0, 0.0],
        "half known": latent[:, 1] + random.normal(size=N),
        "unknown": random.normal(size=N),
    }
    points = latent @ turned
    return Cloud(points, np.full((N, SIZE), 0.1), points, physics)


def test_what_is_linear_is_read(cloud):
    found = readings(cloud)
    assert found["known"].r_squared == pytest.approx(1, abs=1e-6)
    # The first coordinate holds 9 of the variance of 9.36.
    assert found["known"].component == 1
    assert found["known"].share == pytest.approx(9 / 9.36, abs=0.02)
    assert found["half known"].r_squared == pytest.approx(0.5, abs=0.12)
    assert found["half known"].component == 2
    assert found["unknown"].r_squared < 0.1
    assert principal_shares(cloud)[0] == pytest.approx(9 / 10.27, abs=0.03)


def test_ranks_are_shares_of_the_cloud(cloud):
    middle = cloud.mean.mean(axis=0)
    assert cloud.rank(middle) == 0
    assert cloud.rank(middle + 100) == 1
    # Distances have the distribution of chi with as many degrees of freedom: the median.
    scale = np.linalg.cholesky(np.cov(cloud.mean.T))
    point = middle + scale @ (np.eye(SIZE)[0] * np.sqrt(4.351))
    assert cloud.rank(point) == pytest.approx(0.5, abs=0.08)
