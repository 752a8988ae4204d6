"""Processes that train one network together.

All of them take the same steps, with weights that stay the same everywhere. What only one of them
may do, such as writing files, is done by the first. torchrun or SLURM start them, and Lightning
Fabric joins them; a training in one process needs neither.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch

from fcinv_core.errors import FcinvError
from fcinv_core.launch import TORCHRUN, Launch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TIMEOUT = timedelta(hours=2)
"""How long one waits for another before it counts as lost. It may ask a force field, or plan
measurements. One that is killed is noticed at once, as its connections end."""

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What carries tensors of each kind of device: what is no gradient stays on processors."""

Result = TypeVar("Result")


class Processes:
    """One process alone, which is the first; and what several can do besides.

    Parameters
    ----------
    device
        Of this process.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    size
        How many there are.
    """

    rank = 0
    size = 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Of the tensors of all processes; what is not finite on one is so in the mean."""
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process."""
        return flag

    def first(self, work: Callable[[], Result]) -> Result:
        """What the first process finds, which alone does the work; it fails on all or on none."""
        return work()


ALONE = Processes()
"""This process, on the processor."""


class JoinedProcesses(Processes):
    """Several.

    Parameters
    ----------
    fabric
        Launched.
    """

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric.device)
        self._fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        self.any(False)  # tells who is lost, where GPUs would wait for them
        return _sum(tensor) / self.size

    def any(self, flag: bool) -> bool:
        return bool(_sum(torch.tensor(float(flag))) > 0)

    def first(self, work: Callable[[], Result]) -> Result:
        told: tuple[Result | None, FcinvError | None] = None, None
        if self.rank == 0:
            try:
                told = work(), None
            except FcinvError as error:
                told = None, error
        with _lost():
            heard = self._fabric.broadcast(told)
        self.any(False)  # whoever ends now has been heard
        found, failure = told if self.rank == 0 else heard
        if failure is not None:
            raise failure
        return cast(Result, found)


@contextmanager
def joined(launch: Launch, device: str) -> Iterator[Processes]:
    """All processes of a launch, each with a device of its own.

    Parameters
    ----------
    launch
        How this process was started.
    device
        "cpu" or "cuda".

    Raises
    ------
    FcinvError
        When Lightning Fabric is missing, a node has fewer GPUs than processes, or the others
        cannot be reached.
    """
    if launch.size == 1:
        yield Processes(device)
        return
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise FcinvError(
            f"{launch.by} has started {launch.size} processes, and Lightning Fabric, which joins "
            f"them, cannot be imported ({error}): pip install lightning-fabric, or start one "
            "process"
        ) from error
    if device == "cuda" and torch.cuda.device_count() < launch.size_of_node:
        raise FcinvError(
            f"{launch.by} has started {launch.size_of_node} processes on a machine where each "
            f"sees {torch.cuda.device_count()} GPUs: start one process for each GPU, and let each "
            "see all of them"
        )
    with _silence():
        try:
            of_torchrun = launch.by == TORCHRUN
            fabric = Fabric(
                accelerator=device,
                devices=launch.size_of_node,
                num_nodes=launch.size // launch.size_of_node,
                strategy=DDPStrategy(
                    timeout=TIMEOUT,
                    process_group_backend=BACKENDS[device],
                    cluster_environment=(
                        TorchElasticEnvironment()
                        if of_torchrun
                        else SLURMEnvironment(auto_requeue=False)
                    ),
                ),
            )
            fabric.launch()
        except (RuntimeError, ValueError) as error:
            raise FcinvError(
                f"the {launch.size} processes that {launch.by} has started cannot be joined: "
                f"{error}"
            ) from error
    leave_together = True
    try:
        yield JoinedProcesses(fabric)
    except Exception as error:
        # Others may be gone, or wait for something else: then there is no common end.
        leave_together = isinstance(error, FcinvError) and not isinstance(error, LostProcessError)
        raise
    finally:
        if leave_together:
            torch.distributed.destroy_process_group()


class LostProcessError(FcinvError):
    """Another process has ended or hangs."""


@contextmanager
def _lost() -> Iterator[None]:
    """Tell what it means when others do not answer."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of the training has ended or does not answer: see what it said; the "
            "same command with --resume continues"
        ) from error


def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """Over all processes. Fabric's own would let all wait for each other once more."""
    total = tensor.clone()
    with _lost():
        torch.distributed.all_reduce(total)
    return total


@contextmanager
def _silence() -> Iterator[None]:
    """Libraries greet when processes meet."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
