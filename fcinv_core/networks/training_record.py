"""What a training has come to: errors at each validation, and the weights that did best."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fcinv_core.networks.learning_curve import CurvePoint
from fcinv_core.networks.network import Network
from fcinv_core.networks.validation import ValidationScores


class TrainingRecord:
    """Validations so far.

    Attributes
    ----------
    points
        One for each validation.
    best
        Weights by name where the error was smallest, on the processor; empty before the first
        validation.
    """

    def __init__(self) -> None:
        self.points: list[CurvePoint] = []
        self.best: dict[str, torch.Tensor] = {}
        self._patient_from = 0
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._seconds, self._begin = 0.0, time.monotonic()

    def add_losses(self, losses: Mapping[str, float]) -> None:
        """Those of one step."""
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + loss
        self._summed += 1

    def add_scores(self, seen: int, scores: ValidationScores, network: Network) -> None:
        """Those of a network after so many measurements; its weights are kept if it did best."""
        losses = {name: value / max(self._summed, 1) for name, value in self._sums.items()}
        self.points.append(CurvePoint(seen, self._elapsed(), losses, scores))
        self._sums, self._summed = {}, 0
        if self.best_point is self.points[-1]:
            self.best = {
                name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()
            }

    @property
    def best_point(self) -> CurvePoint:
        """Where the error was smallest."""
        return self.points[self._best_place()]

    def is_settled(self, patience: int) -> bool:
        """No better for as many validations as one has patience."""
        if not self.points:
            return False
        since = max(self._best_place() + 1, self._patient_from)
        return len(self.points) - since >= patience

    def in_words(self) -> str:
        """For a progress bar."""
        parts = []
        if self._summed:
            parts.append(f"loss {sum(self._sums.values()) / self._summed:.3g}")
        if self.points:
            kinds = self.points[-1].scores.kinds.items()
            errors = ", ".join(f"{score.median_mev:.2g} meV {kind}" for kind, score in kinds)
            parts.append(f"error {errors}")
        return f"Training: {'; '.join(parts)}" if parts else "Training"

    def counters(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {
            "seconds": self._elapsed(),
            "points": [point.to_dict() for point in self.points],
            "sums": self._sums,
            "summed": self._summed,
            "patient_from": self._patient_from,
        }

    def restore(self, counters: Mapping[str, Any], best: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `counters` has given."""
        self.best = dict(best)
        self._seconds = counters["seconds"]
        self.points = [CurvePoint.from_dict(point) for point in counters["points"]]
        self._sums, self._summed = dict(counters["sums"]), counters["summed"]
        self._patient_from = counters["patient_from"]

    def be_patient_again(self) -> None:
        """Whoever asks for more measurements wants to see whether they help."""
        self._patient_from = len(self.points)

    def _best_place(self) -> int:
        return int(np.argmin([point.scores.error for point in self.points]))

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._begin
