"""The state of a training on disk: one safetensors file, whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a training needs to go on as if it had never stopped.

    Attributes
    ----------
    network, averaged, best
        Weights by name: as trained, their moving average, and that average where it was best
        (empty before the first validation).
    optimizer
        ``state_dict()["state"]`` of the optimizer: tensors by number of the weight and name.
    counters
        Plain JSON values.
    """

    network: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    best: Mapping[str, torch.Tensor]
    optimizer: Mapping[int, Mapping[str, torch.Tensor]]
    counters: dict[str, Any]

    def save(self, path: Path) -> None:
        """Replace the file at ``path``.

        Raises
        ------
        FcinvError
            When it cannot be written.
        """
        from safetensors.torch import save

        parts = {"network": self.network, "averaged": self.averaged, "best": self.best}
        tensors = {
            f"{part}.{name}": tensor
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        tensors |= {
            f"optimizer.{number}.{name}": tensor
            for number, state in self.optimizer.items()
            for name, tensor in state.items()
        }
        # Copies: safetensors refuses tensors that share memory.
        plain = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        document = {"schema": SCHEMA, "counters": self.counters}
        write_whole(path, save(plain, {"training": json.dumps(document)}))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote.

        Raises
        ------
        FcinvError
            When it is damaged or no checkpoint.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as stored:
                document = json.loads((stored.metadata() or {})["training"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if document["schema"] != SCHEMA:
                raise FcinvError(
                    f"{path} is a checkpoint of schema {document['schema']}, and this version "
                    f"reads {SCHEMA}: train in another folder"
                )
            optimizer: dict[int, dict[str, torch.Tensor]] = {}
            for key, tensor in _below("optimizer", tensors).items():
                number, name = key.split(".", 1)
                optimizer.setdefault(int(number), {})[name] = tensor
            return cls(
                _below("network", tensors),
                _below("averaged", tensors),
                _below("best", tensors),
                optimizer,
                document["counters"],
            )
        except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
            raise FcinvError(
                f"{path} is damaged or no checkpoint ({type(error).__name__}): delete it to train "
                "from the beginning"
            ) from error


def _below(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{part}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}.")
    }
