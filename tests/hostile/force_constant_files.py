"""FORCE_CONSTANTS and force_constants.hdf5, which hold no structure, for 64 atoms of silicon."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fcinv_core.crystal import ForceConstants
from hostile.case import FORCE_CONSTANTS, Case, Expected, content, damaged
from hostile.readers import silicon

READER = "force constants"
TEXT, HDF5 = "FORCE_CONSTANTS", "force_constants.hdf5"
SANE = Expected.SANE


@cache
def good() -> np.ndarray:
    """(2, 64, 3, 3) eV/Å² of silicon."""
    return ForceConstants.from_file(FORCE_CONSTANTS / "Si_dft.yaml").values


@cache
def full() -> np.ndarray:
    """(64, 64, 3, 3), all atoms of the supercell."""
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    return np.array(compact_fc_to_full_fc(silicon().primitive, good()))


def text_of(values: np.ndarray, rows: np.ndarray | None = None) -> str:
    """Force constants as phonopy writes them; ``rows`` are the atoms of the first index."""
    n, total = values.shape[:2]
    if rows is None:
        rows = silicon().primitive_to_supercell if n == 2 else np.arange(n)
    lines = [f"{n:4d} {total:4d}"]
    for i, row in enumerate(rows):
        for j in range(total):
            lines.append(f"{row + 1} {j + 1}")
            lines += [" ".join(f"{x:22.15f}" for x in line) for line in values[i, j]]
    return "\n".join(lines) + "\n"


def cases() -> list[Case]:
    """All of them."""
    compact = text_of(good())
    return [
        *damaged(READER, TEXT, compact.encode(), truncated_at=(0, 0.01, 0.5, 0.9), flipped_bits=15),
        *(
            Case(READER, f"HDF5: {case.name}", case.make, case.expected)
            for case in damaged(READER, HDF5, hdf5_bytes(), truncated_at=(0, 0.01, 0.5, 0.9))
        ),
        *_texts(compact),
        *_other_orders(),
        *_hdf5(),
    ]


def _texts(compact: str) -> list[Case]:
    def headed(name: str, head: str, expected: Expected = Expected.REFUSED) -> Case:
        return content(READER, name, TEXT, compact.replace("   2   64", head, 1), expected)

    def valued(name: str, value: str) -> Case:
        lines = compact.splitlines()
        lines[2] = f"{value} 0.0 0.0"
        return content(READER, name, TEXT, "\n".join(lines))

    return [
        headed("for 10^6 x 10^6 atoms", "1000000 1000000"),
        headed("for 10^9 atoms", "1000000000"),
        headed("for minus 64 atoms", "2 -64"),
        headed("for no atoms", "0 0"),
        headed("for 54 atoms", "2 54"),
        headed("for atoms in words", "two many"),
        headed("for 64 x 64 atoms with two rows", "64 64"),
        valued("of NaN", "nan"),
        valued("without end", "inf"),
        valued("of 1e308", "1e308"),
        valued("of 1e6", "1e6"),
        valued("in words", "strong"),
        content(READER, "all zero", TEXT, text_of(np.zeros((2, 64, 3, 3)))),
        content(READER, "of atoms that are not there", TEXT, text_of(good(), np.array([70, 90]))),
        content(READER, "of the other atoms", TEXT, text_of(good(), np.array([1, 2]))),
        content(READER, "of alike atoms twice", TEXT, text_of(good(), np.array([0, 0]))),
        content(READER, "Latin letters", TEXT, compact.encode() + b"\xff\xfe\xe9", SANE),
        content(READER, "of another unit, all 1e5 times as large", TEXT, text_of(1e5 * good())),
    ]


def _other_orders() -> list[Case]:
    """The same force constants, atoms of the supercell in other orders than phonopy's."""
    positions = silicon().supercell_positions
    by_height = np.lexsort(np.round(positions, 4).T)
    orders = {
        "by z": by_height,
        "by x": np.lexsort(np.round(positions, 4).T[::-1]),
        "backwards": np.arange(64)[::-1],
        "at random": np.random.default_rng(1).permutation(64),
        "two atoms exchanged": np.array([1, 0, *range(2, 64)]),
        # As other programs do: cell by cell, where phonopy has site by site.
        "cell by cell": np.arange(64).reshape(8, 8).T.ravel(),
    }
    rows = silicon().primitive_to_supercell
    cases = []
    for name, order in orders.items():
        turned = full()[np.ix_(order, order)]
        cases += [
            content(READER, f"order of all atoms {name}", TEXT, text_of(turned)),
            content(READER, f"order of columns {name}", TEXT, text_of(good()[:, order])),
            content(READER, f"order of atoms {name}, compact", TEXT, text_of(turned[rows])),
        ]
    return [
        *cases,
        content(READER, "order of rows exchanged", TEXT, text_of(good()[::-1])),
        content(READER, "axes exchanged", TEXT, text_of(good()[..., [1, 2, 0], :])),
        content(READER, "random numbers", TEXT, text_of(_random((2, 64, 3, 3)))),
        content(READER, "random numbers, symmetric", TEXT, text_of(_symmetric(64))),
        content(READER, "of magnesium oxide", TEXT, text_of(_of_magnesium_oxide())),
    ]


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(2).normal(size=shape)


