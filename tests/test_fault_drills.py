"""Commands that are killed, ended, run twice at once, or started where little is allowed.

``make drills`` runs more of them.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import phonopy
import pytest
from command_line import ROOT

from fcinv_core import SQEHistogram
from fcinv_core.errors import is_out_of_memory

FILES = {"force_constants.yaml", "report.html", "result.json", "simulated.nxs"}
OPTIONS = [
    *("--structure", "demo/Si.cif", "--start", "demo/Si_chgnet.yaml", "--energy-fwhm", "2.4"),
    *("--no-refine", "-o"),
]
CAUTION = 3
"""What it says of force constants that were not refined."""

MOMENTS = [0.9, *(pytest.param(None, marks=pytest.mark.slow, id=f"{n}") for n in range(20))]
"""Shares of the time that the command takes; None for a random one."""


@pytest.fixture(scope="module")
def begin(mantid_file):
    """The command as a process of its own, with ``limit`` bytes of address space."""
    measured = mantid_file("si_300K_one_orientation_HHL0_slice_clean.nxs")

    def begun(output, limit=None, **environment):
        def bounded():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "fcinv_core.cli", "invert", measured, *OPTIONS, output],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            preexec_fn=bounded,
        )

    return begun


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def check_whole(folder):
    """All files are there, and all can be read."""
    assert visible(folder) == FILES
    assert json.loads((folder / "result.json").read_text())["schema"] == 1
    assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    phonopy.load(str(folder / "force_constants.yaml"), log_level=0)
    SQEHistogram.load(folder / "simulated.nxs")


@pytest.fixture(scope="module")
def usual(begin, tmp_path_factory):
    """How long it takes."""
    begun, output = time.monotonic(), tmp_path_factory.mktemp("usual") / "out"
    process = begin(output)
    _, complaint = process.communicate(timeout=240)
    assert process.returncode == CAUTION and complaint == ""
    check_whole(output)
    return time.monotonic() - begun


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_inversion_leaves_all_files_or_none(begin, usual, tmp_path, moment):
    process = begin(tmp_path / "out")
    time.sleep(usual * (random.uniform(0.2, 1.1) if moment is None else moment))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    if (tmp_path / "out").exists() and visible(tmp_path / "out"):
        check_whole(tmp_path / "out")
    if moment is None:
        again = begin(tmp_path / "out")
        again.communicate(timeout=240)
        assert again.returncode == CAUTION
        check_whole(tmp_path / "out")


def test_a_batch_system_ends_an_inversion(begin, usual, tmp_path):
    """Nothing is left, unless all was done, and nothing is complained of."""
    process = begin(tmp_path / "new" / "out")
    time.sleep(0.7 * usual)
    process.terminate()
    _, complaint = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGTERM) and complaint == ""
    if list(tmp_path.iterdir()):
        check_whole(tmp_path / "new" / "out")


@pytest.mark.slow
def test_two_at_once_leave_one_whole_result(begin, tmp_path):
    both = [begin(tmp_path / "out") for _ in range(2)]
    told = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [CAUTION, CAUTION], told
    check_whole(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.slow
def test_without_a_home(begin, tmp_path):
    process = begin(tmp_path / "out", HOME="/proc/none")
    _, complaint = process.communicate(timeout=240)
    assert process.returncode == CAUTION and complaint == ""
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        ImportError("libtorch_python.so: failed to map segment from shared object"),
    ],
)
def test_lack_of_memory_has_many_names(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(type(error)("something else")) or isinstance(error, MemoryError)


def test_with_too_little_memory(begin, tmp_path):
    process = begin(tmp_path / "out", limit=900_000_000)
    _, complaint = process.communicate(timeout=240)
    assert process.returncode == 2
    assert complaint.startswith("Error: not enough memory") and complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
