"""A prior on disk: one safetensors file, with the crystal and basis its numbers belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstantBasis
from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior

SCHEMA = 1
_ARRAYS = ("centre", "factor", "distances")
_CHARGES = ("born_charges", "dielectric")


def save(prior: Prior, path: str | Path) -> None:
    """Write everything that a prior is; see `Prior.save`."""
    from safetensors.numpy import save as serialised

    arrays = {f"basis.{name}": array for name, array in prior.basis.to_arrays().items()}
    arrays |= {name: getattr(prior, name) for name in _ARRAYS}
    arrays |= {name: getattr(prior, name) for name in _CHARGES if getattr(prior, name) is not None}
    document = {
        "schema": SCHEMA,
        "crystal": prior.crystal.to_dict(),
        "cutoff": prior.basis.cutoff,
        **prior.settings(),
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_whole(path, serialised(contiguous, {"prior": json.dumps(document)}))


def load(path: str | Path) -> Prior:
    """Read what `save` wrote; see `Prior.load`."""
    from safetensors import SafetensorError, safe_open

    from fcinv_core.ensemble.prior import Prior, PriorWidths

    if not Path(path).is_file():
        raise FcinvError(f"no prior at {path}: give a file that Prior.save wrote")
    try:
        with safe_open(path, "numpy") as stored:
            document = json.loads((stored.metadata() or {})["prior"])
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if document["schema"] != SCHEMA:
            raise FcinvError(
                f"{path} is a prior of schema {document['schema']}, and this version reads "
                f"{SCHEMA}: build it again"
            )
        crystal = Crystal.from_dict(document["crystal"])
        in_basis = {
            name.removeprefix("basis."): array
            for name, array in arrays.items()
            if name.startswith("basis.")
        }
        low, high = document["energy_range"]
        return Prior(
            basis=ForceConstantBasis.from_arrays(crystal, document["cutoff"], in_basis),
            widths=PriorWidths(**document["widths"]),
            energy_range=(low, high),
            sources=tuple(document["sources"]),
            failures=tuple(document["failures"]),
            **{name: arrays[name] for name in _ARRAYS},
            **{name: arrays[name] for name in _CHARGES if name in arrays},
        )
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise FcinvError(
            f"{path} is damaged or no prior ({type(error).__name__}): build it again"
        ) from error
