"""Detector pixels: what they hold, refuse and leave out."""

from __future__ import annotations

import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram
from fcinv_core.scattering.detectors import DetectorPixels

DIRECTIONS = np.array([[0.0, 0.0, 2.0], [3.0, 0.0, 4.0], [0.0, -1.0, 0.0]])


def test_directions_are_unit_vectors():
    pixels = DetectorPixels(DIRECTIONS, np.array([1e-3, 2e-3, 3e-3]))
    np.testing.assert_allclose(pixels.directions, [[0, 0, 1], [0.6, 0, 0.8], [0, -1, 0]])
    assert len(pixels) == 3


def test_masked_pixels_are_left_out():
    pixels = DetectorPixels(DIRECTIONS, np.array([1e-3, 2e-3, 3e-3]))
    kept = pixels.masked(np.array([True, False, True]))
    np.testing.assert_array_equal(kept.solid_angles, [1e-3, 3e-3])
    np.testing.assert_array_equal(kept.directions, pixels.directions[[0, 2]])


@pytest.mark.parametrize(
    ("directions", "solid_angles", "message"),
    [
        (DIRECTIONS, np.ones(2), r"\(3, 3\) and solid angles \(2,\) do not fit"),
        (DIRECTIONS[0], np.ones(()), "do not fit"),
        (0 * DIRECTIONS, np.ones(3), "no length"),
        (DIRECTIONS * np.nan, np.ones(3), "no length"),
        (DIRECTIONS, -np.ones(3), "not negative"),
        (DIRECTIONS, np.full(3, np.inf), "finite"),
    ],
)
def test_refusals(directions, solid_angles, message):
    with pytest.raises(FcinvError, match=message):
        DetectorPixels(directions, solid_angles)


def test_pixels_of_a_file(mantid_file):
    """132 tubes of 41 pixels, 25.4 mm wide and 36 mm high, 3 m away at the height of the beam."""
    histogram = SQEHistogram.load(mantid_file("si_300K_one_orientation_HHL0_slice.nxs"))
    pixels = DetectorPixels.from_histogram(histogram)
    assert len(pixels) == 132 * 41
    level = np.abs(pixels.directions[:, 1]) < 1e-9
    assert level.sum() == 132
    np.testing.assert_allclose(pixels.solid_angles[level], 0.0254 * 0.036 / 9, rtol=1e-5)
    # Above and below, further away and seen at an angle: the cube of the cosine.
    cosine = np.hypot(pixels.directions[:, 0], pixels.directions[:, 2])
    np.testing.assert_allclose(pixels.solid_angles, 0.0254 * 0.036 / 9 * cosine**3, rtol=1e-5)
