"""``python -m benchmarks.softening``: copper becomes softer as it was measured to."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from benchmarks.error_bars.designs import DESIGNS
from benchmarks.pages import command_line
from benchmarks.softening.pages import page, picture
from benchmarks.softening.study import TEMPERATURES, inverted


def main(arguments: list[str] | None = None) -> None:
    """Invert everything, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.softening", description=__doc__)
    parser.add_argument("--design", action="append", choices=list(DESIGNS))
    parser.add_argument("--temperature", action="append", type=int, choices=TEMPERATURES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("docs/benchmarks"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Euphonic says that it runs on one thread beside torch
    found = []
    for design in options.design or DESIGNS:
        found.append((design, inverted(design, options.temperature or TEMPERATURES, options.seed)))
        print(design, flush=True)
    command = command_line("benchmarks.softening", arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "softening.md").write_text(page(found, command) + "\n", encoding="utf-8")
    picture(found, options.folder / "softening.png")


if __name__ == "__main__":
    main()
