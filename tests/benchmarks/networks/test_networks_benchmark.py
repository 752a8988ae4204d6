"""The table of networks: what it says of estimators whose quality is known.

Networks themselves are not looked at: ``make bench-networks`` does that.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.networks import materials
from benchmarks.networks.__main__ import main
from benchmarks.networks.cases import KINDS, MOST_ENERGIES, Kind, make_case
from benchmarks.networks.estimators import Answer, Estimator, find, network
from benchmarks.networks.run import Job, Results, scored
from benchmarks.networks.score import Errors, energies_of, share_inside, zone_boundary
from benchmarks.networks.table import page, share
from benchmarks.networks.valley import WIDTHS, ZONE, Valley
from scipy.stats import binomtest

from fcinv_core.crystal.neighbours import Neighbours
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.potentials import force_field_constants
from fcinv_core.errors import FcinvError
from fcinv_core.networks.model import Model
from fcinv_core.networks.model_card import ModelCard
from fcinv_core.networks.network import Estimates, Network

MATERIAL, N_CASES, N_REFINED, N_Q = "Al", 20, 8, 10


class Quick(Kind):
    """With wide lines and thin bins, which take few samples."""

    @property
    def ranges(self):
        thin = {"thickness": (0.05, 0.08), "q_step": MeasurementRanges().q_step}
        return replace(super().ranges, spectrometers=("MAPS", "MERLIN"), **thin)


@pytest.fixture(scope="module")
def prior():
    return materials.prior(MATERIAL)


@pytest.fixture(scope="module")
def spread(prior):
    return np.cov(prior.sample(500, 3).numpy().T)


@pytest.fixture(scope="module")
def cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "quick", Quick(50, (20, 40), cuts=("slice",), fewest_q=N_Q))
        yield [make_case(MATERIAL, "quick", "prior", number, N_Q) for number in range(N_CASES)]


def stand_in(prior, spread, name, stated, error=0.01, stiffness=1.0, is_refined=True):
    """The truth times ``stiffness`` with Gaussian errors: a share of the prior's width."""

    def estimate(case):
        random = np.random.default_rng(case.number)
        wrong = random.multivariate_normal(np.zeros(len(spread)), error**2 * spread, method="eigh")
        parameters = stiffness * prior.basis.parameters_of(case.truth) + wrong
        return Answer(prior.force_constants(parameters), prior.basis, stated**2 * spread)

    def refine(case):
        start = estimate(case).force_constants
        return Valley(case, prior.basis).refined_from(start) if is_refined else start

    return Estimator(name, "", estimate, refine)


@pytest.fixture(scope="module")
def records(cases, prior, spread):
    estimators = [
        stand_in(prior, spread, "honest", stated=0.01),
        stand_in(prior, spread, "boastful", stated=0.001, is_refined=False),
        stand_in(prior, spread, "wrong", stated=0.01, stiffness=4.0, is_refined=False),
    ]
    return [
        record for case in cases for record in scored(case, estimators, case.number < N_REFINED)
    ]


def of(records, name):
    return [record for record in records if record["estimator"] == name]


def refined(records, name):
    return [record for record in of(records, name) if "refined" in record]


def test_estimators_get_the_marks_that_they_deserve(records):
    def inside(name):
        marks = [record["inside"] for record in of(records, name)]
        return {quantity: np.mean([mark[quantity] for mark in marks]) for quantity in marks[0]}

    # Of 20, outside of these limits once in a thousand times or less.
    assert all(0.35 <= mark <= 0.95 for mark in inside("honest").values())
    assert all(mark < 0.35 for mark in inside("boastful").values())
    assert inside("wrong")["stiffness"] == 0

    right = {
        name: sum(r["refined"]["arrival"]["is_right"] for r in refined(records, name))
        for name in NAMES
    }
    assert right["honest"] >= 7
    assert right["wrong"] <= 1

    for record in of(records, "wrong"):
        # Energies go with the square root of the stiffness.
        assert record["estimate"]["relative"] == pytest.approx(3, rel=0.05)
        assert record["estimate"]["dispersion"] > 0.3 * record["top_mev"]
    far = [
        r["refined"]["arrival"]["distance"] / r["limits"]["bound_mev"]
        for r in refined(records, "wrong")
    ]
    assert sum(width > WIDTHS for width in far) >= 7, "as many as do not end in the right valley"
    for record in refined(records, "honest"):
        assert record["limits"]["informed_mev"] < record["limits"]["prior_mev"]


