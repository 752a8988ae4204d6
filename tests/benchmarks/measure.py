"""Times, peak memory, and processes of their own to measure them in."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock


def shortest(task: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Seconds of the fastest of a few runs, and the last one's result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        result = None  # Its memory is free for the next one.
        begin = time.perf_counter()
        result = task()
        best = min(best, time.perf_counter() - begin)
    return best, result


@contextmanager
def own_process(environment: dict[str, str | None]) -> Iterator[Callable[..., Any]]:
    """A fresh process that calls functions of a module, with other environment variables.

    Parameters
    ----------
    environment
        Variables to set, or to take away (None).
    """
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with mock.patch.dict(os.environ):
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        pool.submit(os.getpid).result()
    with pool:
        yield lambda task, *arguments: pool.submit(task, *arguments).result()


class PeakMemory:
    """Most memory in use inside a ``with``, less that in use before it.

    Attributes
    ----------
    extra
        Bytes; NaN on systems without /proc.
    """

    def __init__(self) -> None:
        self.extra = float("nan")

    def __enter__(self) -> PeakMemory:
        _return_free_memory()
        self._finished = threading.Event()
        self._before = self._peak = _resident_bytes()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self._watch.join()
        self.extra = self._peak - self._before

    def _look(self) -> None:
        while not self._finished.wait(0.005):
            self._peak = max(self._peak, _resident_bytes())


def _return_free_memory() -> None:
    """What earlier work left to the allocator would hide some of what is needed now."""
    with suppress(OSError, AttributeError):  # Only the C library of GNU can do this.
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident_bytes() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
