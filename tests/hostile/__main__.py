"""``python -m hostile [WORD ...]``: try all broken files, or those whose names hold the words.

They are read in another process, so that a crash of a library, or one that does not listen to
signals, is seen as such.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections import Counter

from hostile.case import READERS
from hostile.corpus import all_cases
from hostile.outcome import SECONDS, Kind, Outcome

GRACE = 40
"""Seconds for making a file, and for starting, on a busy machine."""


class Worker:
    """The process that reads, started anew whenever it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def outcome(self, number: int) -> Outcome:
        """What becomes of the case of that number."""
        start = time.perf_counter()
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        answer = self._answer(process, SECONDS + GRACE)
        seconds = time.perf_counter() - start
        if answer:
            kind, said, seconds = json.loads(answer)
            return Outcome(Kind(kind), said, seconds)
        self._process = None
        if process.poll() is None and answer is None:
            process.kill()
            return Outcome(Kind.HANG, "killed", seconds)
        return Outcome(Kind.CRASH, f"the process ended with {process.wait()}", seconds)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hostile.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if self._answer(self._process, 10 * GRACE) != "ready\n":
                raise SystemExit("The reading process does not start, or refuses good files.")
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[str], seconds: float) -> str | None:
        """A line, an empty one where the process has ended, None where the time is up."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None


def main(words: list[str]) -> int:
    """Print what went wrong, and a table of all."""
    tried: dict[str, Counter[Kind]] = {reader: Counter() for reader in READERS}
    slowest = (0.0, "")
    worker = Worker()
    for number, case in enumerate(all_cases()):
        if not all(word in str(case) for word in words):
            continue
        found = worker.outcome(number)
        tried[case.reader][found.kind] += 1
        slowest = max(slowest, (found.seconds, str(case)))
        if not found.kind.is_good or words:
            print(f"{found.kind.value}: {case} ({found.seconds:.1f} s): {found.said}", flush=True)
    heads = ["inputs", "clear errors", "sane acceptances", "crashes", "hangs", "silent acceptances"]
    print(f"\n{'':<18}" + "".join(f"{head:>20}" for head in heads))
    total: Counter[Kind] = Counter()
    for reader, counts in [*tried.items(), ("all", total)]:
        if reader != "all":
            total.update(counts)
        numbers = [sum(counts.values()), *(counts[kind] for kind in Kind)]
        print(f"{reader:<18}" + "".join(f"{number:>20}" for number in numbers))
    print(f"\nSlowest: {slowest[1]}, {slowest[0]:.1f} s")
    return 0 if all(kind.is_good for kind in total) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
