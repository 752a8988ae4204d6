"""Trials as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from benchmarks.error_bars.trial import NETWORK
from benchmarks.networks.table import share
from benchmarks.pages import markdown_table
from benchmarks.records import Record
from scipy.stats import norm

ALL = "all"

WORST = 5.0
"""An error that is more than so many times the bound must show in the verdict."""

LEVELS = (0.68, 0.95)

NUISANCES = ("scale", "background", "resolution_scale")

NEAR = 1.5
"""An error that is less than so many times the bound is as good as can be."""

_ERRORS = (
    "start",
    "crystal",
    "data",
    "cases",
    "empty bins / %",
    "bound / meV",
    "error over bound, median",
    "95 % below",
    f"below {NEAR:g} / %",
    "yes, caution, no",
    f"yes and above {WORST:g}",
)
_INSIDE = (
    "quantity",
    "cases",
    *(f"{100 * level:.0f} % intervals hold / %" for level in LEVELS),
)

Pulls = Callable[[Record], Sequence[float]]


def page(records: Sequence[Record], command: str) -> str:
    """All tables, in Markdown."""
    done = [record for record in records if "error_mev" in record]
    parts = [f"Written by `{command}` from {len(records)} records."]
    parts += ["**Errors and the bound on them**", markdown_table(_ERRORS, _error_rows(done), 3)]
    parts += [
        "**Intervals**",
        markdown_table(_INSIDE, _inside_rows([r for r in done if r["start"] == NETWORK]), 1),
    ]
    if failures := [record for record in records if "failure" in record]:
        parts.append(f"{len(failures)} could not be inverted: {failures[0]['failure']}")
    return "\n\n".join(parts)


def ratio(record: Record) -> float:
    """Error of the energies over the bound on it, root mean squares over the zone."""
    return float(record["error_mev"] / record["bound_mev"])


def _error_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row for each start, crystal and design, and one for each start and crystal."""
    cells: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        start, material = record["start"], record["material"]
        for design in (record["design"], ALL):
            cells.setdefault((start, material, design), []).append(record)
    order = sorted(cells, key=lambda cell: (cell[0] != NETWORK, cell[2] == ALL, cell))
    return [(*cell, *_errors(cells[cell])) for cell in order]


def _errors(cell: Sequence[Record]) -> tuple[str, ...]:
    ratios = np.array([ratio(record) for record in cell])
    trusts = [record["trust"] for record in cell]
    silent = sum(r > WORST and t == "yes" for r, t in zip(ratios, trusts, strict=True))
    return (
        str(len(cell)),
        f"{100 * np.median([record['empty'] for record in cell]):.0f}",
        f"{np.median([record['bound_mev'] for record in cell]):.2g}",
        f"{np.median(ratios):.2f}",
        f"{np.percentile(ratios, 95):.2f}",
        share(float(np.sum(ratios < NEAR)), len(cell)),
        ", ".join(str(trusts.count(trust)) for trust in ("yes", "caution", "no")),
        str(silent),
    )


def _inside_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    quantities: dict[str, Pulls] = {
        "constants of shells that the data determine": lambda r: r["pulls"]["shells"]["seen"],
        "constants of shells that the start holds": lambda r: r["pulls"]["shells"]["unseen"],
        "phonon energies": lambda r: r["pulls"]["energies"],
    }
    for name in NUISANCES:
        words = name.replace("_", " ")
        quantities[words] = lambda r, name=name: [r["pulls"]["nuisances"][name]]  # type: ignore[misc]
    quantities["phonon energies, most bins empty"] = lambda r: (
        r["pulls"]["energies"] if r["empty"] > 0.5 else []
    )
    rows = []
    for name, pulls in quantities.items():
        told = [np.array(values) for record in records if (values := pulls(record))]
        if told:
            rows.append((name, str(len(told)), *(_inside(told, level) for level in LEVELS)))
    return rows


def _inside(pulls: Sequence[np.ndarray], level: float) -> str:
    """Each case counts for the share of its values that lie inside."""
    reach = norm.ppf(0.5 + level / 2)
    return share(sum(float(np.mean(np.abs(values) < reach)) for values in pulls), len(pulls))
