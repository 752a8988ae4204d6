"""Several temperatures: groups, trends, files; and aluminium as it was measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from born_von_karman import born_von_karman
from command_line import one_error
from fake_result import axis, elastic, fake_result

from fcinv_core import Axis, SQEHistogram, cli, invert_series
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.measurement import simulate_measurement
from fcinv_core.errors import FcinvError
from fcinv_core.inversion import series as module
from fcinv_core.inversion.output import series_document, write_series
from fcinv_core.inversion.series import TemperatureSeries, Trend


def fake_series(temperatures=(80.0, 300.0, 500.0), **changes):
    """Elastic constants fall by 0.01 % per K."""
    results = []
    for temperature in temperatures:
        cubic = elastic()
        softer = replace(cubic, stiffness=(1 - 1e-4 * temperature) * cubic.stiffness)
        results.append(fake_result("yes", elastic=softer, **changes))
    return TemperatureSeries(np.array(temperatures), tuple(results))


def at(temperature):
    axes = [axis("[H,H,0]", -2, 2, 4), axis("DeltaE", -5, 70, 5)]
    return SQEHistogram.from_arrays(axes, np.ones((4, 5)), temperature=temperature)


def test_measurements_of_one_temperature_are_fitted_together(monkeypatch):
    asked = []

    def inverted(histograms, crystal, *, sources, progress, **options):
        asked.append(([h.temperature for h in histograms], sources, options))
        progress("Refining", 0.5)
        return fake_result()

    monkeypatch.setattr(module, "invert", inverted)
    told = []
    found = invert_series(
        [at(300.2), at(10.0), at(299.8), at(80.0)], None, sources=["c", "a", "d", "b"], seed=7,
        progress=lambda what, fraction: told.append((what, fraction)),
    )  # fmt: skip
    assert [temperatures for temperatures, *_ in asked] == [[10.0], [80.0], [299.8, 300.2]]
    assert [sources for _, sources, _ in asked] == [["a"], ["b"], ["d", "c"]]
    assert all(options == {"seed": 7} for *_, options in asked)
    assert found.temperatures.tolist() == [10.0, 80.0, 300.0]
    assert told[-1] == ("300 K: Refining", pytest.approx(2.5 / 3))


@pytest.mark.parametrize(
    "temperatures, words", [((300.0, 300.4), "one temperature"), ((10.0, None), "unknown temp")]
)
def test_what_is_no_series_is_refused(temperatures, words):
    with pytest.raises(FcinvError, match=words):
        invert_series([at(temperature) for temperature in temperatures], None)


def test_trend_is_the_weighted_straight_line():
    temperatures, sigma = np.array([10.0, 100.0, 300.0]), np.array([0.1, 0.2, 5.0])
    values = 3.0 - 0.01 * temperatures
    trend = Trend("energy", "X", "meV", temperatures, values, sigma)
    assert trend.slope[0] == pytest.approx(-0.01)
    _, covariance = np.polyfit(temperatures, values, 1, w=1 / sigma, cov="unscaled")
    assert trend.slope[1] == pytest.approx(np.sqrt(covariance[0, 0]))


def test_trends_of_shells_energies_and_elastic_constants():
    trends = {trend.name: trend for trend in fake_series().trends}
    assert trends["C44"].slope[0] == pytest.approx(-80e-4)
    assert trends["C44"].unit == "GPa" and "bulk modulus" in trends
    assert trends["K, branch 3"].kind == "energy"
    assert "2nd neighbours Si-Si, transverse" in trends


@pytest.mark.slow
def test_files(tmp_path):
    written = write_series(fake_series(), tmp_path / "out")
    assert {path.parent.name for path in written} == {"out", "80K", "300K", "500K"}
    assert all(path.is_file() for path in written)
    document = json.loads((tmp_path / "out/series.json").read_text(encoding="utf-8"))
    assert document["folders"] == ["80K", "300K", "500K"]
    found = next(trend for trend in document["trends"] if trend["name"] == "C11")
    assert found["values"] == pytest.approx([166 * (1 - 1e-4 * t) for t in (80, 300, 500)])
    assert found["slope_per_k"] == pytest.approx(-166e-4)
    html = (tmp_path / "out/series.html").read_text(encoding="utf-8")
    assert 'href="300K/report.html"' in html and "<svg" in html
    assert "://" not in html and "C44 (GPa)" in html


def measured(element, temperature, crystal, seed, n_along=20):
    """Some bins with a few hundred counts in strong peaks."""
    axes = [
        Axis.along([1, 1, 0], np.linspace(1.0, 1.0 + 0.1 * n_along, n_along + 1)),
        Axis.along([-1, 1, 0], np.linspace(-0.05, 0.05, 2)),
        Axis.along([0, 0, 1], np.linspace(-0.9, 0.9, 10)),
        Axis.energy_transfer(np.linspace(2.0, 44.0, 43)),
    ]
    shape = (n_along, 1, 9, 42)
    ub = np.eye(3) / crystal.lattice[0, 0]
    template = SQEHistogram.from_arrays(
        axes, np.zeros(shape), ub=ub, temperature=temperature, incident_energy=60.0
    )
    force_constants = carried_to(born_von_karman(element, temperature), crystal)
    return simulate_measurement(
        force_constants, template, np.full(shape, 40.0), energy_fwhm=2.0, seed=seed, tolerance=0.02
    )


@pytest.fixture(scope="module")
def aluminium():
    """Force constants at 80 and 300 K, fitted to neutrons (Landolt-Börnstein)."""
    return born_von_karman("Al", 80), born_von_karman("Al", 300)


@pytest.fixture(scope="module")
def found(aluminium):
    """By the example of the documentation."""
    page = (Path(__file__).parents[2] / "docs/temperatures.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    cold, _ = aluminium
    names = {
        "histograms": [measured("Al", 300, cold.crystal, 1), measured("Al", 80, cold.crystal, 2)],
        "crystal": cold.crystal,
        "start": cold.scaled(1.05),
    }
    exec(compile(example, "temperatures.md", "exec"), names)
    return names["series"]


def test_aluminium_becomes_softer_as_it_was_measured_to(found, aluminium):
    cold, warm = aluminium
    assert found.temperatures.tolist() == [80, 300]
    corners = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]])
    warm = carried_to(warm, cold.crystal)
    true = warm.frequencies(corners) - cold.frequencies(corners)
    trends = {trend.name: trend for trend in found.trends}
    for label, changes in zip(("X", "L"), true, strict=True):
        for branch in (1, 3):
            slope, sigma = trends[f"{label}, branch {branch}"].slope
            assert 220 * sigma < 0.4
            assert 220 * slope == pytest.approx(changes[branch - 1], abs=3 * 220 * sigma)


def test_every_key_is_explained(found):
    page = (Path(__file__).parents[2] / "docs/temperatures.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    document = series_document(found, ["80K", "300K"])
    assert set(document) | set(document["trends"][0]) <= explained


@pytest.mark.slow
def test_command(tmp_path, aluminium, capsys):
    """Of scattering at two temperatures, compared with given force constants."""
    cold, _ = aluminium
    cold.save(tmp_path / "Al.yaml")
    for temperature in (80, 300):
        measured("Al", temperature, cold.crystal, 1, n_along=4).save(
            tmp_path / f"{temperature}.nxs"
        )
    files, known = [tmp_path / "300.nxs", tmp_path / "80.nxs"], tmp_path / "Al.yaml"
    arguments = ["invert", *files, "--structure", known, "--start", known, "--energy-fwhm", "2",
                 "--cutoff", "4", "--no-refine", "--each-temperature"]  # fmt: skip
    assert cli.main([*map(str, arguments), "-o", str(tmp_path / "out")]) in (0, 3)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("80 K: ") and "Change per 100 K:" in printed.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "80K", "300K", "series.json", "series.html",
    }  # fmt: skip
    error = one_error(capsys, [*arguments, "--temperature", "10", "-o", tmp_path / "other"])
    assert "leave --temperature out" in error
