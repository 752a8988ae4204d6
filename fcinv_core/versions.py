"""Which software made a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from fcinv_core import __version__

LIBRARIES = ("numpy", "torch", "phonopy", "symfc")
"""The libraries whose version can change a result."""


def software_versions() -> dict[str, str]:
    """Versions of fcinv, Python and the `LIBRARIES`, read without importing them."""
    versions = {"fcinv": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    return versions