NAMES = ("honest", "boastful", "wrong")


def test_page_tells_the_estimators_apart(records):
    text = page(records, "the command")
    assert "`the command`" in text
    lines = [line for line in text.splitlines() if line.startswith("| Al | prior | quick")]
    assert len(lines) == 2 * len(NAMES) + 1
    alone, others = lines[: len(NAMES)], lines[len(NAMES) :]
    assert all(f"| {N_CASES} |" in line for line in alone)
    assert all(f"| {N_REFINED} |" in line for line in others)
    (wrong,) = [line for line in others if "| wrong |" in line]
    shown = float(re.search(rf"\| wrong \| {N_REFINED} \| (\d+) \(", wrong).group(1))
    assert shown <= 13


def test_cases_are_what_they_say():
    noisy, noisier, ideal = (
        make_case("Ge", kind, "prior", 0, 150) for kind in ("noisy-1000", "noisy-20", "idealised")
    )
    assert np.array_equal(noisy.truth.values, ideal.truth.values)
    top = energies_of(noisy.truth, ZONE).max()
    for case in (noisy, noisier, ideal):
        n_q, n_energy = case.prepared.counts.shape
        seen = np.isfinite(case.histogram.spectra(case.histogram.signal))
        assert seen.any(axis=1).sum() <= 150 and 100 <= case.prepared.used.any(axis=1).sum()
        assert n_energy <= MOST_ENERGIES
        assert case.prepared.edges[-1] > top and case.histogram.incident_energy > top
    # The same bins, counted for a fiftieth of the time.
    counted = (noisy.prepared.counts > 0) & (noisier.prepared.counts > 0)
    ratio = noisier.prepared.exposure[counted] / noisy.prepared.exposure[counted]
    assert counted.sum() > 500 and np.allclose(ratio, 1 / 50)
    assert np.allclose(noisy.prepared.counts, np.rint(noisy.prepared.counts))
    seen = np.isfinite(ideal.histogram.spectra(ideal.histogram.signal))
    assert np.array_equal(seen.any(axis=1), seen.all(axis=1))
    exposure = ideal.prepared.exposure[ideal.prepared.used]
    assert exposure.min() == pytest.approx(exposure.max(), rel=1e-6)
    again = make_case("Ge", "noisy-20", "prior", 0, 150)
    assert np.array_equal(again.prepared.counts, noisier.prepared.counts)
    other = make_case("Ge", "noisy-20", "prior", 2, 150)
    assert not np.array_equal(other.truth.values, noisier.truth.values)


def test_one_orientation_is_one():
    case = make_case("Ge", "one-orientation", "stand-in", 0, 100)
    assert case.histogram.orientations == 1
    known = materials.known_elsewhere("Ge")["stand-in"]
    assert np.array_equal(case.truth.values, known.values)


def test_truths_are_held_out():
    drawn = materials.prior(MATERIAL).sample(300, materials.HELD_OUT_SEED)
    for number in (0, 3, 299):
        truth = materials.truth(MATERIAL, "prior", number)
        found = materials.prior(MATERIAL).basis.parameters_of(truth)
        assert np.allclose(found, drawn[number], atol=1e-9)
    assert materials.origins("Al") == ("prior", "measured, 80 K", "measured, 300 K", "SevenNet")


@pytest.mark.slow
def test_another_force_field_says_something_else():
    """Of a polar crystal, too, which gets its charges from elsewhere."""
    for material in ("MgO", "Al"):
        truth = materials.truth(material, "SevenNet", 0)
        assert materials.prior(material).where(truth).is_stable
        own = force_field_constants(materials.crystal(material))
        if (charges := materials.born_charges(material)) is not None:
            own = charges.given_to(own)
        assert Errors.of(own, truth).relative > 0.05
        assert (truth.born_charges is None) == (charges is None)


