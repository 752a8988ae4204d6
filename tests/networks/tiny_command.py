"""``python -m networks.tiny_command FOLDER SIGNAL RANK STEP train ...``: fcinv, but tiny.

Prior and planned measurements are those of the folder, and the process with that rank sends itself
the signal when it begins that step (a number below 0 is none).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from networks.tiny_network import TinyNetwork

from fcinv_core import cli
from fcinv_core.ensemble.measurement_pool import load_pool
from fcinv_core.ensemble.prior import Prior
from fcinv_core.networks import architectures, reproducible, training
from fcinv_core.networks.training_settings import TrainingSettings

PRIOR, POOL = "prior.safetensors", "pool.safetensors"

TINY = TrainingSettings(
    measurements=72, per_step=8, group_size=4, learning_rate=0.02, warm_up=2, simulations=16,
    rounds_kept=2, observations=2, n_q=12, geometries=2, validation_geometries=2,
    validation_cases=16, calibration_geometries=2, calibration_cases=16,
    steps_between_validations=6,
)  # fmt: skip
"""9 steps in rounds of 4, validations after 6 and 9."""


def make_tiny(monkeypatch, folder):
    """For the time of ``monkeypatch``: a tiny network, no force field, nothing planned."""
    prior, pool = Prior.load(folder / PRIOR), load_pool(folder / POOL)
    monkeypatch.setattr(Prior, "from_crystal", lambda crystal, **options: prior)
    # Not another class in its place, as processes send each other settings by the name of theirs.
    monkeypatch.setattr(TrainingSettings.__init__, "__defaults__", tuple(vars(TINY).values()))
    monkeypatch.setattr(training, "measurement_pool", lambda *args, **options: pool)
    tiny = type("Direct", (TinyNetwork,), {"architecture": "direct"})
    monkeypatch.setitem(architectures.NETWORKS, "direct", tiny)


def main():
    import pytest

    folder, (number, rank, step), arguments = sys.argv[1], map(int, sys.argv[2:5]), sys.argv[5:]
    looks = reproducible.Rounds.looks

    def struck(self, now):
        if (self._processes.rank, now) == (rank, step):
            os.kill(os.getpid(), number)
        return looks(self, now)

    with pytest.MonkeyPatch.context() as monkeypatch:
        make_tiny(monkeypatch, Path(folder))
        monkeypatch.setattr(reproducible.Rounds, "looks", struck)
        return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
