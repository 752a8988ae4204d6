"""``python -m benchmarks.beam_time``: a beam time's worth of inversions, good and bad, in a row.

In one process, then each in a process of its own: does memory grow, does a failure look like none,
does a result depend on what came before?
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import io
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.pages import command_line, markdown_table
from command_line import ROOT, run

from fcinv_core import SQEHistogram, cli

DONE, BAD_INPUT, UNTRUSTED = 0, 2, 3

DATA = ROOT / "tests/data"
OPTIONS = ("--structure", str(DATA / "structures/Si.cif"), "--energy-fwhm", "2.4")
START = ("--start", str(DATA / "force_constants/Si_dft.yaml"))

WARM = 0.2
"""Share of the inversions after which memory should grow no more."""


@dataclass(frozen=True)
class Order:
    """One call of ``fcinv invert``, and whether its input is good."""

    name: str
    arguments: tuple[str, ...]
    is_good: bool


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard error, and a checksum of the force constants that were written."""

    code: int
    complaint: str
    result: str


def orders(folder: Path) -> list[Order]:
    """Small measurements, and what is wrong with others."""
    whole = SQEHistogram.load(ROOT / "demo/si_one_orientation.nxs")
    counted = np.argsort(np.nansum(whole.spectra(whole.signal), axis=1))
    good = []
    for number, kept in enumerate((counted[-60:], counted[-200:-100])):
        spectra = np.full_like(whole.spectra(whole.signal), np.nan)
        spectra[kept] = whole.spectra(whole.signal)[kept]
        path = folder / f"good_{number}.nxs"
        signal = whole.from_spectra(spectra)
        whole.with_values(signal, np.where(np.isnan(signal), np.nan, whole.variance)).save(path)
        good.append(path)
    content = good[0].read_bytes()
    bad = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"H,K,L,E\n" * 100}
    for name, damaged in bad.items():
        (folder / f"{name}.nxs").write_bytes(damaged)
    every = [
        *(Order(f"{p.stem}, refined", (str(p), *OPTIONS, *START), True) for p in good),
        *(
            Order(f"{p.stem}, as given", (str(p), *OPTIONS, *START, "--no-refine"), True)
            for p in good
        ),
        *(Order(name, (str(folder / f"{name}.nxs"), *OPTIONS), False) for name in bad),
        Order("absent", (str(folder / "absent.nxs"), *OPTIONS), False),
        Order(
            "wrong crystal", (str(good[0]), "--structure", str(DATA / "structures/Al.cif")), False
        ),
        Order("wrong option", (str(good[0]), "--strukture", "Si.cif"), False),
    ]
    return every


def in_process(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and standard error of a command in this process."""
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(list(arguments))
    return code, complaint.getvalue()


def in_another(arguments: Sequence[str]) -> tuple[int, str]:
    """The same of a command in a process of its own."""
    done = run(arguments)
    return done.returncode, done.stderr


def outcome(
    order: Order, call: Callable[[Sequence[str]], tuple[int, str]], output: Path
) -> Outcome:
    """What comes of one order; ``output`` is written over each time."""
    code, complaint = call(["invert", *order.arguments, "-o", str(output)])
    written = output / "force_constants.yaml"
    is_done = code in (DONE, UNTRUSTED)
    digest = hashlib.sha256(written.read_bytes()).hexdigest() if is_done else ""
    return Outcome(code, complaint, digest)


def is_as_it_should(order: Order, found: Outcome) -> bool:
    """Done without a word, or refused in one line."""
    if order.is_good:
        return found.code in (DONE, UNTRUSTED) and found.complaint == ""
    is_one_line = found.complaint.startswith("Error: ") and found.complaint.count("\n") == 1
    return found.code == BAD_INPUT and is_one_line


def resident_bytes() -> int:
    """Memory of this process."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status tells no VmRSS")


def beam_time(
    n: int,
    call: Callable[[Sequence[str]], tuple[int, str]],
    folder: Path,
    first: dict[str, Outcome],
    seed: int = 0,
) -> tuple[Counter[str], float]:
    """Counts of what happened, and the growth of this process's memory once it was warm.

    ``first`` is what first came of each order, here or in another beam time.
    """
    chosen, every = random.Random(seed), orders(folder)
    counts: Counter[str] = Counter()
    memory = []
    for _ in range(n):
        order = chosen.choice(every)
        found = outcome(order, call, folder / "out")
        counts["inverted" if order.is_good else "refused"] += is_as_it_should(order, found)
        counts["neither"] += not is_as_it_should(order, found)
        counts["other result than before"] += found != first.setdefault(order.name, found)
        memory.append(resident_bytes())
    warm = memory[int(WARM * n) :]
    third = max(len(warm) // 3, 1)
    return counts, float(np.median(warm[-third:]) / np.median(warm[:third]) - 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.beam_time", description=__doc__)
    parser.add_argument("--inversions", type=int, default=500, help="in one process")
    parser.add_argument("--processes", type=int, default=500, help="each in one of its own")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/benchmarks/beam-time.md")
    options = parser.parse_args(arguments)
    names = ("inverted", "refused", "neither", "other result than before")
    rows = []
    first: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        for title, n, call in (
            ("in one process", options.inversions, in_process),
            ("each in a process of its own", options.processes, in_another),
        ):
            if n == 0:
                continue
            counts, growth = beam_time(n, call, Path(folder), first)
            memory = f"{100 * growth:+.1f}" if call is in_process else ""
            rows.append([title, str(n), *(str(counts[name]) for name in names), memory])
    table = markdown_table(["", "calls", *names, "memory / %"], rows, n_words=1)
    command = command_line("benchmarks.beam_time", arguments)
    options.page.write_text(f"Written by `{command}`.\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
