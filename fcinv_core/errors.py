"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_MESSAGE = 600
"""Characters: names and values that a message repeats may come from a damaged file."""


class FcinvError(Exception):
    """A problem with the input, told in one line: what is wrong, where, what to do.

    The command line prints it after ``Error:`` and ends with exit code 2; the Mantid
    algorithms pass it on as their error message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


def _one_line(message: str) -> str:
    """Without what would act on a terminal, and the middle of a long message left out."""
    words = " ".join(message.split())
    line = "".join(character if character.isprintable() else "?" for character in words)
    half = LONGEST_MESSAGE // 2
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:half]} ... {line[-half:]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean NAME?)`` for a misspelt or shortened name, empty if none is near."""
    asked, by_lower = name.lower(), {other.lower(): other for other in known}
    near = difflib.get_close_matches(asked, by_lower, n=1)
    near += [other for other in by_lower if asked and other.startswith(asked)]
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""


NO_MEMORY = "not enough memory; use coarser bins or fewer workspaces"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out.

    torch has no MemoryError, and a library that no memory is left for cannot be imported.
    """
    told = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError)
        and ("allocate memory" in told or "failed to map segment" in told)
    )
