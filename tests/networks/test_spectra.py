"""Gathering of measured spectra: symmetry, sums, and intensities against Euphonic."""

from __future__ import annotations

from dataclasses import replace

import euphonic
import numpy as np
import pytest
import torch
from networks.groups import group_of

from fcinv_core.networks.cell_modes import CellModes
from fcinv_core.networks.mode_windows import intensities
from fcinv_core.networks.spectra import SpectraGatherer, on_grid
from fcinv_core.networks.wedge import WedgeMesh


@pytest.fixture(scope="module")
def tools(germanium_prior):
    mesh = WedgeMesh.of(germanium_prior.crystal)
    modes = CellModes(germanium_prior)
    return mesh, modes, SpectraGatherer(germanium_prior, mesh, modes)


def truth_of(germanium, prior):
    return torch.from_numpy(prior.basis.parameters_of(germanium))[None]


@pytest.fixture(scope="module")
def group(germanium, germanium_prior):
    centres = np.random.default_rng(4).uniform(-2.5, 2.5, (60, 3))
    return group_of(germanium_prior, truth_of(germanium, germanium_prior), centres)


def close(first, second, tolerance=2e-4):
    assert torch.equal(first.cells, second.cells)
    for name in ("counts", "expected", "directions"):
        one, other = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(one.abs().max()))
    np.testing.assert_allclose(first.centroids, second.centroids, atol=1e-6)


def test_order_and_orientation_do_not_matter(tools, group, germanium):
    gathered = tools[2].of_group(group)
    order = torch.from_numpy(np.random.default_rng(0).permutation(60))
    shuffled = replace(
        group,
        counts=group.counts[:, order],
        exposure=group.exposure[:, order],
        centres=group.centres[order],
    )
    close(tools[2].of_group(shuffled), gathered)
    for rotation in germanium.crystal.point_group_rotations[[5, 17, 40]]:
        turned = replace(group, centres=group.centres @ torch.from_numpy(rotation.T).double())
        close(tools[2].of_group(turned), gathered)


def test_scale_does_not_matter_and_counts_are_kept(tools, group):
    gathered = tools[2].of_group(group)
    weaker = replace(group, exposure=group.exposure * 7.0)
    close(tools[2].of_group(weaker), gathered)
    kept = group.energy_edges[:-1] >= 0.7
    total = float(group.counts[..., kept].sum())
    assert float(gathered.counts[..., -1].sum()) == pytest.approx(total, rel=1e-4)
    assert float(gathered.expected[..., -1].sum()) == pytest.approx(total, rel=1e-4)


def test_workspaces_add_up(tools, group):
    first, second = (
        tools[2].of_group(
            replace(
                group,
                counts=group.counts[:, part],
                exposure=group.exposure[:, part],
                centres=group.centres[part],
            )
        )
        for part in (slice(None, 25), slice(25, None))
    )
    together, whole = tools[2].joined([first, second]), tools[2].of_group(group)
    assert torch.equal(together.cells, whole.cells)
    torch.testing.assert_close(
        together.counts, whole.counts, rtol=0, atol=1e-4 * float(whole.counts.max())
    )
    # Scales of workspaces are found one by one, so that weights differ a little.
    np.testing.assert_allclose(together.centroids, whole.centroids, atol=5e-3)


def test_shares_of_intensity_against_euphonic(tools, germanium, germanium_prior, request):
    """One Q bin at a mesh point: shares are those of Euphonic's structure factors."""
    mesh, modes, gatherer = tools
    points = mesh.q_points[[20, 45, 66]] + np.array([[1, 0, 2], [-2, 1, 1], [3, -1, 0]])
    path = request.path.parents[1] / "data/force_constants/Ge_standin.yaml"
    constants = euphonic.ForceConstants.from_phonopy(path=path.parent, summary_name=path.name)
    truth = truth_of(germanium, germanium_prior)
    for point in points:
        group = group_of(germanium_prior, truth, point[None], temperature=50.0)
        spectra = gatherer.of_group(group)
        waves = spectra.matrices.waves(modes.coordinates(truth))
        found = intensities(spectra, waves)[0]
        kind = int(spectra.expected[0, :, 0, -1].argmax())
        phonons = constants.calculate_qpoint_phonon_modes(point[None], asr=None)
        factor = phonons.calculate_structure_factor()
        energies = factor.frequencies.to("meV").magnitude[0]
        strength = factor.structure_factors.magnitude[0] * energies
        expected = strength / strength.sum()
        np.testing.assert_allclose(
            degenerate_sums(found[kind, 0].numpy(), energies),
            degenerate_sums(expected, energies),
            atol=0.01,
        )


def degenerate_sums(values, energies):
    """Only sums over modes of the same energy mean something."""
    _, group = np.unique(np.round(energies, 2), return_inverse=True)
    return np.bincount(group, values)


def test_running_sums_on_another_grid():
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    edges = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    grid = torch.tensor([0.0, 0.5, 1.0, 2.25, 3.0, 5.0])
    found = on_grid(values, edges, grid)
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0, 2.0, 6.0, 9.0, 9.0]]))