def test_errors_of_scaled_force_constants():
    """Energies go with the square root of the force constants."""
    truth = materials.known_elsewhere("Ge")["stand-in"]
    errors = Errors.of(truth.scaled(1.21), truth)
    energies = truth.frequencies(ZONE)
    assert errors.dispersion == pytest.approx(0.1 * np.sqrt(np.mean(energies**2)), rel=1e-5)
    assert errors.relative == pytest.approx(0.21)
    # Diamond, in units of its lattice constant: third neighbours at √11/4, fourth at 1.
    distances = Neighbours(truth.crystal).distances[0] / truth.crystal.lattice[0, 0]
    near = truth.values[:1, (distances > 0.1) & (distances < 0.9)]
    assert near.shape[1] == 4 + 12 + 12
    expected = 0.21 * np.sqrt(np.mean(near**2))
    assert errors.force_constants == pytest.approx(expected, rel=1e-6)


def test_zone_boundary_of_face_centred_cubic():
    truth = materials.known_elsewhere("Ge")["stand-in"]
    points = zone_boundary(truth)
    assert not (np.abs(points).max(axis=1) < 1e-9).any()
    assert len(np.unique(points, axis=0)) == len(points)
    corners = {tuple(sorted(np.abs(point))) for point in np.round(points, 6)}
    assert {(0.0, 0.5, 0.5), (0.5, 0.5, 0.5), (0.25, 0.5, 0.75)} <= corners


@pytest.mark.parametrize(("stated", "expected"), [(1.0, 0.683), (0.5, 0.383)])
def test_share_inside_is_that_of_a_gaussian(prior, spread, stated, expected):
    truth, random = materials.truth(MATERIAL, "prior", 0), np.random.default_rng(0)
    parameters, small = prior.basis.parameters_of(truth), 1e-4 * spread
    marks = []
    for wrong in random.multivariate_normal(np.zeros(len(small)), small, 100, method="eigh"):
        answer = Answer(prior.force_constants(parameters + wrong), prior.basis, stated**2 * small)
        marks.append(share_inside(answer, truth))
    for quantity in marks[0]:
        # 3 standard deviations of 100 values.
        assert np.mean([mark[quantity] for mark in marks]) == pytest.approx(expected, abs=0.14)


def test_share_has_the_interval_of_wilson():
    interval = binomtest(14, 20).proportion_ci(0.95, method="wilson")
    assert share(14, 20) == f"70 ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
    assert share(0, 0) == ""


def test_valley_of_the_truth(cases, prior):
    # Those that were counted little are fitted by any force constants.
    case = max(cases, key=lambda case: case.prepared.counts.sum())
    valley = Valley(case, prior.basis)
    end = valley.lattice.force_constants(valley.end.point.parameters)
    arrival = valley.judge(end)
    assert arrival.is_right and arrival.distance < 1e-9
    misfit = valley._misfit(valley.lattice.parameters_of(end)) - valley._least_misfit
    assert abs(misfit) < 1e-3
    assert not valley.judge(end.scaled(0.3)).is_right
    # The Cramér-Rao width is the error that repeated counting gives rise to, so that it grows
    # with the prior and vanishes with it.
    narrow = 1e-8 * np.eye(len(valley.covariance))
    assert valley.width(valley.covariance_under(narrow)) < valley.width(narrow) * 1.001
    pipeline = np.linalg.inv(valley._prior.precision)
    assert valley.width(valley.covariance_under(pipeline)) == pytest.approx(
        valley.width(valley.covariance), rel=1e-4
    )


