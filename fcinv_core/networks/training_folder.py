"""The folder of a training: what is trained in it, and what need not be worked out again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcinv_core.ensemble import prior_file
from fcinv_core.ensemble.measurement_pool import load_pool, save_pool
from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole
from fcinv_core.networks.library import MODEL_FILE

if TYPE_CHECKING:
    from fcinv_core.ensemble.measured_rows import MeasuredRows
    from fcinv_core.ensemble.prior import Prior

SCHEMA = 1

POOLS = ("measurements", "validation", "calibration")
"""Files of planned measurements: to train, to validate and to calibrate spreads with."""

PART_OF_POOL = 40
"""Measurements that are written together while they are planned."""

_MEANING = {
    "formula": "of {}",
    "supercell": "on a supercell {}",
    "cutoff": "with --cutoff {}",
    "architecture": "of architecture {}",
    "seed": "with --seed {}",
    "prior": "with another prior (structure, Born charges or force field), {}",
}
"""How what differs between trainings is told."""


@dataclass(frozen=True)
class TrainingFolder:
    """Files of one training.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    @property
    def description(self) -> Path:
        """What is trained, JSON."""
        return self.path / "training.json"

    @property
    def prior(self) -> Path:
        """For `Prior.load`."""
        return self.path / "prior.safetensors"

    @property
    def checkpoint(self) -> Path:
        """For `Checkpoint.load`."""
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """For `Model.load`."""
        return self.path / MODEL_FILE

    @property
    def is_used(self) -> bool:
        """Whether there is a training."""
        return self.description.is_file()

    def check_free(self) -> None:
        """Refuse a folder that holds a training.

        Raises
        ------
        FcinvError
        """
        if self.is_used:
            raise FcinvError(
                f"{self.path} holds a training already: continue it with --resume, or choose "
                "another folder"
            )

    @property
    def measurements(self) -> int | None:
        """How many the training was last asked for; None if there is no training."""
        return int(self._described()["measurements"]) if self.is_used else None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep other trainings out; who is killed lets go of it.

        Raises
        ------
        FcinvError
            When it cannot be made or written to, or another training is at work in it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "training.lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout as error:
            raise FcinvError(
                f"another training is at work in {self.path}: wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise FcinvError(
                f"cannot write to the folder {self.path}: {error.strerror or error}; "
                "choose another one"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def claim(
        self, prior: Prior, settings: Mapping[str, Any], measurements: int, *, resume: bool
    ) -> None:
        """Make the folder, which is `held`, that of one training, or see that it is.

        Parameters
        ----------
        prior
            Of the force constants; it is saved.
        settings
            Plain JSON values that the weights depend on, among them "seed" and "architecture".
        measurements
            How many are asked for; not what makes it another training.
        resume
            Whether there may be a training in the folder, then the same one.

        Raises
        ------
        FcinvError
            When there is a training, and it must not be or is another one.
        """
        wanted = json.loads(json.dumps({"schema": SCHEMA, **_identity(prior), **settings}))
        if not resume:
            self.check_free()
        if self.is_used:
            self._check_same(wanted)
            self._describe(wanted, measurements)
            return
        for leftover in (self.checkpoint, *map(self._pool, POOLS)):
            leftover.unlink(missing_ok=True)
        for name in POOLS:
            self._remove_parts(name)
        prior.save(self.prior)
        self._describe(wanted, measurements)

    def _describe(self, wanted: Mapping[str, Any], measurements: int) -> None:
        document = {**wanted, "measurements": measurements}
        write_whole(self.description, (json.dumps(document, indent=1) + "\n").encode())

    def _described(self) -> dict[str, Any]:
        try:
            document = json.loads(self.description.read_text(encoding="utf-8"))
            return {"measurements": int(document["measurements"]), **document}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise FcinvError(
                f"{self.description} cannot be read: train in another folder"
            ) from error

    def _check_same(self, wanted: Mapping[str, Any]) -> None:
        found = self._described()
        # In this order, so that the first difference tells the most.
        for key in (*_MEANING, *wanted):
            if found.get(key) != wanted[key]:
                meaning = _MEANING.get(key, f"with other settings ({key} {{}})")
                raise FcinvError(
                    f"{self.path} holds a training {meaning.format(_short(found.get(key)))}, not "
                    f"{_short(wanted[key])}: ask for the same, or choose another folder"
                )

    def pool(
        self, name: str, n: int, plan: Callable[[range], tuple[MeasuredRows, ...]]
    ) -> tuple[MeasuredRows, ...]:
        """Planned measurements, one of `POOLS`; ``plan`` makes those of the n that are missing.

        They are kept in parts until all are there: who is killed meanwhile loses one part.

        Raises
        ------
        FcinvError
            When they cannot be made, read or written.
        """
        path = self._pool(name)
        if path.is_file():
            return load_pool(path)
        pool: list[MeasuredRows] = []
        for first in range(0, n, PART_OF_POOL):
            part = self._pool(f"{name}-{first}")
            if part.is_file():
                pool += load_pool(part)
            else:
                planned = plan(range(first, min(first + PART_OF_POOL, n)))
                save_pool(planned, part)
                pool += planned
        save_pool(pool, path)
        self._remove_parts(name)
        return tuple(pool)

    def _pool(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def _remove_parts(self, name: str) -> None:
        for part in self.path.glob(f"{name}-*.safetensors"):
            part.unlink(missing_ok=True)


def _identity(prior: Prior) -> dict[str, Any]:
    crystal = prior.crystal
    digest = hashlib.sha256(json.dumps(prior_file.to_document(prior), sort_keys=True).encode())
    for name, array in sorted(prior_file.to_arrays(prior).items()):
        digest.update(name.encode() + array.tobytes())
    return {
        "formula": crystal.formula,
        "supercell": crystal.supercell_matrix.tolist(),
        "cutoff": prior.basis.cutoff,
        "prior": digest.hexdigest(),
    }


def _short(value: Any) -> str:
    """A checksum by its beginning."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)
