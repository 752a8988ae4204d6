"""``python -m benchmarks.networks``: run what is missing of the table, and write it anew.

Every record is kept at once; a run that was stopped goes on where it was. In the end all of them
join those of earlier runs, which come with the project.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.networks import materials
from benchmarks.networks.cases import KINDS
from benchmarks.networks.estimators import ARCHITECTURES, BASELINE, find
from benchmarks.networks.run import Job, Results, run
from benchmarks.networks.table import page
from benchmarks.pages import command_line


def main(arguments: list[str] | None = None) -> None:
    """Run, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.networks", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="of each cell, up to this number")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--elsewhere", type=int, default=20, help="at most so many with truths that are no draws"
    )
    parser.add_argument("--material", action="append", choices=["Ge", "MgO", "Al", "Si", "Cu"])
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--estimator", action="append", choices=[*ARCHITECTURES, BASELINE])
    parser.add_argument(
        "--truths", choices=["all", materials.DRAWN], default="all", help="drawn ones only?"
    )
    parser.add_argument("--alone", action="store_true", help="estimates, without refinements")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--results", type=Path, default=Path("build/networks.jsonl"), help="one line for each case"
    )
    parser.add_argument(
        "--kept",
        type=Path,
        default=Path(__file__).with_name("records.jsonl.xz"),
        help="records of earlier runs, which those of this one join",
    )
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks/networks.md"))
    options = parser.parse_args(arguments)
    results = Results(options.results, options.kept)
    jobs = results.missing(_jobs(options))
    print(f"{len(jobs)} cases to do")
    if jobs:
        run(jobs, results, options.processes)
    results.keep()
    command = command_line("benchmarks.networks", arguments)
    options.page.write_text(page(results.records(), command) + "\n", encoding="utf-8")


def _last(options: argparse.Namespace, origin: str) -> int:
    """Those from elsewhere are always the same force constants: fewer cases do."""
    drawn = origin == materials.DRAWN
    return int(options.cases if drawn else min(options.cases, options.elsewhere))


def _jobs(options: argparse.Namespace) -> list[Job]:
    """All cases asked for, case by case, so that all cells grow together."""
    names = options.estimator or [*ARCHITECTURES, BASELINE]
    jobs = []
    for material in options.material or materials.MATERIALS:
        found = tuple(name for name in names if find(material, name) is not None)
        for name in set(names) - set(found):
            print(f"no model of {material} with the architecture {name}: left out")
        origins = materials.origins(material) if options.truths == "all" else [materials.DRAWN]
        jobs += [
            Job(material, kind, origin, number, found, not options.alone)
            for kind in options.kind or KINDS
            for origin in origins
            for number in range(options.first, _last(options, origin))
            if found
        ]
    return sorted(jobs, key=lambda job: job.number)


if __name__ == "__main__":
    main()
