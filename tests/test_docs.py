"""The documentation speaks of what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_result import fake_result

from fcinv_core.inversion.output import result_document

DOCS = Path(__file__).parents[1] / "docs"
FREE_FORM = {"settings", "timing_s", "versions"}


def keys(value):
    """Names of all keys in a document, those of free-form parts left out."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if not isinstance(value, dict):
        return set()
    below = {key for name, item in value.items() if name not in FREE_FORM for key in keys(item)}
    return set(value) | below


def test_every_key_of_result_json_is_explained():
    page = (DOCS / "result-json.md").read_text(encoding="utf-8")
    page = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", page))))
    assert keys(result_document(fake_result())) <= explained


def test_every_page_is_in_the_table_of_contents():
    contents = (DOCS / "index.md").read_text(encoding="utf-8").split("```{toctree}")[1]
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= set(contents.split())


@pytest.mark.parametrize(
    "page",
    [
        "first-inversion",
        "forward-model",
        "force-fields",
        "theory",
        "coverage",
        "simulated-measurements",
        "models",
    ],
)
def test_examples_run(page, tmp_path, monkeypatch, capsys):
    """All Python on a page, from top to bottom, where the demo's files are."""
    (tmp_path / "demo").symlink_to(DOCS.parent / "demo")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)
    assert capsys.readouterr().err == ""
    if page == "forward-model":
        assert (tmp_path / "simulated.nxs").is_file()
        assert names["scan"].shape == (3, *names["data"].signal.shape)
        assert names["parameters"].grad.isfinite().all()
