"""``fcinv --print-completion``: commands, options and files that a shell completes."""

from __future__ import annotations

import argparse
from typing import Any

from fcinv_core.errors import FcinvError

SHELLS = ("bash", "zsh", "fish")

_FOLDERS = ("DIR",)
_FILES = ("FILE", "PICTURE.png", "NAME|PATH", "NAME|PATH|none")
"""Metavars whose values are names of folders, and of files."""


class PrintCompletion(argparse.Action):
    """Prints the script of a shell and ends, as ``--version`` does."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> None:
        try:
            import shtab
        except ImportError:
            raise FcinvError(
                "shell completion needs the package shtab, which is not installed here: "
                "pip install shtab"
            ) from None
        _complete_names_of_files(parser, shtab.FILE, shtab.DIRECTORY)
        print(shtab.complete(parser, values))
        parser.exit()


def _complete_names_of_files(
    parser: argparse.ArgumentParser, files: object, folders: object
) -> None:
    """Tell shtab which arguments are files and folders, in all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_names_of_files(command, files, folders)
        elif action.metavar in _FOLDERS:
            action.complete = folders  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = files  # type: ignore[attr-defined]
