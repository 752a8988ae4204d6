"""Force constants of force fields kept on disk, named by everything that they depend on.

A file is an xz-compressed phonopy.yaml at the lattice of the forces, which phonopy reads as it
is; xz's check sum tells a damaged one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.calculators import ForceField, cache_folder
from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole

SHIPPED = Path(__file__).parents[1] / "data/force_fields"
"""Results that come with fcinv, for crystals that many people start with."""


def own_folder() -> Path:
    """Where results are kept: ``$FCINV_CACHE/force_fields``."""
    return cache_folder() / "force_fields"


def file_name(
    crystal: Crystal, force_field: ForceField, label: str, settings: dict[str, Any]
) -> str:
    """Name of a result by what it depends on.

    The measured lattice constants belong to it only where ``settings`` hold them; the shape of
    the cell always does, coarsely: fcc and bcc have the same fractional positions in their
    primitive cells.

    Parameters
    ----------
    label
        Of the kind of result, for human readers.
    settings
        How force constants were computed, as what JSON can hold.
    """
    from ase.geometry import cell_to_cellpar

    a, b, c, *angles = cell_to_cellpar(crystal.lattice)
    parts = {
        "symbols": list(crystal.symbols),
        "positions": (np.round(crystal.positions % 1, 4) % 1).tolist(),
        "shape": [round(float(b / a), 2), round(float(c / a), 2), *np.rint(angles).tolist()],
        "space_group": crystal.space_group,
        "supercell": crystal.supercell_matrix.tolist(),
        "primitive": (np.round(crystal.primitive_matrix, 4) + 0.0).tolist(),
        "potential": [force_field.name, force_field.version],
        "settings": settings,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    # File systems differ in what they do with other characters than these.
    words = re.findall(r"[A-Za-z0-9.+-]+", f"{force_field.name} {label}".replace("Å", "A"))
    return "_".join([crystal.formula, *words, digest]) + ".yaml.xz"


def load(name: str, crystal: Crystal) -> ForceConstants | None:
    """A kept result at the lattice of its forces, or None: there is none, or it is damaged."""
    for folder in (SHIPPED, own_folder()):
        path = folder / name
        if not path.is_file():
            continue
        with contextlib.suppress(FcinvError):
            kept = ForceConstants.from_file(path)
            # The file says masses and species anew; those of the crystal count.
            return ForceConstants(crystal.with_lattice(kept.crystal.lattice), kept.values)
    return None


def keep(name: str, force_constants: ForceConstants) -> None:
    """Write a result, whole or not at all; one that cannot be written only costs time."""
    with contextlib.suppress(OSError, FcinvError), tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "phonopy.yaml"
        force_constants.save(plain)
        own_folder().mkdir(parents=True, exist_ok=True)
        write_whole(own_folder() / name, lzma.compress(plain.read_bytes(), preset=9))
