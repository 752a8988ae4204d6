"""Both architectures: symmetry, any coverage, learning, spread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks.groups import group_of

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.samples import ForceFieldSample
from fcinv_core.errors import FcinvError
from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.cell_network import most_probable, surprise_of
from fcinv_core.networks.latent import LatentNetwork, fingerprints
from fcinv_core.networks.mode_windows import intensities

SMALL = {"scan_width": 12, "step_width": 16}
N_CRYSTALS = 12

UNTRAINED = 3e-3
"""Largest difference over the largest force constant: without training, fits start far from where
they fit, and rounding (1e-7) grows a hundredfold in each."""


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def network(request, germanium_prior):
    torch.manual_seed(3)
    return NETWORKS[request.param](germanium_prior, SMALL)


@pytest.fixture(scope="module")
def group(germanium_prior):
    centres = np.random.default_rng(7).uniform(-2.5, 2.5, (40, 3))
    return group_of(germanium_prior, germanium_prior.sample(N_CRYSTALS, 11), centres)


def estimated(network, group):
    return network.estimate(network.prepare([group]))


def assert_alike(first, second, tolerance=1e-3):
    scale = float(first.parameters.abs().max())
    torch.testing.assert_close(first.parameters, second.parameters, rtol=0, atol=tolerance * scale)
    scale = float(first.covariance.abs().max())
    torch.testing.assert_close(
        first.covariance, second.covariance, rtol=0, atol=10 * tolerance * scale
    )


def test_shapes(network, group, germanium_prior):
    found = estimated(network, group)
    n_parameters = len(germanium_prior.centre)
    assert found.parameters.shape == (N_CRYSTALS, n_parameters)
    assert found.covariance.shape == (N_CRYSTALS, n_parameters, n_parameters)
    least = torch.linalg.eigvalsh(found.covariance).amin(dim=1)
    assert (least > -1e-9 * found.covariance.abs().amax(dim=(1, 2))).all()


def test_rotated_and_shuffled_data_give_the_same_answer(network, group, germanium):
    found = estimated(network, group)
    order = torch.from_numpy(np.random.default_rng(1).permutation(40))
    rotation = torch.from_numpy(germanium.crystal.point_group_rotations[31].T).double()
    other = replace(
        group,
        counts=group.counts[:, order],
        exposure=group.exposure[:, order],
        centres=group.centres[order] @ rotation,
    )
    assert_alike(found, estimated(network, other))


def test_scale_does_not_matter(network, group):
    brighter = replace(group, exposure=group.exposure / 25.0)
    assert_alike(estimated(network, group), estimated(network, brighter), UNTRAINED)


def test_members_of_a_group_do_not_influence_each_other(network, group):
    alone = replace(
        group,
        parameters=group.parameters[3:4],
        counts=group.counts[3:4],
        exposure=group.exposure[3:4],
    )
    found, single = estimated(network, group), estimated(network, alone)
    scale = float(found.parameters.abs().max())
    torch.testing.assert_close(
        found.parameters[3:4], single.parameters, rtol=0, atol=UNTRAINED * scale
    )


def test_any_energy_range_and_binning(network, group):
    """Bins that are cut off, or empty, are no error; without any data the centre remains."""
    part = replace(
        group,
        counts=group.counts[:, :7, 10:40],
        exposure=group.exposure[:, :7, 10:40],
        centres=group.centres[:7],
        energy_edges=group.energy_edges[10:41],
    )
    assert torch.isfinite(estimated(network, part).parameters).all()
    blind = replace(group, counts=0 * group.counts)
    assert torch.isfinite(estimated(network, blind).parameters).all()


def test_settings_build_the_same_network(network, germanium_prior, group):
    again = type(network)(germanium_prior, network.settings())
    again.load_state_dict(network.state_dict())
    assert torch.equal(estimated(network, group).parameters, estimated(again, group).parameters)


def test_weights_of_another_crystal(network, germanium_prior, request):
    """They are taken over as far as the number of force constants allows, here all but a few."""
    path = request.path.parents[1] / "data/force_constants/MgO_dft.yaml"
    truth = ForceConstants.from_file(path)
    sample = ForceFieldSample(truth, "none", "relaxed cell", truth.crystal.lattice, 0.0, True)
    other = Prior.from_samples(ForceConstantBasis.from_crystal(truth.crystal, cutoff=3.5), [sample])
    new = type(network)(other, SMALL)
    new.begin_with(network)
    assert torch.equal(new.steps[0].look[0].weight, network.steps[0].look[0].weight)
    assert torch.equal(new.scan.judge[2].bias, network.scan.judge[2].bias)
    larger = type(network)(germanium_prior, {**SMALL, "step_width": 24})
    with pytest.raises(FcinvError, match="of its kind"):
        larger.begin_with(network)


def test_learning(network, group):
    """A few steps on one group: force constants of these crystals come nearer."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3)
    spectra = network.prepare([group])
    truth = network.modes.coordinates(group.parameters)

    def errors():
        found = network.modes.coordinates(network.estimate(spectra).parameters)
        return network.relative_error(found, truth)

    before = errors()
    for _ in range(40):
        losses = network.losses(spectra, group.parameters)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    after = errors()
    assert after.median() < 0.6 * before.median()
    scanned = most_probable(*network.scan(spectra[0], network.modes))
    wrong = (scanned - truth[:, 0].log()).abs()
    assert wrong.median() < 0.15


