"""From mode energies to force constants."""

from __future__ import annotations

import torch

from fcinv_core.networks.cell_modes import CellModes
from fcinv_core.networks.normal_equations import solved
from fcinv_core.networks.wedge import WedgeMesh


def recovered(prior, weight, noise=0.0):
    """Relative errors of the energies at all cells before and after three rounds; last matrix."""
    modes = CellModes(prior)
    matrices = modes.at(WedgeMesh.of(prior.crystal).q_points)
    truth = modes.coordinates(prior.sample(24, 5))
    goal = matrices.waves(truth)
    generator = torch.Generator().manual_seed(0)
    wrong = noise * torch.randn(goal.squares.shape, generator=generator)
    present = torch.zeros_like(truth)
    present[:, 0] = 1.3 * truth[:, 0]
    errors = []
    for _ in range(4):
        waves = matrices.waves(present)
        usable = matrices.usable.bool().expand_as(waves.squares)
        errors.append((waves.energies / goal.energies - 1)[usable].abs())
        change = goal.squares.log() + wrong - waves.squares.log()
        found, matrix = solved(
            waves, change, weight * matrices.usable.expand_as(change), present[:, 0]
        )
        error = (found - truth).double()
        present = found
    return errors, error, matrix.double()


def test_exact_energies_give_force_constants(germanium_prior):
    errors, _, _ = recovered(germanium_prior, 1e4)
    assert errors[0].median() > 0.08
    # Where bands of different shape cross, a few crystals stay a little off.
    assert errors[-1].median() < 1e-3 and errors[-1].quantile(0.9) < 0.02


def test_covariance_is_that_of_the_errors(germanium_prior):
    _, error, matrix = recovered(germanium_prior, 1 / 0.02**2, noise=0.02)
    misfit = (error[:, None] @ matrix @ error[..., None]).flatten() / error.shape[1]
    assert 0.6 < misfit.median() < 1.7
    # Energies believed to be ten times better than they are would not do.
    _, error, matrix = recovered(germanium_prior, 100 / 0.05**2, noise=0.05)
    misfit = (error[:, None] @ matrix @ error[..., None]).flatten() / error.shape[1]
    assert misfit.median() > 10


def test_without_data_the_shape_of_the_prior_stays(germanium_prior):
    modes = CellModes(germanium_prior)
    matrices = modes.at(WedgeMesh.of(germanium_prior.crystal).q_points)
    present = torch.zeros(1, modes.n_coordinates)
    present[:, 0] = 1.4
    waves = matrices.waves(present)
    nothing = torch.zeros_like(waves.squares)
    found, _ = solved(waves, nothing, nothing, present[:, 0])
    torch.testing.assert_close(found, present, rtol=1e-4, atol=1e-5)
