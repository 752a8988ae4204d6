"""Broken and hostile files end in one clear line, or are read as something sane.

A share of them in each run, all of them with ``-m slow``; ``python -m hostile`` prints a table.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcinv_core.errors import FcinvError
from hostile.case import FORCE_CONSTANTS, READERS, STRUCTURES, Case, Expected, content, good_slice

ROOT = Path(__file__).parents[2]
ONE_IN = 14
"""So many cases of a reader are one that every run tries."""
ONE_IN_COMMANDS = 30
MEMORY = 3_000_000_000
"""Bytes of data that a command may have; half of them are torch's."""


def cases(reader: str) -> list[Case]:
    from hostile.corpus import all_cases

    return [case for case in all_cases() if case.reader == reader]


def check(chosen: list[Case], folder: Path) -> None:
    from hostile.outcome import outcome

    wrong = []
    for number, case in enumerate(chosen):
        place = folder / str(number)
        place.mkdir()
        found = outcome(case, place)
        if not found.kind.is_good:
            wrong.append(f"{case}: {found.kind.value}: {found.said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("reader", READERS)
def test_share_of_the_corpus(reader, tmp_path):
    check(cases(reader)[::ONE_IN], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_all_of_the_corpus(reader, tmp_path):
    check(cases(reader), tmp_path)


def test_corpus_is_large():
    from hostile import readers
    from hostile.corpus import all_cases

    assert set(readers.READERS) == set(READERS)
    assert len(all_cases()) > 900
    assert all(len(cases(reader)) > 50 for reader in READERS)


def test_good_files_are_read(tmp_path):
    from hostile.readers import read_good_files

    read_good_files(tmp_path)


# -- the judge itself ---------------------------------------------------------------------------


def _fails(path: Path) -> None:
    raise ValueError("what nobody foresaw")


def _is_unclear(path: Path) -> None:
    raise FcinvError("something is wrong")


def _runs_a_command(path: Path) -> None:
    os.system("true")
    raise FcinvError(f"{path} is damaged")


def _loads_code(path: Path) -> None:
    import yaml

    yaml.load("!!python/object/apply:os.system [true]", Loader=yaml.UnsafeLoader)


def _writes(path: Path) -> None:
    path.with_name("more").touch()
    raise FcinvError(f"{path} is damaged")


def _fills_memory(path: Path) -> None:
    bytearray(3_000_000_000)


def _does_not_end(path: Path) -> None:
    time.sleep(60)


@pytest.mark.parametrize(
    "reader, expected, kind",
    [
        (lambda path: None, Expected.REFUSED, "silent acceptance"),
        (lambda path: None, Expected.SANE, "sane acceptance"),
        (_fails, Expected.SANE, "crash"),
        (_is_unclear, Expected.REFUSED, "crash"),
        (_runs_a_command, Expected.REFUSED, "crash"),
        (_loads_code, Expected.SANE, "crash"),
        (_writes, Expected.REFUSED, "crash"),
        (_fills_memory, Expected.SANE, "crash"),
        (_does_not_end, Expected.REFUSED, "hang"),
    ],
)
def test_what_readers_do_wrong_is_seen(monkeypatch, tmp_path, reader, expected, kind):
    from hostile import outcome

    monkeypatch.setitem(outcome.READERS, "BORN", reader)
    monkeypatch.setattr(outcome, "SECONDS", 1)
    found = outcome.outcome(content("BORN", "any", "BORN", "1\n", expected), tmp_path)
    assert found.kind.value == kind


# -- as commands --------------------------------------------------------------------------------


def command(case: Case, path: Path, good: Path, out: Path) -> list[str] | None:
    """What a user would type, or None where no command reads such a file."""
    silicon, start = STRUCTURES / "Si.cif", FORCE_CONSTANTS / "Si_dft.yaml"
    words: dict[str, list[object]] = {
        "SaveMD file": ["invert", path, "--structure", silicon, "--start", start],
        "structure": ["invert", good, "--structure", path, "--model", "none"],
        "phonopy.yaml": ["simulate", "--force-constants", path, "--like", good],
        "force constants": ["invert", good, "--structure", start, "--start", path],
        "BORN": ["invert", good, "--structure", STRUCTURES / "MgO.cif", "--born", path],
        "model": ["invert", good, "--structure", silicon, "--model", path],
    }
    if case.reader not in words or "\0" in str(path):
        return None
    return [str(word) for word in [*words[case.reader], "-o", out]]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS[:-2])
def test_commands_end_in_one_line(reader, tmp_path):
    good = tmp_path / "good.nxs"
    good.write_bytes(good_slice())
    refused = [case for case in cases(reader) if case.expected is Expected.REFUSED]
    for number, case in enumerate(refused[::ONE_IN_COMMANDS]):
        folder = tmp_path / str(number)
        for name in ("input", "work", "home"):
            (folder / name).mkdir(parents=True)
        arguments = command(case, case.make(folder / "input"), good, folder / "work/out")
        if arguments is None:
            continue
        present = sorted(folder.rglob("*"))
        done = subprocess.run(
            [sys.executable, "-m", "fcinv_core.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=folder / "work",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(folder / "home"),
            },
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
        )
        assert (done.returncode, done.stdout) == (2, ""), (str(case), done)
        assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, str(case)
        assert "unexpected" not in done.stderr, (str(case), done.stderr)
        assert sorted(folder.rglob("*")) == present, str(case)
