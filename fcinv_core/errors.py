"""Errors that a user can act on."""

from __future__ import annotations


class FcinvError(Exception):
    """A problem with the input, told in one line: what is wrong, where, what to do.

    The command line prints it after ``Error: `` and ends with exit code 2; the Mantid
    algorithms pass it on as their error message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
