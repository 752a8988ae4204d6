"""The notebooks run as scripts, and what they tell is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs/notebooks"


def output_of(name, folder):
    (folder / "demo").symlink_to(ROOT / "demo")
    done = subprocess.run(
        [sys.executable, NOTEBOOKS / f"{name}.py"],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_beyond_the_report(tmp_path):
    """Silicon has 20.05 J/K per mole of atoms at 300 K, of which thermal expansion is 0.2.

    NIST-JANAF Thermochemical Tables, 4th edition (1998).
    """
    told = output_of("beyond_the_report", tmp_path)
    value, sigma = map(float, re.search(r"([\d.]+) ± ([\d.]+) J/K/mol", told).groups())
    assert value / 2 == pytest.approx(20.05 - 0.2, rel=0.02)
    assert 0 < sigma < 0.1
    assert (tmp_path / "heat_capacity.png").stat().st_size > 5000


def test_how_long_to_count(tmp_path):
    """Ten times the time makes error bars smaller, by √10 where nothing else limits."""
    told = output_of("how_long_to_count", tmp_path)
    tenth, whole = map(float, re.findall(r"time: ([\d.]+) meV", told))
    assert 2 < tenth / whole < 3.5
    assert (tmp_path / "counting_time.png").stat().st_size > 5000
