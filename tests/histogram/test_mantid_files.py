"""Files written by real Mantid, against what Mantid itself reports of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from fcinv_core.histogram import SQEHistogram, check_invertible
from fcinv_core.histogram.experiment import lattice_from_ub

REPORTED = json.loads(
    (Path(__file__).parents[1] / "data" / "mantid" / "expected.json").read_text()
)["files"]
NAMES = [report["file"] for report in REPORTED]
CLEAN_NAMES = [report["clean"]["file"] for report in REPORTED]
EVERY_NAME = [
    *NAMES,
    *CLEAN_NAMES,
    "si_300K_HHL0_slice_data.nxs",
    "si_300K_HHL0_slice_norm.nxs",
    "si_300K_HHL0_slice_clean_data.nxs",
]


@pytest.fixture(scope="module")
def load(mantid_file):
    loaded = {}

    def cached(name):
        if name not in loaded:
            loaded[name] = SQEHistogram.load(mantid_file(name))
        return loaded[name]

    return cached


@pytest.mark.parametrize("report", REPORTED, ids=NAMES)
def test_axes_are_as_mantid_reports_them(load, report):
    for name in (report["file"], report["clean"]["file"]):
        histogram = load(name)
        assert list(histogram.shape) == report["shape"]
        for axis, dimension in zip(histogram.axes, report["dims"], strict=True):
            assert axis.name == dimension["name"]
            assert axis.unit == dimension["units"]
            assert axis.frame == dimension["frame"]
            assert axis.n_bins == dimension["nbins"]
            assert np.float32(axis.edges[0]) == np.float32(dimension["min"])
            assert np.float32(axis.edges[-1]) == np.float32(dimension["max"])


@pytest.mark.parametrize("report", REPORTED, ids=NAMES)
def test_values_are_as_mantid_reports_them(load, report):
    histogram = load(report["file"])
    signal, variance = histogram.signal, histogram.variance
    assert np.isnan(signal).sum() == report["n_nan"]
    assert np.isinf(signal).sum() == report["n_inf"]
    assert (signal == 0).sum() == report["n_zero"]
    finite = np.isfinite(signal)
    assert signal[finite].sum() == pytest.approx(report["sum_finite"], rel=1e-12)
    assert variance[finite].sum() == pytest.approx(report["sum_error2_finite"], rel=1e-12)
    for sample in report["samples"]:
        index = tuple(sample["index"])
        assert signal[index] == sample["signal"]
        assert variance[index] == sample["error2"]


@pytest.mark.parametrize("report", REPORTED, ids=NAMES)
def test_clean_twins_have_the_values_that_mantid_reports(load, report):
    clean = report["clean"]
    histogram = load(clean["file"])
    signal = histogram.signal
    assert np.isnan(signal).sum() == clean["n_nan"]
    assert (signal == 0).sum() == clean["n_zero"]
    assert signal[np.isfinite(signal)].sum() == pytest.approx(clean["sum_finite"], rel=1e-12)
    # These are Poisson counts over exposure, so that the counts come back from the ratio.
    counts = histogram.effective_counts()
    assert np.nansum(counts) == pytest.approx(clean["counts_total"], rel=1e-12)
    known = counts[np.isfinite(counts)]
    assert np.abs(known - np.round(known)).max() < 1e-6 * known.max()


@pytest.mark.parametrize("report", REPORTED, ids=NAMES)
def test_metadata_are_as_mantid_reports_them(load, report):
    for name in (report["file"], report["clean"]["file"]):
        histogram = load(name)
        assert len(histogram.experiments) == report["num_experiment_infos"]
        assert histogram.orientations == report["num_experiment_infos"]
        assert histogram.q_convention == report["Q_convention"]
        assert histogram.coordinate_system == 0 and report["coordinate_system"] == "None"
        np.testing.assert_array_equal(histogram.ub, report["UB"])
        first = histogram.experiments[0]
        np.testing.assert_array_equal(first.w_matrix.ravel(), report["W_MATRIX"])
        assert first.incident_energy == histogram.incident_energy == report["logs"]["Ei"]
        assert [first.temperature] == report["logs"]["SampleTemperature"]
        assert [first.goniometer[0].angle] == report["logs"]["psi"]
        assert first.instrument == "ARCSLIKE"
        check_invertible(histogram)


def test_data_over_normalisation_is_the_ratio(load):
    ratio, data, norm = (
        load(f"si_300K_HHL0_slice{suffix}.nxs") for suffix in ("", "_data", "_norm")
    )
    report = REPORTED[NAMES.index("si_300K_HHL0_slice.nxs")]
    assert data.signal.sum() == pytest.approx(report["counts_total"], rel=1e-12)
    assert norm.signal.sum() == pytest.approx(report["norm_total"], rel=1e-12)
    covered = ratio.covered
    expected = data.signal[covered] / norm.signal[covered]
    np.testing.assert_allclose(ratio.signal[covered], expected, rtol=1e-12)


def test_exposure_is_the_normalisation_of_mdnorm(load):
    """In the clean files every event weighs 1, so exposure is MDNorm's normalisation."""
    clean, norm = load("si_300K_HHL0_slice_clean.nxs"), load("si_300K_HHL0_slice_norm.nxs")
    exposure, counts = clean.exposure(), clean.effective_counts()
    counted, empty = counts > 0, counts == 0
    np.testing.assert_allclose(exposure[counted], norm.signal[counted], rtol=1e-9)
    # All bins without counts are slivers at the edge of coverage: true exposure below 10
    # where the next bin has up to 1000. Their neighbours must not speak for them.
    assert empty.sum() == 14 and norm.signal[empty].max() < 10
    assert np.isnan(exposure[empty]).all()
    assert np.isnan(exposure[~clean.covered]).all()