def test_surprise_is_smallest_for_the_right_spread():
    generator = torch.Generator().manual_seed(0)
    error = 0.1 * torch.randn(4000, 3, generator=generator)
    found, stiffness = torch.zeros(4000, 3), torch.full((4000,), 2.0)
    means = [
        surprise_of(found, torch.eye(3).expand(4000, 3, 3) / sigma**2, error, stiffness).mean()
        for sigma in (0.07, 0.1, 0.14)
    ]
    assert means[1] < means[0] and means[1] < means[2]


def test_latent_coordinates_there_and_back(germanium_prior):
    network = LatentNetwork(germanium_prior, SMALL)
    coordinates = network.modes.coordinates(germanium_prior.sample(20, 2))
    again = network.absolute(network.relative(coordinates))
    torch.testing.assert_close(again, coordinates, rtol=1e-4, atol=1e-5)


def test_decoded_spectra(germanium_prior, group, germanium):
    """They are probabilities, alike for equivalent Q, and move with the truth when learned."""
    torch.manual_seed(1)
    network = LatentNetwork(germanium_prior, SMALL)
    spectra = network.prepare([group])[0]
    latent = torch.randn(2, network.size)
    decoded = network.spectrum_of(latent, spectra.directions, spectra.matrices)
    assert decoded.shape[:3] == (2, *spectra.directions.shape[:2])
    torch.testing.assert_close(decoded.exp().sum(dim=-1), torch.ones(decoded.shape[:-1]))
    rotation = torch.from_numpy(germanium.crystal.point_group_rotations[7].T).double()
    turned = network.prepare([replace(group, centres=group.centres @ rotation)])[0]
    torch.testing.assert_close(
        network.spectrum_of(latent, turned.directions, turned.matrices), decoded, atol=1e-3, rtol=0
    )
    truth = network.modes.coordinates(group.parameters)
    lines = network._lines(spectra, truth)
    sums = lines.sum(dim=-1)
    assert sums.max() < 1.001 and sums[sums > 0.01].mean() > 0.9


def test_fingerprints_are_mean_squared_energies(germanium_prior, group):
    """Σ_k β_k fingerprint_k = Σ_ν |v·e_ν|² ω_ν²: the first moment of the spectrum."""
    network = NETWORKS["direct"](germanium_prior, SMALL)
    spectra = network.prepare([group])[0]
    truth = network.modes.coordinates(group.parameters)
    seen = fingerprints(spectra.directions, spectra.matrices, network.modes.top)
    moments = torch.einsum("kcj,nj->nkc", seen, truth) * network.modes.top**2
    waves = spectra.matrices.waves(truth)
    expected = (intensities(spectra, waves) * waves.squares[:, None]).sum(dim=-1)
    torch.testing.assert_close(moments, expected, rtol=2e-2, atol=2e-2 * float(expected.max()))
