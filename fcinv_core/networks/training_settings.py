"""How long and how hard a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.errors import FcinvError

TRAINING_RANGES = MeasurementRanges(idealised=0.25)
"""What networks see: a quarter of it without noise, background and gaps."""


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers that a training depends on, besides prior, network and seed.

    Attributes
    ----------
    measurements
        How many a network sees in all, unless it stops improving before.
    per_step
        Measurements that one step of the optimizer looks at.
    group_size
        How many of them share a geometry; `per_step` is a multiple.
    learning_rate
        Highest; it rises over the first `warm_up` steps and falls as half a cosine of the share of
        the measurements that have been seen.
    warm_up
        Steps.
    weight_decay, largest_gradient
        Of AdamW, and the norm at which gradients are clipped.
    simulations
        Crystals whose intensities are computed in one round. Each is observed `observations`
        times on average in a round, with other noise.
    rounds_kept
        How many of the last rounds observations are taken of. Memory: with the other defaults
        67 MB each.
    observations
        `simulations` times this is a multiple of `per_step`.
    n_q
        Most Q bins of an observation.
    energy_bins
        Of all measurements.
    geometries, validation_geometries, calibration_geometries
        Measurements that are planned, to train, to validate and to calibrate spreads with.
        Errors have much in common within a geometry: calibration needs many.
    validation_cases
        Measurements on which the network is judged; a quarter idealised.
    calibration_cases
        Others, in other geometries, on which stated spreads are calibrated in the end.
    steps_between_validations
        Steps.
    patience
        Training ends after so many validations in a row without improvement.
    """

    measurements: int = 120_000
    per_step: int = 64
    group_size: int = 32
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 1e-2
    largest_gradient: float = 1.0
    simulations: int = 1024
    rounds_kept: int = 8
    observations: int = 4
    n_q: int = 256
    energy_bins: int = 64
    geometries: int = 480
    validation_geometries: int = 40
    validation_cases: int = 512
    calibration_geometries: int = 160
    calibration_cases: int = 1280
    steps_between_validations: int = 256
    patience: int = 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0) and not (
                name in ("warm_up", "weight_decay") and value == 0
            ):
                raise FcinvError(f"{name} {value} of a training: give a number above 0")
        for whole, part in (
            (self.per_step, self.group_size),
            (self.simulations, self.group_size),
            (self.simulations * self.observations, self.per_step),
        ):
            if whole % part:
                raise FcinvError(
                    f"{self.simulations} simulations of a training, observed {self.observations} "
                    f"times, in steps of {self.per_step} and groups of {self.group_size}: give "
                    "numbers that divide each other"
                )

        if self.per_step > self.simulations:
            raise FcinvError(
                f"steps of {self.per_step} measurements of a training need as many simulations in "
                f"a round, not {self.simulations}: give more, or smaller steps"
            )

    @property
    def groups_per_step(self) -> int:
        """Groups that one step looks at."""
        return self.per_step // self.group_size

    @property
    def groups_per_round(self) -> int:
        """Groups whose intensities are computed in one round."""
        return self.simulations // self.group_size

    def check_processes(self, n: int) -> None:
        """Refuse a number of processes that cannot share the groups of a step equally.

        Raises
        ------
        FcinvError
        """
        groups = self.groups_per_step
        if groups % n:
            fitting = [str(number) for number in range(1, groups + 1) if groups % number == 0]
            raise FcinvError(
                f"{n} processes cannot share the {groups} groups of measurements that a step of "
                f"training looks at: start {' or '.join(fitting)}"
            )

    @property
    def steps(self) -> int:
        """Of the optimizer, in all."""
        return -(-self.measurements // self.per_step)

    @property
    def steps_per_round(self) -> int:
        """Between simulations."""
        return self.simulations * self.observations // self.per_step

    def learning_rate_at(self, step: int) -> float:
        """Of the step with this number, from 0.

        It depends on the share of the steps that are done. So a training that is resumed for
        more measurements goes on at the higher rate that it would have had with them.
        """
        warm = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))
