"""The histogram as such: axes, coverage, spectra, counting statistics, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import (
    Axis,
    ExperimentInfo,
    GoniometerAxis,
    SQEHistogram,
    check_invertible,
)

DIRECTIONS = ((1, 1, 0), (1, -1, 0), (0, 0, 1))
UB = np.diag([0.2, 0.25, 0.125])


def make(shape, energy_axis=-1, **keywords):
    """A histogram with distinct values; ``shape`` in the order of the axes."""
    energy_axis %= len(shape)
    directions = iter(DIRECTIONS)
    axes = []
    for i, n in enumerate(shape):
        if i == energy_axis:
            axes.append(Axis.energy_transfer(np.linspace(0, n, n + 1)))
        else:
            axes.append(Axis.along(next(directions), np.linspace(0, 0.1 * n, n + 1)))
    signal = np.arange(np.prod(shape), dtype=float).reshape(shape) + 1
    keywords = {"ub": UB, "temperature": 10.0, **keywords}
    return SQEHistogram.from_arrays(axes, signal, signal, **keywords)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    energy_axis=st.integers(0, 3),
)
def test_spectra_and_back(shape, energy_axis):
    histogram = make(shape, energy_axis)
    spectra = histogram.spectra(histogram.signal)
    n_energy = shape[energy_axis]
    assert spectra.shape == (histogram.signal.size // n_energy, n_energy)
    assert len(histogram.q_bin_centres()) == len(spectra)
    np.testing.assert_array_equal(histogram.from_spectra(spectra), histogram.signal)
    # Each row is one Q: look one bin up by hand.
    index = [n - 1 for n in shape]
    index[energy_axis] = 0
    assert spectra[-1, 0] == histogram.signal[tuple(index)]
    corner = [axis.centres[-1] for axis in histogram.axes if not axis.is_energy]
    expected = np.array(DIRECTIONS).T @ corner
    np.testing.assert_allclose(histogram.q_bin_centres()[-1], expected, atol=1e-12)


def test_rows_of_spectra_and_of_centres_belong_together():
    histogram = make((2, 3, 4, 5), energy_axis=1)
    # Mark each bin with its H coordinate: x0 + x1 for [H,H,0] and [H,-H,0].
    x = [axis.centres for axis in histogram.axes]
    h = (x[0][:, None, None, None] + x[2][None, None, :, None]) * np.ones(histogram.shape)
    np.testing.assert_allclose(histogram.spectra(h)[:, 0], histogram.q_bin_centres()[:, 0])


def test_a_trivial_extra_axis_is_carried_along():
    histogram = make((2, 1, 3, 4))
    field = Axis("field", "T", "General Frame", np.array([0.0, 1.0]))
    wide = SQEHistogram.from_arrays(
        [*histogram.axes, field], histogram.signal[..., None], ub=UB, temperature=1.0
    )
    assert wide.spectra(wide.signal).shape == (6, 4)
    np.testing.assert_array_equal(wide.from_spectra(wide.spectra(wide.signal)), wide.signal)
    check_invertible(wide)


def test_coverage_excludes_nan_inf_and_mask():
    histogram = make((2, 1, 1, 3))
    signal, variance = histogram.signal.copy(), histogram.variance.copy()
    signal[0, 0, 0, 0] = np.nan
    signal[0, 0, 0, 1] = np.inf
    variance[0, 0, 0, 2] = np.inf
    mask = np.zeros(signal.shape, dtype=bool)
    mask[1, 0, 0, 0] = True
    partly = replace(histogram, signal=signal, variance=variance, mask=mask)
    np.testing.assert_array_equal(partly.covered.ravel(), [0, 0, 0, 0, 1, 1])
    assert np.isnan(partly.signal[0, 0, 0, 0]) and np.isinf(partly.signal[0, 0, 0, 1])


def test_counts_and_exposure_of_poisson_data():
    """Weighted counts over a known exposure give both back; empty bins are interpolated."""
    random = np.random.default_rng(1)
    energies = np.arange(60)
    true_exposure = 20 * np.exp(-energies / 30) * np.array([1, 2, 0.5])[:, None]
    weight = 1.7
    counts = random.poisson(0.05 * true_exposure)
    assert (counts == 0).sum() > 50
    histogram = make((3, 1, 1, 60))
    shape = histogram.shape
    signal = (weight * counts / true_exposure).reshape(shape)
    variance = (weight**2 * counts / true_exposure**2).reshape(shape)
    histogram = histogram.with_values(signal, variance)
    np.testing.assert_allclose(histogram.effective_counts().reshape(3, 60), counts, atol=1e-9)
    found = histogram.exposure().reshape(3, 60)
    # Between the first and the last count the exposure, an exponential, is met exactly.
    for q in range(3):
        known = np.flatnonzero(counts[q])
        inside = slice(known[0], known[-1] + 1)
        np.testing.assert_allclose(found[q, inside], true_exposure[q, inside] / weight, rtol=1e-9)
        np.testing.assert_allclose(found[q, : known[0]], found[q, known[0]])
        np.testing.assert_allclose(found[q, known[-1] :], found[q, known[-1]])


def test_exposure_where_it_cannot_be_told():
    histogram = make((3, 1, 1, 4))
    signal = np.array([[2, 0, 2, np.nan], [0, 0, 0, 0], [-1, 3, 0, 5]], dtype=float)
    variance = np.array([[1, 0, 1, np.nan], [0, 0, 0, 0], [1, 0, 1, 2.5]], dtype=float)
    histogram = histogram.with_values(
        signal.reshape(histogram.shape), variance.reshape(histogram.shape)
    )
    # Row 1 has no counts at all: the median of all. Row 2: negative; without error; zero
    # with an error (background-subtracted): none of them is counts over exposure.
    expected = [[2, 2, 2, np.nan], [2, 2, 2, 2], [np.nan, np.nan, np.nan, 2]]
    np.testing.assert_allclose(histogram.exposure().reshape(3, 4), expected)
    counts = [[4, 0, 4, np.nan], [0, 0, 0, 0], [np.nan, np.nan, np.nan, 10]]
    np.testing.assert_allclose(histogram.effective_counts().reshape(3, 4), counts)


def test_a_zero_beside_many_counts_has_no_known_exposure():
    histogram = make((1, 1, 1, 4))
    signal, variance = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.01, 0.01, 0.0, 0.0])
    histogram = histogram.with_values(signal.reshape(1, 1, 1, 4), variance.reshape(1, 1, 1, 4))
    np.testing.assert_allclose(histogram.exposure().ravel(), [100, 100, np.nan, np.nan])


def test_rounding_does_not_decide_on_zeros_between_equal_counts():
    """Five counts on either side, whatever the exposure: all or none."""
    exposure = np.random.default_rng(3).uniform(0.1, 300, 200)
    counts = np.array([5.0, 0.0, 5.0])
    signal, variance = counts / exposure[:, None], counts / exposure[:, None] ** 2
    histogram = make((200, 1, 1, 3))
    histogram = histogram.with_values(
        signal.reshape(histogram.shape), variance.reshape(histogram.shape)
    )
    assert np.isfinite(histogram.exposure()).all()


def test_nothing_counted_leaves_exposure_unknown():
    histogram = make((2, 1, 1, 3)).with_values(np.zeros((2, 1, 1, 3)))
    assert np.isnan(histogram.exposure()).all()
    assert (histogram.effective_counts() == 0).all()


def test_metadata_of_several_runs():
    def info(angle, temperature, run):
        axis = GoniometerAxis("psi", angle, (0, 1, 0))
        return ExperimentInfo(
            ub=UB, temperature=temperature, incident_energy=50, goniometer=(axis,), run_number=run
        )

    histogram = make((2, 1, 1, 3))
    runs = (info(0, 10, "7"), info(90, 20, "8"), info(360, None, ""))
    histogram = replace(histogram, experiments=runs)
    assert histogram.temperature == 15
    assert histogram.incident_energy == 50
    assert histogram.orientations == 2
    assert histogram.run_numbers == ("7", "8")


def test_goniometer_axes_multiply_from_the_outside_in():
    """omega about y, then chi about z: R = R_omega R_chi, and CW turns the other way."""
    omega = GoniometerAxis("omega", 90, (0, 1, 0))
    chi = GoniometerAxis("chi", 90, (0, 0, 2), sense=-1)
    rotation = ExperimentInfo(goniometer=(omega, chi)).rotation
    # chi clockwise takes x to -y, which omega leaves; omega takes z to x.
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, -1, 0], atol=1e-15)
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-15)


def test_lattice_from_ub():
    histogram = make((2, 1, 1, 3))
    np.testing.assert_allclose(histogram.lattice, (5, 4, 8, 90, 90, 90))
    np.testing.assert_array_equal(histogram.ub, UB)


def with_axes(histogram, names, frame):
    axes = [Axis(n, "", frame, a.edges) for n, a in zip(names, histogram.axes, strict=True)]
    return replace(histogram, axes=tuple(axes))


@pytest.mark.parametrize(
    ("histogram", "message"),
    [
        (
            with_axes(make((2, 1, 1, 3)), ["[H,0,0]", "[0,K,0]", "[0,0,L]", "T"], "General Frame"),
            "no energy-transfer dimension in histogram: its axes are",
        ),
        (
            with_axes(make((2, 1, 1, 3)), ["|Q|", "x", "y", "DeltaE"], "General Frame"),
            "0 momentum axes in histogram",
        ),
        (make((2, 1, 1, 3), ub=None), "no lattice .UB matrix. in histogram"),
        (make((2, 1, 1, 3), temperature=None), "no sample temperature .* histogram"),
        (
            make((2, 1, 1, 3)).with_values(np.full((2, 1, 1, 3), np.nan)),
            "nothing is measured in histogram",
        ),
        (
            make((2, 1, 1, 3)).with_values(np.full((2, 1, 1, 3), np.inf)),
            "nothing is measured in histogram",
        ),
    ],
)
def test_what_cannot_be_inverted_is_refused_with_the_reason(histogram, message):
    with pytest.raises(FcinvError, match=message) as caught:
        check_invertible(histogram)
    assert "\n" not in str(caught.value)


def test_a_given_temperature_will_do():
    check_invertible(make((2, 1, 1, 3), temperature=None), temperature=5.0)


def test_a_second_physical_axis_is_refused():
    histogram = make((2, 1, 1, 3))
    field = Axis("field", "T", "General Frame", np.array([0.0, 1.0, 2.0]))
    signal = np.repeat(histogram.signal[..., None], 2, axis=-1)
    scan = SQEHistogram.from_arrays([*histogram.axes, field], signal, ub=UB, temperature=1.0)
    with pytest.raises(FcinvError, match="'field'.*2 bins"):
        check_invertible(scan)


def test_arrays_must_fit_the_axes():
    histogram = make((2, 1, 1, 3))
    with pytest.raises(FcinvError, match=r"signal has shape \(3, 1, 1, 2\)"):
        histogram.with_values(histogram.signal.T)


def counted(shape=(6, 1, 1, 5), seed=2):
    """MDNorm's three outputs, of events with one weight, most bins without counts."""
    rng = np.random.default_rng(seed)
    like = make(shape)
    norm = rng.uniform(5.0, 50.0, shape)
    counts = rng.poisson(0.02 * norm).astype(float)
    counts[0, 0, 0, 0] = 3.0
    weight = 2.5
    data = like.with_values(weight * counts, weight**2 * counts)
    normalization = like.with_values(norm)
    return like.with_values(data.signal / norm, data.variance / norm**2), data, normalization


