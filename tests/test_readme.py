"""The README's Python is run as it stands, so that it cannot go stale.

That for Mantid is run in ``mantid_algorithms/test_docs.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import phonopy
import pytest

from fcinv_core import cli
from fcinv_core.inversion.result import InversionResult

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
(PLAIN,) = [block for block in BLOCKS if "mantid" not in block]


def test_python_inverts_the_demo(tmp_path, monkeypatch):
    """The truth of the demo's virtual experiment is Si_dft.yaml."""
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(PLAIN, "README.md", "exec"), names)
    assert isinstance(names["result"], InversionResult)
    assert names["result"].verdict.trust == "yes"
    truth = ROOT / "tests/data/force_constants/Si_dft.yaml"
    fitted, true = (
        phonopy.load(file, log_level=0).run_qpoints([[0, 0, 0], [0.5, 0, 0.5]]).frequencies
        for file in (tmp_path / "force_constants.yaml", truth)
    )
    assert fitted[0, 3:] == pytest.approx(true[0, 3:], rel=0.01)
    assert fitted[1] == pytest.approx(true[1], rel=0.01)


def test_commands_parse():
    """Every ``fcinv ...`` line of the README is one that the program understands."""
    lines = re.findall(r"^    fcinv (.*)$", README, re.M)
    assert len(lines) >= 2
    for line in lines:
        cli._parser().parse_args(line.split())


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
