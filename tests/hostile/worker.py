"""A process that tries broken files by their numbers, so that its end is only its own.

A number on standard input is answered by a line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from hostile.corpus import all_cases
from hostile.outcome import Kind, outcome
from hostile.readers import read_good_files


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries may print
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        read_good_files(Path(folder))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        case = all_cases()[int(line)]
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            try:
                found = outcome(case, Path(folder))
                answer = [found.kind.value, found.said, found.seconds]
            except Exception as error:  # of making the file, which must be seen too
                answer = [Kind.CRASH.value, f"cannot be tried: {error!r}", 0.0]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
