"""A regular four-dimensional grid through the public `ForwardModel`, with its memory watched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from benchmarks.measure import PeakMemory, shortest
from benchmarks.workload import TEMPERATURE, crystal_of

from fcinv_core import Axis, ForwardModel, SQEHistogram
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

STEP = 0.1
"""Reciprocal-lattice units of the cubic cell, width of a bin."""

EDGES = np.linspace(0, 40, 81)
FWHM = 1.0


@dataclass(frozen=True)
class GridRun:
    """What a grid took.

    Attributes
    ----------
    first, again
        Seconds of the first call, everything included, and of one more.
    output, extra
        Bytes of the result, and the most in use beyond what was before, result included.
    counts
        Samples along the edges of a bin.
    q_points
        (n, 3) centres of some bins, reciprocal coordinates of the primitive cell.
    signal
        (n, n_energy) there.
    """

    first: float
    again: float
    output: int
    extra: float
    counts: tuple[int, int, int]
    q_points: np.ndarray
    signal: np.ndarray


def measured_grid(
    n_along: int, lowest: float, tolerance: float, n_taken: int, repeats: int
) -> GridRun:
    """Germanium on n_along³ bins of HKL that begin at ``lowest`` along each axis."""
    _model(2, 0.0, tolerance)(crystal_of("Ge"))  # Libraries load.
    force_constants = crystal_of("Ge")
    model = _model(n_along, lowest, tolerance)
    with PeakMemory() as memory:
        first, signal = shortest(partial(model, force_constants), 1)
    again, _ = shortest(partial(model, force_constants), repeats)
    for _ in range(repeats - 1):
        fresh = partial(_model(n_along, lowest, tolerance), force_constants)
        first = min(first, shortest(fresh, 1)[0])
    taken = np.random.default_rng(1).integers(n_along, size=(n_taken, 3))
    crystal = force_constants.crystal
    to_primitive = crystal.primitive_lattice @ np.linalg.inv(crystal.lattice)
    return GridRun(
        first,
        again,
        signal.nbytes,
        memory.extra,
        _counts(model),
        (lowest + STEP * (taken + 0.5)) @ to_primitive.T,
        signal[tuple(taken.T)],
    )


def _counts(model: ForwardModel) -> tuple[int, int, int]:
    (sampler,) = model._samplers
    force_constants = crystal_of("Ge")
    dynamics = LatticeDynamics(force_constants.crystal)
    real_space = dynamics.real_space(torch.from_numpy(force_constants.values)[None])
    return sampler.counts(dynamics, real_space, None)


def _model(n_along: int, lowest: float, tolerance: float) -> ForwardModel:
    crystal = crystal_of("Ge").crystal
    steps = lowest + STEP * np.arange(n_along + 1)
    axes = [Axis.along(direction, steps) for direction in np.eye(3)]
    histogram = SQEHistogram.from_arrays(
        [*axes, Axis.energy_transfer(EDGES)],
        np.broadcast_to(1.0, (*[n_along] * 3, len(EDGES) - 1)),
        ub=np.linalg.inv(crystal.lattice),
        temperature=TEMPERATURE,
    )
    return ForwardModel(crystal, histogram, energy_fwhm=FWHM, tolerance=tolerance)
