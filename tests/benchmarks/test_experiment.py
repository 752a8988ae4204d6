"""The bounds of the page on experiments: identities of the Fisher information, and the tables."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import experiment
from benchmarks.experiment import Plan, Silicon, information, main

from fcinv_core.inversion.nuisances import SCALE


@pytest.fixture(scope="module")
def silicon():
    return Silicon()


@pytest.fixture
def small(monkeypatch):
    """Few bins, pixels and cases."""
    numbers = {"REACH": 3.0, "HEIGHT": 0.375, "_SPACING": 3.0}
    cases = {"ORIENTATIONS": (1, 4), "ENERGIES": (100.0,)}
    for name, value in (numbers | cases).items():
        monkeypatch.setattr(experiment, name, value)


def test_without_background_each_count_tells_as_much_of_the_scale(silicon, small, monkeypatch):
    """Poisson: the information on the logarithm of a common factor is the number of counts."""
    monkeypatch.setattr(experiment, "BACKGROUND_LEVEL", 0.0)
    found = information(silicon, Plan(4), 40)
    n_par = len(silicon.parameters)
    assert found.fisher[n_par + SCALE, n_par + SCALE] == pytest.approx(found.counts, rel=1e-3)


def test_errors_fall_with_the_root_of_the_time_down_from_the_prior(silicon, small):
    found = information(silicon, Plan(4), 40)
    long, longer = (silicon.bound(found, 1e12 * factor)[0] for factor in (1, 4))
    assert longer == pytest.approx(long / 2, rel=0.02)
    nothing, n_open = silicon.bound(found, 1e-12)
    assert n_open == len(silicon.parameters) and nothing > 100 * long


def test_part_of_the_bins_stands_for_all(silicon, small):
    part, more = (information(silicon, Plan(4), n_q) for n_q in (200, 800))
    assert part.counts == pytest.approx(more.counts, rel=0.4)
    traces = [np.trace(found.fisher[:25, :25]) for found in (part, more)]
    assert traces[0] == pytest.approx(traces[1], rel=0.4)


def test_tables(small, tmp_path):
    main([str(tmp_path), "--q-bins", "20"])
    first = (tmp_path / "orientations.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0] for line in first[2:]] == ["| 1", "| 4"]
    second = (tmp_path / "energies.md").read_text(encoding="utf-8").splitlines()
    assert second[2].startswith("| 100 | 4.6 | 1.00 | ")
