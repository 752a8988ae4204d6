"""Training: simulate, observe, step; again and again.

Rounds of crystals are simulated as training goes on; each is observed several times with other
noise, and the weights follow the gradient of the network's losses. What is validated and kept is
the moving average of the weights, where it did best on measurements in geometries that were never
trained on. In the end the stated spreads are calibrated, on others of these.

All random numbers follow from the seed and the number of the step, none from the clock or from
what came before. A training that was killed and resumed ends with the same weights, to the last
bit, as one that was not, on the same machine with as many threads.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_pool import measurement_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.errors import FcinvError
from fcinv_core.networks.checkpoint import Checkpoint
from fcinv_core.networks.learning_curve import CurvePoint, write_picture, write_table
from fcinv_core.networks.model import Model
from fcinv_core.networks.model_card import ModelCard
from fcinv_core.networks.network import Network, Settings
from fcinv_core.networks.reproducible import (
    CALIBRATION,
    PLANS,
    STEP,
    VALIDATION,
    VALIDATION_PLANS,
    WEIGHTS,
    Rounds,
    deterministic,
    seed_of,
    seeds,
    stop_requests,
)
from fcinv_core.networks.training_folder import POOLS, TrainingFolder
from fcinv_core.networks.training_settings import TRAINING_RANGES, TrainingSettings
from fcinv_core.networks.validation import GROUP_SIZE, ValidationSet

if TYPE_CHECKING:
    from fcinv_core.ensemble.potentials import Progress
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
    device: torch.device | str = "cpu",
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
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
    device
        Of the training.
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
    if begin_with is not None:
        network.begin_with(begin_with.network)
        described["begun_with"] = begin_with.sha256
    folder.claim(prior, described, settings.measurements, resume=resume)
    with deterministic(torch.device(device)):
        training = _Training(folder, network, settings, ranges, seed, device, progress)
        with stop_requests() as stop:
            training.run(stop)
        return training.finish(described, command)


class _Training:
    """The state of a training between two steps."""

    def __init__(
        self,
        folder: TrainingFolder,
        network: Network,
        settings: TrainingSettings,
        ranges: MeasurementRanges,
        seed: int,
        device: torch.device | str,
        progress: Progress | None,
    ) -> None:
        self.folder, self.settings, self.seed = folder, settings, seed
        self.device = torch.device(device)
        self._tell = progress or (lambda text, fraction: None)
        self.network = network.to(self.device)
        self.averaged = _copy_of(network).to(self.device)
        prior = network.prior
        pool, other_pool = self._pools(prior, ranges)
        batches, others = (
            MeasurementBatches(
                prior, rows, ranges=ranges, n_q=settings.n_q, group_size=size, device=self.device
            )
            for rows, size in ((pool, settings.group_size), (other_pool, GROUP_SIZE))
        )
        self._rounds = Rounds(batches, settings, seed)
        self._others = others
        self._tell("Simulating", 0.0)
        self._validation = self._not_trained_on(settings.validation_cases, VALIDATION)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = self._lost = self._patient_from = 0
        self.best: dict[str, torch.Tensor] = {}
        self.points: list[CurvePoint] = []
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._seconds, self._begin = 0.0, time.monotonic()
        if folder.checkpoint.is_file():
            self._restore(Checkpoint.load(folder.checkpoint))

    def run(self, stop: threading.Event) -> None:
        """Step until enough measurements have been seen, or the network improves no more."""
        settings = self.settings
        while self.step < settings.steps and not self._is_settled():
            self._take_step()
            self.step += 1
            is_last = self.step == settings.steps
            validated = is_last or self.step % settings.steps_between_validations == 0
            if validated:
                self._validate()
            if validated or self.step % settings.steps_per_round == 0:
                self._save()
            self._tell(self._in_words(), self.step / settings.steps)
            if stop.is_set():
                self._save()
                write_picture(self.points, self._title, self.folder.path)
                raise KeyboardInterrupt
        if not self.points:  # fewer measurements than it has seen before its first validation
            self._validate()

    def finish(self, described: dict[str, Any], command: str) -> Path:
        """Write the model with the best weights, and the learning curve."""
        best = self.points[self._best_place()]
        network = _copy_of(self.network)
        network.load_state_dict(self.best)
        network.to(self.device)
        self._tell("Simulating", 1.0)
        others = self._not_trained_on(self.settings.calibration_cases, CALIBRATION)
        others.calibrate(network, self._tell)
        scores = self._validation.scores(network, at_leisure=True, progress=self._tell)
        training = {
            "measurements": best.measurements,
            "seconds": round(self.points[-1].seconds),
            "coverage of 1 sigma": scores.coverage,
            "device": self.device.type,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "ranges": described["ranges"],
        }
        card = ModelCard.describing(
            network, training=training, scores=scores.kinds, command=command
        )
        Model(network.prior, network, card).save(self.folder.model)
        write_table(self.points, self.folder.path)
        write_picture(self.points, self._title, self.folder.path)
        return self.folder.model

    @property
    def _title(self) -> str:
        return f"{self.network.prior.crystal.formula}, {self.network.architecture}"

    def _pools(self, prior: Prior, ranges: MeasurementRanges) -> list[Any]:
        """Measurements to train with, and others to validate with."""
        settings, pools = self.settings, []
        numbers = (settings.geometries, settings.validation_geometries)
        for name, n, purpose in zip(POOLS, numbers, (PLANS, VALIDATION_PLANS), strict=True):

            def planned(n: int = n, purpose: int = purpose) -> Any:
                return measurement_pool(
                    prior,
                    n,
                    ranges,
                    seed_of(self.seed, purpose),
                    self._tell,
                    energy_bins=settings.energy_bins,
                )

            pools.append(self.folder.pool(name, planned))
        return pools

    def _not_trained_on(self, n: int, purpose: int) -> ValidationSet:
        """Measurements in geometries that were not trained on."""
        return ValidationSet(self._others, n, seed_of(self.seed, purpose), self.averaged)

    def _take_step(self) -> None:
        """Look at some measurements, and change the weights."""
        settings = self.settings
        random = np.random.default_rng(seeds(self.seed, STEP, self.step))
        # Networks may draw random numbers of their own.
        torch.manual_seed(int(random.integers(2**62)))
        groups = self._rounds.observed(self.step, random)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        self.network.train()
        spectra = self.network.prepare(groups)
        parameters = torch.cat([group.parameters for group in groups])
        losses = self.network.losses(spectra, parameters)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.largest_gradient)
        if not math.isfinite(float(norm)) or not math.isfinite(float(total.detach())):
            self._lose()
            return
        self._lost = 0
        self.optimizer.step()
        self._average()
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(loss.detach())
        self._summed += 1

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

    def _validate(self) -> None:
        scores = self._validation.scores(self.averaged)
        losses = {name: value / max(self._summed, 1) for name, value in self._sums.items()}
        seen = self.step * self.settings.per_step
        self.points.append(CurvePoint(seen, self._elapsed(), losses, scores))
        self._sums, self._summed = {}, 0
        if self._best_place() == len(self.points) - 1:
            self.best = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.averaged.state_dict().items()
            }
        write_table(self.points, self.folder.path)

    def _best_place(self) -> int:
        return int(np.argmin([point.scores.error for point in self.points]))

    def _is_settled(self) -> bool:
        """No better for as long as one has patience."""
        if not self.points:
            return False
        since = max(self._best_place() + 1, self._patient_from)
        return len(self.points) - since >= self.settings.patience

    def _in_words(self) -> str:
        parts = []
        if self._summed:
            parts.append(f"loss {sum(self._sums.values()) / self._summed:.3g}")
        if self.points:
            kinds = self.points[-1].scores.kinds.items()
            errors = ", ".join(f"{score.median_mev:.2g} meV {kind}" for kind, score in kinds)
            parts.append(f"error {errors}")
        return f"Training: {'; '.join(parts)}" if parts else "Training"

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._begin

    def _save(self) -> None:
        Checkpoint(
            network=self.network.state_dict(),
            averaged=self.averaged.state_dict(),
            best=self.best,
            optimizer=self.optimizer.state_dict()["state"],
            counters={
                "step": self.step,
                "seconds": self._elapsed(),
                "points": [point.to_dict() for point in self.points],
                "sums": self._sums,
                "summed": self._summed,
                "lost": self._lost,
                "patient_from": self._patient_from,
                "total": self.settings.measurements,
            },
        ).save(self.folder.checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.network.load_state_dict(checkpoint.network)
        self.averaged.load_state_dict(checkpoint.averaged)
        self.optimizer.load_state_dict(
            {
                "state": checkpoint.optimizer,
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )
        self.best = dict(checkpoint.best)
        counters = checkpoint.counters
        self.step, self._seconds = counters["step"], counters["seconds"]
        self.points = [CurvePoint.from_dict(point) for point in counters["points"]]
        self._sums, self._summed = counters["sums"], counters["summed"]
        self._lost, self._patient_from = counters["lost"], counters["patient_from"]
        if counters["total"] != self.settings.measurements:
            # Whoever asks for more wants to see whether it helps.
            self._patient_from = len(self.points)


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
