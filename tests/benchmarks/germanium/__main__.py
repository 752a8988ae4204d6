"""``python -m benchmarks.germanium``: the germanium study, its tables and its picture."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from benchmarks.error_bars.designs import DESIGNS
from benchmarks.germanium.pages import page, picture
from benchmarks.germanium.study import NOISE, answers
from benchmarks.pages import command_line


def main(arguments: list[str] | None = None) -> None:
    """Invert everything, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.germanium", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="measurements of each kind")
    parser.add_argument("--data", action="append", choices=list(DESIGNS))
    parser.add_argument("--noise", action="append", choices=list(NOISE))
    parser.add_argument("--folder", type=Path, default=Path("docs/benchmarks"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Euphonic says that it runs on one thread beside torch
    found = []
    for data in options.data or ("volume", "slice", "one orientation"):
        for noise in options.noise or NOISE:
            for seed in range(options.seeds):
                found += answers(data, noise, seed)
                print(data, noise, seed, flush=True)
    command = command_line("benchmarks.germanium", arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "germanium.md").write_text(page(found, command) + "\n", encoding="utf-8")
    picture(found, options.folder / "germanium.png")


if __name__ == "__main__":
    main()
