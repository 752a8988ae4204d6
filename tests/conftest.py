"""Fixtures that several test modules share."""

from __future__ import annotations

import importlib.util
import lzma
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.samples import ForceFieldSample

if importlib.util.find_spec("euphonic") is None:
    # A test oracle only: Mantid brings a version of its own, which is another one.
    collect_ignore = [
        "scattering",
        "benchmarks/error_bars",
        "benchmarks/germanium",
        "benchmarks/softening",
        "benchmarks/test_benchmarks.py",
        "inversion/test_polar.py",
        "networks/test_spectra.py",
    ]


HAS_RESINS = importlib.util.find_spec("resins") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip what ends for want of ResINS, which needs a newer NumPy than the oldest one here."""
    report = yield
    if not HAS_RESINS and report.failed and "No module named 'resins'" in report.longreprtext:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, "Skipped: no ResINS")
    return report


def only_this_machine(event: str, arguments: tuple[object, ...]) -> None:
    """Fail whoever asks for another machine: fcinv needs none when it runs."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()):
        raise RuntimeError(f"a connection to {host!r}")


sys.addaudithook(only_this_machine)

DATA = Path(__file__).parent / "data"
MANTID_DATA = DATA / "mantid"


@pytest.fixture(scope="session")
def mantid_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Unpacks a file that real Mantid has written; call it with the file's name (".nxs")."""
    folder = tmp_path_factory.mktemp("mantid")

    def unpack(name: str) -> Path:
        path = folder / name
        if not path.exists():
            with lzma.open(MANTID_DATA / f"{name}.xz") as packed, open(path, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        return path

    yield unpack
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def germanium() -> ForceConstants:
    """What a measurement of germanium may look like: a stand-in for measured force constants."""
    return ForceConstants.from_file(DATA / "force_constants" / "Ge_standin.yaml")


@pytest.fixture(scope="session")
def germanium_prior(germanium: ForceConstants) -> Prior:
    """A narrow prior around it."""
    sample = ForceFieldSample(
        germanium, "none", "relaxed cell", germanium.crystal.lattice, 0.0, True
    )
    return Prior.from_samples(ForceConstantBasis.from_crystal(germanium.crystal), [sample])


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bins of inversions are sampled several times as coarsely, where lines need not be exact."""
    monkeypatch.setattr("fcinv_core.inversion.problem.SAMPLING_OVER_COUNTING", 2.0)
