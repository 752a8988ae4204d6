"""Which starts are tried, in which order, and when the search ends."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from fcinv_core.inversion import invert
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.starts import (
    ATTEMPTS,
    COARSE_BINS,
    COARSE_ROWS,
    GOOD_START,
    STIFFNESS_SCAN,
    Start,
    StartSearch,
)


def silent(_):
    """Tells nobody."""


@pytest.fixture
def guesses(lattice, true_parameters):
    def make(*factors):
        return [(f"{factor:g}", lattice.scaled(true_parameters, factor)) for factor in factors]

    return make


def test_the_likeliest_are_those_that_fit_as_they_are(prepared, lattice, true_parameters, guesses):
    search = StartSearch([prepared], lattice, true_parameters, iter(()), [], silent)
    found = search._ranked(guesses(0.4, 1.3, 0.98, 2.5, 0.75, 3.0))
    assert [origin for origin, _ in found][:2] == ["0.98", "0.75"]
    tried = list(search._near_guesses(None, iter(found)))
    assert len(tried) == ATTEMPTS < len(found)
    assert [origin for origin, _ in tried][:2] == ["0.98", "0.75"]


def test_a_good_estimate_ends_the_search(prepared, lattice, guesses):
    """Draws are not even made."""

    def candidates():
        yield guesses(0.98)[0]
        raise AssertionError("a draw was asked for")

    (_, initial), *_ = guesses(0.98)
    start = StartSearch([prepared], lattice, initial, candidates(), [], silent).find()
    assert start.origin == "0.98" and start.deviance < GOOD_START


def test_draws_come_before_stiffnesses(prepared, lattice, guesses):
    far, *draws = guesses(0.35, 0.3, 1.02, 0.25)
    start = StartSearch([prepared], lattice, far[1], iter([far, *draws]), [], silent).find()
    assert start.origin == "1.02" and start.deviance < GOOD_START


def test_without_a_network_stiffnesses_are_tried(prepared, lattice, guesses):
    ((_, soft),) = guesses(1 / 2.1)
    start = StartSearch([prepared], lattice, soft, iter(()), [("this", soft)], silent).find()
    tried = {f"stiffness {factor:g} of this": factor for factor in STIFFNESS_SCAN}
    assert tried[start.origin] == pytest.approx(2.1, rel=0.3)
    assert start.deviance < GOOD_START


@pytest.mark.slow
def test_another_shape_is_tried_where_the_first_one_leads_nowhere(prepared, lattice, guesses):
    """Stiffnesses of a shape that is wrong describe the data badly, whichever it is."""
    ((_, soft),) = guesses(1 / 2.1)
    wrong = soft * np.where(np.arange(len(soft)) % 2, -1.0, 1.0)
    shapes = [("the wrong one", wrong), ("the right one", soft)]
    start = StartSearch([prepared], lattice, soft, iter(()), shapes, silent).find()
    assert start.origin.endswith("the right one") and start.deviance < GOOD_START


def test_what_was_tried_is_not_tried_again(prepared, lattice, guesses):
    """Else the estimate would agree with itself, and no other stiffness would be tried."""
    ((_, wrong),) = guesses(0.05)
    tried = []

    def ranked(search, found):
        tried.extend(found)
        return list(tried)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StartSearch, "_ranked", ranked)
        StartSearch(
            [prepared], lattice, wrong, iter([("it", wrong)]), [("it", wrong)], silent
        ).find()
    assert [origin for origin, _ in tried] == [
        f"stiffness {factor:g} of it" for factor in STIFFNESS_SCAN if factor != 1
    ]


def test_maps_are_judged_on_more_wave_vectors(load, truth, lattice, true_parameters, prepared):
    data = PreparedHistogram.from_histogram(
        load("HK0_map_30meV_clean"), truth.crystal, energy_fwhm=2.4
    )
    search = StartSearch([data, prepared], lattice, true_parameters, iter(()), [], silent)
    of_map, of_slice = (len(problem.bins) for problem in search._problems)
    assert of_map == COARSE_BINS < np.count_nonzero(data.used.any(axis=1))
    assert of_slice <= COARSE_ROWS


def test_one_orientation_is_judged_on_more_wave_vectors(
    prepared, lattice, true_parameters, monkeypatch
):
    """Of which it has seen a few energies each."""
    monkeypatch.setattr("fcinv_core.inversion.starts.COARSE_ROWS", 5)
    monkeypatch.setattr("fcinv_core.inversion.starts.COARSE_BINS", 40)
    number = prepared.used.cumsum(axis=1)
    few = replace(prepared, used=prepared.used & (number <= 2))
    search = StartSearch([prepared, few], lattice, true_parameters, iter(()), [], silent)
    usual, more = (problem.bins for problem in search._problems)
    assert prepared.used[usual].sum() == pytest.approx(40, rel=0.5)
    assert few.used[more].sum() == pytest.approx(40, rel=0.2)
    assert len(more) > len(usual) + 5


@pytest.fixture
def scattered(prepared):
    """Counts that scatter by far more than counting: no model fits them well."""
    rng = np.random.default_rng(5)
    noise = rng.lognormal(-0.5, 1.0, prepared.counts.shape)
    return replace(prepared, counts=np.round(prepared.counts * noise))


def test_guesses_that_agree_on_a_bad_fit_need_a_softer_and_a_stiffer_one(
    few_samples, scattered, lattice, true_parameters, guesses, monkeypatch
):
    tried = []
    attempts = StartSearch._refined

    def counted(search, origin, guess, is_near):
        tried.append(origin)
        return attempts(search, origin, guess, is_near)

    monkeypatch.setattr(StartSearch, "_refined", counted)
    near = iter(guesses(0.98, 1.02, 0.97, 1.03, 0.96))
    shapes = [("it", true_parameters), ("another", true_parameters)]
    search = StartSearch([scattered], lattice, true_parameters, near, shapes, silent)
    start = search.find()
    assert start.deviance > GOOD_START
    assert search.is_confirmed
    factors = [float(re.match(r"stiffness ([\d.]+) of it", origin)[1]) for origin in tried[2:]]
    assert len(factors) <= 3 and min(factors) < 1 < max(factors)
    assert start.scatter[0] > GOOD_START


def test_one_guess_does_not_agree_with_itself(
    few_samples, scattered, lattice, true_parameters, guesses
):
    """Refined twice, straight and led, it ends at the same bad fit."""
    near, shapes = iter(guesses(0.98)), [("it", true_parameters)]
    search = StartSearch([scattered], lattice, true_parameters, near, shapes, silent)
    for start in search._near:
        search._consider(start, are_near=True)
    assert not search.is_confirmed
    assert len(search._alike) == 1


def test_maps_are_not_led(few_samples, load, truth, lattice, true_parameters, guesses):
    """Stages compare spectra: without any the same refinement would be done twice."""
    data = PreparedHistogram.from_histogram(
        load("HK0_map_30meV_clean"), truth.crystal, energy_fwhm=2.4
    )
    search = StartSearch([data], lattice, true_parameters, iter(guesses(0.98)), [], silent)
    assert len(list(search._near)) == 1


def test_what_was_given_is_tried_itself_if_the_search_leads_away(
    few_samples, load, silicon, truth, lattice, true_parameters, rms_error, monkeypatch
):
    """As it may where a few rows and few samples do not know better."""
    half = lattice.scaled(true_parameters, 0.5)
    monkeypatch.setattr(StartSearch, "find", lambda self: Start(half, half, origin="elsewhere"))
    monkeypatch.setattr(StartSearch, "widen", lambda self: None)
    data = load("five_orientations_HHL0_slice_clean")
    result = invert([data], silicon, start=truth, energy_fwhm=2.4, max_iterations=4)
    assert result.settings["first_guess"] == "given force constants"
    assert rms_error(result.force_constants) < 1.5
