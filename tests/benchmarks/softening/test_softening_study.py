"""The study of copper at its smallest: two temperatures, few wave vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.error_bars.designs import DESIGNS
from benchmarks.networks.score import energies_of
from benchmarks.softening.__main__ import main
from benchmarks.softening.study import truth

X = np.array([[0.5, 0.0, 0.5]])


def test_truths_are_those_that_were_measured():
    """E. C. Svensson, B. N. Brockhouse and J. M. Rowe, Phys. Rev. 155, 619 (1967): X at 296 K."""
    transverse, _, longitudinal = energies_of(truth(296), X)[0]
    assert transverse == pytest.approx(5.13 * 4.1357, rel=0.02)
    assert longitudinal == pytest.approx(7.25 * 4.1357, rel=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:More than one OpenMP")
def test_page_and_picture_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(DESIGNS, "volume", replace(DESIGNS["volume"], n_q=60))
    temperatures = ["--temperature", "49", "--temperature", "1336"]
    main(["--design", "volume", *temperatures, "--folder", str(tmp_path)])
    page = (tmp_path / "softening.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| X, branch 1 "))
    true, found = row.split("|")[-3:-1]
    change, sigma = map(float, found.split("±"))
    assert float(true) < -2 and abs(change - float(true)) < 3 * sigma < 1.0
    assert (tmp_path / "softening.png").stat().st_size > 10_000