def test_lattice_and_goniometer(load):
    histogram = load("si_300K_five_orientations_HHL0_slice.nxs")
    np.testing.assert_allclose(histogram.lattice, (5.431, 5.431, 5.431, 90, 90, 90), rtol=1e-12)
    np.testing.assert_allclose(lattice_from_ub(histogram.ub), histogram.lattice, rtol=1e-12)
    angles = [info.goniometer[0].angle for info in histogram.experiments]
    assert angles == [-62.5, -40, -25, -2.5, 12.5]
    assert len(set(histogram.run_numbers)) == 5
    # u = (1,0,0) lies along the beam (z) at psi = 0; a turn about y by psi takes z to
    # (sin psi, 0, cos psi).
    info = histogram.experiments[-1]
    beam = info.rotation @ info.ub @ [1, 0, 0]
    psi = np.radians(12.5)
    np.testing.assert_allclose(
        beam / np.linalg.norm(beam), [np.sin(psi), 0, np.cos(psi)], atol=1e-12
    )


def test_axes_in_any_order(load):
    histogram = load("si_300K_4K0_slice_energy_first.nxs")
    assert histogram.energy_axis == 0
    assert histogram.momentum_axes == (1, 2, 3)
    np.testing.assert_array_equal(histogram.hkl_matrix, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    centres = histogram.q_bin_centres()
    assert centres.shape == (140, 3)
    np.testing.assert_allclose(centres[:, 0], 4, atol=1e-6)
    np.testing.assert_allclose(centres[0], [4, -3.475, 0], atol=1e-6)


def test_bins_of_a_tilted_slice(load):
    histogram = load("si_300K_HHL0_slice.nxs")
    edges = histogram.q_bin_edges_matrix()
    np.testing.assert_allclose(edges[:, 0], [0.1, 0.1, 0], atol=1e-6)
    np.testing.assert_allclose(edges[:, 1], [0.3, -0.3, 0], atol=1e-6)
    np.testing.assert_allclose(edges[:, 2], [0, 0, 0.3], atol=1e-6)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_saved_file_is_the_original_again(load, mantid_file, tmp_path, name):
    """Same groups, types, attributes and values, to the last string type."""
    load(name).save(tmp_path / name)
    with h5py.File(mantid_file(name)) as original, h5py.File(tmp_path / name) as saved:
        assert list(original) == list(saved) == ["MDHistoWorkspace"]
        original, saved = original["MDHistoWorkspace"], saved["MDHistoWorkspace"]
        assert set(original) == set(saved)
        assert_same_attributes(original, saved)
        for child in original:
            # All 61 runs once; elsewhere the first and the last stand for them.
            if name == NAMES[0] or not re.fullmatch(r"experiment([1-9]|[1-5]\d)", child):
                assert_same_tree(original[child], saved[child])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_saved_twice_is_loaded_the_same(load, tmp_path):
    original = load("si_300K_one_orientation_4d.nxs")
    original.save(tmp_path / "a.nxs")
    SQEHistogram.load(tmp_path / "a.nxs").save(tmp_path / "b.nxs")
    again = SQEHistogram.load(tmp_path / "b.nxs")
    for name in ("signal", "variance", "num_events", "mask"):
        np.testing.assert_array_equal(getattr(again, name), getattr(original, name))
    for ours, theirs in zip(again.axes, original.axes, strict=True):
        np.testing.assert_array_equal(ours.edges, theirs.edges)
    np.testing.assert_array_equal(again.ub, original.ub)


def test_new_values_keep_bins_and_metadata(load, tmp_path):
    histogram = load("si_300K_4K0_slice_energy_first.nxs")
    simulated = np.where(histogram.covered, 2 * histogram.signal, np.nan)
    histogram.with_values(simulated).save(tmp_path / "simulated.nxs")
    again = SQEHistogram.load(tmp_path / "simulated.nxs")
    np.testing.assert_array_equal(again.signal, simulated)
    np.testing.assert_array_equal(np.isnan(again.variance), np.isnan(simulated))
    assert np.nanmax(again.variance) == 0
    assert again.orientations == 61
    assert again.experiments[60].goniometer[0].angle == 20


def assert_same_tree(original, saved):
    assert_same_attributes(original, saved)
    if isinstance(original, h5py.Dataset):
        assert original.shape == saved.shape, original.name
        assert original.id.get_type().equal(saved.id.get_type()), original.name
        if original.compression:  # some originals were repacked without, to pack them better
            for name in ("chunks", "compression", "compression_opts", "shuffle"):
                assert getattr(original, name) == getattr(saved, name)
        np.testing.assert_array_equal(original[()], saved[()])
        return
    assert set(original) == set(saved), original.name
    for name in original:
        assert_same_tree(original[name], saved[name])


def assert_same_attributes(original, saved):
    assert set(original.attrs) == set(saved.attrs), original.name
    for name in original.attrs:
        ours, theirs = (h5py.h5a.open(x.id, name.encode()) for x in (saved, original))
        assert ours.get_type().equal(theirs.get_type()), (original.name, name)
        assert ours.shape == theirs.shape, (original.name, name)
        assert saved.attrs[name] == original.attrs[name], (original.name, name)
