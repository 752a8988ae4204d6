"""What becomes of one broken file: read under limits, with an eye on what else happens."""

from __future__ import annotations

import contextlib
import enum
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcinv_core.errors import FcinvError
from hostile.case import Case, Expected
from hostile.readers import READERS, InsaneError

MEMORY = 1_500_000_000
"""Bytes: what reading may take beyond what the process has."""
SECONDS = 20
"""What reading may take."""
LONGEST_LINE = 1000
"""Characters of an error message."""


class Kind(enum.Enum):
    """What may become of a file."""

    CLEAR_ERROR = "clear error"
    SANE = "sane acceptance"
    CRASH = "crash"
    HANG = "hang"
    SILENT = "silent acceptance"

    @property
    def is_good(self) -> bool:
        """Whether that is as it should be."""
        return self in (Kind.CLEAR_ERROR, Kind.SANE)


@dataclass(frozen=True)
class Outcome:
    """What became of a file, what the reader said, and how long it took in seconds."""

    kind: Kind
    said: str
    seconds: float


class _Late(BaseException):
    """The time is up; no reader catches it."""


def outcome(case: Case, folder: Path) -> Outcome:
    """Make the file in an empty folder, read it, and judge what comes of that."""
    path = case.make(folder)
    before = _listing(folder)
    start = time.perf_counter()
    try:
        with _watched(folder) as deeds, _limits():
            kind, said = _read(case, path)
    except _Late:
        kind, said = Kind.HANG, f"not done after {SECONDS} s"
    if deeds:
        kind, said = Kind.CRASH, f"{deeds[0]} ({said})"
    elif _listing(folder) != before:
        kind, said = Kind.CRASH, f"left files behind ({said})"
    return Outcome(kind, said, time.perf_counter() - start)


def _read(case: Case, path: Path) -> tuple[Kind, str]:
    try:
        READERS[case.reader](path)
    except FcinvError as error:
        problem = _unclear(str(error), path)
        return (Kind.CLEAR_ERROR, str(error)) if problem is None else (Kind.CRASH, problem)
    except InsaneError as error:
        return Kind.SILENT, f"accepted: {error}"
    except Exception as error:
        return Kind.CRASH, f"{type(error).__name__}: {error}"[:300]
    if case.expected is Expected.REFUSED:
        return Kind.SILENT, "accepted"
    return Kind.SANE, ""


def _unclear(message: str, path: Path) -> str | None:
    """None, or what is wrong with an error message."""
    name = "".join(c if c.isprintable() else "?" for c in path.name.strip())
    if not message.isprintable():
        return f"message with control characters: {message!r}"
    if len(message) > LONGEST_LINE:
        return f"message of {len(message)} characters: {message[:300]}"
    # Long names may be cut.
    if name[:50] not in message:
        return f"message without the file's name: {message}"
    return None


def _listing(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_size for path in sorted(folder.rglob("*"))}


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Memory and time that reading may take."""

    def late(signum: int, frame: Any) -> None:
        raise _Late

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    previous = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY, hard))
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module="fcinv_core")
            yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, previous)


# -- deeds that no reader has to do -------------------------------------------------------------

_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen")
_NETWORK = ("socket.connect", "socket.bind", "urllib.Request", "webbrowser.open")
_watch: list[str] | None = None


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[list[str]]:
    """Lists programs that are started, connections, pickles, and files opened for writing."""
    global _watch
    _install()
    deeds: list[str] = []
    _watch = deeds
    try:
        yield deeds
    finally:
        _watch = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch is None:
        return
    if event in _FORBIDDEN or event in _NETWORK or event == "pickle.find_class":
        _watch.append(f"{event}{arguments}"[:200])
    elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        target = str(arguments[0])
        # Python keeps what it compiled of modules that are imported late.
        if "__pycache__" not in target and target not in (os.devnull, "/dev/tty"):
            _watch.append(f"wrote {target}")


_installed = False


def _install() -> None:
    """An audit hook stays for the life of the process, so there is one."""
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
