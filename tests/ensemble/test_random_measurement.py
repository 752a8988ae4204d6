"""Random measurements: what is drawn, and what a file of one says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fcinv_core import SQEHistogram
from fcinv_core.ensemble.cuts import KINDS, SCANNED
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.peak_intensity import expected_peaks, usual_intensity
from fcinv_core.ensemble.random_measurement import (
    RandomMeasurement,
    random_measurements,
)
from fcinv_core.errors import FcinvError
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.units import NEUTRON_ENERGY_PER_K2


@pytest.fixture(scope="module", params=KINDS)
def measurement(request, germanium, quick_ranges):
    return RandomMeasurement.draw(germanium, replace(quick_ranges, kinds=(request.param,)), seed=5)


def test_shape_and_conditions_are_as_asked(measurement, quick_ranges, germanium):
    histogram = measurement.template
    binned = [histogram.shape[i] > 1 for i in histogram.momentum_axes]
    assert sum(binned) == SCANNED[measurement.kind]
    assert (histogram.shape[histogram.energy_axis] == 1) == (measurement.kind == "map")
    low, high = quick_ranges.temperature
    assert low <= measurement.temperature == histogram.temperature <= high
    top = germanium.frequencies(np.indices((4, 4, 4)).reshape(3, -1).T / 4).max()
    low, high = quick_ranges.top_energy_over_incident
    assert low <= top / measurement.incident_energy <= high
    assert 3 <= histogram.orientations <= 8
    assert measurement.stated_fwhm * measurement.width_excess == pytest.approx(
        measurement.resolution.elastic_fwhm
    )


def test_neutrons_can_get_there(measurement):
    """Every bin that is seen touches the kinematic range: |ki - kf| <= Q <= ki + kf."""
    histogram = measurement.template
    centres = histogram.q_bin_centres()
    q = 2 * np.pi * np.linalg.norm(centres @ histogram.ub.T, axis=1)
    half_diagonal = np.abs(2 * np.pi * histogram.ub @ histogram.q_bin_edges_matrix()).sum() / 2
    edges = histogram.axes[histogram.energy_axis].edges
    incident = measurement.incident_energy
    initial = np.sqrt(incident / NEUTRON_ENERGY_PER_K2)
    final = np.sqrt(np.clip(incident - edges, 0, None) / NEUTRON_ENERGY_PER_K2)
    lowest = np.minimum(np.abs(initial - final[:-1]), np.abs(initial - final[1:]))
    highest = initial + np.maximum(final[:-1], final[1:])
    possible = (q[:, None] + half_diagonal >= lowest) & (q[:, None] - half_diagonal <= highest)
    seen = histogram.spectra(np.isfinite(measurement.exposure))
    assert seen.any() and not seen.all()
    assert not (seen & ~possible).any()


def test_a_file_of_it_can_be_inverted(measurement, germanium, tmp_path):
    """It says all that the inversion needs; counts and exposure come back from it."""
    simulated = measurement.simulate(germanium, seed=1)
    simulated.save(tmp_path / "random.nxs")
    loaded = SQEHistogram.load(tmp_path / "random.nxs")
    assert loaded.temperature == pytest.approx(measurement.temperature)
    assert loaded.incident_energy == pytest.approx(measurement.incident_energy)
    assert loaded.orientations == measurement.template.orientations
    np.testing.assert_allclose(loaded.ub, measurement.template.ub)
    np.testing.assert_allclose(loaded.hkl_matrix, measurement.template.hkl_matrix, atol=1e-9)
    counted = simulated.num_events > 0
    np.testing.assert_allclose(loaded.exposure()[counted], measurement.exposure[counted])
    prepared = PreparedHistogram.from_histogram(loaded, germanium.crystal)
    assert prepared.counts.sum() > 0


def test_peaks_have_the_counts_asked_for(germanium, quick_ranges):
    """Counts of strong peaks in bins of median exposure, within the variation of both."""
    ranges = replace(quick_ranges, peak_counts=(1000, 1000), kinds=("slab",), temperature=(20, 30))
    ranges = replace(ranges, flat_background=(1e-6, 1e-6), elastic_tail=(1e-6, 1e-6))
    for seed in range(3):
        simulated = RandomMeasurement.draw(germanium, ranges, seed).simulate(germanium)
        highest = np.nanmax(simulated.spectra(simulated.num_events), axis=1)
        typical = np.quantile(highest[highest > 0], 0.9)
        assert 200 < typical < 5000


def test_slow_neutrons_are_fewer(germanium, quick_ranges, monkeypatch):
    """S(Q,E) counts as k_f/k_i does, which the reduction divides out again."""
    monkeypatch.setattr(
        "fcinv_core.ensemble.random_measurement.exposure",
        lambda histogram, *others: np.ones(histogram.shape),
    )
    found = RandomMeasurement.draw(germanium, replace(quick_ranges, kinds=("slice",)), seed=5)
    energies = found.template.axes[found.template.energy_axis].centres
    final, initial = (
        np.sqrt(energy / NEUTRON_ENERGY_PER_K2)
        for energy in (found.incident_energy - energies, found.incident_energy)
    )
    rows = found.template.spectra(found.exposure)
    np.testing.assert_allclose(rows / rows[0, 0], (final / final[0])[None].repeat(len(rows), 0))
    assert final[-1] < 0.8 * initial


def test_seeds(germanium, quick_ranges):
    first, again, other = (
        RandomMeasurement.draw(germanium, quick_ranges, seed) for seed in (11, 11, 12)
    )
    assert first.template.shape == again.template.shape
    np.testing.assert_array_equal(first.exposure, again.exposure)
    assert (first.temperature, first.scale) == (again.temperature, again.scale)
    assert first.temperature != other.temperature
    one, two = first.simulate(germanium, seed=1), again.simulate(germanium, seed=1)
    np.testing.assert_array_equal(one.signal, two.signal)


def test_pools_are_diverse(germanium_pool):
    assert len({m.temperature for m in germanium_pool}) == len(germanium_pool)
    assert {m.template.shape[-1] for m in germanium_pool} == {64}
    assert "map" not in {m.kind for m in germanium_pool}


def test_impossible_ranges_are_refused(germanium):
    with pytest.raises(FcinvError, match="kinds"):
        MeasurementRanges(kinds=("powder",))
    impossible = MeasurementRanges(spectrometers=("CNCS",), top_energy_over_incident=(0.1, 0.2))
    with pytest.raises(FcinvError, match="no spectrometer"):
        RandomMeasurement.draw(germanium, impossible)
    with pytest.raises(FcinvError, match="no spectrometer"):
        random_measurements(germanium, 1, impossible)


def test_maps_at_one_of_few_energies(germanium, quick_ranges):
    """Fewer energy bins than a map takes together otherwise."""
    ranges = replace(quick_ranges, kinds=("map",), energy_bins=(2, 2))
    found = RandomMeasurement.draw(germanium, ranges, seed=1)
    (low, high) = found.template.axes[found.template.energy_axis].edges
    top = germanium.frequencies(np.indices((4, 4, 4)).reshape(3, -1).T / 4).max()
    assert -0.15 * top < low < high < found.incident_energy
    assert found.simulate(germanium).num_events.sum() > 0


def test_no_measurement_of_nothing(germanium, quick_ranges):
    """Cuts that see no bands, or structure factors that vanish, are planned anew.

    Of thin slices some see next to nothing otherwise.
    """
    ranges = replace(quick_ranges, kinds=("slice",), thickness=(0.01, 0.02), energy_bins=(64, 64))
    for seed in range(12):
        measurement = RandomMeasurement.draw(germanium, ranges, seed)
        expected = measurement.simulate(germanium, seed)
        counts = np.nan_to_num(expected.num_events)
        assert np.isfinite(measurement.exposure).any()
        # As many as asked for, or more in bins of higher exposure; never none.
        assert expected.spectra(counts).max() >= 0.3 * ranges.peak_counts[0]
        usual = usual_intensity(germanium.crystal, 38.0, measurement.resolution)
        flat = expected_peaks(
            germanium,
            measurement.template,
            measurement.temperature,
            measurement.resolution,
            np.random.default_rng(seed),
        )
        assert flat > 0.005 * usual


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": (0.0, 300.0)},
        {"peak_counts": (100.0, 10.0)},
        {"masked_detectors": (0.0, 1.0)},
        {"scale": (float("nan"), 1.0)},
        {"energy_bins": (0, 10)},
        {"background_slope": (0.0, float("inf"))},
        {"idealised": 1.5},
        {"matched": -0.1},
    ],
)
def test_ranges_that_are_none_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(FcinvError, match=name) as caught:
        MeasurementRanges(**wrong)
    assert "\n" not in str(caught.value)


def test_pools_hold_no_maps(germanium):
    with pytest.raises(FcinvError, match="no maps"):
        random_measurements(germanium, 1, MeasurementRanges(kinds=("map",)))