def _symmetric(n: int) -> np.ndarray:
    """Of index and sum rules only those of translation and exchange hold."""
    values = _random((n, n, 3, 3))
    values += values.transpose(1, 0, 3, 2)
    values[np.arange(n), np.arange(n)] -= values.sum(axis=1)
    return values


def _of_magnesium_oxide() -> np.ndarray:
    return ForceConstants.from_file(FORCE_CONSTANTS / "MgO_dft.yaml").values


# -- HDF5 ---------------------------------------------------------------------------------------


def hdf5_bytes() -> bytes:
    """The good force constants as phonopy's force_constants.hdf5."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["force_constants"] = good()
        file["p2s_map"] = silicon().primitive_to_supercell
    return stream.getvalue()


def _written(
    name: str, fill: Callable[[Any], object], expected: Expected = Expected.REFUSED
) -> Case:
    def make(folder: Path) -> Path:
        with h5py.File(folder / HDF5, "w") as file:
            fill(file)
        return folder / HDF5

    return Case(READER, f"HDF5: {name}", make, expected)


def _linked(folder: Path) -> Path:
    (folder / "other.h5").write_bytes(hdf5_bytes())
    with h5py.File(folder / HDF5, "w") as file:
        file["force_constants"] = h5py.ExternalLink(str(folder / "other.h5"), "force_constants")
    return folder / HDF5


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((2, 64, 3, 3), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "force_constants", shape=(2, 64, 3, 3))
    file.create_virtual_dataset("force_constants", layout)


def _hdf5() -> list[Case]:
    huge = (10**6, 10**6, 3, 3)

    def zeros(file: Any) -> None:
        dataset = file.create_dataset(
            "fc2", (64, 10**6, 3, 3), "f8", chunks=(1, 10**6, 3, 3), compression="gzip"
        )
        dataset[0] = 0.0
        _, packed = dataset.id.read_direct_chunk((0, 0, 0, 0))
        for row in range(64):
            dataset.id.write_direct_chunk((row, 0, 0, 0), packed)

    def stored_elsewhere(file: Any) -> None:
        file.create_dataset(
            "fc2", (2, 64, 3, 3), "f8", external=[("/etc/services", 0, 2 * 64 * 72)]
        )

    def column(file: Any) -> None:
        file["fc2"] = good()
        file["p2s_map"] = np.array([5, 6])

    return [
        _written("nothing", lambda f: None),
        _written(
            "10^13 numbers", lambda f: f.create_dataset("fc2", huge, "f8", chunks=(1, 64, 3, 3))
        ),
        _written("a bomb", zeros),
        _written("text", lambda f: f.create_dataset("fc2", data=np.full((2, 64, 3, 3), b"x"))),
        _written("complex", lambda f: f.create_dataset("fc2", data=good() * (1 + 1j))),
        _written("one number", lambda f: f.create_dataset("fc2", data=1.0)),
        _written("two-dimensional", lambda f: f.create_dataset("fc2", data=good().reshape(6, -1))),
        _written("a group", lambda f: f.create_group("fc2")),
        _written("NaN", lambda f: f.create_dataset("fc2", data=np.full((2, 64, 3, 3), np.nan))),
        _written("references", lambda f: f.create_dataset("fc2", data=f.ref, dtype=h5py.ref_dtype)),
        _written("no values", lambda f: f.create_dataset("fc2", (2, 64, 3, 3), "f8")),
        _written("other atoms", column),
        _written("stored in /etc/services", stored_elsewhere),
        _written("a virtual dataset", _virtual),
        _written("a soft link to itself", lambda f: f.__setitem__("fc2", h5py.SoftLink("/fc2"))),
        _written("columns in another order", lambda f: f.__setitem__("fc2", good()[:, ::-1])),
        Case(READER, "HDF5: an external link", _linked),
    ]
