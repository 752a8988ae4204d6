"""What must not change spectra: how bins are described, and what is computed along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scattering.point_spectra import (
    bare,
    complete,
    histogram_of,
)

import fcinv_core.scattering.dynamical as dynamical
from fcinv_core import ForwardModel, SQEHistogram
from fcinv_core.scattering import EnergyResolution

ENERGIES = np.linspace(-20, 90, 56)
FORWARD, ACROSS, UP = np.array([1, 1, 0]), np.array([1, -1, 0]), np.array([0, 0, 1])
ALONG_FORWARD, ALONG_ACROSS = np.linspace(1.93, 2.17, 4), np.linspace(-0.07, 0.03, 3)
ALONG_UP = np.array([0.13, 0.23])


def planar(crystal, directions, edges):
    return histogram_of(crystal, edges, ENERGIES, directions)


def simulated(name, histogram, **settings):
    settings = {"energy_fwhm": 3.0, "tolerance": 5e-3, **settings}
    model = ForwardModel(complete(name).crystal, histogram, **settings)
    return model(complete(name))


def mirrored(edges):
    return -edges[::-1]


@pytest.mark.parametrize("settings", [{}, {"q_fwhm": 0.03}, {"dtype": torch.float32}])
@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_directions_turned_round(name, settings):
    """[-H,-H,0] with mirrored edges: the same bins in opposite order."""
    crystal = complete(name).crystal
    edges = [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]
    expected = simulated(name, planar(crystal, [FORWARD, ACROSS, UP], edges), **settings)
    tolerance = 1e-9 if "dtype" not in settings else 2e-5
    for turned in ([0], [1, 2], [0, 1, 2]):
        directions = [-d if i in turned else d for i, d in enumerate((FORWARD, ACROSS, UP))]
        other = [mirrored(e) if i in turned else e for i, e in enumerate(edges)]
        found = simulated(name, planar(crystal, directions, other), **settings)
        found = np.flip(found, turned)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * expected.max())


@pytest.mark.parametrize("name", ["Si", "ZnO"])
def test_axes_permuted(name):
    crystal = complete(name).crystal
    edges = [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]
    histogram = planar(crystal, [FORWARD, ACROSS, UP], edges)
    expected = simulated(name, histogram, q_fwhm=0.02)
    for order in ((1, 0, 2, 3), (3, 2, 0, 1), (2, 3, 1, 0)):
        axes = [histogram.axes[i] for i in order]
        signal = histogram.signal.transpose(order)
        other = SQEHistogram.from_arrays(axes, signal, ub=histogram.ub, temperature=300.0)
        found = simulated(name, other, q_fwhm=0.02)
        expected_there = expected.transpose(order)
        np.testing.assert_allclose(found, expected_there, rtol=0, atol=1e-9 * expected.max())


def test_longer_directions_with_finer_edges():
    """(2H,2H,0) from 1 to 1.2 is (H,H,0) from 2 to 2.4."""
    crystal = complete("Si").crystal
    edges = [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]
    expected = simulated("Si", planar(crystal, [FORWARD, ACROSS, UP], edges))
    other = planar(crystal, [2 * FORWARD, ACROSS, UP], [ALONG_FORWARD / 2, *edges[1:]])
    found = simulated("Si", other)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


@pytest.mark.parametrize("name", ["MgO", "ZnO"])
def test_another_setting_of_the_lattice(name):
    """Bins indexed on another cell of the same lattice: hkl' = A' A⁻¹ hkl."""
    crystal = complete(name).crystal
    edges = [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]
    directions = [FORWARD, ACROSS, UP]
    expected = simulated(name, planar(crystal, directions, edges))
    lattice = crystal.primitive_lattice
    if name == "ZnO":  # the hexagonal axes with 60 degrees between them
        lattice = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ lattice
    turn = lattice @ np.linalg.inv(crystal.lattice)
    other = histogram_of(
        crystal, edges, ENERGIES, [turn @ d for d in directions], ub=np.linalg.inv(lattice)
    )
    found = simulated(name, other)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def test_equivalent_directions():
    """Symmetry of the crystal: a slice along [110] and the same along [0-11]."""
    crystal = complete("MgO").crystal
    edges = [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]
    expected = simulated("MgO", planar(crystal, [FORWARD, ACROSS, UP], edges))
    turned = [np.array([0, -1, 1]), np.array([0, -1, -1]), np.array([1, 0, 0])]
    found = simulated("MgO", planar(crystal, turned, edges))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def test_several_histograms_in_one_model():
    """Other temperatures, resolutions and bins: each as by a model of its own."""
    given = complete("MgO")
    histograms = [
        planar(given.crystal, [FORWARD, ACROSS, UP], [ALONG_FORWARD, ALONG_ACROSS, ALONG_UP]),
        planar(given.crystal, np.eye(3), [ALONG_FORWARD, ALONG_UP, ALONG_ACROSS]),
        planar(given.crystal, np.eye(3), [ALONG_FORWARD, ALONG_UP, ALONG_ACROSS]),
    ]
    temperatures, widths = (300.0, 5.0, 300.0), (2.5, 4.0, EnergyResolution.constant(3.0))
    together = ForwardModel(given.crystal, histograms, temperatures, widths, tolerance=5e-3)(given)
    for signal, histogram, kelvin, width in zip(
        together, histograms, temperatures, widths, strict=True
    ):
        alone = ForwardModel(given.crystal, histogram, kelvin, width, tolerance=5e-3)(given)
        np.testing.assert_array_equal(signal, alone)


def test_only_measured_bins_are_diagonalised(monkeypatch):
    """Symmetry apart, uncovered Q bins cost nothing: their q points never reach the solver."""
    given = bare("Si")
    crystal = replace(given.crystal)
    edges = [np.linspace(1.03, 2.07, 9), np.linspace(0.11, 0.83, 9), ALONG_UP]
    full = planar(crystal, np.eye(3), edges)
    measured = np.zeros(full.shape, bool)
    measured[2:4, 5] = True
    measured[2:4, 5, :, :9] = False
    measured[6, 1, 0, 30] = True
    sparse = full.with_values(np.where(measured, 1.0, np.nan))
    counted = []
    solve = torch.linalg.eigh

    def counting(matrices):
        counted.append(int(np.prod(matrices.shape[:-2])))
        return solve(matrices)

    monkeypatch.setattr(dynamical.torch.linalg, "eigh", counting)
    solved, signals = [], []
    for histogram in (full, sparse):
        model = ForwardModel(crystal, histogram, energy_fwhm=2.5, reference=given)
        model(given)  # chooses samples
        counted.clear()
        signals.append(model(given))
        solved.append(sum(counted))
    np.testing.assert_array_equal(np.isnan(signals[1]), ~measured)
    # Numbers of samples may differ a little: probes are other bins.
    scale = signals[0].max()
    assert np.abs(signals[1] - signals[0])[measured].max() < 1e-3 * scale
    assert solved[1] < 0.25 * solved[0]
    # The centre of each bin only: one solution for each of three measured ones.
    model = ForwardModel(crystal, sparse, energy_fwhm=2.5, reference=given, tolerance=np.inf)
    values = torch.from_numpy(given.values)
    tensors = model._dynamics.displacements.q_points
    counted.clear()
    model(values)
    assert sum(counted) - len(tensors) == 3
