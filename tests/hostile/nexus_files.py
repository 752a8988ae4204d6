"""SaveMD files: what HDF5 allows, and what no measurement can have."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hostile.case import Case, Expected, content, damaged, good_slice

READER = "SaveMD file"
FILE = "reduced.nxs"
SANE = Expected.SANE
TERA = 10**12
GOOD = cache(good_slice)

ENERGY, H = "data/DeltaE", "data/[H,H,0]"
LOGS, UB = "experiment0/logs", "experiment0/sample/oriented_lattice/orientation_matrix"
LATTICE = "experiment0/sample/oriented_lattice"


def edited(
    name: str, change: Callable[[Any], object], expected: Expected = Expected.REFUSED
) -> Case:
    """The good file after ``change(entry)``."""

    def make(folder: Path) -> Path:
        path = folder / FILE
        path.write_bytes(GOOD())
        with h5py.File(path, "r+") as file:
            change(file["MDHistoWorkspace"])
        return path

    return Case(READER, name, make, expected)


def replaced(entry: Any, name: str, **dataset: Any) -> Any:
    """Another dataset under that name, with the attributes of the one that was there."""
    attributes = dict(entry[name].attrs)
    del entry[name]
    new = entry.create_dataset(name, **dataset)
    new.attrs.update(attributes)
    return new


def with_value(
    name: str, values: Any, label: str, expected: Expected = Expected.REFUSED, **more: Any
) -> Case:
    """A dataset that holds something else."""
    return edited(
        f"{name.rpartition('/')[2]} is {label}",
        lambda entry: replaced(entry, name, data=values, **more),
        expected,
    )


def cases() -> list[Case]:
    """All of them."""
    good = GOOD()
    return [
        *damaged(READER, FILE, good, flipped_bits=20, truncated_at=(0, 0.002, 0.1, 0.5, 0.999)),
        *_huge_claims(),
        *_links(),
        *_types_and_shapes(),
        *_old_layout(),
    ]


# -- sizes --------------------------------------------------------------------------------------


def _claims(entry: Any, names: tuple[str, ...], shape: tuple[int, ...], **more: Any) -> None:
    for name in names:
        dtype = "i1" if name == "mask" else "f8"
        replaced(entry["data"], name, shape=shape, dtype=dtype, **more)


def _consistent(
    entry: Any, n_energies: int, n_h: int, write: bool, compression: str | None = "gzip"
) -> None:
    """Axes and arrays of that many bins, all zero; ``write`` puts the zeros into the file."""
    replaced(entry, ENERGY, data=np.linspace(5, 70, n_energies + 1), compression=compression)
    replaced(entry, H, data=np.linspace(-1, 1, n_h + 1), compression=compression)
    shape, chunks = (n_energies, 1, 1, n_h), (min(n_energies, 50), 1, 1, n_h)
    names = ("signal", "errors_squared", "num_events", "mask")
    _claims(entry, names, shape, chunks=chunks, compression=compression)
    if not write:
        return
    for name in names:
        dataset = entry["data"][name]
        # One compressed chunk of zeros, put in everywhere as it is.
        dataset[: chunks[0]] = np.zeros(chunks, dataset.dtype)
        _, packed = dataset.id.read_direct_chunk((0, 0, 0, 0))
        for first in range(0, n_energies, chunks[0]):
            dataset.id.write_direct_chunk((first, 0, 0, 0), packed)


def _huge_claims() -> list[Case]:
    arrays = ("signal", "errors_squared", "num_events", "mask")
    chunked = {"chunks": (1, 1, 1, 45)}
    return [
        edited(
            "signal of 10^12 bins", lambda e: _claims(e, ("signal",), (TERA, 1, 1, 45), **chunked)
        ),
        edited("mask of 10^12 bins", lambda e: _claims(e, ("mask",), (TERA, 1, 1, 45), **chunked)),
        edited("10^12 bins in one row", lambda e: _claims(e, ("signal",), (TERA,), chunks=(1000,))),
        edited(
            "all arrays of 10^12 bins", lambda e: _claims(e, arrays, (TERA, 1, 1, 45), **chunked)
        ),
        edited(
            "axis of 10^12 edges",
            lambda e: replaced(e, ENERGY, shape=(TERA,), dtype="f8", chunks=(1000,)),
        ),
        edited(
            "axis of 10^9 edges",
            lambda e: replaced(e, ENERGY, shape=(10**9,), dtype="f8", chunks=(1000,)),
        ),
        edited("bins without values", lambda e: _consistent(e, 72, 45, write=False)),
        edited("4e8 bins without values", lambda e: _consistent(e, 20_000, 20_000, write=False)),
        edited("a bomb of 4e8 zeros", lambda e: _consistent(e, 20_000, 20_000, write=True)),
        edited("a bomb of 1e8 zeros", lambda e: _consistent(e, 10_000, 10_000, write=True)),
        edited(
            "a log of 10^12 numbers",
            lambda e: replaced(
                e, f"{LOGS}/SampleTemperature/value", shape=(TERA,), dtype="f8", chunks=(1000,)
            ),
            SANE,
        ),
        edited(
            "a log of 10^9 numbers",
            lambda e: replaced(
                e, f"{LOGS}/SampleTemperature/value", shape=(10**9,), dtype="f8", chunks=(1000,)
            ),
            SANE,
        ),
        edited(
            "10^12 coordinate systems",
            lambda e: replaced(e, "coordinate_system", shape=(TERA,), dtype="u4", chunks=(1000,)),
            SANE,
        ),
        edited(
            "a lattice of 10^12 numbers",
            lambda e: replaced(e, UB, shape=(TERA,), dtype="f8", chunks=(1000,)),
        ),
        edited(
            "10^9 goniometer axes",
            lambda e: replaced(e, f"{LOGS}/goniometer/num_axes", data=[10**9]),
            SANE,
        ),
        edited("20000 experiments", _many_experiments),
        edited("groups 2000 deep", lambda e: e.create_group("deep/" * 2000), SANE),
    ]


def _many_experiments(entry: Any) -> None:
    for number in range(1, 20_000):
        entry.create_group(f"experiment{number}")


# -- links --------------------------------------------------------------------------------------


def _linked(name: str, link: Callable[[Path], Any], expected: Expected = Expected.REFUSED) -> Case:
    """Something of the file, ``name``, lies in another one that has all that is needed."""

    def make(folder: Path) -> Path:
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "other.h5").write_bytes(GOOD())
        path = folder / FILE
        path.write_bytes(GOOD())
        with h5py.File(path, "r+") as file:
            target = f"MDHistoWorkspace/{name}" if name else "MDHistoWorkspace"
            del file[target]
            file[target] = link(elsewhere / "other.h5")
        return path

    return Case(READER, f"external link at {name or 'the entry'}", make, expected)


def _external(folder_of_target: str = "") -> Callable[[str], Callable[[Path], Any]]:
    def at(name: str) -> Callable[[Path], Any]:
        target = f"/MDHistoWorkspace/{name}".rstrip("/")
        return lambda other: h5py.ExternalLink(folder_of_target or str(other), target)

    return at


def _virtual(folder: Path) -> Path:
    path = folder / FILE
    path.write_bytes(GOOD())
    (folder / "other.h5").write_bytes(GOOD())
    with h5py.File(path, "r+") as file:
        signal = file["MDHistoWorkspace/data/signal"]
        attributes = dict(signal.attrs)
        layout = h5py.VirtualLayout(signal.shape, "f8")
        layout[:] = h5py.VirtualSource(
            str(folder / "other.h5"), "MDHistoWorkspace/data/signal", shape=signal.shape
        )
        del file["MDHistoWorkspace/data/signal"]
        file.create_virtual_dataset("MDHistoWorkspace/data/signal", layout)
        file["MDHistoWorkspace/data/signal"].attrs.update(attributes)
    return path


def _stored_elsewhere(name: str, shape: tuple[int, ...], dtype: str) -> Callable[[Any], object]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return lambda e: replaced(
        e, name, shape=shape, dtype=dtype, external=[("/etc/services", 0, size)]
    )


def _soft(entry: Any, name: str, target: str) -> None:
    del entry[name]
    entry[name] = h5py.SoftLink(target)


def _links() -> list[Case]:
    external = _external()
    # The instrument is carried along unread, and must not be fetched from elsewhere either.
    unread = "experiment0/instrument"
    return [
        *(
            _linked(name, external(name))
            for name in ("", "data", "data/signal", "experiment0", f"{LOGS}/SampleTemperature")
        ),
        _linked(unread, external(unread), SANE),
        _linked("process", _external("../../../../../../../../etc/passwd")("process")),
        Case(READER, "virtual dataset of another file", _virtual),
        edited(
            "signal stored in /etc/services", _stored_elsewhere("data/signal", (72, 1, 1, 45), "f8")
        ),
        edited(
            "log stored in /etc/services",
            _stored_elsewhere(f"{LOGS}/run_number/value", (1000,), "u1"),
            SANE,
        ),
        edited("soft link to itself", lambda e: _soft(e, "data/signal", "data/signal")),
        edited("soft link to nowhere", lambda e: _soft(e, "data/signal", "/nowhere")),
        edited("data is a soft link to the entry", lambda e: _soft(e, "data", "/MDHistoWorkspace")),
        edited(
            "soft link to the errors",
            lambda e: _soft(e, "data/num_events", f"{e.name}/data/signal"),
            SANE,
        ),
        edited("a cycle of groups", lambda e: e[LOGS].__setitem__("again", e), SANE),
        edited("experiment1 is the entry", lambda e: e.__setitem__("experiment1", e), SANE),
        edited("experiment1 is a dataset", lambda e: e.__setitem__("experiment1", 1), SANE),
        edited(
            "object reference for a signal",
            lambda e: replaced(e, "data/signal", data=e.ref, dtype=h5py.ref_dtype),
        ),
        edited(
            "references for bins",
            lambda e: replaced(
                e, "data/signal", data=np.full((72, 1, 1, 45), e.ref), dtype=h5py.ref_dtype
            ),
        ),
        edited(
            "region reference for a log",
            lambda e: replaced(
                e,
                f"{LOGS}/SampleTemperature/value",
                data=e["data/signal"].regionref[:],
                dtype=h5py.regionref_dtype,
            ),
            SANE,
        ),
    ]


# -- types and shapes ---------------------------------------------------------------------------


def _types_and_shapes() -> list[Case]:
    shape = (72, 1, 1, 45)
    text = np.full(shape, b"much")
    strings = {"dtype": h5py.string_dtype()}
    compound = np.zeros(shape, [("real", "f8"), ("imag", "f8")])
    return [
        with_value("data/signal", text, "text"),
        with_value("data/signal", np.full(shape, b"1.5"), "numbers as text"),
        edited(
            "signal is text of any length",
            lambda e: replaced(
                e, "data/signal", data=np.full(shape, "1.5", dtype=object), **strings
            ),
        ),
        with_value("data/signal", compound, "compound"),
        with_value("data/signal", np.ones(shape, complex), "complex"),
        with_value("data/signal", np.ones((72, 45)), "two-dimensional"),
        with_value("data/signal", np.ones((45, 1, 1, 72)), "transposed"),
        with_value("data/signal", 1.0, "one number"),
        edited("signal is nothing", lambda e: replaced(e, "data/signal", data=h5py.Empty("f8"))),
        edited(
            "signal is a group",
            lambda e: (e.__delitem__("data/signal"), e.create_group("data/signal")),
        ),
        edited("data is a dataset", lambda e: (e.__delitem__("data"), e.__setitem__("data", 1.0))),
        edited("the entry is empty", lambda e: [e.__delitem__(name) for name in list(e)]),
        edited("no data", lambda e: e.__delitem__("data")),
        with_value("data/errors_squared", np.full(shape, -1.0), "negative"),
        with_value("data/errors_squared", np.full(shape, np.nan), "NaN"),
        with_value("data/errors_squared", np.zeros(shape), "zero"),
        with_value("data/signal", np.full(shape, 1e308), "1e308", SANE),
        with_value("data/signal", np.full(shape, 5e-324), "5e-324", SANE),
        with_value("data/signal", np.full(shape, -np.inf), "-inf"),
        with_value("data/errors_squared", np.full(shape, 5e-324), "5e-324", SANE),
        with_value("data/errors_squared", np.full(shape, 1e308), "1e308", SANE),
        with_value("data/mask", np.full(shape, 2.5), "2.5"),
        with_value("data/num_events", np.full(shape, np.nan), "NaN", SANE),
        with_value("data/signal", np.ones(shape, "f2"), "of half precision", SANE),
        with_value("data/signal", np.ones(shape, ">i8"), "of big-endian integers", SANE),
        edited("no mask", lambda e: e.__delitem__("data/mask")),
        edited("a filter that nobody has", _unknown_filter),
    ]


def _unknown_filter(entry: Any) -> None:
    attributes = dict(entry["data/signal"].attrs)
    del entry["data/signal"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 1, 1, 45))
    properties.set_filter(32_900, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(
        entry["data"].id,
        b"signal",
        h5py.h5t.NATIVE_DOUBLE,
        h5py.h5s.create_simple((72, 1, 1, 45)),
        properties,
    )
    entry["data/signal"].attrs.update(attributes)
    for first in range(72):
        entry["data/signal"].id.write_direct_chunk((first, 0, 0, 0), b"\x55" * 99, 0)


# -- version 1 ----------------------------------------------------------------------------------

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    + "]><Dimension><Name>&l9;</Name></Dimension>"
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<Dimension><Name>&x;</Name></Dimension>"
)


def _dimension(name: str = "H", low: str = "0", high: str = "1", bins: str = "3") -> str:
    return (
        f'<Dimension ID="{name}"><Name>{name}</Name><Units>A</Units><UpperBounds>{high}'
        f"</UpperBounds><LowerBounds>{low}</LowerBounds><NumberOfBins>{bins}</NumberOfBins>"
        "</Dimension>"
    )


def _version_1(label: str, dimensions: list[str], count: int | None = None) -> Case:
    def make(folder: Path) -> Path:
        path = folder / FILE
        with h5py.File(path, "w") as file:
            entry = file.create_group("MDHistoWorkspace")
            entry["dimensions"] = [len(dimensions) if count is None else count]
            for number, dimension in enumerate(dimensions):
                entry.attrs[f"dimension{number}"] = dimension
            for name in ("signal", "errors_squared", "num_events", "mask"):
                entry[name] = np.ones(81)
        return path

    return Case(READER, f"version 1: {label}", make)


def _old_layout() -> list[Case]:
    good = [_dimension("H"), _dimension("K"), _dimension("L"), _dimension("DeltaE")]
    return [
        _version_1("billion laughs", [LAUGHS, *good[1:]]),
        _version_1("entity of another file", [OUTSIDE, *good[1:]]),
        _version_1("deep XML", ["<a>" * 10_000 + "</a>" * 10_000, *good[1:]]),
        _version_1("no XML", ["H 0 1 3", *good[1:]]),
        _version_1("10^12 bins", [_dimension("H", bins=str(TERA)), *good[1:]]),
        _version_1("minus one bin", [_dimension("H", bins="-1"), *good[1:]]),
        _version_1("NaN for a bound", [_dimension("H", low="nan"), *good[1:]]),
        _version_1("infinite bound", [_dimension("H", high="inf"), *good[1:]]),
        _version_1("bounds exchanged", [_dimension("H", "1", "0"), *good[1:]]),
        _version_1("2^31 dimensions", good, 2**31 - 1),
        _version_1("no dimensions", []),
        _version_1("nothing but arrays of another size", [_dimension("H", bins="2"), *good[1:]]),
        content(READER, "an HDF5 signature and no more", FILE, b"\x89HDF\r\n\x1a\n"),
        Case(READER, "an empty HDF5 file", _empty_hdf5),
        Case(READER, "the file of another kind", _model_under_its_name),
        Case(READER, "the folder of the file", _folder_with_the_name),
    ]


def _empty_hdf5(folder: Path) -> Path:
    with h5py.File(folder / FILE, "w"):
        pass
    return folder / FILE


def _model_under_its_name(folder: Path) -> Path:
    from hostile.case import MODEL

    return Path(shutil.copy(MODEL, folder / FILE))


def _folder_with_the_name(folder: Path) -> Path:
    os.mkdir(folder / FILE)
    return folder / FILE
