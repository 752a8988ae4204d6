"""A prior on disk, with the crystal and basis its numbers belong to.

A prior is a JSON document and a set of named arrays, alone in a safetensors file or among the
arrays of something larger, such as a trained model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstantBasis
from fcinv_core.errors import FcinvError
from fcinv_core.files import is_regular_file, parsed_json, write_whole

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior

SCHEMA = 2

LARGEST_FILE = 200_000_000
"""Bytes: that of corundum takes 3 million."""

_LARGEST = 1e6
"""Far above any number in the arrays of a prior, in their units."""

_ARRAYS = ("centre", "factor", "distances")
_CHARGES = ("born_charges", "dielectric")


def to_document(prior: Prior) -> dict[str, Any]:
    """Plain JSON values of a prior, the crystal among them."""
    return {
        "crystal": prior.crystal.to_dict(),
        "cutoff": prior.basis.cutoff,
        **prior.settings(),
    }


def to_arrays(prior: Prior) -> dict[str, np.ndarray]:
    """The arrays of a prior by name, contiguous.

    Of the map of the basis the elements that are not zero: one in a hundred in corundum.
    """
    stored = prior.basis.to_arrays()
    flat = np.ravel(stored["map"])
    places = np.flatnonzero(flat)
    arrays = {
        "basis.elements": stored["elements"],
        "map.places": places,
        "map.values": flat[places],
    }
    arrays |= {name: getattr(prior, name) for name in _ARRAYS}
    arrays |= {name: getattr(prior, name) for name in _CHARGES if getattr(prior, name) is not None}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def from_stored(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Prior:
    """The prior of a document and arrays that `to_document` and `to_arrays` made.

    Raises
    ------
    LookupError, TypeError, ValueError, FcinvError
        When they are something else.
    """
    from fcinv_core.ensemble.prior import Prior, PriorWidths

    crystal = Crystal.from_dict(document["crystal"])
    elements = arrays["basis.elements"]
    linear_map = np.zeros((9 * crystal.n_primitive * crystal.n_supercell, len(elements)))
    linear_map.reshape(-1)[arrays["map.places"]] = arrays["map.values"]
    basis = ForceConstantBasis.from_arrays(
        crystal, document["cutoff"], {"map": linear_map, "elements": elements}
    )
    n = basis.n_parameters
    if arrays["centre"].shape != (n,) or len(arrays["factor"]) != n:
        raise ValueError(f"arrays of a prior do not fit its {n} parameters")
    low, high = document["energy_range"]
    if not 0 < low <= high < np.inf:
        raise ValueError(f"no range of energies: {low} to {high} meV")
    for name in ("map.values", *_ARRAYS):
        if arrays[name].dtype.kind != "f" or not (np.abs(arrays[name]) < _LARGEST).all():
            raise ValueError(f"{name} of a prior does not hold plausible numbers")
    return Prior(
        basis=basis,
        widths=PriorWidths(**document["widths"]),
        energy_range=(low, high),
        sources=tuple(document["sources"]),
        failures=tuple(document["failures"]),
        **{name: arrays[name] for name in _ARRAYS},
        **{name: arrays[name] for name in _CHARGES if name in arrays},
    )


def save(prior: Prior, path: str | Path) -> None:
    """Write everything that a prior is; see `Prior.save`."""
    from safetensors.numpy import save as serialised

    document = {"schema": SCHEMA, **to_document(prior)}
    write_whole(path, serialised(to_arrays(prior), {"prior": json.dumps(document)}))


def load(path: str | Path) -> Prior:
    """Read what `save` wrote; see `Prior.load`."""
    from safetensors import SafetensorError, safe_open

    if not is_regular_file(path):
        raise FcinvError(f"no prior at {path}: give a file that Prior.save wrote")
    if Path(path).stat().st_size > LARGEST_FILE:
        raise FcinvError(f"{path} is larger than any prior: give a file that Prior.save wrote")
    try:
        with safe_open(path, "numpy") as stored:
            document = parsed_json((stored.metadata() or {})["prior"])
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if document["schema"] != SCHEMA:
            raise FcinvError(
                f"{path} is a prior of schema {document['schema']}, and this version reads "
                f"{SCHEMA}: build it again"
            )
        return from_stored(document, arrays)
    except FcinvError as error:
        raise FcinvError(f"the prior {path} is damaged: {error}; build it again") from error
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        OSError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise FcinvError(
            f"{path} is damaged or no prior ({type(error).__name__}): build it again"
        ) from error
