"""Rows of ratios, and the page that they are written to."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

import fcinv_core


@dataclass(frozen=True)
class Row:
    """One comparison, measured in the same run.

    Attributes
    ----------
    case
        What fcinv did.
    own, other
        Its time or memory, and that of what it is compared with, in ``unit``.
    versus
        What that is.
    deviation
        Relative difference of the two results; None where there is nothing to compare.
    """

    case: str
    own: float
    versus: str
    other: float
    unit: str = "s"
    deviation: float | None = None


@dataclass(frozen=True)
class Section:
    """Rows about one thing.

    Attributes
    ----------
    is_cost
        Whether ratios say how many times as much fcinv needs, not how many times as fast it is.
    """

    title: str
    rows: tuple[Row, ...]
    is_cost: bool = False

    def to_markdown(self) -> str:
        ratio = "times as much" if self.is_cost else "times as fast"
        lines = [
            f"**{self.title}**",
            "",
            f"| fcinv | | compared with | | {ratio} | results differ by |",
            "|---|--:|---|--:|--:|--:|",
        ]
        for row in self.rows:
            quotient = row.own / row.other if self.is_cost else row.other / row.own
            deviation = "" if row.deviation is None else f"{row.deviation:.0e}"
            lines.append(
                f"| {row.case} | {_short(row.own)} {row.unit} | {row.versus} | "
                f"{_short(row.other)} {row.unit} | {_short(quotient)} | {deviation} |"
            )
        return "\n".join(lines)


def _short(value: float) -> str:
    """Three significant digits without an exponent."""
    digits = f"{value:#.3g}"
    return f"{float(digits):.0f}" if "e" in digits or digits.endswith(".") else digits


def page(sections: list[Section], scale: float) -> str:
    """All sections, and what they were measured with."""
    torch_threads = torch.get_num_threads()
    packages = ("torch", "numpy", "Euphonic", "phonopy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        f"fcinv {fcinv_core.__version__}, {versions}, Python {platform.python_version()}; "
        f"{processor()}, {os.cpu_count()} cores, {torch_threads} threads for each code.",
    ]
    if scale != 1:
        lines.append(f"Numbers of Q are {scale:g} times the usual ones.")
    if not torch.cuda.is_available():
        lines.append("No GPU on this machine.")
    return "\n\n".join([" ".join(lines), *(section.to_markdown() for section in sections)]) + "\n"


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
