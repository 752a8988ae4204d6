"""The comparisons: which work, how much of it, against what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.derivatives import derivative_costs
from benchmarks.grid import EDGES, FWHM, GridRun, measured_grid
from benchmarks.measure import own_process, shortest
from benchmarks.measurements import simulated_measurements
from benchmarks.peers import EuphonicRun, euphonic_spectra, phonopy_modes
from benchmarks.table import Row, Section
from benchmarks.workload import Workload, crystal_of

from fcinv_core.scattering.forward import TOLERANCE
from fcinv_core.units import MEV_PER_THZ

AS_CALLED = "Euphonic, all steps"
WITHOUT_LABELS = "Euphonic, without labels"


def peer_process() -> AbstractContextManager[Callable[..., Any]]:
    """A process for another code, with as many threads as torch has here.

    Passive waiting and bounded BLAS suit our threads; others are faster with the defaults.
    """
    threads = str(torch.get_num_threads())
    return own_process(
        {
            "OMP_NUM_THREADS": threads,
            "EUPHONIC_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": None,
            "OPENBLAS_NUM_THREADS": None,
        }
    )


@dataclass(frozen=True)
class Benchmark:
    """Where and how large.

    Attributes
    ----------
    folder
        For files that other codes read.
    ask
        Calls a function in Euphonic's process.
    scale
        Factor on all numbers of Q; below 0.1 large polar cells are left out, for which
        Euphonic takes 10 s of preparation each.
    """

    folder: Path
    ask: Callable[..., Any]
    scale: float

    def sized(self, n: int) -> int:
        """A number of Q."""
        return max(27, round(self.scale * n))

    @property
    def repeats(self) -> int:
        return 3 if self.scale >= 0.1 else 1

    @property
    def crystals(self) -> tuple[str, ...]:
        """By number of atoms, the largest last."""
        if self.scale < 0.1:
            return "Ge", "ZnO"
        return "Ge", "ZnO", "SiO2", "Al2O3", "Al2O3 x 2"

    def euphonic(self, work: Workload, labels: bool = False) -> EuphonicRun:
        return self.ask(euphonic_spectra, work.request(self.folder), self.repeats, labels)


def scattered_q(benchmark: Benchmark) -> Section:
    """Spectra and modes at scattered Q of germanium."""
    work = Workload.scattered("Ge", benchmark.sized(100_000), 90)
    peer = benchmark.euphonic(work, labels=True)
    seconds, signal = shortest(work.spectra, benchmark.repeats)
    single_seconds, single = shortest(lambda: work.spectra(torch.float32), benchmark.repeats)
    modes_seconds, (energies, _) = shortest(work.modes, benchmark.repeats)
    folder = work.request(benchmark.folder).folder
    # Phonopy and Euphonic bring an OpenMP each.
    with peer_process() as ask:
        with_vectors, without, frequencies = ask(
            phonopy_modes, folder, work.q_points, benchmark.repeats
        )
    intensity = work.intensity_deviation(signal, peer)
    rounding = float(np.abs(single - signal).max() / signal.max())
    largest = energies.max()
    by_euphonic = float(np.abs(energies - peer.energies).max() / largest)
    by_phonopy = float(np.abs(energies - MEV_PER_THZ * frequencies).max() / largest)
    modes = "modes with eigenvectors"
    return Section(
        f"{len(work.q_points)} scattered Q × {len(work.edges) - 1} energy bins, germanium",
        (
            Row("spectra", seconds, AS_CALLED, peer.as_called, deviation=intensity),
            Row("spectra", seconds, WITHOUT_LABELS, peer.total),
            Row(
                "spectra",
                seconds,
                "Euphonic, modes and structure factors only",
                peer.modes + peer.structure_factors,
            ),
            Row("spectra, float32", single_seconds, WITHOUT_LABELS, peer.total),
            Row("spectra, float32", single_seconds, "fcinv, float64", seconds, deviation=rounding),
            Row(modes, modes_seconds, "Euphonic", peer.modes, deviation=by_euphonic),
            Row(modes, modes_seconds, "phonopy", with_vectors, deviation=by_phonopy),
            Row(modes, modes_seconds, "phonopy, energies only", without),
        ),
    )


def grids(benchmark: Benchmark) -> tuple[Section, Section]:
    """Times and memory of regular grids of bins."""
    n_along = 2 * max(2, round(50 * benchmark.scale ** (1 / 3)))
    n_taken = min(5000, benchmark.sized(5000))
    around, octant = -n_along * 0.05, 0.0
    bins = f"{n_along}³ HKL × {len(EDGES) - 1} energy bins"
    times, memory = [], []
    # Memory that is left over from other work would hide some of what this needs.
    with own_process({}) as ask:
        for name, lowest, tolerance in (
            ("one octant", octant, math.inf),
            ("around the origin", around, math.inf),
            ("around the origin, averaged over bins", around, TOLERANCE),
        ):
            run: GridRun = ask(
                measured_grid, n_along, lowest, tolerance, n_taken, min(2, benchmark.repeats)
            )
            work = replace(
                Workload.scattered("Ge", 1, 1), q_points=run.q_points, edges=EDGES, fwhm=FWHM
            )
            peer = benchmark.euphonic(work, labels=True)
            per_q, other = 1e6 / n_along**3, 1e6 / n_taken
            samples = math.prod(run.counts)
            what = f"{name} ({samples} samples in a bin)" if samples > 1 else name
            deviation = None if samples > 1 else work.intensity_deviation(run.signal, peer)
            again = f"{what}, once more"
            times += [
                Row(what, per_q * run.first, AS_CALLED, other * peer.as_called, "µs/Q", deviation),
                Row(what, per_q * run.first, WITHOUT_LABELS, other * peer.total, "µs/Q"),
                Row(again, per_q * run.again, WITHOUT_LABELS, other * peer.total, "µs/Q"),
            ]
            output, extra = 1e-6 * run.output, 1e-6 * run.extra
            memory += [
                Row(f"{name}: most in use", extra, "result", output, "MB"),
                Row(f"{name}: without the result", extra - output, "result", output, "MB"),
            ]
    return (
        Section(f"Regular grid of {bins}, germanium", tuple(times)),
        Section(f"Memory for {bins}", tuple(memory), is_cost=True),
    )


def polar_cell(benchmark: Benchmark) -> Section:
    """A large polar cell with its dipole term."""
    name = benchmark.crystals[-1]
    work = Workload.scattered(name, benchmark.sized(3000), 120)
    fewer = work.first(benchmark.sized(300))
    peer = benchmark.euphonic(fewer, labels=True)
    preparation, polar = shortest(work.polar_part, benchmark.repeats)
    seconds, signal = shortest(lambda: work.spectra(polar=polar), benchmark.repeats)
    own = 1e3 * seconds / len(work.q_points)
    per_q = 1e3 / len(fewer.q_points)
    n_atoms = crystal_of(name).crystal.n_primitive
    return Section(
        f"Polar cell of {n_atoms} atoms ({name}), {len(work.q_points)} scattered Q × 120 energy "
        f"bins",
        (
            Row(
                "spectra",
                own,
                f"{AS_CALLED}, {len(fewer.q_points)} Q",
                per_q * peer.as_called,
                "ms/Q",
                fewer.intensity_deviation(signal, peer),
            ),
            Row("spectra", own, WITHOUT_LABELS, per_q * peer.total, "ms/Q"),
            Row(
                "spectra",
                own,
                "Euphonic, modes and structure factors only",
                per_q * (peer.modes + peer.structure_factors),
                "ms/Q",
            ),
            Row("Ewald sums, once", preparation, "Euphonic", peer.preparation),
        ),
    )


def gpu(benchmark: Benchmark) -> Section:
    """A graphics card against the processor of the same machine."""
    work = Workload.scattered("Ge", benchmark.sized(1_000_000), 90)
    rows = []
    for dtype in (torch.float64, torch.float32):
        on_cpu, expected = shortest(lambda dtype=dtype: work.spectra(dtype), 2)
        work.first(27).spectra(dtype, "cuda")  # The device starts.
        on_gpu, found = shortest(lambda dtype=dtype: work.spectra(dtype, "cuda"), 2)
        deviation = float(np.abs(found - expected).max() / expected.max())
        name = str(dtype).removeprefix("torch.")
        rows.append(Row(f"GPU, {name}", on_gpu, f"CPU, {name}", on_cpu, deviation=deviation))
    title = f"{torch.cuda.get_device_name()}, {len(work.q_points)} scattered Q, germanium"
    return Section(title, tuple(rows))


def all_sections(benchmark: Benchmark) -> Iterator[Section]:
    """Everything but the scaling, each when it is measured."""
    yield scattered_q(benchmark)
    yield from grids(benchmark)
    yield polar_cell(benchmark)
    yield derivative_costs(benchmark.sized, benchmark.repeats)
    yield simulated_measurements(benchmark.scale)
    if torch.cuda.is_available():
        yield gpu(benchmark)
