"""The pages on Mantid speak of what is there, and their examples run."""

from __future__ import annotations

import re

import mantid_pages
import numpy as np
import pytest
from mantid.api import AlgorithmManager, AnalysisDataService
from mantid_pages import ALGORITHMS, DOCS, PICTURES, ROOT, property_rows, rows_of, section

MOST_BYTES = 200_000
"""Of a picture."""


def page(name):
    return (DOCS / f"algorithms/{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_table_of_properties_is_what_the_algorithm_declares(name):
    """`python -m mantid_pages` writes it; Mantids may call types otherwise."""
    kind = mantid_pages.TITLES.index("Type")
    shown, declared = rows_of(section(page(name), "Properties")), property_rows(name)
    assert [row[:kind] + row[kind + 1 :] for row in shown] == [
        row[:kind] + row[kind + 1 :] for row in declared
    ]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_summary_and_related_algorithms_are_those_of_the_algorithm(name):
    algorithm = AlgorithmManager.create(name)
    assert section(page(name), "Summary") == algorithm.summary()
    related = section(page(name), "Related algorithms")
    for other in algorithm.seeAlso():
        assert re.search(rf"\b{other}\b", related)


def test_pages_name_properties_that_exist():
    """Names in the style of properties, as `EnergyMin`, between back quotes."""
    names = {row[1] for name in ALGORITHMS for row in property_rows(name)}
    of_mantid = {"DeltaE", "OutputDataWorkspace", "OutputNormalizationWorkspace"}
    for file in (DOCS / "mantid.md", *(DOCS / f"algorithms/{name}.md" for name in ALGORITHMS)):
        text = re.sub(r"^```.*?^```", "", file.read_text("utf-8"), flags=re.M | re.S)
        spoken = set(re.findall(r"`((?:[A-Z][a-z]+)+[0-9]?(?:[A-Z][a-z]*)+)`", text))
        assert "InputWorkspace" in spoken and spoken <= names | of_mantid, file


def test_examples_of_simulations(tmp_path, capsys):
    """Printed is what the page says."""
    names = mantid_pages.run("docs/algorithms/SimulateSQE.md", tmp_path)
    told = re.findall(r"^Output:\n\n```text\n(.*?)```", page("SimulateSQE"), flags=re.M | re.S)
    assert capsys.readouterr().out == "".join(told)
    simulated = names["simulated"].getSignalArray()
    several = AnalysisDataService["several_phonons"].getSignalArray()
    measured = np.isfinite(names["measured"].getSignalArray())
    assert (several[measured] >= simulated[measured]).all()
    assert np.isnan(several[~measured]).all() and np.isnan(simulated[~measured]).all()
    assert np.isfinite(names["planned"].getSignalArray()).all()


def test_examples_of_inversions(tmp_path, capsys):
    names = mantid_pages.run("docs/algorithms/InvertForceConstants.md", tmp_path)
    assert names["estimate"].TrustVerdict == "caution"
    assert names["energy"] == pytest.approx(62.4, abs=3 * names["error"])
    table = names["estimate"].OutputWorkspace
    told = re.findall(r"(-\d\.\d+) ± (\d\.\d+)", section(page("InvertForceConstants"), "Usage"))
    assert len(told) == 2
    for row, numbers in enumerate(told):
        found = [table.row(row)[column] for column in ("value", "sigma")]
        assert found == pytest.approx([float(number) for number in numbers], abs=0.006)
    assert "bulk modulus" in capsys.readouterr().out


def test_the_tutorial_inverts_the_demo(tmp_path):
    """From a file of MDNorm to the pictures on the page."""
    names = mantid_pages.run("docs/mantid.md", tmp_path)
    assert names["result"].TrustVerdict == "yes"
    assert (tmp_path / "force_constants.yaml").is_file()
    shown = set(re.findall(r"\]\(images/(mantid-.*?)\)", (DOCS / "mantid.md").read_text("utf-8")))
    assert shown == set(PICTURES)
    for picture in PICTURES:
        assert (tmp_path / picture).is_file()
        assert (DOCS / "images" / picture).stat().st_size < MOST_BYTES


def test_the_readme_in_mantid(simpleapi, tmp_path, monkeypatch):
    """As it stands but for the refinement, which the tutorial's test waits for."""
    whole = simpleapi.InvertForceConstants
    monkeypatch.setattr(
        simpleapi, "InvertForceConstants", lambda **given: whole(**given, Refine=False)
    )
    (block,) = [
        block
        for block in mantid_pages.blocks((ROOT / "README.md").read_text(encoding="utf-8"))
        if "mantid" in block
    ]
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert {"measured", "constants", "simulated", "dispersion"} <= set(
        AnalysisDataService.getObjectNames()
    )
    assert (tmp_path / "report.html").is_file()
