"""Trainings that can be repeated to the last bit, and stopped at any time."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_group import MeasurementGroup, SimulatedGroup
from fcinv_core.networks.processes import Processes
from fcinv_core.networks.training_settings import TrainingSettings

(
    PLANS,
    VALIDATION_PLANS,
    WEIGHTS,
    ROUND,
    STEP,
    VALIDATION,
    CALIBRATION,
    LOOK,
    CALIBRATION_PLANS,
) = range(9)
"""What random numbers of a training are for."""


def seeds(seed: int, purpose: int, *numbers: int) -> np.random.SeedSequence:
    """Of all random numbers that a training with this seed draws at one place.

    Zeros at the end make no difference: each purpose has as many ``numbers`` as it always has.
    """
    return np.random.SeedSequence((seed, purpose, *numbers))


def seed_of(seed: int, purpose: int, *numbers: int) -> int:
    """The same as one number."""
    return int(seeds(seed, purpose, *numbers).generate_state(1)[0])


@dataclass(frozen=True, eq=False)
class Look:
    """What a step sees of one group.

    Attributes
    ----------
    group
        Observed.
    seed
        Of the random numbers that networks draw when they learn from it.
    """

    group: MeasurementGroup
    seed: int


class Rounds:
    """Simulated crystals of the last rounds of a training, to be observed again and again.

    Groups are counted through all rounds. A step takes one of each stratum, which are those whose
    number has the same remainder; so processes that own strata have equal shares in each step,
    and simulate nothing but their own. Which groups these are, and how they are observed, follows
    from the number of the step alone, whatever the number of processes.

    Parameters
    ----------
    batches
        Where they come from.
    settings
        How many there are, and how long they are kept.
    seed
        Of the training.
    processes
        That share them.
    """

    def __init__(
        self,
        batches: MeasurementBatches,
        settings: TrainingSettings,
        seed: int,
        processes: Processes,
    ) -> None:
        self._batches, self._settings, self._seed = batches, settings, seed
        self._processes = processes
        self._kept: dict[int, dict[int, SimulatedGroup]] = {}

    def looks(self, step: int) -> list[Look]:
        """The share of this process in a step; rounds that it needs are simulated if missing."""
        settings = self._settings
        last = step // settings.steps_per_round
        first = max(0, last + 1 - settings.rounds_kept)
        self._kept = {
            number: self._kept.get(number) or self._simulated(number)
            for number in range(first, last + 1)
        }
        of_round, strata = settings.groups_per_round, settings.groups_per_step
        everything = range(first * of_round, (last + 1) * of_round)
        random = np.random.default_rng(seeds(self._seed, STEP, step))
        found = []
        for start in everything[:strata]:
            stratum = everything[start - everything.start :: strata]
            chosen = stratum[random.integers(len(stratum))]  # drawn for all strata, here or not
            if not self._is_own(chosen):
                continue
            group = self._kept[chosen // of_round][chosen]
            own = np.random.default_rng(seeds(self._seed, LOOK, step, start % strata))
            found.append(Look(group.observe(own), int(own.integers(2**62))))
        return found

    def _simulated(self, number: int) -> dict[int, SimulatedGroup]:
        """Own groups of a round."""
        settings = self._settings
        start = number * settings.groups_per_round
        own = [
            group
            for group in range(start, start + settings.groups_per_round)
            if self._is_own(group)
        ]
        simulated = self._batches.simulate(
            settings.simulations,
            seed_of(self._seed, ROUND, number),
            [group - start for group in own],
        )
        return dict(zip(own, simulated, strict=True))

    def _is_own(self, group: int) -> bool:
        # The number of processes divides that of strata.
        return group % self._processes.size == self._processes.rank


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """The same sums in the same order, and the caller's random numbers left alone."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        # Other GPUs belong to other processes.
        own = [device] if device.type == "cuda" else []
        with warnings.catch_warnings(), torch.random.fork_rng(devices=own):
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
