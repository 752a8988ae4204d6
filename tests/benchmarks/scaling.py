"""How times grow with the size of the work, as a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.cases import Benchmark
from benchmarks.derivatives import Derivatives
from benchmarks.measure import shortest
from benchmarks.workload import Workload, crystal_of

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
"""From Okabe and Ito's palette: told apart with any colour vision."""


@dataclass(frozen=True)
class Panel:
    """Times against one size.

    Attributes
    ----------
    size, unit
        Labels of the axes.
    note
        What was kept.
    curves
        (2, n) sizes and times, by name.
    """

    size: str
    unit: str
    note: str
    curves: dict[str, np.ndarray]


def number_of_q(benchmark: Benchmark) -> Panel:
    """Seconds against the number of scattered Q."""
    own, other = [], []
    for power in (3.0, 4.0, 5.0, 6.0):
        work = Workload.scattered("Ge", benchmark.sized(round(10**power)), 90)
        repeats = 1 if power == 6 else benchmark.repeats
        own.append((len(work.q_points), shortest(work.spectra, repeats)[0]))
    for n_q in (1000, 10_000, 100_000):
        work = Workload.scattered("Ge", benchmark.sized(n_q), 90)
        other.append((len(work.q_points), benchmark.euphonic(work).total))
    return _panel("Number of Q", "Time (s)", "Ge, 90 energy bins", own, other)


def energy_bins(benchmark: Benchmark) -> Panel:
    """Time per Q against the number of energy bins."""
    own, other = [], []
    for n_bins in (20, 50, 100, 200, 400):
        work = Workload.scattered("Ge", benchmark.sized(20_000), n_bins)
        fewer = work.first(benchmark.sized(2000))
        own.append(
            (n_bins, 1e6 * shortest(work.spectra, benchmark.repeats)[0] / len(work.q_points))
        )
        peer = benchmark.euphonic(fewer).total
        other.append((n_bins, 1e6 * peer / len(fewer.q_points)))
    return _panel("Energy bins", "Time per Q (µs)", "Ge", own, other)


def parameters(benchmark: Benchmark) -> Panel:
    """Time per Q of spectra with their Jacobian against the number of parameters."""
    work = Workload.scattered("Ge", benchmark.sized(2000), 90)
    per_q = 1e6 / len(work.q_points)
    numbers = (5, 10, 20, 50, 100, 200)
    own = []
    for n_parameters in numbers:
        model = Derivatives(work, (1, 1, 1), n_parameters)
        own.append((n_parameters, per_q * shortest(model.jacobian, benchmark.repeats)[0]))
    forward = per_q * shortest(model.spectra, benchmark.repeats)[0]
    note = "Ge, 90 energy bins"
    panel = _panel("Parameters of the Jacobian", "Time per Q (µs)", note, own, [])
    only = np.array([numbers, [forward] * len(numbers)])
    return replace(panel, curves={**panel.curves, "fcinv, spectra only": only})


def atoms(benchmark: Benchmark) -> Panel:
    """Time per Q against the number of atoms in the primitive cell."""
    own, other = [], []
    for name in benchmark.crystals:
        n_atoms = crystal_of(name).crystal.n_primitive
        work = Workload.scattered(name, benchmark.sized(40_000 // n_atoms), 90)
        fewer = work.first(benchmark.sized(4000 // n_atoms))
        polar = work.polar_part()
        seconds, _ = shortest(
            lambda work=work, polar=polar: work.spectra(polar=polar), benchmark.repeats
        )
        own.append((n_atoms, 1e6 * seconds / len(work.q_points)))
        peer = benchmark.euphonic(fewer).total
        other.append((n_atoms, 1e6 * peer / len(fewer.q_points)))
    note = "Ge; ZnO, SiO2, Al2O3 with dipoles; 90 energy bins"
    return _panel("Atoms in the primitive cell", "Time per Q (µs)", note, own, other)


def _panel(
    size: str,
    unit: str,
    note: str,
    own: list[tuple[int, float]],
    other: list[tuple[int, float]],
) -> Panel:
    curves = {"fcinv": np.array(own).T}
    if other:
        curves["Euphonic"] = np.array(other).T
    return Panel(size, unit, note, curves)


def all_panels(benchmark: Benchmark) -> list[Panel]:
    return [make(benchmark) for make in (number_of_q, energy_bins, parameters, atoms)]


def draw(panels: list[Panel], path: Path) -> None:
    """One picture of all panels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    styles = {
        "fcinv": (BLUE, "o-"),
        "Euphonic": (VERMILION, "s--"),
        "fcinv, spectra only": (GREY, ":"),
    }
    figure = Figure(figsize=(9, 7), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name, (sizes, times) in panel.curves.items():
            colour, style = styles[name]
            label = "fcinv, with Jacobian" if "Jacobian" in panel.size and "," not in name else name
            axes.loglog(sizes, times, style, color=colour, label=label)
        axes.set_xlabel(panel.size)
        axes.set_ylabel(panel.unit)
        axes.set_title(panel.note, fontsize="medium")
        if sizes.max() < 1000:
            axes.set_xticks(panel.curves["fcinv"][0])
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", color="0.9")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
