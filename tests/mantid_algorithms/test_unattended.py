"""The scripts of the documentation, as processes from a reduced file to outputs on disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import phonopy
import pytest

from fcinv_core import SQEHistogram, cli

SCRIPTS = Path(__file__).parents[2] / "docs/unattended"
OUTPUTS = {"force_constants.yaml", "report.html", "result.json", "simulated.nxs"}


@pytest.fixture
def job(tmp_path, monkeypatch, mantid_environment, silicon_file, mantid_file, capsys):
    """Run one of the scripts with parameters changed, in a home where the plugins are enabled."""
    for name in ("after_mdnorm.py", "sns.py", "isis.py", "parameters.json"):
        shutil.copy(SCRIPTS / name, tmp_path)
    shutil.copy(silicon_file, tmp_path / "Si.cif")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["mantid", "enable"]) == 0
    capsys.readouterr()
    (tmp_path / "output").mkdir()

    def run(script, file, **changes):
        parameters = json.loads((tmp_path / "parameters.json").read_text()) | changes
        (tmp_path / "parameters.json").write_text(json.dumps(parameters))
        return subprocess.run(
            [sys.executable, tmp_path / script, file, tmp_path / "output"],
            env=mantid_environment | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def reduced(mantid_file):
    return mantid_file("si_300K_one_orientation_4d_clean.nxs")


def test_at_the_sns_success_is_an_empty_standard_error(job, reduced, tmp_path):
    """What the shipped network reads off the file, which is enough to see all outputs."""
    done = job("sns.py", reduced, Refine=False)
    assert done.returncode == 0 and done.stderr == ""
    assert f"Force constants of {reduced.stem}: trust " in done.stdout.splitlines()[-1]
    written = {path.name for path in (tmp_path / "output").iterdir()}
    assert written == {f"{reduced.stem}_{name}" for name in OUTPUTS}
    files = {name: tmp_path / "output" / f"{reduced.stem}_{name}" for name in OUTPUTS}
    phonopy.load(str(files["force_constants.yaml"]), log_level=0)
    result = json.loads(files["result.json"].read_text())
    assert result["verdict"]["trust"] in done.stdout.splitlines()[-1]
    simulated = SQEHistogram.load(files["simulated.nxs"])
    assert simulated.shape == SQEHistogram.load(reduced).shape


def test_at_isis_the_last_line_is_json(job, reduced, truth_file, tmp_path):
    done = job("isis.py", reduced, StartForceConstants=truth_file, Refine=False)
    assert done.returncode == 0 and done.stderr == ""
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["status"] == "Successful" and outcome["status_message"] == "trust caution"
    assert sorted(outcome["output_files"]) == sorted(
        str(tmp_path / "output" / f"{reduced.stem}_{name}") for name in OUTPUTS
    )
    assert all(Path(path).is_file() for path in outcome["output_files"])


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"EnergyMin": 75.0}, "nothing to fit"),
        ({"EnergyMin": 75.0, "EnergyMax": 20.0}, "EnergyMax: 20 meV is not above"),
        ({"Structure": "nowhere.cif"}, "not found"),
    ],
)
def test_failures_are_one_line_and_leave_nothing(job, reduced, truth_file, tmp_path, changes, told):
    changes = {"StartForceConstants": truth_file, "Refine": False} | changes
    failed = job("sns.py", reduced, **changes)
    assert failed.stderr.startswith("Error: ") and told in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert list((tmp_path / "output").iterdir()) == []


def test_a_failure_at_isis_is_told_on_standard_output(job, reduced, truth_file, tmp_path):
    failed = job("isis.py", reduced, StartForceConstants=truth_file, Cutoff=-1.0)
    assert failed.returncode == 0 and failed.stderr == ""
    outcome = json.loads(failed.stdout.splitlines()[-1])
    assert outcome["status"] == "Error" and "Cutoff" in outcome["status_message"]
    assert list((tmp_path / "output").iterdir()) == []


def test_a_job_ends_when_its_time_is_up(job, reduced, tmp_path):
    script = tmp_path / "sns.py"
    script.write_text(script.read_text().replace("50 * 60", "4.0"))
    late = job("sns.py", reduced)
    assert late.stderr == "Error: no force constants within 4.0 s; use coarser bins\n"
    assert list((tmp_path / "output").iterdir()) == []
