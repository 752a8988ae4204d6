"""Training: simulate, observe, step; again and again.

Rounds of crystals are simulated as training goes on; each is observed several times with other
noise, and the weights follow the gradient of the network's losses. What is validated and kept is
the moving average of the weights, where it did best on measurements in geometries that were never
trained on. In the end the stated spreads are calibrated, in still other geometries.

All random numbers follow from the seed, the number of the step and that of the group, none from the
clock, from what came before or from the process. A training that was killed and resumed ends with
the same weights, to the last bit, as one that was not, on the same machine with as many threads and
processes; with another number of processes it differs by rounding.
"""

from __future__ import annotations

import math
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_pool import measurement_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.errors import FcinvError
from fcinv_core.networks.checkpoint import Checkpoint
from fcinv_core.networks.gradient import mean_gradient
from fcinv_core.networks.learning_curve import write_picture, write_table
from fcinv_core.networks.model import Model
from fcinv_core.networks.model_card import ModelCard
from fcinv_core.networks.network import Network, Settings
from fcinv_core.networks.processes import ALONE, Processes
from fcinv_core.networks.reproducible import (
    CALIBRATION,
    CALIBRATION_PLANS,
    PLANS,
    VALIDATION,
    VALIDATION_PLANS,
    WEIGHTS,
    Rounds,
    deterministic,
    seed_of,
    stop_requests,
)
from fcinv_core.networks.training_folder import POOLS, TrainingFolder
from fcinv_core.networks.training_record import TrainingRecord
from fcinv_core.networks.training_settings import TRAINING_RANGES, TrainingSettings
from fcinv_core.networks.validation import GROUP_SIZE, ValidationSet, calibrate

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.ensemble.measured_rows import MeasuredRows
    from fcinv_core.ensemble.prior import Prior

AVERAGED_OVER = 1000
"""Steps that the moving average of the weights reaches back, fewer in the beginning."""

MOST_LOST = 20
"""Steps in a row whose losses or gradients may be not finite; they change nothing."""

USUAL = TrainingSettings()


def train(
    architecture: type[Network],
    prior: Prior,
    output: Path,
    *,
    settings: TrainingSettings = USUAL,
    network_settings: Settings | None = None,
    begin_with: Model | None = None,
    ranges: MeasurementRanges = TRAINING_RANGES,
    seed: int = 0,
    processes: Processes = ALONE,
    resume: bool = False,
    command: str = "",
    progress: Report | None = None,
) -> Path:
    """Train a network for one crystal.

    Parameters
    ----------
    architecture
        The kind of network.
    prior
        Of the force constants.
    output
        Folder for the model, the learning curve, checkpoints, and what can be used again.
    settings
        How long and how hard.
    network_settings
        Sizes of the network; those left out have their defaults.
    begin_with
        A trained model, of any crystal, whose weights to begin with. What windows around modes
        show is much the same for all crystals, so that this saves most of the training.
    ranges
        Of the measurements.
    seed
        Not negative. Weights follow from it, on one machine.
    processes
        That train together, see `joined`; by default this one alone, on the processor. Only the
        first of them touches the folder, needs ``begin_with`` and calls ``progress``.
    resume
        Continue what is in the folder, or begin if there is nothing. More measurements than
        before are possible: the training goes on at the learning rate that it would have had.
    command
        For the model's card.
    progress
        Called with a few words and the fraction done.

    Returns
    -------
    Path of the model, for `Model.load`.

    Raises
    ------
    FcinvError
        When the folder holds another training, or one at all that is not to be resumed; when
        nothing can be measured; when weights diverge.
    KeyboardInterrupt
        On SIGINT or SIGTERM, after the state has been saved.
    """
    if seed < 0:
        raise FcinvError(f"seed {seed} of a training: give a whole number, zero or above")
    settings.check_processes(processes.size)
    folder = TrainingFolder(Path(output))
    network = _initialised(architecture, prior, network_settings, seed)
    described: dict[str, Any] = {
        "architecture": architecture.architecture,
        "network": network.settings(),
        "seed": seed,
        "ranges": asdict(ranges),
        "settings": {
            name: value
            for name, value in asdict(settings).items()
            if name not in ("measurements", "patience")
        },
    }

    def begun() -> dict[str, torch.Tensor]:
        if begin_with is not None:
            network.begin_with(begin_with.network)
            described["begun_with"] = begin_with.sha256
        folder.claim(prior, described, settings.measurements, resume=resume)
        return network.state_dict()

    tell = progress if progress and processes.rank == 0 else _untold
    with ExitStack() as stack, deterministic(processes.device):
        processes.first(lambda: stack.enter_context(folder.held()))
        network.load_state_dict(processes.first(begun))
        training = _Training(folder, network, settings, ranges, seed, processes, tell)
        with stop_requests() as stop:
            training.run(stop)
        return processes.first(lambda: training.finish(described, command))


