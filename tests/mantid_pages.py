"""The pages on Mantid: their examples, tables of properties and pictures.

``PYTHONPATH=tests python -m mantid_pages`` writes tables and pictures anew.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ALGORITHMS = ("SimulateSQE", "InvertForceConstants")
PICTURES = ("mantid-spectra.png", "mantid-dispersion.png")
TITLES = ("Order", "Name", "Direction", "Type", "Default", "Description")
EMPTY_DOUBLE = 1e307
"""What is larger stands for a number that is not given."""


def blocks(text: str) -> list[str]:
    """The Python examples of a page."""
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(page: str, folder: Path) -> dict[str, object]:
    """What the examples of a page, run from top to bottom in a folder, leave in their names."""
    import matplotlib

    matplotlib.use("Agg")
    (folder / "demo").symlink_to(ROOT / "demo")
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        for block in blocks((ROOT / page).read_text(encoding="utf-8")):
            exec(compile(block, page, "exec"), names)
    return names


def section(text: str, title: str) -> str:
    """What stands below a heading of a page."""
    return re.split(rf"^## {title}\n", text, flags=re.MULTILINE)[1].split("\n## ")[0].strip()


def property_rows(name: str) -> list[list[str]]:
    """A row of the table for each property of an algorithm."""
    from mantid.api import AlgorithmManager

    return [
        [
            str(order),
            item.name,
            "Output" if item.direction == 1 else "Input",
            item.type,
            _default(item),
            item.documentation,
        ]
        for order, item in enumerate(AlgorithmManager.create(name).getProperties(), 1)
    ]


def _default(item) -> str:
    """As Mantid's own pages have it."""
    if item.isValid:
        return "Mandatory"
    if item.type == "boolean":
        return str(bool(item.value))
    if item.type == "number" and item.value > EMPTY_DOUBLE:
        return "Optional"
    return item.valueAsStr


def table(rows: list[list[str]]) -> str:
    """Of Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (TITLES, ["---"] * len(TITLES), *rows))


def rows_of(text: str) -> list[list[str]]:
    """The rows of a table of Markdown, without its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def _write() -> None:
    from mantid_algorithms import conftest

    assert conftest.simpleapi  # there is a Mantid now
    for name in ALGORITHMS:
        page = DOCS / f"algorithms/{name}.md"
        text = page.read_text(encoding="utf-8")
        made = table(property_rows(name))
        page.write_text(text.replace(section(text, "Properties"), made), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        run("docs/mantid.md", Path(folder))
        for picture in PICTURES:
            shutil.copy(Path(folder) / picture, DOCS / "images" / picture)


if __name__ == "__main__":
    _write()
