"""``fcinv models``: the trained models that there are, and the card of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.networks.library import ModelFile


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("models", help="trained models: what there is")
    parser.add_argument(
        "name", nargs="?", metavar="NAME|PATH", help="show all that is known about this model"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """List all models, or print the card of one."""
    from fcinv_core.networks import library

    if options.name is not None:
        print(_card(library.model_file(options.name)))
        return 0
    files = library.model_files()
    folder = library.own_folder()
    if files:
        print(_table(files))
        for file in files:
            if file.problem is not None:
                print(f"\n{file.name}: {file.problem}")
    else:
        print(f"There are no trained models yet: {library.HOW_TO_TRAIN}.")
    if folder is not None:
        print(f"\nYour models are looked for in {folder} (${library.FOLDER} names another folder).")
    return 0


def _card(file: ModelFile) -> str:
    from fcinv_core.networks.model import check

    if file.card is not None:
        check(file.path)
    if file.problem is not None or file.card is None:
        raise FcinvError(str(file.problem))
    return f"{file.name} ({_size(file)})\n{file.path}\n\n{file.card.to_text()}"


def _table(files: Sequence[ModelFile]) -> str:
    rows = [("name", "crystal", "network", "median error", "size", "file")]
    rows += [(file.name, *_facts(file), _size(file), _where(file)) for file in files]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _facts(file: ModelFile) -> tuple[str, str, str]:
    if file.card is None:
        return "damaged", "-", "-"
    errors = [f"{score.median_mev:.2g} meV {kind}" for kind, score in file.card.scores.items()]
    return file.card.crystal, file.card.architecture, ", ".join(errors) or "not measured"


def _size(file: ModelFile) -> str:
    try:
        return f"{file.path.stat().st_size / 1e6:.2g} MB"
    except OSError:
        return "-"


def _where(file: ModelFile) -> str:
    return f"{file.path} (comes with fcinv)" if file.is_shipped else str(file.path)
