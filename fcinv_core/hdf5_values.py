"""Values out of an HDF5 file that anybody may have made.

SaveMD writes hard links and datasets that lie in the file itself. HDF5 knows others: links into
other files, values stored in other files, sizes that are claimed and not stored. Nothing is
followed out of the file, and nothing is read whose size is out of all proportion.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

MOST_VALUES = 5_000_000
"""Of a log or an axis: the fastest sample logs have a million entries."""


def hard_child(group: Any, path: str) -> Any:
    """The group or dataset at ``path``.

    Raises
    ------
    KeyError, ValueError, TypeError
        When there is none, it is only a link to something elsewhere, or it is below a dataset.
    """
    for name in path.split("/"):
        if not isinstance(group, h5py.Group):
            raise TypeError(f"{group.name} is no group")
        encoded = name.encode("utf-8", errors="surrogateescape")
        if b"\0" in encoded or not encoded:
            raise ValueError(f"{name!r} is no name")
        if not group.id.links.exists(encoded):
            raise KeyError(f"there is no {name} in {group.name}")
        if group.id.links.get_info(encoded).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} in {group.name} is only a link to something elsewhere")
        group = group[name]
    return group


def values_of(dataset: Any, most: int = MOST_VALUES) -> Any:
    """All values of a dataset.

    Raises
    ------
    ValueError, TypeError, OSError
        When they lie in another file, are more than ``most``, or cannot be read.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise TypeError("there are no values")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"the values of {dataset.name} lie in another file")
    if dataset.size > most:
        raise ValueError(f"{dataset.name} claims {dataset.size} values")
    return dataset[()]


def numbers_of(dataset: Any, most: int = MOST_VALUES) -> np.ndarray:
    """All values of a dataset of real numbers.

    Raises
    ------
    ValueError, TypeError, OSError
        As for `values_of`, and when they are not real numbers.
    """
    if isinstance(dataset, h5py.Dataset) and dataset.dtype.kind not in "fiu":
        raise TypeError(f"{dataset.name} does not hold numbers")
    return np.asarray(values_of(dataset, most))
