"""Scores of networks whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior_widths import mean_square_energy
from fcinv_core.ensemble.random_measurement import random_measurements
from fcinv_core.networks.network import Estimates, Network
from fcinv_core.networks.validation import GROUP_SIZE, ValidationSet

N_CASES = 96


class Cheat(Network):
    """Knows the truth: ``factor`` times it, with a spread that may or may not be right."""

    def __init__(self, prior, factor=1.0, spread=0.1, wrong=0.0):
        super().__init__(prior)
        self.factor, self.spread, self.wrong = factor, spread, wrong

    def prepare(self, groups):
        return torch.cat([group.parameters for group in groups])

    def estimate(self, spectra, *, at_leisure=False):
        n, n_parameters = spectra.shape
        generator = torch.Generator().manual_seed(int(1e6 * abs(float(spectra[0, 0]))))
        noise = torch.randn(n, n_parameters, generator=generator, dtype=torch.float64)
        covariance = (self.spread**2 * torch.eye(n_parameters, dtype=torch.float64)).expand(
            n, -1, -1
        )
        return Estimates(self.factor * spectra + self.wrong * noise, covariance)


@pytest.fixture(scope="module")
def cases(germanium, germanium_prior):
    ranges = MeasurementRanges(spectrometers=("ARCS",), n_orientations=(3, 4), kinds=("slice",))
    pool = random_measurements(germanium, 1, ranges, seed=1)
    batches = MeasurementBatches(germanium_prior, pool, ranges=ranges, n_q=4, group_size=GROUP_SIZE)
    return ValidationSet(batches, N_CASES, 5, Cheat(germanium_prior))


def test_a_quarter_is_idealised(cases):
    assert len(cases.parameters) == N_CASES
    assert cases.idealised.double().mean() == 0.25


def test_the_truth_has_no_errors(cases, germanium_prior):
    scores = cases.scores(Cheat(germanium_prior))
    assert max(score.mean_mev for score in scores.kinds.values()) < 1e-9
    assert scores.error <= 0.0101
    assert scores.coverage == {"idealised": 1.0, "noisy": 1.0}


def test_the_share_done_is_told(cases, germanium_prior):
    told = []
    cases.scores(Cheat(germanium_prior), progress=lambda *each: told.append(each))
    assert told[0] == ("Judging the model", 0.0)
    assert all(0 <= fraction < 1 for _, fraction in told)


def test_all_energies_off_by_a_factor(cases, germanium_prior):
    """Energies go with the square root of force constants; phonopy's are the judge."""
    scores = cases.scores(Cheat(germanium_prior, factor=1.21))
    mesh = np.indices((8, 8, 8)).reshape(3, -1).T / 8
    percent, mev = [], []
    for parameters in cases.parameters[cases.idealised].numpy():
        energies = germanium_prior.force_constants(parameters).frequencies(mesh)
        mev.append(0.1 * np.sqrt(np.square(energies).mean()))
        percent.append(100 * mev[-1] / energies.max())
    found = scores.kinds["idealised"]
    # Another mesh, on which equivalent wave vectors count as often as there are.
    assert found.mean_mev == pytest.approx(np.mean(mev), rel=0.1)
    assert found.median_mev == pytest.approx(np.median(mev), rel=0.15)
    assert found.mean_percent == pytest.approx(np.mean(percent), rel=0.1)
    everywhere = []
    for parameters in cases.parameters.numpy():
        energies = germanium_prior.force_constants(parameters).frequencies(mesh)
        everywhere.append(10 * np.sqrt(np.square(energies).mean()) / energies.max())
    assert scores.error == pytest.approx(np.exp(np.log(everywhere).mean()), rel=0.1)


def test_coverage(cases, germanium_prior):
    """68 % with errors as large as claimed, fewer with larger ones, of the mean squared energy."""
    scale = 0.01 * np.linalg.norm(mean_square_energy(germanium_prior.basis))
    right = cases.scores(Cheat(germanium_prior, spread=scale, wrong=scale)).coverage["noisy"]
    vain = cases.scores(Cheat(germanium_prior, spread=scale, wrong=5 * scale)).coverage["noisy"]
    assert right == pytest.approx(0.683, abs=3 * np.sqrt(0.683 * 0.317 / (0.75 * N_CASES)))
    assert vain < 0.35


def test_estimates_that_are_none_count_as_wrong(cases, germanium_prior):
    scores = cases.scores(Cheat(germanium_prior, factor=torch.nan))
    assert scores.error > 40
    assert scores.coverage["noisy"] == 0
