"""Covariance, what it says of energies, and what data leave open."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.crystal import shell_constants
from fcinv_core.inversion.dispersion import dispersion, high_symmetry_path
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.uncertainty import Uncertainty


@pytest.fixture(scope="module")
def prior(lattice, true_parameters):
    return ForceConstantPrior.around(lattice, true_parameters, FINAL)


def information(prior, seen, n_nuisances=4):
    """Curvature of data that fix the prior's axes listed in ``seen`` and nothing else."""
    widths = np.linalg.cholesky(prior.covariance)
    axes = np.linalg.inv(widths).T[:, seen]
    fisher = 1e4 * axes @ axes.T
    curvature = np.eye(len(fisher) + n_nuisances)
    curvature[: len(fisher), : len(fisher)] = fisher + prior.precision
    return curvature


def test_without_data_the_prior_stands(prior, lattice):
    found = Uncertainty.at_optimum(information(prior, []), prior, lattice.basis, 1)
    assert np.allclose(found.covariance, prior.covariance, rtol=1e-6, atol=1e-12)
    n_par = lattice.basis.n_parameters
    assert found.n_undetermined == n_par
    assert f"{n_par} combinations" in found.undetermined[0]


def test_what_data_do_not_see_is_counted_and_named(prior, lattice):
    n_par = lattice.basis.n_parameters
    seen = list(range(n_par - 1))
    found = Uncertainty.at_optimum(information(prior, seen), prior, lattice.basis, 1)
    assert found.n_undetermined == 1
    assert lattice.basis.names[-1] in found.undetermined[0]
    everything = Uncertainty.at_optimum(
        information(prior, list(range(n_par))), prior, lattice.basis, 1
    )
    assert everything.undetermined == ()


def test_springs_that_data_do_not_see_are_named(prior, lattice):
    """Data that fix all but the transverse constant of the second neighbours."""
    basis, n_par = lattice.basis, lattice.basis.n_parameters
    shells = shell_constants(basis, np.zeros(n_par), np.eye(n_par))
    second = next(number for number, shell in enumerate(shells) if "2nd" in shell.name)
    unit = [shell_constants(basis, row, np.eye(n_par))[second].transverse for row in np.eye(n_par)]
    direction = np.array(unit)
    open_one = prior.covariance @ direction
    # What moves no transverse constant of that shell is known well.
    known = np.linalg.svd(open_one[None])[2][1:].T
    curvature = np.eye(n_par + 4)
    curvature[:n_par, :n_par] = 1e6 * known @ known.T + prior.precision
    found = Uncertainty.at_optimum(curvature, prior, basis, 1)
    assert found.n_undetermined == 1 and len(found.undetermined) == 2
    assert f"the transverse constant of the {shells[second].name}" in found.undetermined[1]
    assert "1st neighbours" not in found.undetermined[1]
    blind = Uncertainty.at_optimum(information(prior, []), prior, basis, 1).undetermined[1]
    assert "both constants of the 1st neighbours" in blind and "more shells" in blind


def test_nuisances_are_marginalised(prior, lattice):
    curvature = information(prior, list(range(lattice.basis.n_parameters)))
    alone = Uncertainty.at_optimum(curvature, prior, lattice.basis, 1)
    n_par = lattice.basis.n_parameters
    direction = np.random.default_rng(1).normal(size=n_par)
    direction *= 0.6 / np.linalg.norm(direction)
    coupled = curvature.copy()
    coupled[:n_par, -1] = np.linalg.cholesky(curvature[:n_par, :n_par]) @ direction
    coupled[-1, :n_par] = coupled[:n_par, -1]
    together = Uncertainty.at_optimum(coupled, prior, lattice.basis, 1)
    expected = np.linalg.inv(coupled)[:n_par, :n_par]
    assert np.allclose(together.covariance, expected, rtol=1e-6, atol=1e-14)
    assert np.trace(together.covariance) > np.trace(alone.covariance)


def test_error_bars_of_energies_are_those_of_drawn_force_constants(lattice, true_parameters, truth):
    """Linear propagation against phonopy frequencies of random draws."""
    basis = lattice.basis
    rng = np.random.default_rng(4)
    root = rng.normal(size=(basis.n_parameters, basis.n_parameters)) * 0.002
    covariance = root @ root.T
    bands = dispersion(lattice, true_parameters, covariance)
    high = bands.energy_mev.min(axis=1) > 5
    points = np.flatnonzero(high)[::25]
    draws = rng.multivariate_normal(true_parameters, covariance, 300)
    energies = np.array(
        [basis.force_constants(draw).frequencies(bands.q[points]) for draw in draws]
    )
    measured = energies.std(axis=0)
    assert np.allclose(bands.energy_mev[points], truth.frequencies(bands.q[points]), atol=1e-6)
    # sorted draws of nearly crossing branches repel: compare the total of each q point
    total = np.sqrt((bands.sigma_mev[points] ** 2).sum(axis=1))
    assert np.allclose(np.sqrt((measured**2).sum(axis=1)), total, rtol=0.25)
    assert np.median(np.sqrt((measured**2).sum(axis=1)) / total) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("spread", "share"), [(0.02, 0.01), (9.0, 3.0)])
def test_error_bars_of_energies_stay_within_reason_where_squares_are_open(
    lattice, true_parameters, spread, share
):
    """Of crystals as a whole stiffer or softer: by 2 %, and by more than they are stiff."""
    covariance = spread**2 * np.outer(true_parameters, true_parameters)
    bands = dispersion(lattice, true_parameters, covariance)
    high = bands.energy_mev > 1
    assert np.allclose(bands.sigma_mev[high], share * bands.energy_mev[high], rtol=1e-5)


def test_path_has_published_labels_and_ends(truth):
    labels, points, distance = high_symmetry_path(truth.crystal)
    names = [name for _, name in labels]
    assert names[:3] == ["Γ", "X", "U"]
    assert {"Γ", "X", "L", "W", "K", "U"} == set(names)
    assert np.all(np.diff(distance) >= 0)
    gamma_x = distance[labels[1][0]] - distance[labels[0][0]]
    assert gamma_x == pytest.approx(2 * np.pi / 5.466163915731997, rel=1e-9)
    assert np.allclose(points[labels[0][0]], 0)
