"""Trainings: the same to the last bit however often they are killed."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks.tiny_network import N_FEATURES, TinyNetwork

from fcinv_core.ensemble.measurement_pool import load_pool, measurement_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.errors import FcinvError
from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.checkpoint import Checkpoint
from fcinv_core.networks.model import Model
from fcinv_core.networks.training import train
from fcinv_core.networks.training_folder import TrainingFolder
from fcinv_core.networks.training_settings import TrainingSettings

RANGES = MeasurementRanges(
    spectrometers=("ARCS", "LET"), n_orientations=(3, 8), kinds=("slice",), idealised=0.25
)

TINY = TrainingSettings(
    measurements=120,
    per_step=8,
    group_size=4,
    learning_rate=0.02,
    warm_up=2,
    simulations=16,
    rounds_kept=2,
    observations=2,
    n_q=12,
    geometries=4,
    validation_geometries=2,
    validation_cases=32,
    calibration_geometries=2,
    calibration_cases=32,
    steps_between_validations=6,
)
"""15 steps in rounds of 4, validations after 6, 12 and 15."""


class Killed(BaseException):
    """As final as SIGKILL: nothing is saved after it."""


@pytest.fixture(scope="module")
def plans():
    """Measurements that have been planned, by their number: the same for all seeds."""
    return {}


@pytest.fixture(autouse=True)
def quick(monkeypatch, plans):
    def planned(prior, n, ranges, seed, progress, *, energy_bins, numbers):
        if n not in plans:
            plans[n] = measurement_pool(prior, n, ranges, seed, energy_bins=energy_bins)
        progress("Planning measurements", 1.0)
        return tuple(plans[n][number] for number in numbers)

    monkeypatch.setattr("fcinv_core.networks.training.measurement_pool", planned)
    monkeypatch.setattr("fcinv_core.networks.training_folder.PART_OF_POOL", 2)
    monkeypatch.setitem(NETWORKS, "tiny", TinyNetwork)


def trained(prior, folder, settings=TINY, **options):
    return train(TinyNetwork, prior, folder, settings=settings, ranges=RANGES, **options)


def weights(path):
    return Model.load(path).network.state_dict()


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def curve(folder):
    with open(folder / "learning_curve.csv", newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def uninterrupted(germanium_prior, tmp_path_factory, plans):
    folder = tmp_path_factory.mktemp("uninterrupted") / "new" / "folder"
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick.__wrapped__(monkeypatch, plans)
        trained(germanium_prior, folder, command="fcinv train")
    return folder


def test_what_is_left_in_the_folder(uninterrupted, germanium_prior, monkeypatch):
    card = Model.load(uninterrupted / "model.safetensors").card
    assert card.command == "fcinv train" and card.architecture == "tiny"
    assert set(card.scores) == {"idealised", "noisy"}
    assert card.training["settings"]["measurements"] == 120
    rows = curve(uninterrupted)
    assert [row["measurements"] for row in rows] == [48, 96, 120]
    best = min(rows, key=lambda row: row["error (%)"])
    assert best["noisy: median error (meV)"] == pytest.approx(
        card.scores["noisy"].median_mev, rel=1e-5
    )
    assert (uninterrupted / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    stored = Prior.load(TrainingFolder(uninterrupted).prior)
    np.testing.assert_array_equal(stored.factor, germanium_prior.factor)
    assert not list(uninterrupted.glob(".*"))


@pytest.mark.parametrize("calls", [[1, 2, 4], [9, 2, 7], [19]])
def test_killed_and_resumed_is_the_same(calls, uninterrupted, germanium_prior, tmp_path):
    """While planning, in a round, after a round, again and again, after the last step."""
    for n in calls:
        left = iter(range(n, 0, -1))

        def kill(text, fraction, left=left):
            if next(left) == 1:
                raise Killed

        with pytest.raises(Killed):
            trained(germanium_prior, tmp_path, resume=True, progress=kill)
    path = trained(germanium_prior, tmp_path, resume=True)
    for name in ("network", "averaged", "best"):
        first, second = (
            getattr(Checkpoint.load(TrainingFolder(folder).checkpoint), name)
            for folder in (uninterrupted, tmp_path)
        )
        assert same(first, second)
    assert same(weights(uninterrupted / "model.safetensors"), weights(path))
    rows = curve(tmp_path)
    for row, other in zip(rows, curve(uninterrupted), strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }


def test_what_was_planned_is_kept_when_planning_ends_early(uninterrupted, tmp_path):
    """All but the part that was being planned; nothing of another training."""
    folder, made = TrainingFolder(tmp_path), load_pool(uninterrupted / "measurements.safetensors")
    asked = []

    def plan(numbers):
        asked.append(list(numbers))
        if len(asked) == 2:
            raise Killed
        return tuple(made[number] for number in numbers)

    with pytest.raises(Killed):
        folder.pool("measurements", 4, plan)
    pool = folder.pool("measurements", 4, plan)
    assert asked == [[0, 1], [2, 3], [2, 3]]
    assert [len(rows.edges) for rows in pool] == [len(rows.edges) for rows in made]
    assert [path.name for path in tmp_path.iterdir()] == ["measurements.safetensors"]


def test_no_two_trainings_at_once_in_a_folder(germanium_prior, tmp_path):
    def begin_another(text, fraction):
        with pytest.raises(FcinvError, match="another training is at work"):
            trained(germanium_prior, tmp_path, resume=True)
        raise Killed

    with pytest.raises(Killed):
        trained(germanium_prior, tmp_path, progress=begin_another)
    with TrainingFolder(tmp_path).held():
        pass


def test_asked_to_stop_it_saves_the_last_step(uninterrupted, germanium_prior, tmp_path):
    asked, number = [], signal.SIGTERM

    def progress(text, fraction):
        if text.startswith("Training") and not asked and fraction > 0.45:
            os.kill(os.getpid(), number)
            asked.append(round(fraction * TINY.steps))

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        trained(germanium_prior, tmp_path, progress=progress)
    assert signal.getsignal(number) is before
    assert asked == [7]
    assert Checkpoint.load(TrainingFolder(tmp_path).checkpoint).counters["step"] == 7
    path = trained(germanium_prior, tmp_path, resume=True)
    assert same(weights(uninterrupted / "model.safetensors"), weights(path))


def test_seeds(uninterrupted, germanium_prior, tmp_path):
    other = trained(germanium_prior, tmp_path, seed=1)
    assert not same(weights(uninterrupted / "model.safetensors"), weights(other))
    state = torch.get_rng_state()
    trained(germanium_prior, tmp_path, seed=1, resume=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_learns(germanium_prior, tmp_path, monkeypatch):
    """What is told, here the overall stiffness itself; errors of shapes remain."""

    def told(self, groups):
        truth = self.log_stiffness(torch.cat([group.parameters for group in groups]))
        return torch.nn.functional.pad(truth.float()[:, None], (0, N_FEATURES - 1))

    monkeypatch.setattr(TinyNetwork, "prepare", told)
    settings = replace(TINY, measurements=640, learning_rate=0.05, steps_between_validations=10)
    trained(germanium_prior, tmp_path, settings)
    first, *_, last = curve(tmp_path)
    assert last["error (%)"] < 0.5 * first["error (%)"]
    assert last["loss: misfit"] + last["loss: width"] < first["loss: misfit"] + first["loss: width"]


def test_it_ends_when_nothing_improves_and_goes_on_when_asked_for_more(germanium_prior, tmp_path):
    settings = replace(TINY, learning_rate=1e-30, patience=2, steps_between_validations=2)
    trained(germanium_prior, tmp_path, settings)
    assert [row["measurements"] for row in curve(tmp_path)] == [16, 32, 48]
    trained(germanium_prior, tmp_path, settings, resume=True)
    assert len(curve(tmp_path)) == 3
    more = replace(settings, measurements=240)
    trained(germanium_prior, tmp_path, more, resume=True)
    assert [row["measurements"] for row in curve(tmp_path)] == [16, 32, 48, 64, 80]


def test_more_measurements(uninterrupted, germanium_prior, tmp_path):
    trained(germanium_prior, tmp_path, replace(TINY, measurements=48))
    assert not same(
        weights(uninterrupted / "model.safetensors"), weights(tmp_path / "model.safetensors")
    )
    path = trained(germanium_prior, tmp_path, resume=True)
    assert [row["measurements"] for row in curve(tmp_path)] == [48, 96, 120]
    # The learning rate of the first steps was that of the shorter training.
    assert not same(weights(uninterrupted / "model.safetensors"), weights(path))


def test_weights_to_begin_with(uninterrupted, germanium_prior, tmp_path):
    """They are those of the model, before the first step."""
    model = Model.load(uninterrupted / "model.safetensors")
    slow = replace(TINY, learning_rate=1e-12, weight_decay=1e-12)
    begun = trained(germanium_prior, tmp_path / "begun", slow, begin_with=model)
    found = dict(Model.load(begun).network.named_parameters())
    for name, value in model.network.named_parameters():
        torch.testing.assert_close(found[name], value)


def test_learning_rates():
    settings = TrainingSettings(measurements=64_000, warm_up=100)
    rates = [settings.learning_rate_at(step) for step in range(settings.steps)]
    assert settings.steps == 1000
    assert rates[0] == pytest.approx(2e-5)
    assert np.argmax(rates) == 99
    assert rates[500] == pytest.approx(1e-3)
    assert 0 < rates[-1] < 1e-8


def refused(prior, folder, *told, **options):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(FcinvError) as caught:
        trained(prior, folder, **options)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in told), text
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_training_is_not_touched(uninterrupted, germanium_prior):
    folder = uninterrupted
    refused(germanium_prior, folder, "--resume")
    refused(germanium_prior, folder, "--seed 0, not 1", resume=True, seed=1)
    refused(
        replace(germanium_prior, centre=2 * germanium_prior.centre), folder, "prior", resume=True
    )
    other = replace(TINY, group_size=2)
    refused(germanium_prior, folder, "settings", resume=True, settings=other)
    with pytest.raises(FcinvError, match="seed -1"):
        trained(germanium_prior, folder, seed=-1)


def test_a_damaged_checkpoint_is_told(uninterrupted, germanium_prior, tmp_path):
    trained(germanium_prior, tmp_path, replace(TINY, measurements=16))
    checkpoint = TrainingFolder(tmp_path).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(FcinvError, match="damaged or no checkpoint"):
        trained(germanium_prior, tmp_path, resume=True)


def test_divergence_is_told(germanium_prior, tmp_path, monkeypatch):
    def losses(self, spectra, parameters):
        return {"nothing": self.answer(spectra).sum() * torch.nan}

    monkeypatch.setattr(TinyNetwork, "losses", losses)
    with pytest.raises(FcinvError, match="diverges"):
        trained(germanium_prior, tmp_path, replace(TINY, measurements=800))


@pytest.mark.parametrize(
    "wrong",
    [
        {"measurements": 0},
        {"learning_rate": float("nan")},
        {"group_size": 5},
        {"per_step": 32},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(FcinvError):
        replace(TINY, **wrong)
