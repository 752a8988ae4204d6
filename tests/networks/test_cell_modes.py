"""Modes at the cells against phonopy and central differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import phonopy
import pytest
import torch

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.samples import ForceFieldSample
from fcinv_core.networks.cell_modes import CellModes
from fcinv_core.networks.wedge import WedgeMesh
from fcinv_core.units import MEV_PER_THZ


def prior_of(force_constants: ForceConstants) -> Prior:
    sample = ForceFieldSample(
        force_constants, "none", "relaxed cell", force_constants.crystal.lattice, 0.0, True
    )
    return Prior.from_samples(
        ForceConstantBasis.from_crystal(force_constants.crystal),
        [sample],
        born_charges=force_constants.born_charges,
        dielectric=force_constants.dielectric,
    )


@pytest.fixture(scope="module", params=["Ge_standin", "MgO_dft"])
def case(request):
    path = request.path.parents[1] / f"data/force_constants/{request.param}.yaml"
    truth = ForceConstants.from_file(path)
    prior = prior_of(truth)
    mesh = WedgeMesh.of(truth.crystal)
    return path, truth, prior, mesh.q_points[1:], CellModes(prior)


def test_energies_against_phonopy(case):
    path, truth, prior, q_points, modes = case
    phonon = phonopy.load(path, log_level=0)
    parameters = torch.from_numpy(prior.basis.parameters_of(truth))[None]
    coordinates = modes.coordinates(parameters)
    torch.testing.assert_close(modes.parameters_of(coordinates), parameters, rtol=1e-5, atol=1e-5)
    matrices = modes.at(q_points)
    waves = matrices.waves(coordinates)
    usable = matrices.usable.bool().numpy()
    phonon.run_qpoints(q_points)
    expected = phonon.qpoints.frequencies * MEV_PER_THZ
    np.testing.assert_allclose(waves.energies[0].numpy()[usable], expected[usable], rtol=2e-3)


def test_squares_and_slopes(case):
    _, truth, prior, q_points, modes = case
    parameters = torch.from_numpy(prior.basis.parameters_of(truth))[None]
    coordinates = modes.coordinates(parameters)
    matrices = modes.at(q_points)
    waves = matrices.waves(coordinates)
    usable = matrices.usable.bool()
    # Squared energies are what the linear parts add up to.
    sums = torch.einsum("ncmk,nk->ncm", waves.slopes, coordinates) + waves.remainder
    torch.testing.assert_close(
        sums[0][usable], torch.ones_like(sums[0][usable]), rtol=2e-3, atol=2e-3
    )
    # Sums over the modes of a cell are smooth at crossings, where single modes swap.
    direction = torch.randn(coordinates.shape, generator=torch.Generator().manual_seed(3))
    step = 2e-3 * float(coordinates.norm() / direction.norm())
    ends = [matrices.waves(coordinates + sign * step * direction).squares for sign in (1, -1)]
    change = (ends[0] - ends[1])[0].sum(dim=-1) / (2 * step)
    slopes = torch.einsum("ncmk,nk->ncm", waves.slopes, direction) * waves.squares
    whole = usable.all(dim=-1)
    torch.testing.assert_close(
        slopes[0].sum(dim=-1)[whole],
        change[whole],
        rtol=5e-3,
        atol=5e-3 * float(change.abs().max()),
    )


def test_dipole_part_counts(case):
    _, truth, prior, q_points, modes = case
    if truth.born_charges is None:
        assert not modes.at(q_points).constant.any()
        return
    without = CellModes(replace(prior, born_charges=None, dielectric=None)).at(q_points)
    assert modes.at(q_points).constant.abs().max() > 0.01 * without.linear[..., 0].abs().max()
