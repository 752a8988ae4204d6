"""Spoilt input is spoilt, and good input is what the files of real Mantid hold."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.verdicts.kinds import KINDS
from benchmarks.verdicts.measured import good_signal, measurement, silicon

FILE = "HHL0_slice_clean"
ELSEWHERE = {"another compound with the same cell", "temperature 5 K for 300 K"}
"""Kinds whose data are good, and what is said of them is not."""


def test_the_good_signal_is_that_of_the_file():
    """Euphonic's intensities and their binning by Mantid are behind it: up to scale and flat."""
    file = measurement(FILE)
    counts = file.bins.effective_counts()
    used = np.isfinite(counts) & (file.energies > 6) & (file.exposure > 0)
    design = np.stack([np.ones(used.sum()), good_signal(FILE)[used]], axis=1)
    weights = np.sqrt(file.exposure[used])
    fitted, *_ = np.linalg.lstsq(
        design * weights[:, None], file.bins.signal[used] * weights, rcond=None
    )
    assert np.corrcoef(design @ fitted, file.bins.signal[used])[0, 1] > 0.95


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_differs_from_good_data(name):
    kind, m = KINDS[name], measurement(FILE)
    given = kind.make(m, FILE, 0)
    good = KINDS["good"].make(m, FILE, 0).histograms[0].signal
    data = given.histograms[0].signal
    assert data.shape == good.shape and np.isfinite(data).any()
    is_same = len(given.histograms) == 1 and np.array_equal(data, good, equal_nan=True)
    assert is_same == (name == "good" or name in ELSEWHERE)
    assert (given.crystal is silicon()) == (name != "another compound with the same cell")
    again = kind.make(m, FILE, 0).histograms[0].signal
    np.testing.assert_array_equal(data, again)
