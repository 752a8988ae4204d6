"""Trainings in several processes: the same as in one, whatever becomes of them."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import one_error
from networks.tiny_command import POOL, PRIOR, TINY, make_tiny
from networks.tiny_network import TinyNetwork

from fcinv_core import Crystal, cli
from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_pool import load_pool, measurement_pool, save_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.errors import FcinvError
from fcinv_core.launch import SRUN, TORCHRUN, Launch
from fcinv_core.networks import processes, reproducible
from fcinv_core.networks.checkpoint import Checkpoint
from fcinv_core.networks.gradient import mean_gradient
from fcinv_core.networks.model import Model
from fcinv_core.networks.processes import Processes
from fcinv_core.networks.reproducible import Look, Rounds
from fcinv_core.networks.training_folder import TrainingFolder

TESTS = Path(__file__).parents[1]
GERMANIUM = TESTS / "data" / "structures" / "Ge.cif"
RANGES = MeasurementRanges(
    spectrometers=("ARCS",), n_orientations=(3, 4), kinds=("slice",), idealised=0.25
)
OF_TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"
}  # fmt: skip
OF_SRUN = {
    "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODELIST": "127.0.0.1",
    "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train",
}  # fmt: skip

several = pytest.mark.skipif(find_spec("lightning_fabric") is None, reason="needs Fabric")


@pytest.fixture(scope="module")
def given(germanium_prior, tmp_path_factory):
    """A folder with the prior and the planned measurements of all trainings here."""
    folder = tmp_path_factory.mktemp("given")
    basis = replace(germanium_prior.basis, crystal=Crystal.from_file(GERMANIUM))
    prior = replace(germanium_prior, basis=basis)
    prior.save(folder / PRIOR)
    save_pool(measurement_pool(prior, 2, RANGES, seed=1), folder / POOL)
    return folder


@pytest.fixture
def tiny(monkeypatch, given):
    make_tiny(monkeypatch, given)


def command(folder, *more):
    return ["train", "--structure", str(GERMANIUM), "--device", "cpu", "-o", str(folder), *more]


@pytest.fixture(scope="module")
def alone(given, tmp_path_factory):
    """The folder of a training in one process, where there is no Fabric."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_tiny(monkeypatch, given)
        monkeypatch.setitem(sys.modules, "lightning_fabric", None)
        assert cli.main(command(folder)) == 0
    return folder


def struck(given, number=-1, rank=-1, step=-1):
    """The command in a process that a signal strikes."""
    return ["-m", "networks.tiny_command", *map(str, (given, number, rank, step))]


def environment(**more):
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    # Where the name of the machine leads nowhere, too.
    local = {"GLOO_SOCKET_IFNAME": "lo"}
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | local | more


