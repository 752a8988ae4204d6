"""Which Q bins are fitted where there are too many of them."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.inversion import selection
from fcinv_core.inversion.nuisances import NUISANCES
from fcinv_core.inversion.pipeline import invert
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.selection import (
    best_of_neighbours,
    information_on_energies,
    most_rows,
)

ENERGIES = np.arange(0.5, 40.0)


@pytest.fixture
def for_few_rows(monkeypatch, prepared, true_parameters):
    """Memory for derivatives on as many rows only."""

    def allow(n_rows, n_energy=prepared.counts.shape[1]):
        n_free = len(true_parameters) + len(NUISANCES)
        monkeypatch.setattr(selection, "MOST_BYTES", 8 * n_rows * n_energy * n_free)

    return allow


def line(centre, width):
    return np.exp(-0.5 * ((ENERGIES - centre) / width) ** 2) / width


def test_the_heaviest_of_each_group_of_neighbours_is_taken():
    weight = np.array([1.0, 5.0, 2.0, 0.0, 0.1, 0.0, 9.0, 8.0, 7.0])
    assert best_of_neighbours(weight, 3).tolist() == [1, 4, 6]


def test_rows_are_limited_by_time_and_by_memory(monkeypatch):
    monkeypatch.setattr(selection, "MOST_VALUES", 64_000)
    monkeypatch.setattr(selection, "MOST_SAMPLES", 6400)
    monkeypatch.setattr(selection, "MOST_BYTES", 8000)
    assert most_rows(64, 64, 10, 1.0) == 100
    assert most_rows(6400, 64, 10, 1.0) == 10
    assert most_rows(64, 64, 100, 1.0) == 10
    assert most_rows(64, 64, 100, 0.5) == 5
    assert most_rows(10**6, 64, 10, 1.0) == 1


def test_sharp_and_exposed_lines_tell_most():
    signal = np.array([line(20, 2.0), line(20, 6.0), line(20, 2.0), 0 * ENERGIES])
    exposure = np.ones_like(signal)
    exposure[2] = 0.1
    sharp, broad, hidden, empty = information_on_energies(signal, exposure, ENERGIES)
    assert sharp > 3 * broad
    assert hidden == pytest.approx(0.1 * sharp)
    assert empty == 0


def test_fewer_rows_are_fitted_than_were_measured(for_few_rows, prepared, lattice, true_parameters):
    measured = HistogramProblem(prepared, lattice, true_parameters)
    for_few_rows(measured.n_rows // 3)
    some = HistogramProblem(prepared, lattice, true_parameters)
    assert some.n_rows == measured.n_rows // 3
    assert some.counts.sum() == prepared.counts[some.bins].sum()
    assert (
        some.used == prepared.used & np.isin(np.arange(len(some.used)), some.bins)[:, None]
    ).all()
    # the third that tells most of its neighbours holds more than a third of the counts
    assert some.counts.sum() > 0.36 * measured.counts.sum()


def test_a_fit_of_some_bins_says_so_and_has_their_error_bars(
    for_few_rows, load, truth, silicon, rms_error
):
    histogram = load("one_orientation_4d_clean")
    for_few_rows(300, histogram.signal.shape[-1])
    result = invert([histogram], silicon, start=truth, energy_fwhm=2.4)
    (fit,) = result.fits
    assert fit.q_points == fit.used.any(axis=-1).sum() < 0.2 * np.isfinite(histogram.signal).sum()
    assert any(f"{fit.q_points} of 11394 Q bins" in reason for reason in result.verdict.reasons)
    assert np.isnan(fit.residual[~fit.used]).all()
    assert fit.simulated.signal.shape == histogram.signal.shape
    stated = result.dispersion.sigma_mev
    assert rms_error(result.force_constants) < 2 * np.sqrt(np.mean(stated**2)) < 1.0
