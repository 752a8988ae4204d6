"""What lies in the page for its viewer: the bins of a fit, in few bytes."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace

import numpy as np
from fake_result import axis, fit

from fcinv_core.histogram import SQEHistogram
from fcinv_core.report.planes import PlaneView, named_plane
from fcinv_core.report.volume import MISSING, RESIDUAL_STEP, Volume

AXES = [
    axis("[H,0,0]", -2, 2, 21), axis("[0,K,0]", -1, 1, 6), axis("[0,0,L]", -0.1, 0.1, 1),
    axis("DeltaE", -5, 70, 40),
]  # fmt: skip


def unpacked(volume):
    """By the description of the format."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(volume.packed())), np.uint8)
    shape = volume.measured.shape
    n_bins = int(np.prod(shape))
    covered = np.unpackbits(data[: -(-n_bins // 8)])[:n_bins].astype(bool)
    parts = data[-(-n_bins // 8) :].reshape(6, covered.sum()).astype(float)
    low, step = volume.roots
    smallest, ratio = volume.exposure_scale

    def intensity(code):
        root = low + code * step
        return np.where(code == MISSING, np.nan, root * np.abs(root))

    values = {
        "measured": intensity(256 * parts[0] + parts[1]),
        "simulated": intensity(256 * parts[2] + parts[3]),
        "exposure": np.where(parts[4] > 0, smallest * np.exp(ratio * (parts[4] - 1)), 0),
        "residual": np.where(parts[5] > 0, (parts[5] - 128) * RESIDUAL_STEP, np.nan),
    }
    arrays = {}
    for name, part in values.items():
        arrays[name] = np.full(n_bins, 0.0 if name == "exposure" else np.nan)
        arrays[name][covered] = part
        arrays[name] = arrays[name].reshape(shape)
    return arrays


def test_bins_come_back():
    made = fit(AXES)
    found = unpacked(Volume.of(made, (1, 1, 1, 1)))
    # 16 bits for the root of the largest: a thousandth of a percent of that.
    largest = np.nanmax(made.measured.signal)
    for name, given in (("measured", made.measured), ("simulated", made.simulated)):
        np.testing.assert_allclose(found[name], given.signal, atol=2e-5 * largest)
    np.testing.assert_allclose(found["residual"], np.clip(made.residual, -12.7, 12.7), atol=0.0501)
    exposure = made.measured.exposure()
    known = made.measured.covered & (exposure > 0)
    np.testing.assert_allclose(found["exposure"][known], exposure[known], rtol=0.02)


def test_negative_intensities_keep_their_sign():
    """Where a background was subtracted."""
    made = fit(AXES)
    shifted = made.measured.with_values(made.measured.signal - 3.0, made.measured.variance)
    found = unpacked(Volume.of(replace(made, measured=shifted), (1, 1, 1, 1)))
    assert (shifted.signal < -1).any()
    np.testing.assert_allclose(found["measured"], shifted.signal, atol=0.01)


def test_merged_bins_are_all_counts_over_all_exposure():
    """Bins of 9, 4 and 5 counts with exposures 9, 1 and 2, two by two: 13/10 and 5/2."""
    axes = [axis("[H,0,0]", 0, 3, 3), axis("DeltaE", 0, 2, 1)]
    exposure = np.array([[9.0], [1.0], [2.0]])
    counts, expected = np.array([[9.0], [4.0], [5.0]]), np.array([[6.0], [3.0], [4.0]])
    signal = counts / exposure
    made = replace(
        fit(axes),
        measured=(measured := SQEHistogram.from_arrays(axes, signal, signal / exposure)),
        simulate=lambda: measured.with_values(expected / exposure, 0 * signal),
        used=np.ones((3, 1), bool),
        residual=(counts - expected) / np.sqrt(expected),
    )
    volume = Volume.of(made, (2, 1))
    np.testing.assert_allclose(volume.axes[0].edges, [0, 2, 3])
    np.testing.assert_allclose(volume.measured, [[1.3], [2.5]])
    np.testing.assert_allclose(volume.simulated, [[0.9], [2.0]])
    np.testing.assert_allclose(volume.exposure, [[10], [2]])
    np.testing.assert_allclose(volume.residual, [[4 / 3], [0.5]])


def test_bins_are_merged_until_they_fit():
    made = fit(AXES)
    whole = len(Volume.of(made, (1, 1, 1, 1)).packed())
    volume, packed = Volume.packed_within(made, whole)
    assert volume.merged == (1, 1, 1, 1) and len(packed) == whole
    volume, packed = Volume.packed_within(made, 6 * whole // 10)
    assert len(packed) <= 6 * whole // 10
    # The longest axes give way.
    assert volume.merged == (2, 1, 1, 2)


def test_plane_is_named_as_the_viewer_counts_axes():
    made = fit(AXES)
    plane = named_plane(made.measured, "DeltaE", "[H,0,0]", {"[0,K,0]": 0.5})
    volume = Volume.of(made, (2, 2, 1, 1))
    assert volume.shown(plane) == {"shown": [3, 0], "places": [None, 2, 0, None]}
    averaged = named_plane(made.measured, "[H,0,0]", "DeltaE")
    assert volume.shown(averaged) == {"shown": [0, 3], "places": [None, None, 0, None]}
    assert PlaneView.on(averaged, made).measured.shape == (21, 40)
