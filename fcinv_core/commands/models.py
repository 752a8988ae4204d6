"""``fcinv models``: the trained models that there are, and the card of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.commands.options import add_json_option
from fcinv_core.commands.terminal import print_json
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.networks.library import ModelFile


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("models", help="trained models: what there is")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME|PATH",
        help="check this model, and show all that is known about it",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """List all models, or check one and print its card."""
    from fcinv_core.networks import library

    if options.name is not None:
        file = library.model_file(options.name)
        _check(file)
        if options.json:
            print_json(_document(file))
        else:
            print(_card(file))
        return 0
    files = library.model_files()
    folder = library.own_folder()
    if options.json:
        print_json({"models": [_document(file) for file in files], "folder": folder})
        return 0
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


def _check(file: ModelFile) -> None:
    """Refuse a model that ``fcinv invert`` could not use."""
    from fcinv_core.networks.model import Model

    if file.card is None:
        raise FcinvError(str(file.problem))
    Model.load(file.path)


def _card(file: ModelFile) -> str:
    assert file.card is not None
    return (
        f"{file.name} ({_size(file)})\n{file.path}\n"
        f"The file is whole, and this version of fcinv can use it.\n\n{file.card.to_text()}"
    )


def _document(file: ModelFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "path": file.path,
        "comes_with_fcinv": file.is_shipped,
        "problem": file.problem,
        "card": None if file.card is None else file.card.to_dict(),
    }


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
