"""The documentation speaks of what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from fake_result import fake_result

import fcinv_core
from fcinv_core.inversion.output import result_document

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = DOCS.parent / "fcinv_core"
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


def test_every_public_name_is_documented():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. auto\w+:: fcinv_core\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(fcinv_core.__all__)


LINK = re.compile(r"\]\(([^)\s]+)\)")
INCLUDED = re.compile(r"^```\{(?:include|literalinclude)\} (\S+)$", re.MULTILINE)


def headings(page):
    """What MyST makes of the headings of a page, for links to them."""
    lines = re.findall(r"^#{1,3} (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]+`", "", page.read_text(encoding="utf-8"))
    targets = [link for link in LINK.findall(text) if "://" not in link]
    for target in [*targets, *INCLUDED.findall(text)]:
        name, _, heading = target.partition("#")
        # Pages in folders are included by those above, or pages of their own.
        found = [folder / name for folder in (page.parent, DOCS) if (folder / name).is_file()]
        if name:
            assert found, f"{page.name} points to {target}"
        assert not heading or heading in headings(found[0] if name else page), target


def reasons():
    """Sentences of verdicts in the source, without the numbers in them."""
    for module in ("verdict", "notes", "uncertainty"):
        tree = ast.parse((SOURCE / f"inversion/{module}.py").read_text(encoding="utf-8"))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
                  for part in node.values}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", None) for part in node.values]
                yield "".join(part if isinstance(part, str) else "\0" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in documentation | inside:
                    yield node.value


def test_every_reason_of_a_verdict_is_explained():
    page = (DOCS / "trust.md").read_text(encoding="utf-8")
    told = [phrase for phrase in re.findall(r"`([^`]+)`", page) if phrase.count(" ") > 1]
    # Shorter ones, and those that begin with a blank, are parts of others.
    sentences = [text for text in reasons() if text.count(" ") > 4 and text[0] != " "]
    assert len(sentences) > 10
    for sentence in sentences:
        assert any(phrase in sentence for phrase in told), sentence


def test_reasons_on_the_page_are_those_of_the_program():
    page = (DOCS / "trust.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    assert len(rows) > 10
    phrases = [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row)]
    everything = list(reasons())
    for phrase in phrases:
        assert any(phrase in sentence for sentence in everything), phrase


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
        "trust",
        "polar-crystals",
        "sharing",
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