def test_results_survive_being_cut_off(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    job = Job("Al", "noisy-20", "prior", 3, ("direct", "baseline"))
    record = dict(
        zip(("material", "kind", "origin", "number", "estimator"), job.keys[0], strict=True)
    )
    record["made_of"] = find("Al", "direct").made_of
    assert results.missing([job]) == [job]
    results.append(record)
    with results._path.open("a") as file:
        file.write('{"material": "Al", "ki')
    assert results.records() == [record]
    assert results.missing([replace(job, refine=False)]) == [
        replace(job, estimators=("baseline",), refine=False)
    ]
    results.append({**record, "estimator": "baseline", "made_of": ""})
    alone = replace(job, refine=False)
    assert results.missing([alone]) == []
    # Known from their estimates alone, they wait for refinements; the last record counts.
    assert results.missing([job]) == [job]
    for name, made_of in zip(job.estimators, (record["made_of"], ""), strict=True):
        results.append({**record, "estimator": name, "made_of": made_of, "limits": {}})
    assert results.missing([job, alone]) == []
    assert len(results._path.read_text().splitlines()) == 5
    assert [one["estimator"] for one in results.records()] == ["direct", "baseline"]


def test_results_of_earlier_runs_are_kept(tmp_path):
    path, kept = tmp_path / "results.jsonl", tmp_path / "kept.jsonl.xz"
    job = Job("Al", "noisy-20", "prior", 3, ("baseline",), refine=False)
    names = ("material", "kind", "origin", "number", "estimator")
    record = {**dict(zip(names, job.keys[0], strict=True)), "made_of": "", "top_mev": 1 / 3}
    results = Results(path, kept)
    results.append(record)
    results.keep()
    path.unlink()
    assert results.records() == [{**record, "top_mev": 0.33333}]
    assert results.missing([job]) == []
    # A later answer counts, one of another model is asked for again.
    results.append({**record, "made_of": "another"})
    assert results.missing([job]) == [job]
    results.keep()
    path.unlink()
    assert [one["made_of"] for one in results.records()] == ["another"]


def test_giving_up_counts_as_wrong(cases, prior):
    def give_up(case):
        raise FcinvError("nothing found")

    (record,) = scored(cases[0], [Estimator("none", "", give_up, give_up)])
    assert record["failure"] == "nothing found"
    text = page([record, {**record, "number": 1}], "")
    assert "| none | 2 | 0 (0 to 66) |" in text


def test_command_writes_the_page_from_what_is_there(tmp_path, records):
    results, written = tmp_path / "results.jsonl", tmp_path / "page.md"
    results.write_text("".join(json.dumps(record) + "\n" for record in records))
    kept = ["--kept", str(tmp_path / "kept.jsonl.xz")]
    main(["--cases", "0", "--results", str(results), "--page", str(written), *kept])
    assert "--cases 0" in written.read_text().splitlines()[0]


class Knowing(Network):
    """Always answers with the force constants it was told."""

    architecture = "direct"

    def __init__(self, prior, parameters, covariance):
        super().__init__(prior)
        self.answer = Estimates(torch.from_numpy(parameters)[None], covariance[None])

    def settings(self):
        return {}

    def estimate_from(self, prepared):
        return self.answer


def test_models_are_asked_and_refined_as_by_users(cases, prior, spread):
    case = cases[0]
    parameters = prior.basis.parameters_of(case.truth)
    knowing = Knowing(prior, 1.02 * parameters, torch.from_numpy(1e-4 * spread))
    card = ModelCard.describing(knowing, training={}, scores={})
    (record,) = scored(case, [network("direct", Model(prior, knowing, card))])
    assert "failure" not in record
    assert record["estimate"]["relative"] == pytest.approx(0.02, rel=1e-3)
    assert record["refined"]["arrival"]["is_right"]
    assert set(record["inside"]) == {"stiffness", "springs", "zone boundary"}


def test_baseline_estimates_are_those_of_the_force_field(cases):
    answer = find(MATERIAL, "baseline").estimate(cases[0])
    assert answer.covariance is None
    # As published for CHGNet's aluminium by `docs/prior.md`: about five times too soft.
    measured = materials.known_elsewhere("Al")["measured, 80 K"]
    ratio = energies_of(measured, ZONE).max() / energies_of(answer.force_constants, ZONE).max()
    assert 1.8 < ratio < 2.8
    assert torch.isfinite(torch.from_numpy(answer.force_constants.values)).all()
