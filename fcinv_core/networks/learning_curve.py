"""How errors fell during a training, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fcinv_core.files import write_whole
from fcinv_core.networks.validation import ValidationScores

TABLE, PICTURE = "learning_curve.csv", "learning_curve.png"


@dataclass(frozen=True)
class CurvePoint:
    """The state of a training at one validation.

    Attributes
    ----------
    measurements
        That the network had seen.
    seconds
        Spent until then.
    losses
        Means since the validation before.
    scores
        Of the averaged weights.
    """

    measurements: int
    seconds: float
    losses: dict[str, float]
    scores: ValidationScores

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CurvePoint:
        """The inverse of `to_dict`."""
        return cls(
            document["measurements"],
            document["seconds"],
            dict(document["losses"]),
            ValidationScores.from_dict(document["scores"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def row(self) -> dict[str, float]:
        """Numbers by the names of their columns."""
        row: dict[str, float] = {"measurements": self.measurements, "seconds": self.seconds}
        row |= {f"loss: {name}": value for name, value in self.losses.items()}
        row["error (%)"] = self.scores.error
        for kind, score in self.scores.kinds.items():
            row[f"{kind}: median error (meV)"] = score.median_mev
            row[f"{kind}: mean error (meV)"] = score.mean_mev
            row[f"{kind}: median error (%)"] = score.median_percent
            row[f"{kind}: mean error (%)"] = score.mean_percent
            row[f"{kind}: coverage of 1 sigma"] = self.scores.coverage[kind]
        return row


def write_table(points: Sequence[CurvePoint], folder: Path) -> None:
    """Write `TABLE`, a line for each validation.

    Raises
    ------
    FcinvError
        When it cannot be written.
    """
    rows = [point.row() for point in points]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    write_whole(folder / TABLE, stream.getvalue().encode())


def write_picture(points: Sequence[CurvePoint], title: str, folder: Path) -> None:
    """Write `PICTURE`.

    Raises
    ------
    FcinvError
        When it cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    seen = [point.measurements for point in points]
    left.plot(seen, [sum(point.losses.values()) for point in points], color="0.3")
    left.set(xlabel="measurements", ylabel="training loss", title=title)
    for colour, kind in (("C0", "idealised"), ("C1", "noisy")):
        scores = [(p.measurements, p.scores.kinds[kind]) for p in points if kind in p.scores.kinds]
        at = [n for n, _ in scores]
        right.plot(at, [s.median_mev for _, s in scores], colour, label=f"{kind}, median")
        right.plot(at, [s.mean_mev for _, s in scores], f"{colour}--", label=f"{kind}, mean")
    right.set(xlabel="measurements", ylabel="rms error of energies (meV)", title="not trained on")
    if points:
        right.set(yscale="log")
        for show in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
            show(StrMethodFormatter("{x:.2g}"))
        figure.legend(loc="outside right center", frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_whole(folder / PICTURE, stream.getvalue())
