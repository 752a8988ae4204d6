"""What commands show: JSON for programs, a progress bar on a terminal, and nothing else."""

from __future__ import annotations

import io
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report


@contextmanager
def quiet_libraries() -> Iterator[TextIO]:
    """Keep what libraries write off standard error, in Python and in C; errors pass.

    Yields
    ------
    TextIO
        The real standard error, for a progress bar.
    """
    # Warnings become log records, and records without a handler go nowhere.
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with (
            open(os.devnull, "w") as nowhere,
            os.fdopen(os.dup(saved), "w") as terminal,
            redirect_stderr(nowhere),
        ):
            os.dup2(nowhere.fileno(), 2)
            try:
                yield terminal
            finally:
                os.dup2(saved, 2)
    finally:
        os.close(saved)
        logging.captureWarnings(False)


def print_json(document: dict[str, Any]) -> None:
    """One document on one line of standard output, in UTF-8 whatever the locale."""
    from fcinv_core.plain_json import plain_values, to_json

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(to_json(plain_values(document)), end="")


@contextmanager
def progress_bar(terminal: TextIO) -> Iterator[Report | None]:
    """Stage, share done, time spent and time left where ``terminal`` is one, else None."""
    if not terminal.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    with Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(file=terminal),
        # Steps differ in speed: what is left follows from all that is done, not from the last.
        speed_estimate_period=math.inf,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("Starting", total=1.0)
        last = 0.0

        def report(stage: str, fraction: float) -> None:
            nonlocal last, task
            if fraction < last:  # another piece of work, with a duration of its own
                bar.remove_task(task)
                task = bar.add_task(stage, total=1.0)
            last = fraction
            bar.update(task, description=stage, completed=fraction)

        yield report
