"""Germanium, a narrow prior around it, and a few measurements of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcinv_core import ForceConstants
from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.random_measurement import random_measurements
from fcinv_core.ensemble.samples import ForceFieldSample

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def germanium():
    return ForceConstants.from_file(DATA / "force_constants" / "Ge_standin.yaml")


@pytest.fixture(scope="session")
def germanium_prior(germanium):
    sample = ForceFieldSample(
        germanium, "none", "relaxed cell", germanium.crystal.lattice, 0.0, True
    )
    return Prior.from_samples(ForceConstantBasis.from_crystal(germanium.crystal), [sample])


@pytest.fixture(scope="session")
def quick_ranges():
    """Few runs, so that coverage takes little time."""
    return MeasurementRanges(spectrometers=("ARCS", "LET"), n_orientations=(3, 8))


@pytest.fixture(scope="session")
def germanium_pool(germanium, quick_ranges):
    return random_measurements(germanium, 4, quick_ranges, seed=1)
