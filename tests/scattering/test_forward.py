"""The forward model as a user meets it: shapes, coverage, axis order, settings, refusals."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcinv_core import Axis, FcinvError, ForwardModel, SQEHistogram
from fcinv_core.scattering import sampler, simulate_histogram

H, K, L = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def histogram_of(crystal, axes=None, **keywords):
    axes = axes or [
        Axis.along((1, 1, 0), np.linspace(1.9, 2.5, 4)),
        Axis.along((1, -1, 0), np.linspace(-0.1, 0.1, 3)),
        Axis.along(L, [0.1, 0.3]),
        Axis.energy_transfer(np.linspace(-20, 70, 46)),
    ]
    keywords = {
        "ub": np.linalg.inv(crystal.lattice),
        "temperature": 300.0,
        "incident_energy": 80.0,
        **keywords,
    }
    signal = np.ones([axis.n_bins for axis in axes])
    return SQEHistogram.from_arrays(axes, signal, **keywords)


@pytest.fixture(scope="module")
def silicon(force_constants):
    return force_constants("Si")


@pytest.fixture(scope="module")
def histogram(silicon):
    return histogram_of(silicon.crystal)


@pytest.fixture(scope="module")
def signal(silicon, histogram):
    return ForwardModel(silicon.crystal, histogram)(silicon)


def test_shape_and_values(histogram, signal):
    assert signal.shape == histogram.signal.shape
    assert signal.dtype == np.float64
    assert (signal >= 0).all()
    assert (signal.max(axis=-1) > 0.1).all()


def test_nan_exactly_where_nothing_was_measured(silicon, histogram, signal):
    random = np.random.default_rng(0)
    measured = random.random(histogram.shape) < 0.7
    measured[0, 0] = False  # a whole spectrum
    partly = histogram.with_values(np.where(measured, 1.0, np.nan))
    infinite = partly.signal.copy()
    infinite[2, 1, 0, 3] = np.inf
    mask = np.zeros(histogram.shape, dtype=bool)
    mask[1, 1, 0, :4] = True
    partly = replace(partly, signal=infinite, mask=mask)
    measured[2, 1, 0, 3] = False
    measured &= ~mask
    found = ForwardModel(silicon.crystal, partly)(silicon)
    np.testing.assert_array_equal(np.isnan(found), ~measured)
    np.testing.assert_allclose(found[measured], signal[measured], rtol=1e-12)


def test_nothing_measured_gives_nan(silicon, histogram):
    empty = histogram.with_values(np.full(histogram.shape, np.nan))
    assert np.isnan(ForwardModel(silicon.crystal, empty)(silicon)).all()


def test_axis_order_does_not_matter(silicon, histogram, signal):
    for order in itertools.islice(itertools.permutations(range(4)), 1, None, 3):
        permuted = histogram_of(silicon.crystal, [histogram.axes[i] for i in order])
        found = ForwardModel(silicon.crystal, permuted)(silicon)
        np.testing.assert_allclose(found, signal.transpose(order), rtol=1e-9)


def test_a_trivial_extra_axis_is_carried_along(silicon, histogram, signal):
    field = Axis("field", "T", "General Frame", np.array([0.0, 1.0]))
    wide = histogram_of(silicon.crystal, [field, *histogram.axes])
    found = ForwardModel(silicon.crystal, wide)(silicon)
    np.testing.assert_allclose(found, signal[None], rtol=1e-12)


def test_orientation_of_the_sample_does_not_matter(silicon, histogram, signal):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    turned = histogram_of(silicon.crystal, ub=turn @ histogram.ub)
    found = ForwardModel(silicon.crystal, turned)(silicon)
    np.testing.assert_allclose(found, signal, rtol=1e-9)


def test_another_setting_of_the_lattice(silicon, histogram, signal):
    """The same bins, indexed on the primitive cell: hkl' = A_p A⁻¹ hkl."""
    crystal = silicon.crystal
    to_primitive = crystal.primitive_lattice @ np.linalg.inv(crystal.lattice)
    axes = [
        Axis.along(to_primitive @ direction, axis.edges)
        for direction, axis in zip(((1, 1, 0), (1, -1, 0), L), histogram.axes, strict=False)
    ]
    axes.append(histogram.axes[3])
    primitive = histogram_of(crystal, axes, ub=np.linalg.inv(crystal.primitive_lattice))
    found = ForwardModel(crystal, primitive)(silicon)
    np.testing.assert_allclose(found, signal, rtol=1e-9)


def test_torch_in_torch_out(silicon, histogram, signal):
    model = ForwardModel(silicon.crystal, histogram)
    found = model(torch.from_numpy(silicon.values))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), signal)