class _Training:
    """The state of a training between two steps."""

    def __init__(
        self,
        folder: TrainingFolder,
        network: Network,
        settings: TrainingSettings,
        ranges: MeasurementRanges,
        seed: int,
        processes: Processes,
        tell: Report,
    ) -> None:
        self.folder, self.settings, self.ranges, self.seed = folder, settings, ranges, seed
        self._processes, self._tell = processes, tell
        self.network = network.to(processes.device)
        self.averaged = _copy_of(network).to(processes.device)
        self.record = TrainingRecord()
        pool = processes.first(lambda: self._pool(POOLS[0], settings.geometries, PLANS))
        batches = self._batches(pool, settings.group_size)
        self._rounds = Rounds(batches, settings, seed, processes)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = self._lost = 0
        processes.first(self._prepare_validation)
        if checkpoint := processes.first(self._checkpoint):
            self._restore(checkpoint)

    def run(self, stop: threading.Event) -> None:
        """Step until enough measurements have been seen, or the network improves no more."""
        settings, first = self.settings, self._processes.first
        is_over = first(self._is_settled)
        while self.step < settings.steps and not is_over:
            self._take_step()
            self.step += 1
            if self.step == settings.steps or self.step % settings.steps_between_validations == 0:
                is_over = first(self._validate)
            elif self.step % settings.steps_per_round == 0:
                first(self._save)
            self._tell(self.record.in_words(), self.step / settings.steps)
            if self._processes.any(stop.is_set()):
                first(self._stop)
                raise KeyboardInterrupt

    def finish(self, described: dict[str, Any], command: str) -> Path:
        """Write the model with the best weights, and the learning curve."""
        record = self.record
        if not record.points:  # fewer measurements than it has seen before its first validation
            self._validate()
        network = _copy_of(self.network)
        network.load_state_dict(record.best)
        network.to(self._processes.device)
        self._calibrate(network)
        scores = self._validation.scores(network, at_leisure=True, progress=self._tell)
        training = {
            "measurements": record.best_point.measurements,
            "seconds": round(record.points[-1].seconds),
            "coverage of 1 sigma": scores.coverage,
            "device": self._processes.device.type,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "ranges": described["ranges"],
        }
        card = ModelCard.describing(
            network, training=training, scores=scores.kinds, command=command
        )
        Model(network.prior, network, card).save(self.folder.model)
        write_table(record.points, self.folder.path)
        self._draw()
        return self.folder.model

    def _calibrate(self, network: Network) -> None:
        """In geometries that were neither trained nor validated in."""
        settings = self.settings
        pool = self._pool(POOLS[2], settings.calibration_geometries, CALIBRATION_PLANS)
        batches = self._batches(pool, GROUP_SIZE)
        seed = seed_of(self.seed, CALIBRATION)
        self._tell("Simulating", 1.0)
        calibrate(network, batches, settings.calibration_cases, seed, self._tell)

    def _draw(self) -> None:
        title = f"{self.network.prior.crystal.formula}, {self.network.architecture}"
        write_picture(self.record.points, title, self.folder.path)

    def _pool(self, name: str, n: int, purpose: int) -> tuple[MeasuredRows, ...]:
        """Planned measurements of the folder; they are planned if there are none."""
        prior, seed = self.network.prior, seed_of(self.seed, purpose)
        bins = self.settings.energy_bins

        def planned(numbers: range) -> tuple[MeasuredRows, ...]:
            return measurement_pool(
                prior, n, self.ranges, seed, self._tell, energy_bins=bins, numbers=numbers
            )

        return self.folder.pool(name, n, planned)

    def _batches(self, pool: tuple[MeasuredRows, ...], group_size: int) -> MeasurementBatches:
        return MeasurementBatches(
            self.network.prior,
            pool,
            ranges=self.ranges,
            n_q=self.settings.n_q,
            group_size=group_size,
            device=self._processes.device,
        )

    def _prepare_validation(self) -> None:
        settings = self.settings
        pool = self._pool(POOLS[1], settings.validation_geometries, VALIDATION_PLANS)
        self._tell("Simulating", 0.0)
        self._validation = ValidationSet(
            self._batches(pool, GROUP_SIZE),
            settings.validation_cases,
            seed_of(self.seed, VALIDATION),
            self.averaged,
        )

    def _take_step(self) -> None:
        """Look at some measurements, and change the weights."""
        settings = self.settings
        looks = self._rounds.looks(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        self.network.train()
        losses = {
            name: float(loss)
            for name, loss in mean_gradient(self.network, looks, self._processes).items()
        }
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.largest_gradient)
        if not math.isfinite(float(norm)) or not math.isfinite(sum(losses.values())):
            self._lose()
            return
        self._lost = 0
        self.optimizer.step()
        self._average()
        self.record.add_losses(losses)

    def _lose(self) -> None:
        self._lost += 1
        if self._lost > MOST_LOST:
            raise FcinvError(
                f"the training in {self.folder.path} diverges at step {self.step}: train in "
                "another folder with another --seed"
            )

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average a little towards the weights."""
        weight = max(1 / AVERAGED_OVER, 9 / (10 + self.step))
        for mean, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, weight)
        for own, other in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            own.copy_(other)

    def _validate(self) -> bool:
        """Judge the averaged weights, keep everything, and say whether training is over."""
        scores = self._validation.scores(self.averaged)
        self.record.add_scores(self.step * self.settings.per_step, scores, self.averaged)
        write_table(self.record.points, self.folder.path)
        self._save()
        return self._is_settled()

    def _is_settled(self) -> bool:
        return self.record.is_settled(self.settings.patience)

    def _stop(self) -> None:
        self._save()
        self._draw()

    def _save(self) -> None:
        Checkpoint(
            network=self.network.state_dict(),
            averaged=self.averaged.state_dict(),
            best=self.record.best,
            optimizer=self.optimizer.state_dict()["state"],
            counters={
                "step": self.step,
                "lost": self._lost,
                "total": self.settings.measurements,
                **self.record.counters(),
            },
        ).save(self.folder.checkpoint)

    def _checkpoint(self) -> Checkpoint | None:
        """What there is to go on from."""
        path = self.folder.checkpoint
        return Checkpoint.load(path) if path.is_file() else None

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.network.load_state_dict(checkpoint.network)
        self.averaged.load_state_dict(checkpoint.averaged)
        self.optimizer.load_state_dict(
            {
                "state": checkpoint.optimizer,
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )
        counters = checkpoint.counters
        self.step, self._lost = counters["step"], counters["lost"]
        self.record.restore(counters, checkpoint.best)
        if counters["total"] != self.settings.measurements:
            self.record.be_patient_again()


def _untold(text: str, fraction: float) -> None:
    """Nobody looks."""


def _initialised(
    architecture: type[Network], prior: Prior, settings: Settings | None, seed: int
) -> Network:
    """On the processor, with weights that the seed decides on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, WEIGHTS))
        return architecture(prior, settings)


def _copy_of(network: Network) -> Network:
    """Another network with the same weights, on the processor."""
    with torch.random.fork_rng(devices=[]):
        copy = type(network)(network.prior, network.settings())
    copy.load_state_dict(network.state_dict())
    return copy
