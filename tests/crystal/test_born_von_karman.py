"""Measured Born-von Karman models give the published elastic constants and phonons."""

from __future__ import annotations

import numpy as np
import pytest
from born_von_karman import born_von_karman

from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.units import ATOMIC_MASS_KG, MEV_PER_THZ

X, L = [0.5, 0.5, 0], [0.5, 0.5, 0.5]


def sound_moduli(force_constants, direction):
    """ρv² in GPa of the three acoustic branches along a direction of the cubic axes."""
    crystal = force_constants.crystal
    q = 2e-3 * np.array(direction) / np.linalg.norm(crystal.lattice[0])
    energies = force_constants.frequencies(crystal.primitive_lattice @ q)[0]
    velocity = energies / MEV_PER_THZ * 1e12 / (np.linalg.norm(q) * 1e10)
    volume = abs(np.linalg.det(crystal.primitive_lattice)) * 1e-30
    return crystal.primitive_masses[0] * ATOMIC_MASS_KG / volume * velocity**2 / 1e9


@pytest.mark.parametrize(
    "element, temperature, c11, c12, c44",
    [
        # C. Kittel, Introduction to Solid State Physics, elastic stiffness of cubic crystals:
        # 0 K beside the low temperatures, 300 K beside the others.
        ("Al", 80, 114.3, 61.9, 31.6),
        ("Al", 300, 106.8, 60.7, 28.2),
        ("Cu", 49, 176.2, 124.9, 81.8),
        ("Cu", 296, 168.4, 121.4, 75.4),
    ],
)
def test_elastic_constants(element, temperature, c11, c12, c44):
    model = born_von_karman(element, temperature)
    along_100 = sound_moduli(model, [1, 0, 0])
    along_110 = sound_moduli(model, [1, 1, 0])
    assert along_100 == pytest.approx([c44, c44, c11], rel=0.05)
    assert along_110[0] == pytest.approx((c11 - c12) / 2, rel=0.05)


@pytest.mark.parametrize(
    "element, temperature, point, transverse, longitudinal",
    [
        # Al at 80 K: R. Stedman and G. Nilsson, Phys. Rev. 145, 492 (1966), THz.
        ("Al", 80, X, 5.78, 9.69),
        ("Al", 80, L, 4.19, 9.69),
        # Cu at 296 K: E. C. Svensson et al., Phys. Rev. 155, 619 (1967), THz.
        ("Cu", 296, X, 5.13, 7.25),
        ("Cu", 296, L, 3.42, 7.30),
    ],
)
def test_zone_boundary(element, temperature, point, transverse, longitudinal):
    frequencies = born_von_karman(element, temperature).frequencies(point)[0] / MEV_PER_THZ
    assert frequencies == pytest.approx([transverse, transverse, longitudinal], rel=0.02)


def test_every_tensor_is_in_the_symmetric_basis():
    model = born_von_karman("Al", 80)
    basis = ForceConstantBasis.from_crystal(model.crystal)
    assert basis.residual_of(model) < 1e-12
