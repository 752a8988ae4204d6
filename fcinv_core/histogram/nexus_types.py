"""HDF5 objects with exactly the types that the NeXus library writes, and so reads.

Strings are fixed-length, null-terminated ASCII of their own length; every group carries
``NX_class``; a scalar is a dataset with one element. h5py's variable-length UTF-8 strings
are not what Mantid's loader expects.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

COMPRESSION = {"compression": "gzip", "compression_opts": 6, "shuffle": True}
"""Filters of SaveMD's data arrays."""


def write_group(parent: Any, name: str, nx_class: str, /, **attributes: str | int) -> Any:
    """Create a group of class ``nx_class``; returns it."""
    group = parent.create_group(name)
    write_attributes(group, NX_class=nx_class, **attributes)
    return group


def write_attributes(target: Any, /, **attributes: str | int) -> None:
    """Write text as fixed-length ASCII and integers as int32."""
    for name, value in attributes.items():
        if isinstance(value, str):
            encoded, string_type = _fixed_length(value)
            space = h5py.h5s.create(h5py.h5s.SCALAR)
            attribute = h5py.h5a.create(target.id, name.encode(), string_type, space)
            attribute.write(encoded.reshape(()), mtype=string_type)
        else:
            target.attrs.create(name, value, dtype=np.int32)


def write_text(parent: Any, name: str, text: str) -> None:
    """Create a dataset with one fixed-length string."""
    encoded, string_type = _fixed_length(text)
    space = h5py.h5s.create_simple((1,))
    dataset = h5py.h5d.create(parent.id, name.encode(), string_type, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, encoded, mtype=string_type)


def write_numbers(parent: Any, name: str, values: Any, dtype: Any = np.float64) -> Any:
    """Create a dataset of numbers, one-dimensional if ``values`` is a scalar; returns it."""
    return parent.create_dataset(name, data=np.atleast_1d(np.asarray(values, dtype=dtype)))


def write_log(logs: Any, name: str, value: str | float | np.ndarray) -> None:
    """Create an ``NXlog`` with a single value, an array, or text."""
    log = write_group(logs, name, "NXlog")
    if isinstance(value, str):
        write_text(log, "value", value)
    else:
        write_numbers(log, "value", np.ravel(value))


def _fixed_length(text: str) -> tuple[np.ndarray, h5py.h5t.TypeID]:
    """The text (a blank for none, as NeXus has no empty strings) and its HDF5 type."""
    encoded = text.encode("ascii", errors="replace") or b" "
    string_type = h5py.h5t.C_S1.copy()
    string_type.set_size(len(encoded))
    return np.array([encoded], dtype=f"S{len(encoded)}"), string_type
