"""Which bins enter a fit, and how many counts stand behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcinv_core.crystal import Crystal
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, SQEHistogram
from fcinv_core.inversion.preparation import PreparedHistogram

DATA = Path(__file__).parents[1] / "data"
A = 5.431


def slice_of(h_edges, energy_edges, signal=1.0, **metadata):
    axes = [
        Axis.along([1, 0, 0], np.asarray(h_edges, float)),
        Axis.along([0, 1, 0], np.array([-0.05, 0.05])),
        Axis.along([0, 0, 1], np.array([-0.05, 0.05])),
        Axis.energy_transfer(np.asarray(energy_edges, float)),
    ]
    shape = tuple(axis.n_bins for axis in axes)
    values = np.broadcast_to(signal, shape)
    known = {"ub": np.eye(3) / A, "temperature": 300.0, "incident_energy": 80.0} | metadata
    return SQEHistogram.from_arrays(axes, values, values / 10, **known)


def test_elastic_line_and_end_of_range_are_left_out(silicon):
    data = slice_of(np.arange(1.25, 1.8, 0.1), np.arange(-10, 80.5, 1.0))
    used = PreparedHistogram.from_histogram(data, silicon, energy_fwhm=2.0).used
    low, high = np.arange(-10, 80.0, 1.0), np.arange(-9, 81.0, 1.0)
    expected = (np.minimum(abs(low), abs(high)) >= 3.0) & (high <= 0.95 * 80)
    assert used.all(axis=0)[expected].all()
    assert not used[:, ~expected].any()


def test_bins_that_hold_a_bragg_point_lose_low_energies_only_there(silicon):
    # (4 0 0) is allowed in the primitive lattice of diamond, (3 0 0) is not
    data = slice_of(np.arange(2.45, 4.5, 0.1), np.arange(3.0, 60.0, 1.0))
    used = PreparedHistogram.from_histogram(data, silicon, energy_fwhm=2.0).used
    centres = data.q_bin_centres()[:, 0]
    holds_bragg = np.isclose(centres, 4.0)
    assert holds_bragg.sum() == 1
    assert not used[holds_bragg, :5].any()
    assert used[holds_bragg, 5:].all()
    assert used[~holds_bragg].all()


def test_only_bins_within_the_energy_range_are_used(silicon):
    data = slice_of(np.arange(1.25, 1.8, 0.1), np.arange(5, 60.5, 1.0))
    prepared = PreparedHistogram.from_histogram(
        data, silicon, energy_fwhm=2.0, energy_range=(20.0, 40.5)
    )
    used = prepared.used
    assert (used == ((np.arange(5, 60) >= 20) & (np.arange(6, 61) <= 40))).all()
    with pytest.raises(FcinvError, match="nothing to fit"):
        PreparedHistogram.from_histogram(data, silicon, energy_fwhm=2.0, energy_range=(70, 80))


def test_counts_and_exposure_reproduce_signal_and_error(silicon):
    data = slice_of(np.arange(1.25, 1.8, 0.1), np.arange(5, 60.0, 1.0), signal=2.0)
    prepared = PreparedHistogram.from_histogram(data, silicon, energy_fwhm=2.0)
    assert np.allclose(prepared.counts, 2.0**2 / 0.2)
    assert np.allclose(prepared.exposure, 2.0 / 0.2)


def test_what_cannot_be_inverted_is_refused(silicon):
    good = slice_of(np.arange(1.25, 1.8, 0.1), np.arange(5, 60.0, 1.0))
    cases = {
        "lattice": slice_of([1, 2], [5, 6], ub=None),
        "emperature": slice_of([1, 2], [5, 6], temperature=None),
        "resolution": slice_of([1, 2], [5, 6], incident_energy=None),
        "nothing": good.with_values(np.full(good.shape, np.nan)),
        "elastic": slice_of([1.2, 1.3], [-1, 0, 1]),
    }
    for word, data in cases.items():
        with pytest.raises(FcinvError, match=word):
            PreparedHistogram.from_histogram(data, silicon)
    with pytest.raises(FcinvError, match="cubic.*linear, flat, none"):
        PreparedHistogram.from_histogram(good, silicon, energy_fwhm=2.0, background="cubic")
    magnesia = Crystal.from_file(DATA / "force_constants" / "MgO_dft.yaml")
    with pytest.raises(FcinvError, match="lattice"):
        PreparedHistogram.from_histogram(good, magnesia)


def test_calculated_spectra_are_called_what_they_are(silicon):
    data = slice_of(np.arange(1.25, 1.8, 0.1), np.arange(5, 60.5, 1.0))
    calculated = data.with_values(data.signal, np.zeros_like(data.signal))
    with pytest.raises(FcinvError, match="has no error bars, as spectra that were calculated"):
        PreparedHistogram.from_histogram(calculated, silicon, energy_fwhm=2.0)


def test_of_several_files_the_one_of_another_crystal_is_named(silicon):
    other = slice_of([1.0, 1.1], [10.0, 11.0], ub=np.eye(3) / 4.05, source="Al.nxs")
    with pytest.raises(FcinvError, match=r"^Al\.nxs: .* no cell of Si"):
        PreparedHistogram.from_histogram(other, silicon)
