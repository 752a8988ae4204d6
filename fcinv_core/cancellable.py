"""Long work beside a user interface that must answer at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

Report = Callable[[str, float], None]
"""Told the current step in words and the fraction done; raises to cancel."""

CHECKED_EVERY = 0.1
"""Seconds between two calls of the interface."""


def run_cancellable(work: Callable[[Report], Result], interface: Report) -> Result:
    """What ``work`` returns, which runs in a thread of its own.

    However long a step of the work takes, ``interface`` is called every `CHECKED_EVERY` seconds
    by the thread of the caller. When that raises, the caller gets the exception at once, and the
    work ends at its next report; a program that ends before waits for it.

    Raises
    ------
    BaseException
        What the work or the interface raises.
    """
    told: dict[str, Any] = {"text": "Starting", "fraction": 0.0}
    outcome: dict[str, Any] = {}
    is_cancelled = threading.Event()

    def report(text: str, fraction: float) -> None:
        if is_cancelled.is_set():
            raise KeyboardInterrupt
        told.update(text=text, fraction=max(fraction, told["fraction"]))

    def target() -> None:
        try:
            outcome["value"] = work(report)
        except BaseException as error:  # raised again by the caller's thread
            outcome["error"] = error

    # No daemon: Python kills those when it ends, and one amid torch takes the process down with it.
    thread = threading.Thread(target=target, name="fcinv")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(CHECKED_EVERY)
            interface(told["text"], told["fraction"])
    except BaseException:
        is_cancelled.set()
        raise
    if "error" in outcome:
        raise outcome["error"]
    result: Result = outcome["value"]
    return result
