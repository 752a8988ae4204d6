"""Trainings that can be repeated to the last bit, and stopped at any time."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_group import MeasurementGroup, SimulatedGroup
from fcinv_core.networks.training_settings import TrainingSettings

PLANS, VALIDATION_PLANS, WEIGHTS, ROUND, STEP, VALIDATION, CALIBRATION = range(7)
"""What random numbers of a training are for."""


def seeds(seed: int, purpose: int, number: int = 0) -> np.random.SeedSequence:
    """Of all random numbers that a training with this seed draws at one place."""
    return np.random.SeedSequence((seed, purpose, number))


def seed_of(seed: int, purpose: int, number: int = 0) -> int:
    """The same as one number."""
    return int(seeds(seed, purpose, number).generate_state(1)[0])


class Rounds:
    """Simulated crystals of the last rounds of a training, to be observed again and again.

    Which they are, and how they are observed, follows from the number of the step alone.

    Parameters
    ----------
    batches
        Where they come from.
    settings
        How many there are, and how long they are kept.
    seed
        Of the training.
    """

    def __init__(self, batches: MeasurementBatches, settings: TrainingSettings, seed: int) -> None:
        self._batches, self._settings, self._seed = batches, settings, seed
        self._kept: dict[int, list[SimulatedGroup]] = {}

    def observed(self, step: int, random: np.random.Generator) -> list[MeasurementGroup]:
        """What a step looks at; rounds that it needs are simulated if they are not there."""
        settings = self._settings
        last = step // settings.steps_per_round
        wanted = range(max(0, last + 1 - settings.rounds_kept), last + 1)
        self._kept = {number: self._kept[number] for number in wanted if number in self._kept}
        for number in wanted:
            if number not in self._kept:
                self._kept[number] = self._batches.simulate(
                    settings.simulations, seed_of(self._seed, ROUND, number)
                )
        groups = [group for number in wanted for group in self._kept[number]]
        n_groups = settings.per_step // settings.group_size
        places = random.choice(len(groups), n_groups, replace=False)
        return [groups[place].observe(random) for place in places]


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """The same sums in the same order, and the caller's random numbers left alone."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng():
            # Where a GPU has no such algorithm, weights are not the same to the last bit.
            warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the second of them does what it did before."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.getsignal(number) for number in numbers}

    def request(number: int, frame: FrameType | None) -> None:
        requested.set()
        signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, request)
    try:
        yield requested
    finally:
        for number in numbers:
            signal.signal(number, before[int(number)])
