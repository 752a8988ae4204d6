"""Densities of states: phonopy's, the number of modes, error bars by draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phonopy
import pytest

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.inversion.density_of_states import DensityOfStates
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.units import FWHM_PER_SIGMA, MEV_PER_THZ

DATA = Path(__file__).parents[1] / "data/force_constants"


def lattice_of(name, cutoff=None):
    force_constants = ForceConstants.from_file(DATA / f"{name}_dft.yaml")
    basis = ForceConstantBasis.from_crystal(force_constants.crystal, cutoff)
    lattice = Lattice(basis, force_constants)
    return lattice, lattice.parameters_of(force_constants)


def density_of(lattice, parameters):
    return DensityOfStates.of(lattice, parameters, np.zeros((len(parameters),) * 2))


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_density_is_that_of_phonopy(name):
    found = density_of(*lattice_of(name))
    cell = phonopy.load(DATA / f"{name}_dft.yaml", log_level=0)
    cell.run_mesh(30.0 * 5, is_gamma_center=True)
    cell.run_total_dos(
        sigma=found.smoothing_fwhm_mev / FWHM_PER_SIGMA / MEV_PER_THZ,
        freq_min=0,
        freq_max=found.energy_mev[-1] / MEV_PER_THZ,
        freq_pitch=found.energy_mev[-1] / MEV_PER_THZ / (len(found.energy_mev) - 1),
        use_tetrahedron_method=False,
    )
    expected = np.asarray(cell.total_dos.dos) / MEV_PER_THZ
    assert len(expected) >= len(found.density)
    difference = found.density - expected[: len(found.density)]
    assert np.abs(difference).max() < 0.03 * expected.max()
    n_modes = np.trapezoid(found.density, found.energy_mev)
    assert n_modes == pytest.approx(6, rel=0.01)
    assert (found.sigma == 0).all()


def test_error_bars_are_the_scatter_of_draws():
    lattice, parameters = lattice_of("Si", cutoff=4.5)
    random = np.random.default_rng(5)
    root = 2e-3 * random.normal(size=(len(parameters), len(parameters)))
    covariance = root @ root.T
    found = DensityOfStates.of(lattice, parameters, covariance)
    draws = [
        np.interp(found.energy_mev, drawn.energy_mev, drawn.density)
        for drawn in (
            density_of(lattice, p) for p in random.multivariate_normal(parameters, covariance, 100)
        )
    ]
    scatter = np.std(draws, axis=0)
    large = scatter > 0.2 * scatter.max()
    assert large.sum() > 20
    assert found.sigma[large] == pytest.approx(scatter[large], rel=0.4)
    assert found.sigma[large].mean() == pytest.approx(scatter[large].mean(), rel=0.1)


def test_imaginary_modes_are_below_zero():
    lattice, parameters = lattice_of("Si")
    found = density_of(lattice, -parameters)
    assert found.energy_mev[0] < 0 and found.energy_mev[np.argmax(found.density)] < 0
