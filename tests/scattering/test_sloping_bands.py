"""Bin averages from sloping bands against the forward model, whose samples have converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scattering.point_spectra import complete, histogram_of

from fcinv_core import ForwardModel
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.conditions import bins_in_crystal
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.sloping_bands import SlopingBands, part_rotations

RESOLUTION = EnergyResolution.polynomial((3.0, -0.015))
TEMPERATURE = 200.0
EDGES = {
    "volume": [np.linspace(2.1, 2.6, 6), np.linspace(0.2, 0.5, 4), np.array([0.1, 0.2])],
    "slice": [np.linspace(2.15, 2.95, 9), np.array([-0.1, 0.1]), np.array([-0.1, 0.1])],
}


def sets_of(name, dtype=torch.float64):
    values = torch.tensor(complete(name).values, dtype=dtype)
    return torch.stack([values, 0.85 * values, 1.3 * values])


def spectra(name, histogram, parts, values, dtype=torch.float64, device="cpu"):
    given = complete(name)
    dynamics = LatticeDynamics(given.crystal, device, dtype)
    polar = dynamics.polar_part_of(given)
    centres, bin_vectors, edges = bins_in_crystal(histogram, given.crystal)
    kernel = ModeKernel(torch.from_numpy(edges), TEMPERATURE, RESOLUTION)
    real_space = dynamics.real_space(values, polar)
    bands = SlopingBands(
        given.crystal, centres, bin_vectors, parts, kernel, dynamics.fourier, polar
    )
    tensors = dynamics.tensors(real_space, TEMPERATURE, polar)
    return bands.spectra(real_space, tensors), bands


def converged(name, histogram, values):
    """(n_sets, n_q, n_energy) from `ForwardModel`."""
    given = complete(name)
    model = ForwardModel(given.crystal, histogram, TEMPERATURE, RESOLUTION, reference=given)
    charges = ()
    if given.born_charges is not None:
        charges = (torch.tensor(given.born_charges), torch.tensor(given.dielectric))
    return torch.stack(
        [
            torch.from_numpy(np.ascontiguousarray(histogram.spectra(one.numpy())))
            for one in model(values, *charges)
        ]
    )


def error(found, expected):
    """Root mean square over the largest intensity."""
    return float((found - expected).square().mean().sqrt() / expected.max())


@pytest.mark.parametrize("kind", EDGES)
@pytest.mark.parametrize("name", ["Si", "MgO", "ZnO"])
def test_few_parts_are_enough(name, kind):
    """Errors fall with the square of the parts' size, to the tolerance of the forward model.

    Measured (rms over the largest intensity, one part and two along each edge): bins of a volume,
    0.1 reciprocal-lattice units wide, 4e-3 and 1e-3 in Si, 9e-3 and 2e-3 in ZnO; of a slice, 0.2
    thick, 3e-2 and 6e-3 in Si, 5e-2 and 5e-3 in MgO. Without slopes 2 to 3 times as much.
    """
    histogram = histogram_of(complete(name).crystal, EDGES[kind], np.linspace(-20, 110, 66))
    values = sets_of(name)
    expected = converged(name, histogram, values)
    one, two, four = (
        error(spectra(name, histogram, (n, n, n), values)[0], expected) for n in (1, 2, 4)
    )
    assert one < (0.015 if kind == "volume" else 0.09)
    assert two < 0.35 * one and two < (0.003 if kind == "volume" else 0.01)
    assert four < 0.35 * two


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_small_bins_are_points(name):
    """No part is left to slopes: both are the spectrum at the centre, energy gain included."""
    crystal = complete(name).crystal
    edges = [np.array([2.2, 2.2 + 1e-4]), np.array([0.3, 0.3 + 1e-4]), np.array([0.1, 0.1 + 1e-4])]
    histogram = histogram_of(crystal, edges, np.linspace(-60, 110, 86))
    values = sets_of(name)
    found, _ = spectra(name, histogram, (1, 1, 1), values)
    model = ForwardModel(crystal, histogram, TEMPERATURE, RESOLUTION, tolerance=np.inf)
    given = complete(name)
    charges = ()
    if given.born_charges is not None:
        charges = (torch.tensor(given.born_charges), torch.tensor(given.dielectric))
    expected = model(values, *charges).reshape(found.shape)
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.max())


def test_single_precision():
    histogram = histogram_of(complete("Si").crystal, EDGES["volume"], np.linspace(-20, 80, 51))
    values = sets_of("Si")
    exact, _ = spectra("Si", histogram, (2, 1, 1), values)
    found, _ = spectra("Si", histogram, (2, 1, 1), values, dtype=torch.float32)
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max() / exact.max()) < 5e-5


def test_symmetry_shares_wave_vectors():
    """A slice through two mirror planes needs a quarter of its parts, or fewer."""
    crystal = complete("Si").crystal
    histogram = histogram_of(crystal, EDGES["slice"], np.linspace(0, 80, 41))
    _, bands = spectra("Si", histogram, (1, 2, 2), sets_of("Si"))
    assert bands.n_wave_vectors <= histogram.shape[0]
    _, bin_vectors, _ = bins_in_crystal(histogram, crystal)
    kept = part_rotations(bin_vectors, (1, 1, 1), crystal.point_group_rotations)
    assert 8 <= len(kept) < len(crystal.point_group_rotations)


def test_symmetry_of_bins_that_parts_do_not_have_is_not_used(monkeypatch):
    """Square bins cut along one edge only: what symmetry saves changes nothing."""
    edges = [np.linspace(2.1, 2.7, 4), np.linspace(0.2, 0.8, 4), np.array([0.05, 0.1])]
    histogram = histogram_of(complete("Si").crystal, edges, np.linspace(-20, 80, 51))
    values = sets_of("Si")
    found, _ = spectra("Si", histogram, (4, 1, 1), values)
    monkeypatch.setattr(
        "fcinv_core.scattering.sloping_bands.part_rotations", lambda *_: np.eye(3, dtype=int)[None]
    )
    expected, _ = spectra("Si", histogram, (4, 1, 1), values)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.max()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_gpu(name):
    histogram = histogram_of(complete(name).crystal, EDGES["volume"], np.linspace(-20, 110, 66))
    values = sets_of(name)
    expected, _ = spectra(name, histogram, (2, 2, 2), values)
    found, _ = spectra(name, histogram, (2, 2, 2), values, device="cuda")
    assert float((found.cpu() - expected).abs().max() / expected.max()) < 1e-9
