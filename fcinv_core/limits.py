"""How much is used where nobody says otherwise."""

from __future__ import annotations

MOST_THREADS = 8
"""More gain nothing on problems of this size and crowd out others on shared machines."""

MAX_ITERATIONS = 15
"""Of the refinement on all bins."""
