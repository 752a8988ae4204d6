"""Every benchmark at a tiny size: results of the codes that are compared agree.

Times are not looked at: ``make bench`` measures them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.cases import Benchmark, all_sections, peer_process
from benchmarks.measure import PeakMemory, shortest
from benchmarks.peers import EuphonicRun
from benchmarks.scaling import all_panels, draw
from benchmarks.table import Row, Section, page
from benchmarks.workload import Workload

TINY = 2e-4

LARGEST_DEVIATION = {
    # Where all lines end inside the bins, shape and place of lines do not matter for integrals.
    "Euphonic, all steps": 1e-6,
    "Euphonic, all steps, 27 Q": 1e-6,
    "Euphonic": 1e-8,
    # Phonopy's constants are older ones.
    "phonopy": 1e-6,
    "fcinv, float64": 5e-3,
    "spectra": 1e-9,
    # Lines of many modes come from a table (to 3e-8), those of few do not.
    "32 single calls": 1e-7,
}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    with peer_process() as ask:
        yield Benchmark(tmp_path_factory.mktemp("benchmarks"), ask, TINY)


@pytest.mark.slow
def test_results_agree(benchmark):
    sections = list(all_sections(benchmark))
    rows = [row for section in sections for row in section.rows]
    compared = {row.versus for row in rows if row.deviation is not None}
    assert compared == set(LARGEST_DEVIATION)
    for row in rows:
        # So little work may fit into memory that is free already.
        assert row.other > 0 and (row.own > 0 or row.unit == "MB"), row
        if row.deviation is not None:
            assert row.deviation < LARGEST_DEVIATION[row.versus], row
    text = page(sections, TINY)
    assert all(f"| {row.case} |" in text for row in rows)


def test_scaling_is_drawn(benchmark, tmp_path):
    panels = all_panels(benchmark)
    for panel in panels:
        for sizes, times in panel.curves.values():
            assert (np.diff(sizes) >= 0).all() and (times > 0).all()
    draw(panels, tmp_path / "scaling.png")
    assert 10_000 < (tmp_path / "scaling.png").stat().st_size < 150_000


def test_ratios_say_what_their_heading_says():
    rows = (Row("ours", 2.0, "theirs", 6.0),)
    assert "| times as fast |" in Section("", rows).to_markdown()
    assert "| 3.00 |" in Section("", rows).to_markdown()
    assert "| times as much |" in Section("", rows, is_cost=True).to_markdown()
    assert "| 0.333 |" in Section("", rows, is_cost=True).to_markdown()


def test_different_intensities_are_noticed():
    work = Workload.scattered("Ge", 3, 90)
    energies, signal = np.full((3, 6), 20.0), np.ones((3, 90))
    peer = EuphonicRun(0, 0, 0, 0, 0, energies, signal @ np.diff(work.edges))
    assert work.intensity_deviation(signal, peer) < 1e-14
    signal[1] *= 1.01
    assert work.intensity_deviation(signal, peer) == pytest.approx(0.01)
    # Lines that may leave the bins do not count.
    energies[1, 0] = 1.0
    assert work.intensity_deviation(signal, replace(peer, energies=energies)) < 1e-14


def test_peak_memory_sees_what_is_freed_again():
    with PeakMemory() as memory:
        shortest(lambda: np.ones(20_000_000).sum(), 3)
    assert 150e6 < memory.extra < 200e6
