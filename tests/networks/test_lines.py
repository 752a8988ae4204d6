"""Spectra of cells as sums of lines, and fits of gathered counts with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks.groups import group_of

from fcinv_core.networks.cell_modes import CellModes
from fcinv_core.networks.lines import Lines
from fcinv_core.networks.mode_windows import intensities
from fcinv_core.networks.spectra import SpectraGatherer
from fcinv_core.networks.spectra_fit import SpectraFit
from fcinv_core.networks.wedge import WedgeMesh

WIDTH = 16


@pytest.fixture(scope="module")
def measured(germanium, germanium_prior):
    """Modes, gathered spectra of three crystals, and their coordinates."""
    modes = CellModes(germanium_prior)
    gatherer = SpectraGatherer(germanium_prior, WedgeMesh.of(germanium_prior.crystal), modes)
    parameters = germanium_prior.sample(3, 8)
    centres = np.random.default_rng(4).uniform(-2.5, 2.5, (120, 3))
    group = group_of(germanium_prior, parameters, centres, fwhm=1.5)
    return modes, gatherer.of_group(group), modes.coordinates(parameters)


def derivatives(lines):
    """(n, KINDS, n_cells, n_energies, n_coordinates) of the intensity."""
    return sum(
        torch.einsum("nkcbm,ncme->nkceb", factors, parts)
        for factors, parts in ((lines.of_lines, lines.lines), (lines.of_slopes, lines.slopes))
    )


@pytest.mark.parametrize("coordinate", [0, 1, 5, 14, 22])
def test_derivatives_against_central_differences(measured, coordinate):
    """Cells on mirror planes and axes, with degenerate modes, are among them."""
    _, spectra, truth = measured
    # Squared energies are held above zero, where derivatives are not those of the modes.
    stable = (spectra.matrices.waves(truth).squares > 2 * spectra.matrices.least_square).all(dim=2)
    step = 3e-3
    shift = torch.zeros_like(truth)
    shift[:, coordinate] = step
    above, below = (
        Lines.of(spectra, moved, spectra.edges).intensity
        for moved in (truth + shift, truth - shift)
    )
    expected = (above - below) / (2 * step)
    found = derivatives(Lines.of(spectra, truth, spectra.edges))[..., coordinate]
    assert stable.float().mean() > 0.9
    error = ((found - expected) * stable[:, None, :, None]).abs().max()
    assert error < 0.02 * expected.abs().max()


def test_lines_hold_the_shares_of_the_modes(measured):
    _, spectra, truth = measured
    edges = torch.linspace(-60.0, 240.0, 4001)
    lines = Lines.of(spectra, truth, edges)
    torch.testing.assert_close(
        (lines.lines * edges.diff()).sum(dim=-1),
        torch.ones_like(lines.lines[..., 0]),
        rtol=0,
        atol=1e-4,
    )
    waves = spectra.matrices.waves(truth)
    torch.testing.assert_close(
        (lines.intensity * edges.diff()).sum(dim=-1),
        intensities(spectra, waves).sum(dim=-1),
        rtol=1e-3,
        atol=1e-3,
    )
    middles = 0.5 * (edges[1:] + edges[:-1])
    means = (lines.lines * edges.diff() * middles).sum(dim=-1)
    torch.testing.assert_close(means, waves.energies, rtol=1e-3, atol=0.02)


def as_modelled(spectra, truth, scale=0.4, background=0.0):
    """The same bins with counts as the model has them."""
    rates = scale * Lines.of(spectra, truth, spectra.edges).intensity + background
    counts = spectra.expected.diff(dim=-1) * rates
    running = torch.nn.functional.pad(counts.cumsum(dim=-1), (1, 0))
    return replace(spectra, counts=running, highest=float(spectra.edges[-1]))


def fitted(spectra, start, rounds):
    torch.manual_seed(0)
    fit = SpectraFit(WIDTH)
    with torch.no_grad():
        for parameter in fit.trust[-1].parameters():
            parameter.zero_()
        for _ in range(rounds):
            start, matrix = fit(spectra, start, torch.zeros(len(start), WIDTH), 35.0)
    return start, matrix


@pytest.mark.parametrize("background", [0.0, 0.005])
def test_counts_as_modelled_give_the_truth(measured, background):
    modes, spectra, truth = measured
    data = as_modelled(spectra, truth, background=background)
    start = truth.clone()
    start[:, 0] *= 1.06
    everywhere = modes.at(spectra.centroids)

    def errors(coordinates):
        right, wrong = (everywhere.waves(each).energies for each in (truth, coordinates))
        return ((wrong - right).square().mean(dim=(1, 2)).sqrt() / right.amax(dim=(1, 2))).max()

    found, _ = fitted(data, start, 6)
    assert errors(start) > 0.012
    # The prior's pull towards its centre remains.
    assert errors(found) < 0.003


def test_less_counts_are_less_sure(measured):
    _, spectra, truth = measured
    many = as_modelled(spectra, truth)
    few = replace(many, counts=many.counts / 1e4, expected=many.expected / 1e4)
    spreads = [torch.linalg.inv(fitted(data, truth, 1)[1])[:, 0, 0].sqrt() for data in (many, few)]
    assert (spreads[1] > 3 * spreads[0]).all()
