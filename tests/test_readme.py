"""The README's Python is run as it stands, so that it cannot go stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
INSIDE_MANTID = [block for block in BLOCKS if "mantid" in block]
PLAIN = [block for block in BLOCKS if "mantid" not in block]


def test_readme_shows_python_and_mantid():
    assert PLAIN and INSIDE_MANTID


@pytest.mark.parametrize("block", BLOCKS)
def test_block_is_python(block):
    compile(block, "README.md", "exec")


@pytest.mark.skipif(not (ROOT / "demo").is_dir(), reason="there is no demo data")
def test_python_blocks_run(tmp_path, monkeypatch):
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in PLAIN:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "force_constants.yaml").stat().st_size > 0
