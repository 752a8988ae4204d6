"""Of several stiffnesses, which lead into different valleys, spectra choose the right one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks.groups import group_of

from fcinv_core.networks.cell_modes import CellModes
from fcinv_core.networks.spectra import SpectraGatherer
from fcinv_core.networks.valleys import (
    LEAST_PROBABILITY,
    SAME,
    agreement,
    different,
    possible_starts,
)
from fcinv_core.networks.wedge import WedgeMesh


def test_starts_are_the_likeliest_and_all_that_are_not_excluded():
    corrected = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    probability = torch.tensor([[0.6, LEAST_PROBABILITY / 2, 0.3, 0.1]])
    owners, starts = possible_starts(corrected, probability.log(), torch.tensor([0.15]))
    assert starts.tolist() == pytest.approx([0.15, 0.1, 0.3, 0.4])
    assert owners.tolist() == [0, 0, 0, 0]


def test_starts_of_several_measurements():
    corrected = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    probability = torch.tensor([[0.5, 0.5], [LEAST_PROBABILITY / 2, 1.0]])
    owners, starts = possible_starts(corrected, probability.log(), torch.tensor([0.15, 0.35]))
    found = sorted(zip(owners.tolist(), starts.tolist(), strict=True))
    assert [owner for owner, _ in found] == [0, 0, 0, 1, 1]
    assert [start for _, start in found] == pytest.approx([0.1, 0.15, 0.2, 0.35, 0.4])


def test_only_what_is_different_goes_on():
    """Each is compared with the earlier ones of the same measurement that were kept."""
    stretched = torch.tensor([1.0, 1.0 + SAME / 2, 1.0, 1.0 + 1.5 * SAME, 2.0])
    owners = torch.tensor([0, 0, 1, 0, 0])
    coordinates = stretched[:, None] * torch.tensor([[1.0, 0.3, -0.2]])
    assert different(owners, coordinates).tolist() == [0, 2, 3, 4]


def surprise(spectra, coordinates):
    return agreement(spectra, coordinates).surprise


@pytest.fixture(scope="module")
def seen(germanium_prior):
    """Gathered spectra of three crystals, and their coordinates."""
    modes = CellModes(germanium_prior)
    gatherer = SpectraGatherer(germanium_prior, WedgeMesh.of(germanium_prior.crystal), modes)
    parameters = germanium_prior.sample(3, 8)
    centres = np.random.default_rng(4).uniform(-2.5, 2.5, (120, 3))
    group = group_of(germanium_prior, parameters, centres, fwhm=1.5)
    return gatherer.of_group(group), modes.coordinates(parameters)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.3, 2.0])
def test_other_stiffnesses_surprise_more_than_the_truth(seen, factor):
    spectra, truth = seen
    assert (surprise(spectra, truth) < surprise(spectra, factor * truth)).all()


def test_surprise_is_blind_to_the_scale(seen):
    spectra, truth = seen
    doubled = replace(spectra, expected=2 * spectra.expected)
    torch.testing.assert_close(
        surprise(doubled, truth), surprise(spectra, truth), rtol=1e-3, atol=1e-3
    )


def test_one_measurement_is_judged_for_several_crystals_at_once(seen):
    spectra, truth = seen
    together = surprise(spectra.taken(torch.zeros(3, dtype=torch.long)), truth)
    first = spectra.taken(torch.tensor([0]))
    alone = torch.cat([surprise(first, one[None]) for one in truth])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert together.argmin() == 0


def test_background_is_told_from_lines(seen):
    """As many counts again, alike in all bins: half of them are background."""
    spectra, truth = seen
    clean = agreement(spectra, truth)
    assert clean.background.max() < 0.05
    flat = spectra.counts[..., -1:].sum(dim=2, keepdim=True) * spectra.expected
    flat = flat / spectra.expected[..., -1:].sum(dim=2, keepdim=True).clamp(min=1e-9)
    dirty = agreement(replace(spectra, counts=spectra.counts + flat), truth)
    assert dirty.background.tolist() == pytest.approx([0.5] * 3, abs=0.05)


def test_misfit_is_small_only_near_the_truth(seen):
    spectra, truth = seen
    assert (agreement(spectra, truth).misfit < 1).all()
    assert (agreement(spectra, 2 * truth).misfit > 2).all()
