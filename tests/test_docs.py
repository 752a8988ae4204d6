"""The documentation speaks of what is there."""

from __future__ import annotations

import re
from pathlib import Path

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
