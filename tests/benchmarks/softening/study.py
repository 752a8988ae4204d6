"""Copper from 49 to 1336 K: measured force constants, virtual measurements, a series of fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from benchmarks.error_bars.designs import (
    DESIGNS,
    RESOLUTION,
    Conditions,
    VirtualMeasurement,
    measure,
    top_energy,
)
from benchmarks.networks import materials
from benchmarks.networks.estimators import model_of
from born_von_karman import born_von_karman
from prior_truths import MEASURED

from fcinv_core import ForceConstants, invert_series
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.inversion.series import TemperatureSeries

METAL = "Cu"
TEMPERATURES = MEASURED[METAL]

CONDITIONS = Conditions(0.0, 0.0, width_excess=1.15, background=0.2, peak_counts=200.0)
"""Temperature and believed resolution are set for each measurement."""


def truth(temperature: float) -> ForceConstants:
    """Fitted to measured dispersions; on the crystal of the network, whose lattice is cold."""
    return carried_to(born_von_karman(METAL, temperature), materials.crystal(METAL))


def measured(design: str, temperature: float, seed: int) -> VirtualMeasurement:
    """Of the truth at one temperature."""
    force_constants = truth(temperature)
    conditions = replace(
        CONDITIONS,
        temperature=float(temperature),
        believed_fwhm=RESOLUTION * top_energy(truth(TEMPERATURES[0])),
    )
    rng = np.random.default_rng(np.random.SeedSequence((seed, int(temperature))))
    return measure(force_constants, DESIGNS[design], conditions, rng)


def inverted(design: str, temperatures: Sequence[float], seed: int) -> TemperatureSeries:
    """What a user gets from all files in one call."""
    data = [measured(design, temperature, seed) for temperature in temperatures]
    return invert_series(
        [item.histogram for item in data],
        materials.crystal(METAL),
        model=model_of(METAL, "direct"),
        energy_fwhm=data[0].energy_fwhm,
    )
