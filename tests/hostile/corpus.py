"""All broken files."""

from __future__ import annotations

from functools import cache

from hostile import (
    born_files,
    force_constant_files,
    nexus_files,
    nexus_numbers,
    phonopy_files,
    resolution_tables,
    stored_models,
    structures,
)
from hostile.case import Case

MODULES = (
    nexus_files,
    nexus_numbers,
    structures,
    phonopy_files,
    force_constant_files,
    born_files,
    stored_models,
    resolution_tables,
)


@cache
def all_cases() -> tuple[Case, ...]:
    """Of every reader; names are unique."""
    cases = [case for module in MODULES for case in module.cases()]
    names = [str(case) for case in cases]
    doubled = {name for name in names if names.count(name) > 1}
    assert not doubled, doubled
    return tuple(cases)


def share(one_in: int) -> tuple[Case, ...]:
    """Every so many of them, spread over all readers and kinds."""
    return all_cases()[::one_in]
