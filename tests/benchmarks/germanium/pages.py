"""Answers as tables and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from benchmarks.germanium.study import FORCE_FIELD, NOISE, WAYS, Answer, stated, truth
from benchmarks.networks.materials import DATA
from benchmarks.pages import markdown_table
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fcinv_core import InversionResult
from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.inversion.density_of_states import DensityOfStates
from fcinv_core.inversion.elasticity import ElasticConstants
from fcinv_core.inversion.lattice import Lattice

PUBLISHED = {"C11": 128.5, "C12": 48.3, "C44": 66.8}
"""GPa at 298 K: H. J. McSkimin and P. Andreatch, J. Appl. Phys. 35, 3312 (1964)."""

BLACK, BLUE, ORANGE, GREY = "#000000", "#0072b2", "#e69f00", "#767676"


def page(found: Sequence[Answer], command: str) -> str:
    """All tables, in Markdown."""
    seeds = len({answer.seed for answer in found})
    times = "one measurement" if seeds == 1 else f"medians of {seeds} measurements"
    parts = [f"Written by `{command}`; {times} of each kind."]
    parts += ["**Errors of phonon energies / meV**", _energies(found)]
    parts += ["**Elastic constants / GPa**", _elastic(found)]
    parts += ["**Network and refinement**", _agreement(found)]
    return "\n\n".join(parts)


def _cells(found: Sequence[Answer]) -> list[tuple[str, str]]:
    return list({(answer.data, answer.noise): None for answer in found})


def _median(found: Sequence[Answer], value: Callable[[Answer], float], **which: str) -> str:
    chosen = [
        value(answer)
        for answer in found
        if all(getattr(answer, name) == wanted for name, wanted in which.items())
    ]
    return f"{np.median(chosen):.2g}"


def _energies(found: Sequence[Answer]) -> str:
    heading = [
        "data",
        "noise",
        *WAYS,
        *(f"refined from {way}" for way in WAYS),
        "stated",
        "verdicts",
    ]
    rows = []
    for data, noise in _cells(found):
        cell = {"data": data, "noise": noise}
        verdicts = [a.refined.verdict.trust for a in found if (a.data, a.noise) == (data, noise)]
        rows.append(
            [
                data,
                noise,
                *(_median(found, lambda a: a.error(a.estimate), way=way, **cell) for way in WAYS),
                *(_median(found, lambda a: a.error(a.refined), way=way, **cell) for way in WAYS),
                _median(found, lambda a: a.stated, **cell),
                ", ".join(
                    f"{verdicts.count(v)} {v}" for v in ("yes", "caution", "no") if v in verdicts
                ),
            ]
        )
    return markdown_table(heading, rows, 2)


def _counted(verdicts: Sequence[str]) -> str:
    known = ("yes", "caution", "no")
    return ", ".join(f"{verdicts.count(v)} {v}" for v in known if v in verdicts)


def _elastic(found: Sequence[Answer]) -> str:
    def of(elastic: ElasticConstants) -> list[str]:
        numbers = (elastic.constant(name) for name in PUBLISHED)
        return [
            f"{value:.1f}" + (f" ± {sigma:.1f}" if sigma > 0 else "") for value, sigma in numbers
        ]

    basis = ForceConstantBasis.from_crystal(truth().crystal)
    lattice = Lattice(basis, truth())
    nothing = np.zeros((basis.n_parameters, basis.n_parameters))
    known = ElasticConstants.of(lattice, lattice.parameters_of(truth()), nothing)
    rows = [
        ["published, 298 K", "", *(f"{value:.1f}" for value in PUBLISHED.values())],
        ["truth of the data", "", *of(known)],
    ]
    first = [answer for answer in found if answer.seed == found[0].seed]
    start = next(answer for answer in first if answer.way == FORCE_FIELD).estimate
    rows.append(["force field", "", *of(_without_errors(start))])
    for way in WAYS[1:]:
        for data, noise in _cells(first):
            if noise != "noisy":
                continue
            answer = next(a for a in first if (a.data, a.noise, a.way) == (data, noise, way))
            rows.append([f"{way} network", f"{data}, {noise}", *of(answer.estimate.elastic)])
            rows.append([f"refined from {way}", f"{data}, {noise}", *of(answer.refined.elastic)])
    return markdown_table(["force constants", "data", *PUBLISHED], rows, 2)


def _without_errors(result: InversionResult) -> ElasticConstants:
    lattice = Lattice(result.basis, result.force_constants)
    return ElasticConstants.of(lattice, result.parameters, np.zeros_like(result.covariance))


def _agreement(found: Sequence[Answer]) -> str:
    heading = ["data", "noise"]
    for way in WAYS[1:]:
        heading += [f"{way}: apart / meV", "of its own spread / meV", "standard deviations"]
    rows = []
    for data, noise in _cells(found):
        row = [data, noise]
        for way in WAYS[1:]:
            cell = {"data": data, "noise": noise, "way": way}
            row += [
                _median(found, lambda a: (a.disagreement or (np.nan, np.nan))[0], **cell),
                _median(found, lambda a: stated(a.estimate), **cell),
                _median(found, lambda a: (a.disagreement or (np.nan, np.nan))[1], **cell),
            ]
        rows.append(row)
    return markdown_table(heading, rows, 2)


def picture(found: Sequence[Answer], path: Path) -> None:
    """Densities of states: measured at 80 K, of the force field, and from the noisy data."""
    document = json.loads((DATA / "measured/ge_dos_80K.json").read_text())
    density = np.array(document["density"])
    grid = np.linspace(document["energy_first_meV"], document["energy_last_meV"], len(density))
    noisy = [a for a in found if a.noise == list(NOISE)[1] and a.seed == found[0].seed]
    kinds = list({answer.data: None for answer in noisy})
    figure = Figure(figsize=(4.2 * len(kinds), 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(kinds), sharey=True))
    for panel, data in zip(panels, kinds, strict=True):
        by_way = {answer.way: answer for answer in noisy if answer.data == data}
        panel.plot(
            grid,
            6 * density / np.trapezoid(density, grid),
            color=BLACK,
            lw=1,
            label="measured, 80 K",
        )
        start = by_way[FORCE_FIELD].estimate.density_of_states
        panel.plot(start.energy_mev, start.density, color=GREY, lw=1, ls="--", label="force field")
        answer = next(a for way, a in by_way.items() if way != FORCE_FIELD)
        for result, colour, name in (
            (answer.estimate, ORANGE, f"{answer.way} network"),
            (answer.refined, BLUE, "refined from it"),
        ):
            _band(panel, result.density_of_states, colour, name)
        panel.set(title=data, xlabel="energy (meV)", xlim=(0, 45), ylim=(0, 1.0))
    panels[0].set_ylabel("states per meV and primitive cell")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def _band(panel, density: DensityOfStates, colour: str, name: str) -> None:  # type: ignore[no-untyped-def]
    low, high = density.density - density.sigma, density.density + density.sigma
    panel.fill_between(density.energy_mev, low, high, color=colour, alpha=0.3, lw=0)
    panel.plot(density.energy_mev, density.density, color=colour, lw=1, label=name)
