"""Elastic constants: published ones, phonopy's long waves, error bars by draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from born_von_karman import born_von_karman

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.inversion.elasticity import LABELS, ElasticConstants
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.units import MEV_PER_THZ

DATA = Path(__file__).parents[1] / "data/force_constants"


def lattice_of(force_constants):
    basis = ForceConstantBasis.from_crystal(force_constants.crystal)
    lattice = Lattice(basis, force_constants)
    return lattice, lattice.parameters_of(force_constants)


def elastic_of(force_constants):
    lattice, parameters = lattice_of(force_constants)
    return ElasticConstants.of(lattice, parameters, np.zeros((len(parameters),) * 2))


def stored(name):
    return ForceConstants.from_file(DATA / f"{name}_dft.yaml")


@pytest.mark.parametrize(
    "element, temperature, c11, c12, c44, density",
    [
        # C. Kittel, Introduction to Solid State Physics: 0 K beside the low temperature, 300 K.
        ("Al", 80, 114.3, 61.9, 31.6, 2.73),
        ("Cu", 296, 168.4, 121.4, 75.4, 8.93),
    ],
)
def test_measured_force_constants_give_measured_elastic_constants(
    element, temperature, c11, c12, c44, density
):
    elastic = elastic_of(born_von_karman(element, temperature))
    assert elastic.independent == ("C11", "C12", "C44")
    found = elastic.stiffness[0, 0], elastic.stiffness[0, 1], elastic.stiffness[3, 3]
    assert found == pytest.approx((c11, c12, c44), rel=0.05)
    assert elastic.density == pytest.approx(density, rel=0.01)
    assert elastic.bulk_modulus[0] == pytest.approx((c11 + 2 * c12) / 3, rel=0.03)
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = found[1]
    cubic[np.arange(6), np.arange(6)] = [found[0]] * 3 + [found[2]] * 3
    assert elastic.stiffness == pytest.approx(cubic, abs=1e-6 * c11)


@pytest.mark.parametrize("name, tolerance", [("Si", 1e-4), ("MgO", 1e-4), ("Al2O3", 0.03)])
def test_velocities_are_those_of_long_waves_in_phonopy(name, tolerance):
    """Atoms that follow along, a dipole part, trigonal axes; in any direction.

    No stiffness fits Al2O3's waves exactly: its force constants break the rotational sum rule.
    """
    force_constants = stored(name)
    crystal, elastic = force_constants.crystal, elastic_of(force_constants)
    first, second, _ = crystal.conventional_lattice
    x = first / np.linalg.norm(first)
    z = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
    axes = np.array([x, np.cross(z, x), z])
    for direction in np.random.default_rng(2).normal(size=(4, 3)):
        wave = 4e-3 * direction / np.linalg.norm(direction) @ axes
        q_point = crystal.primitive_lattice @ wave / (2 * np.pi)
        energies = force_constants.frequencies(q_point[None])[0, :3]
        velocities = energies / MEV_PER_THZ * 2 * np.pi * 1e12 / 4e-3 * 1e-10 / 1e3
        found, _ = elastic.sound_velocities(direction)
        assert found == pytest.approx(velocities, rel=tolerance)


@pytest.mark.parametrize(
    "name, independent",
    [
        ("Al2O3", ("C11", "C12", "C13", "C14", "C33", "C44")),
        ("ZnO", ("C11", "C12", "C13", "C33", "C44")),
    ],
)
def test_constants_that_the_symmetry_leaves_free(name, independent):
    """J. F. Nye, Physical Properties of Crystals, table 9: trigonal -3m and hexagonal."""
    assert elastic_of(stored(name)).independent == independent


def test_error_bars_are_the_scatter_of_draws():
    lattice, parameters = lattice_of(stored("Si"))
    random = np.random.default_rng(5)
    root = 2e-3 * random.normal(size=(len(parameters), len(parameters)))
    covariance = root @ root.T / len(parameters)
    elastic = ElasticConstants.of(lattice, parameters, covariance)
    draws = [
        ElasticConstants.of(lattice, drawn, covariance)
        for drawn in random.multivariate_normal(parameters, covariance, 150)
    ]
    for label in elastic.independent:
        place = int(label[1]) - 1, int(label[2]) - 1
        scatter = np.std([draw.stiffness[place] for draw in draws])
        assert elastic.sigma[place] == pytest.approx(scatter, rel=0.2)
    bulk = np.std([draw.bulk_modulus[0] for draw in draws])
    assert elastic.bulk_modulus[1] == pytest.approx(bulk, rel=0.2)
    velocities = np.std([draw.sound_velocities([1, 1, 0])[0] for draw in draws], axis=0)
    assert elastic.sound_velocities([1, 1, 0])[1] == pytest.approx(velocities, rel=0.2)
    assert elastic.covariance.shape == (len(LABELS),) * 2
