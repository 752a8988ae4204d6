"""A few measurements of germanium."""

from __future__ import annotations

import pytest

from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.random_measurement import random_measurements


@pytest.fixture(scope="session")
def quick_ranges():
    """Few runs, so that coverage takes little time."""
    return MeasurementRanges(spectrometers=("ARCS", "LET"), n_orientations=(3, 8))


@pytest.fixture(scope="session")
def germanium_pool(germanium, quick_ranges):
    return random_measurements(germanium, 4, quick_ranges, seed=1)
