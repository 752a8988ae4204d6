"""``python -m benchmarks.error_bars``: do stated errors hold, and are they as small as can be?

Each measurement is kept at once; a run that was stopped goes on. In the end all records join those
of earlier runs, which come with the project.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.error_bars.designs import DESIGNS, MATERIALS
from benchmarks.error_bars.table import page
from benchmarks.error_bars.trial import STARTS, prepare_process, trial
from benchmarks.pages import command_line
from benchmarks.records import Records

KEY = ("material", "design", "number", "start")
"""What a record is known by."""


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.error_bars", description=__doc__)
    parser.add_argument("--cases", type=int, default=70, help="of each crystal and design")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--material", action="append", choices=MATERIALS)
    parser.add_argument("--design", action="append", choices=list(DESIGNS))
    parser.add_argument("--start", action="append", choices=STARTS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("build/error-bars.jsonl"))
    parser.add_argument(
        "--kept",
        type=Path,
        default=Path(__file__).with_name("records.jsonl.xz"),
        help="records of earlier runs, which those of this one join",
    )
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks/error-bars.md"))
    options = parser.parse_args(arguments)
    records = Records(options.results, options.kept, KEY)
    done = {records.key_of(record) for record in records.records()}
    jobs = [
        (material, design, number, start)
        for number in range(options.first, options.cases)
        for start in options.start or STARTS[:1]
        for material in options.material or MATERIALS[:3]
        for design in options.design or DESIGNS
        if (material, design, number, start) not in done
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context, initializer=prepare_process) as pool:
        for task in as_completed([pool.submit(trial, *job) for job in jobs]):
            records.append(task.result())
    records.keep()
    command = command_line("benchmarks.error_bars", arguments)
    options.page.write_text(page(records.records(), command) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
