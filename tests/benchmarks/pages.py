"""What pages of benchmarks have in common: tables, and the command that wrote them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]], n_words: int = 0) -> str:
    """A table in Markdown, numbers to the right but for the first ``n_words`` columns."""
    lines = [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * n_words + "--:|" * (len(heading) - n_words),
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def command_line(module: str, arguments: Sequence[str] | None) -> str:
    """How a module was run with these arguments; None for those of this process."""
    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["python", "-m", module, *given])
