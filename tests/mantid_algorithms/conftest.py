"""Runs on a real Mantid where there is one, and on the stand-in beside this folder otherwise."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"
STAND_IN = ROOT / "tests/mantid_stand_in"
PLUGINS = ROOT / "plugins"

QUICK = (
    "4K0_slice_energy_first_clean",
    "five_orientations_HHL0_slice_clean",
)
"""Of the files that real Mantid wrote those that every run tries; the others are slow."""

if importlib.util.find_spec("mantid") is None:
    sys.path.insert(0, str(STAND_IN))

from mantid.kernel import config  # noqa: E402

# Mantid loads plugins when its simpleapi is imported for the first time.
config["user.python.plugins.directories"] = str(PLUGINS)

import mantid.simpleapi  # noqa: E402
from mantid.api import AnalysisDataService  # noqa: E402


@pytest.fixture(scope="session")
def simpleapi():
    """Mantid's algorithms as functions, with ours."""
    return mantid.simpleapi


@pytest.fixture(autouse=True)
def empty_data_service():
    """Workspaces of one test are not seen by the next."""
    yield
    AnalysisDataService.clear()


@pytest.fixture
def load(simpleapi, mantid_file):
    """Load one of the recorded files of silicon into a workspace."""

    def loaded(name, workspace="measured"):
        return simpleapi.LoadMD(str(mantid_file(f"si_300K_{name}.nxs")), OutputWorkspace=workspace)

    return loaded


@pytest.fixture(scope="session")
def expected():
    """What a real Mantid found in each file."""
    return json.loads((DATA / "mantid/expected.json").read_text())["files"]


@pytest.fixture(scope="session")
def recorded():
    """What a real Mantid was seen to do."""
    return json.loads((DATA / "mantid/recorded_behaviour.json").read_text())


@pytest.fixture(scope="session")
def mantid_environment():
    """Environment of a process in which ``import mantid`` works, and nothing of Qt is needed."""
    path = [str(STAND_IN)] if str(STAND_IN) in sys.path else []
    path += filter(None, [os.environ.get("PYTHONPATH")])
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *path])}


@pytest.fixture(scope="session")
def silicon_file():
    return str(DATA / "structures/Si.cif")


@pytest.fixture(scope="session")
def truth_file():
    """DFT force constants: what stands behind the files."""
    return str(DATA / "force_constants/Si_dft.yaml")


def pytest_generate_tests(metafunc):
    """Run tests of ``every_file`` on all files that real Mantid wrote.

    Those of ``any_file`` do, too, and those of ``any_signal`` on all that hold one, but most of
    them are slow.
    """
    names = sorted(
        path.name.removeprefix("si_300K_").removesuffix(".nxs.xz")
        for path in (DATA / "mantid").glob("si_300K_*.nxs.xz")
    )
    assert set(QUICK) < set(names)
    if "every_file" in metafunc.fixturenames:
        metafunc.parametrize("every_file", names)
    for fixture in {"any_file", "any_signal"} & set(metafunc.fixturenames):
        if fixture == "any_signal":
            names = [name for name in names if not name.endswith(("_data", "_norm"))]
        slow = [pytest.param(n, marks=pytest.mark.slow) for n in names if n not in QUICK]
        metafunc.parametrize(fixture, [*QUICK, *slow])
