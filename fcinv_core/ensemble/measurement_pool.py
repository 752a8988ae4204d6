"""Planned measurements to train on: of crystals as soft and as stiff as the prior has them.

Planning takes about a second for each, so that a pool can be kept in a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.ensemble.measured_rows import MeasuredRows
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.random_measurement import random_measurements
from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.threads import map_blocks

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import ForceConstants
    from fcinv_core.ensemble.prior import Prior

STIFFNESS_QUANTILES = (0.5, 0.05, 0.95, 0.25, 0.75)
"""Of the prior's overall stiffness: measurements are planned for these in turn."""

MOST_ROWS = 1500
"""Q bins that are kept of a measurement: pools of many measurements fit into memory."""

SCHEMA = 1

_ARRAYS = tuple(
    each.name
    for each in fields(MeasuredRows)
    if each.name not in ("stated_resolution", "incident_energy", "parts")
)


def measurement_pool(
    prior: Prior,
    n: int,
    ranges: MeasurementRanges | None = None,
    seed: int = 0,
    progress: Report | None = None,
    *,
    energy_bins: int = 64,
    numbers: range | None = None,
) -> tuple[MeasuredRows, ...]:
    """Plan measurements for the centre of a prior at several overall stiffnesses.

    Parameters
    ----------
    prior
        Of the force constants.
    n
        How many measurements; no maps.
    ranges
        What to draw from.
    seed
        The same seed gives the same measurements.
    progress
        Called with a few words and the fraction done.
    energy_bins
        Of each.
    numbers
        Which of them are planned, from 0 to n - 1; by default all.

    Raises
    ------
    FcinvError
        When a measurement cannot be planned at any of the stiffnesses.
    """
    widths = prior.widths
    references = [
        prior.force_constants(
            widths.stiffness_median
            * math.exp(widths.stiffness_spread * NormalDist().inv_cdf(quantile))
            * prior.centre
        )
        for quantile in STIFFNESS_QUANTILES
    ]

    def planned(number: int) -> MeasuredRows:
        # The stiffest or softest crystal may be beyond all spectrometers: then the next one.
        for turn in range(len(references)):
            reference = references[(number + turn) % len(references)]
            try:
                return _planned(reference, ranges, (seed, number, turn), energy_bins)
            except FcinvError as error:
                failure = error
        raise failure

    pool: list[MeasuredRows] = []
    wanted = range(n) if numbers is None else numbers
    for number, rows in zip(wanted, map_blocks(planned, wanted, torch.device("cpu")), strict=True):
        pool.append(rows)
        if progress is not None:
            progress(f"Planning measurements ({number + 1} of {n})", (number + 1) / n)
    return tuple(pool)


def _planned(
    reference: ForceConstants,
    ranges: MeasurementRanges | None,
    seeds: tuple[int, ...],
    energy_bins: int,
) -> MeasuredRows:
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    (measurement,) = random_measurements(reference, 1, ranges, seed, energy_bins=energy_bins)
    return MeasuredRows.of(measurement, reference).some(MOST_ROWS, np.random.default_rng(seed))


def save_pool(pool: Sequence[MeasuredRows], path: str | Path) -> None:
    """Write a pool to a safetensors file.

    Raises
    ------
    FcinvError
        When the file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {
        f"{number}.{name}": np.ascontiguousarray(getattr(rows, name))
        for number, rows in enumerate(pool)
        for name in _ARRAYS
    }
    measurements = [
        {
            "stated_resolution": rows.stated_resolution.to_dict(),
            "incident_energy": rows.incident_energy,
            "parts": rows.parts,
        }
        for rows in pool
    ]
    document = json.dumps({"schema": SCHEMA, "measurements": measurements})
    write_whole(path, save(arrays, {"pool": document}))


def load_pool(path: str | Path) -> tuple[MeasuredRows, ...]:
    """Read what `save_pool` wrote.

    Raises
    ------
    FcinvError
        When the file is missing or no pool.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FcinvError(f"no planned measurements at {path}: give a file that save_pool wrote")
    try:
        with safe_open(path, "numpy") as stored:
            document = json.loads((stored.metadata() or {})["pool"])
            if document["schema"] != SCHEMA:
                raise FcinvError(
                    f"{path} holds planned measurements of schema {document['schema']}, and this "
                    f"version reads {SCHEMA}: plan them again"
                )
            return tuple(
                MeasuredRows(
                    stated_resolution=EnergyResolution.from_dict(each["stated_resolution"]),
                    incident_energy=float(each["incident_energy"]),
                    parts=(each["parts"][0], each["parts"][1], each["parts"][2]),
                    **{name: stored.get_tensor(f"{number}.{name}") for name in _ARRAYS},
                )
                for number, each in enumerate(document["measurements"])
            )
    except (SafetensorError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise FcinvError(
            f"{path} is damaged or holds no planned measurements ({type(error).__name__}): "
            "plan them again"
        ) from error
