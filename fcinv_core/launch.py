"""Who has started this process, and how many of its kind: torchrun, srun, or nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

TORCHRUN, SRUN = "torchrun", "srun"


@dataclass(frozen=True)
class Launch:
    """What the environment says of processes that were started to work together.

    Attributes
    ----------
    by
        `TORCHRUN`, `SRUN`, or empty for a process of its own.
    rank
        Number of this process, from 0.
    size
        How many there are.
    size_of_node
        How many of them are on this machine.
    """

    by: str = ""
    rank: int = 0
    size: int = 1
    size_of_node: int = 1

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Launch:
        """That of this process.

        torchrun comes first, as srun may have started it. What a batch script of SLURM runs
        without srun is one process, whatever number of tasks the job has.
        """
        if "TORCHELASTIC_RUN_ID" in environment:
            return cls(
                TORCHRUN,
                int(environment["RANK"]),
                int(environment["WORLD_SIZE"]),
                int(environment["LOCAL_WORLD_SIZE"]),
            )
        size = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
        if size == 1:
            return cls()
        nodes = int(environment.get("SLURM_STEP_NUM_NODES", 1))
        return cls(SRUN, int(environment["SLURM_PROCID"]), size, size // nodes)
