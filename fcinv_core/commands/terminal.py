"""What a command shows beside its output: nothing, or a progress bar on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

Progress = Callable[[str, float], None]
"""Called with the current stage in words and the fraction done, 0 to 1."""


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


@contextmanager
def progress_bar(terminal: TextIO) -> Iterator[Progress | None]:
    """A progress bar where ``terminal`` is one, else None."""
    if not terminal.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(file=terminal),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("Starting", total=1.0)

        def report(stage: str, fraction: float) -> None:
            bar.update(task, description=stage, completed=fraction)

        yield report
