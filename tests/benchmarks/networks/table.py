"""Records as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from benchmarks.pages import markdown_table

Record = dict[str, Any]

CONFIDENCE = 0.95
"""Of intervals of shares."""

_INSIDE = ("stiffness", "springs", "zone boundary")


def share(hits: float, n: int) -> str:
    """A share with its interval (Wilson, `CONFIDENCE`), in percent.

    ``hits`` need not be whole: where a case has several values that depend on each other, it
    counts for the share of them that hit.
    """
    from scipy.stats import norm

    if n == 0:
        return ""
    z, p = norm.ppf(0.5 + CONFIDENCE / 2), hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return f"{100 * p:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def page(records: Sequence[Record], command: str) -> str:
    """All tables, in Markdown."""
    tried = [record for record in records if "limits" in record]
    tables = [
        ("Estimates alone", _ESTIMATE, _estimate, _cells(records)),
        ("After refinement", _REFINED, _refined, _cells(tried)),
        ("What the measurements can tell", _LIMITS, _limits, _cells(tried, by_estimator=False)),
    ]
    parts = [f"Written by `{command}` from {len(records)} records."]
    for title, heading, summary, cells in tables:
        if cells:
            rows = [(*key, *summary(cell)) for key, cell in cells]
            n_words = heading.index("cases")
            parts += [f"**{title}**", markdown_table(heading, rows, n_words)]
    return "\n\n".join(parts)


_CELL = ("crystal", "truths", "data", "estimator", "cases")
_ESTIMATE = (
    *_CELL,
    "energies / meV",
    "% of the top",
    "force constants / eV/Å²",
    "relative / %",
    "stiffness inside / %",
    "springs inside / %",
    "zone boundary inside / %",
    "gave up",
    "seconds",
)
_REFINED = (*_CELL, "right valley / %", "energies / meV", "% of the top", "seconds")
_LIMITS = (
    *_CELL[:3],
    "cases",
    "Q bins",
    "top / meV",
    "before / meV",
    "bound / meV",
    "% of the top",
    "with the prior / meV",
    "truth refined / bound",
)


def _cells(
    records: Iterable[Record], by_estimator: bool = True
) -> list[tuple[tuple[str, ...], list[Record]]]:
    """Records that share a row, with what begins the row but for the number of cases."""
    names = ("material", "origin", "kind", "estimator")[: 4 if by_estimator else 3]
    kept = list(records)
    order = {name: {r[name]: None for r in sorted(kept, key=_place)} for name in names}
    rank = {name: {value: i for i, value in enumerate(order[name])} for name in names}

    def key(record: Record) -> tuple[int, ...]:
        return tuple(rank[name][record[name]] for name in names)

    cells = []
    for _, group in groupby(sorted(kept, key=key), key):
        cell = list(group)
        if not by_estimator:
            cell = list({record["number"]: record for record in cell}.values())
        cells.append((tuple(cell[0][name] for name in names), cell))
    return cells


def _place(record: Record) -> tuple[int, ...]:
    from benchmarks.networks.cases import KINDS
    from benchmarks.networks.estimators import ARCHITECTURES, BASELINE
    from benchmarks.networks.materials import DRAWN

    kinds, names = list(KINDS), [*ARCHITECTURES, BASELINE]
    kind, name = record["kind"], record["estimator"]
    return (
        record["origin"] != DRAWN,
        kinds.index(kind) if kind in kinds else len(kinds),
        names.index(name) if name in names else len(names),
    )


def _estimate(cell: Sequence[Record]) -> list[str]:
    made = [record for record in cell if "estimate" in record]
    inside = [record["inside"] for record in made if "inside" in record]
    return [
        str(len(cell)),
        _spread(made, lambda r: r["estimate"]["dispersion"]),
        _spread(made, lambda r: 100 * r["estimate"]["dispersion"] / r["top_mev"]),
        _median(made, lambda r: r["estimate"]["force_constants"]),
        _median(made, lambda r: 100 * r["estimate"]["relative"]),
        *(share(sum(one[name] for one in inside), len(inside)) for name in _INSIDE),
        str(len(cell) - len(made)),
        _median(made, lambda r: r["estimate"]["seconds"]),
    ]


def _refined(cell: Sequence[Record]) -> list[str]:
    made = [record for record in cell if "refined" in record]
    return [
        str(len(cell)),
        share(sum(record["refined"]["arrival"]["is_right"] for record in made), len(cell)),
        _spread(made, lambda r: r["refined"]["dispersion"]),
        _spread(made, lambda r: 100 * r["refined"]["dispersion"] / r["top_mev"]),
        _median(made, lambda r: r["refined"]["seconds"]),
    ]


def _limits(cell: Sequence[Record]) -> list[str]:
    return [
        str(len(cell)),
        _median(cell, lambda r: r["q_bins"]),
        _median(cell, lambda r: r["top_mev"]),
        _median(cell, lambda r: r["limits"]["prior_mev"]),
        _spread(cell, lambda r: r["limits"]["bound_mev"]),
        _spread(cell, lambda r: 100 * r["limits"]["bound_mev"] / r["top_mev"]),
        _spread(cell, lambda r: r["limits"]["informed_mev"]),
        _spread(cell, lambda r: r["limits"]["truth_refined_mev"] / r["limits"]["bound_mev"]),
    ]


def _spread(cell: Sequence[Record], value: Callable[[Record], float]) -> str:
    """Median, mean and the value that nine in ten stay below."""
    if not cell:
        return ""
    values = [value(record) for record in cell]
    return " / ".join(_short(f(values)) for f in (np.median, np.mean, _ninth_decile))


def _ninth_decile(values: Sequence[float]) -> float:
    return float(np.percentile(values, 90))


def _median(cell: Sequence[Record], value: Callable[[Record], float]) -> str:
    return _short(float(np.median([value(record) for record in cell]))) if cell else ""


def _short(value: float) -> str:
    """Two significant digits, or whole."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