def test_the_normalization_is_the_exposure_of_empty_bins():
    reduced, data, normalization = counted()
    known = reduced.with_normalization(data, normalization)
    empty = reduced.signal == 0
    assert empty.mean() > 0.3
    # one count is 2.5 units of weight: exposure is counts per unit of signal
    np.testing.assert_allclose(known.exposure(), normalization.signal / 2.5)
    assert not np.allclose(reduced.exposure()[empty], normalization.signal[empty] / 2.5)
    np.testing.assert_allclose(known.effective_counts(), data.signal / 2.5)
    assert known.with_values(known.signal).normalization is None


def test_what_is_not_one_call_of_mdnorm_is_refused():
    reduced, data, normalization = counted()
    other_bins = counted((5, 1, 1, 5))
    shifted = replace(data, axes=(*data.axes[:3], Axis.energy_transfer(np.arange(1.0, 7.0))))
    for parts, told in (
        ((other_bins[1], normalization), "data workspace .* other bins"),
        ((data, other_bins[2]), "normalization workspace .* other bins"),
        ((shifted, normalization), "other bins"),
        ((data, normalization.with_values(2 * normalization.signal)), "one call of MDNorm"),
    ):
        with pytest.raises(FcinvError, match=told):
            reduced.with_normalization(*parts)


def test_a_rotation_matrix_is_one_axis_of_a_goniometer():
    axes = [GoniometerAxis("psi", 35.0, (0, 1, 0)), GoniometerAxis("tilt", 190.0, (1, 1, 0), -1)]
    rotation = axes[0].rotation @ axes[1].rotation
    np.testing.assert_allclose(
        GoniometerAxis.from_rotation(rotation).rotation, rotation, atol=1e-12
    )
    np.testing.assert_array_equal(GoniometerAxis.from_rotation(np.eye(3)).rotation, np.eye(3))
