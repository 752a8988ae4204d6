"""How much is used where nobody says otherwise, and how much there is."""

from __future__ import annotations

import os
from pathlib import Path

MOST_THREADS = 8
"""More gain nothing on problems of this size and crowd out others on shared machines."""

MAX_ITERATIONS = 15
"""Of the refinement on all bins."""


def available_memory() -> int | None:
    """Bytes that this process may still take, None where the system does not tell.

    Asking for more either fails, or ends in the death of some process of the machine.
    """
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            found.append(max(limit - pages * os.sysconf("SC_PAGE_SIZE"), 0))
    except (OSError, ImportError, ValueError, IndexError):  # another system than Linux
        pass
    return min(found, default=None)