def test_one_model_for_many_force_constants(silicon, histogram, signal):
    """A model remembers what it has prepared: results do not depend on what came before."""
    model = ForwardModel(silicon.crystal, histogram)
    soft = model(silicon.scaled(0.3))
    np.testing.assert_array_equal(model(silicon), signal)
    np.testing.assert_array_equal(model(silicon.scaled(0.3)), soft)
    fresh = ForwardModel(silicon.crystal, histogram)(silicon.scaled(0.3))
    np.testing.assert_array_equal(soft, fresh)
    assert np.abs(soft - signal).max() > 0.1 * signal.max()


def test_scaled_force_constants_scale_the_spectrum(silicon):
    """Force constants x 4: energies x 2, and S(E) dE/2 at T = 0 but for Debye-Waller factors.

    At small Q those are 1, and with energies and widths doubled the rest is exact.
    """
    axes = [
        Axis.along(H, [0.28, 0.32]),
        Axis.along(K, [0.08, 0.12]),
        Axis.along(L, [0.18, 0.22]),
        Axis.energy_transfer(np.linspace(4, 80, 39)),
    ]
    wide = [*axes[:3], Axis.energy_transfer(np.linspace(8, 160, 39))]
    crystal = silicon.crystal
    one = ForwardModel(crystal, histogram_of(crystal, axes, temperature=0.0), energy_fwhm=2.0)
    two = ForwardModel(crystal, histogram_of(crystal, wide, temperature=0.0), energy_fwhm=4.0)
    found, expected = two(silicon.scaled(4.0)), one(silicon) / 4
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * expected.max())


def test_defaults_come_from_the_logs(silicon, histogram, signal):
    bare = histogram_of(silicon.crystal, temperature=None, incident_energy=None)
    model = ForwardModel(silicon.crystal, bare, temperature=300.0, energy_fwhm=0.03 * 80)
    np.testing.assert_array_equal(model(silicon), signal)
    # What is given goes before what is logged.
    cold = ForwardModel(silicon.crystal, histogram, temperature=0.0)(silicon)
    gain = histogram.axes[3].edges[1:] <= -6
    assert signal[..., gain].max() > 1e-2 * signal.max()
    assert cold[..., gain].max() < 1e-6 * cold.max()


@pytest.mark.parametrize(
    ("logs", "given", "message"),
    [
        ({"temperature": None}, {}, "unknown temperature.*--temperature"),
        ({"incident_energy": None}, {}, "unknown energy resolution.*--energy-fwhm"),
        ({"ub": None}, {}, "no lattice"),
        ({"ub": np.diag([0.2, 0.2, 0.1])}, {}, "lattice of the data"),
        ({}, {"temperature": -1.0}, "temperature -1 K"),
        ({}, {"temperature": float("nan")}, "temperature nan K"),
        ({}, {"energy_fwhm": 0.0}, "energy resolution"),
        ({}, {"energy_fwhm": -2.0}, "energy resolution"),
        ({}, {"energy_fwhm": float("nan")}, "energy resolution"),
    ],
)
def test_what_is_missing_or_impossible_is_named(silicon, logs, given, message):
    with pytest.raises(FcinvError, match=message):
        ForwardModel(silicon.crystal, histogram_of(silicon.crystal, **logs), **given)


def test_simulated_histogram(silicon, histogram, signal, tmp_path):
    values = histogram.signal.copy()
    values[0, 1, 0, 5:] = np.nan
    like = histogram.with_values(values, values)
    simulated = simulate_histogram(silicon, like)
    missing = np.isnan(values)
    np.testing.assert_array_equal(np.isnan(simulated.signal), missing)
    np.testing.assert_array_equal(np.isnan(simulated.variance), missing)
    assert (simulated.variance[~missing] == 0).all()
    np.testing.assert_allclose(simulated.signal[~missing], signal[~missing], rtol=1e-12)
    assert simulated.axes is like.axes and simulated.temperature == 300.0

    simulated.save(tmp_path / "simulated.nxs")
    back = SQEHistogram.load(tmp_path / "simulated.nxs")
    np.testing.assert_array_equal(back.signal, simulated.signal)

    wider = simulate_histogram(silicon, like, temperature=600.0, energy_fwhm=6.0)
    assert np.nanmax(np.abs(wider.signal - simulated.signal)) > 0.1 * signal.max()


def test_progress_is_told_and_cancels(silicon, histogram, signal, monkeypatch):
    monkeypatch.setattr(sampler, "LARGEST_PLAN", 20)
    told = []
    two = [histogram, histogram]
    again, _ = ForwardModel(silicon.crystal, two)(silicon, progress=lambda *it: told.append(it))
    # Small parts are worked out without a table of lines, which errs by some 1e-10 of peaks.
    np.testing.assert_allclose(again, signal, rtol=1e-8, atol=1e-9 * signal.max())
    texts, fractions = zip(*told, strict=True)
    assert set(texts) == {"Simulating"}
    assert list(fractions) == sorted(fractions)
    assert fractions[0] == 0.0 and 0.5 in fractions and 0.7 < fractions[-1] < 1

    def cancel(text, fraction):
        if fraction > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_histogram(silicon, histogram, progress=cancel)
