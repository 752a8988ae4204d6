"""``python -m benchmarks FOLDER``: compare times, print a table, write it and a picture there."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.cases import Benchmark, all_sections, peer_process
from benchmarks.scaling import all_panels, draw
from benchmarks.table import page


def main(arguments: list[str] | None = None) -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("output", type=Path, help="folder for timings.md and scaling.png")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all numbers of Q")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, peer_process() as ask:
        benchmark = Benchmark(Path(folder), ask, options.scale)
        sections = []
        for section in all_sections(benchmark):
            print(section.to_markdown(), end="\n\n", flush=True)
            sections.append(section)
        draw(all_panels(benchmark), options.output / "scaling.png")
    text = page(sections, options.scale)
    print(text.splitlines()[0])
    (options.output / "timings.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