def started_by_srun(words):
    """Exit code, standard output and error of two processes, as SLURM starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, *words],
            env=environment(
                **OF_SRUN, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), MASTER_PORT=port
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=240) for process in running]
    return [(process.returncode, *both) for process, both in zip(running, told, strict=True)]


def losses(folder):
    with open(folder / "learning_curve.csv", newline="") as stream:
        return [
            {key: float(value) for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(stream)
        ]


def assert_same_training(folder, other):
    """But for rounding."""
    for row, expected in zip(losses(folder), losses(other), strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    found, expected = (
        dict(Model.load(each / "model.safetensors").network.named_parameters())
        for each in (folder, other)
    )
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


@several
def test_two_processes_do_what_one_does(alone, given, tmp_path, tiny):
    folder = tmp_path / "out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"]
    done = subprocess.run(
        [*torchrun, *port, *struck(given), *command(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout.count("Trained the direct network") == 1
    assert_same_training(folder, alone)


@several
def test_killed_and_resumed_by_one(alone, given, tmp_path, tiny):
    folder = tmp_path / "out"
    first, second = started_by_srun([*struck(given, signal.SIGKILL, 1, 5), *command(folder)])
    assert first[:2] == (cli.BAD_INPUT, "") and second == (-signal.SIGKILL, "", "")
    assert first[2].startswith("Error: another process") and first[2].count("\n") == 1
    assert Checkpoint.load(TrainingFolder(folder).checkpoint).counters["step"] == 4
    assert cli.main(command(folder, "--resume")) == 0
    assert_same_training(folder, alone)


@several
@pytest.mark.slow
def test_one_that_is_asked_to_stop_stops_all(alone, given, tmp_path, tiny):
    """And they go on where one has been stopped."""
    folder = tmp_path / "out"
    first, second = started_by_srun([*struck(given, signal.SIGTERM, 1, 2), *command(folder)])
    assert first == (cli.INTERRUPTED, "Stopped; the same command with --resume continues.\n", "")
    assert second == (cli.INTERRUPTED, "", "")
    assert Checkpoint.load(TrainingFolder(folder).checkpoint).counters["step"] == 3
    first, second = started_by_srun([*struck(given), *command(folder, "--resume")])
    assert first[0] == second[0] == 0 and first[2] == "" and second[1:] == ("", "")
    assert_same_training(folder, alone)


class OneOfMany(Processes):
    """One that hears nothing of the others."""

    def __init__(self, rank, size):
        super().__init__()
        self.rank, self.size = rank, size


@pytest.fixture(scope="module")
def batches(given):
    prior, pool = Prior.load(given / PRIOR), load_pool(given / POOL)
    return MeasurementBatches(prior, pool, n_q=12, group_size=4, ranges=RANGES)


@pytest.mark.parametrize("step", [0, 9])
def test_shares_of_a_step_are_the_whole(batches, step):
    settings = replace(TINY, per_step=16)
    shares = {
        size: [
            Rounds(batches, settings, 0, OneOfMany(rank, size)).looks(step) for rank in range(size)
        ]
        for size in (1, 2, 4)
    }
    assert [len(share) for share in shares[2]] == [2, 2]
    assert [len(share) for share in shares[4]] == [1, 1, 1, 1]
    whole = {look.seed: look.group for look in shares[1][0]}
    for size in (2, 4):
        looks = {look.seed: look.group for share in shares[size] for look in share}
        assert looks.keys() == whole.keys()
        for seed, group in looks.items():
            assert torch.equal(group.counts, whole[seed].counts)
            assert torch.equal(group.parameters, whole[seed].parameters)


def test_shares_are_simulated_alone(batches, monkeypatch):
    asked = []
    simulate = MeasurementBatches.simulate
    monkeypatch.setattr(
        MeasurementBatches,
        "simulate",
        lambda self, n, seed, numbers: (
            asked.append(list(numbers)) or simulate(self, n, seed, numbers)
        ),
    )
    Rounds(batches, TINY, 0, OneOfMany(1, 2)).looks(4)
    assert asked == [[1, 3], [1, 3]]


def test_random_numbers_of_networks_follow_the_group(batches):
    """The mean gradient of groups is that of each alone, in any order."""
    network = TinyNetwork(batches.prior)
    groups = batches.simulate(8, 0)
    looks = [
        Look(group.observe(np.random.default_rng(number)), 7 + number)
        for number, group in enumerate(groups)
    ]

    def gradient(*some):
        mean_gradient(network, some, processes.ALONE)
        return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    each = [gradient(look) for look in looks]
    assert not torch.equal(*each)
    for order in (looks, looks[::-1]):
        torch.testing.assert_close(gradient(*order), sum(each) / 2, rtol=1e-6, atol=1e-8)


def test_a_number_that_does_not_divide_is_one_line(tiny, capsys, monkeypatch, tmp_path):
    joined = lambda launch, device: nullcontext(OneOfMany(0, 3))  # noqa: E731
    monkeypatch.setattr(processes, "joined", joined)
    told = one_error(capsys, command(tmp_path / "out"))
    assert "3 processes" in told and "start 1 or 2" in told
    assert not (tmp_path / "out").exists()


def test_without_fabric_it_says_what_to_install(tiny, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for name, value in OF_TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert cli.main(command(tmp_path / "out")) == cli.BAD_INPUT
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert "pip install" in one_error(capsys, command(tmp_path / "out"))


def test_trainings_side_by_side_are_refused(tiny, capsys, monkeypatch, tmp_path):
    class Other(OneOfMany):
        def first(self, work):
            return {**work(), "seed": 5}

    monkeypatch.setattr(processes, "joined", lambda launch, device: nullcontext(Other(0, 2)))
    assert "different options" in one_error(capsys, command(tmp_path / "out"))


@pytest.mark.parametrize(
    "told, expected",
    [
        ({}, Launch()),
        (OF_TORCHRUN, Launch(TORCHRUN, 1, 4, 2)),
        (OF_SRUN | OF_TORCHRUN, Launch(TORCHRUN, 1, 4, 2)),
        (OF_SRUN | {"SLURM_PROCID": "1"}, Launch(SRUN, 1, 2, 2)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, Launch()),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Launch()),
    ],
)
def test_launches(told, expected):
    """A batch script of SLURM is told of the tasks of its job, but is none of them."""
    assert Launch.of_environment(told) == expected


def test_gpus_are_not_shared(monkeypatch):
    pytest.importorskip("lightning_fabric")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(FcinvError, match="one process for each GPU"),
        processes.joined(Launch(TORCHRUN, 0, 2, 2), "cuda"),
    ):
        pass


def test_purposes_differ():
    """Numbers of looks are not those of steps, nor of each other."""
    seeds = {
        reproducible.seed_of(0, purpose, *numbers)
        for purpose, numbers in (
            (reproducible.STEP, (0,)), (reproducible.STEP, (1,)), (reproducible.LOOK, (0, 0)),
            (reproducible.LOOK, (0, 1)), (reproducible.LOOK, (1, 0)),
        )
    }  # fmt: skip
    assert len(seeds) == 5
