"""Simulated measurements against a measurement that others simulated.

`si_300K_HHL0_slice_clean` holds Poisson counts of Euphonic's intensities on the bins and with the
normalisation of real Mantid (tests/data/README.md). Its background of 0.02 is per atom, as
Euphonic's intensities are: 0.04 per primitive cell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcinv_core import ForceConstants, SQEHistogram
from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measurement import counted, expected_signal, simulate_measurement
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.coverage import exposure_of_runs

DATA = Path(__file__).parents[1] / "data"
SETTINGS = {
    "temperature": 300.0,
    "energy_fwhm": 2.4,
    "background": Background(flat=0.04),
    # Counts per unit of Mantid's normalisation and mbarn/meV: not recorded, but a round number
    # that other files of the series show, see `test_scale_of_the_series`.
    "scale": 10.0,
}
BANDS = ((2, 74), (9.6, 20), (20, 40), (40, 60), (60, 74))
"""meV. Below 9.6 meV, four times the resolution, bins hold the divergence at Bragg points."""
N_SEEDS = 60


@pytest.fixture(scope="module")
def silicon():
    return ForceConstants.from_file(DATA / "force_constants" / "Si_dft.yaml")


@pytest.fixture(scope="module")
def load(mantid_file):
    return lambda name: SQEHistogram.load(mantid_file(f"si_300K_{name}.nxs"))


@pytest.fixture(scope="module")
def slice_clean(load):
    return load("HHL0_slice_clean")


@pytest.fixture(scope="module")
def normalisation(load):
    return load("HHL0_slice_norm").signal


@pytest.fixture(scope="module")
def expected(silicon, slice_clean, normalisation):
    return expected_signal(silicon, slice_clean, normalisation, **SETTINGS)


@pytest.fixture(scope="module", params=["from the file", "from the goniometer angles"])
def exposure(request, slice_clean, normalisation):
    """The normalisation that Mantid wrote, or the one that follows from instrument and runs.

    Up to one factor, which the simulation is free to choose.
    """
    if request.param == "from the file":
        return normalisation
    computed = exposure_of_runs(slice_clean)
    seen = (normalisation > 0) & np.isfinite(computed)
    return computed * (normalisation[seen].sum() / computed[seen].sum())


def in_band(histogram, band):
    energies = histogram.along_energy(histogram.axes[histogram.energy_axis].centres)
    return np.broadcast_to((energies > band[0]) & (energies < band[1]), histogram.shape)


def statistics(counts, mean):
    """Total; Pearson's χ² per bin; variance over mean of the counts; share of bins without."""
    return np.array(
        [
            counts.sum(),
            np.mean((counts - mean) ** 2 / mean),
            counts.var() / counts.mean(),
            np.mean(counts == 0),
        ]
    )


@pytest.mark.parametrize("band", BANDS)
def test_counts_are_those_of_the_file(load, expected, normalisation, exposure, band):
    """Within four standard deviations of what seeds differ by.

    Measured, all bins (z), with the file's normalisation: total 75050 against 75104 (-0.2);
    Pearson's χ² 1.04 against 1.00 (0.8); variance over mean 458 against 448 (1.9); share of zeros
    1.8 % against 1.4 % (1.4). Largest |z| of the 20 numbers: 2.5. With the normalisation of the
    goniometer angles: -0.4, 0.7, 1.5, 1.3 and 2.4.
    """
    seen = (normalisation > 0) & np.isfinite(exposure)
    chosen = seen & in_band(expected, band)
    bins = expected.with_values(np.where(seen, expected.signal, np.nan))
    mean = (exposure * expected.signal)[chosen]
    drawn = np.array(
        [
            statistics(
                counted(bins, np.where(seen, exposure, np.nan), seed).num_events[chosen], mean
            )
            for seed in range(N_SEEDS)
        ]
    )
    real = statistics(load("HHL0_slice_clean_data").signal[chosen], mean)
    z = (real - drawn.mean(axis=0)) / drawn.std(axis=0, ddof=1)
    assert np.abs(z).max() < 4
    assert abs(z[0]) < 3


@pytest.mark.parametrize("wrong", [{"scale": 10.2}, {"background": Background(flat=0.06)}])
def test_the_comparison_notices(load, silicon, slice_clean, normalisation, wrong):
    """2 % more counts, or half as much background again."""
    other = expected_signal(silicon, slice_clean, normalisation, **{**SETTINGS, **wrong})
    chosen = other.covered
    mean = (normalisation * other.signal)[chosen].sum()
    real = load("HHL0_slice_clean_data").signal[chosen].sum()
    assert abs(real - mean) > 4 * np.sqrt(mean)


def test_scale_of_the_series(load, silicon):
    """Another file, whose counts are a draw of their own."""
    other = load("five_orientations_HHL0_slice_clean")
    exposure = other.exposure()
    unscaled = expected_signal(silicon, other, exposure, **{**SETTINGS, "scale": 1.0})
    chosen = unscaled.covered & in_band(other, (9.6, 74))
    counts = (other.signal * exposure)[chosen].sum()
    scale = counts / (unscaled.signal * exposure)[chosen].sum()
    assert scale == pytest.approx(SETTINGS["scale"], abs=4 * scale / np.sqrt(counts))
    assert scale / np.sqrt(counts) < 0.2


def test_file_and_exposure_come_back(silicon, slice_clean, normalisation, expected, tmp_path):
    """Signal over variance is the exposure, as in files of Mantid; NaN where nothing is seen."""
    simulated = simulate_measurement(silicon, slice_clean, normalisation, seed=3, **SETTINGS)
    assert np.array_equal(
        simulated.signal, counted(expected, normalisation, 3).signal, equal_nan=True
    )
    other = simulate_measurement(silicon, slice_clean, normalisation, seed=4, **SETTINGS)
    assert not np.array_equal(simulated.signal, other.signal, equal_nan=True)
    simulated.save(tmp_path / "simulated.nxs")
    loaded = SQEHistogram.load(tmp_path / "simulated.nxs")
    seen = normalisation > 0
    assert np.array_equal(loaded.covered, seen)
    counts = simulated.num_events
    bare = seen & (counts == 0)
    assert bare.any() and not loaded.signal[bare].any() and not loaded.variance[bare].any()
    np.testing.assert_allclose(loaded.exposure()[counts > 0], normalisation[counts > 0])
    np.testing.assert_allclose(loaded.effective_counts()[seen], counts[seen])
    assert loaded.temperature == slice_clean.temperature
    np.testing.assert_array_equal(loaded.ub, slice_clean.ub)


def test_impossible_exposures_are_refused(expected, normalisation):
    with pytest.raises(FcinvError, match="exposure of shape"):
        counted(expected, normalisation[:-1], 0)
    with pytest.raises(FcinvError, match="negative exposure"):
        counted(expected, -normalisation, 0)
