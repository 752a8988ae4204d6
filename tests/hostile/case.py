"""One broken file: how it is made, who reads it, and what may come of that."""

from __future__ import annotations

import enum
import lzma
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
STRUCTURES, FORCE_CONSTANTS = DATA / "structures", DATA / "force_constants"
SLICE = "si_300K_one_orientation_HHL0_slice_clean.nxs"
MODEL = Path(__file__).parents[2] / "fcinv_core/data/models/Si-direct.safetensors"


READERS = (
    "SaveMD file",
    "structure",
    "phonopy.yaml",
    "force constants",
    "BORN",
    "model",
    "prior",
    "resolution",
)
"""Kinds of files that the program reads."""


class Expected(enum.Enum):
    """What may come of reading a file."""

    REFUSED = "refused in one clear line"
    SANE = "refused in one clear line, or read as something finite and consistent"


@dataclass(frozen=True)
class Case:
    """A broken file.

    Attributes
    ----------
    reader
        Name of what reads it; see `hostile.readers`.
    name
        Unique among the cases of this reader.
    make
        Writes the file into an empty folder and returns its path.
    expected
        What may come of reading it.
    """

    reader: str
    name: str
    make: Callable[[Path], Path]
    expected: Expected = Expected.REFUSED

    def __str__(self) -> str:
        return f"{self.reader}: {self.name}"


def good_slice() -> bytes:
    """A slice through silicon that real Mantid wrote."""
    return lzma.decompress((DATA / "mantid" / f"{SLICE}.xz").read_bytes())


def content(
    reader: str,
    name: str,
    file_name: str,
    data: bytes | str | Callable[[], bytes],
    expected: Expected = Expected.REFUSED,
) -> Case:
    """A file of that content, or of what a function says, where it is large."""

    def make(folder: Path) -> Path:
        path = folder / file_name
        given = data() if callable(data) else data
        path.write_bytes(given.encode("utf-8") if isinstance(given, str) else given)
        return path

    return Case(reader, name, make, expected)


def damaged(
    reader: str,
    file_name: str,
    good: bytes,
    *,
    truncated_at: Iterable[float] = (0.0, 0.01, 0.2, 0.5, 0.9),
    truncated_harmlessly_at: Iterable[float] = (),
    flipped_bits: int = 8,
) -> list[Case]:
    """What happens to any file: cut off, bits flipped, or something else under its name.

    Parameters
    ----------
    truncated_at, truncated_harmlessly_at
        Shares of the file that are left; with the latter a text may be complete all the same.
    flipped_bits
        Number of files with one bit flipped each, at places drawn with a fixed seed.
    """
    cases = [
        content(reader, f"{share:.3%} of the file", file_name, good[: int(share * len(good))])
        for share in truncated_at
    ]
    cases += [
        content(reader, f"{share:.3%} of the file", file_name, good[: int(share * len(good))], sane)
        for share in truncated_harmlessly_at
        for sane in [Expected.SANE]
    ]
    places = random.Random(f"{reader} {file_name}")
    for number in range(flipped_bits):
        flipped = bytearray(good)
        flipped[places.randrange(len(good))] ^= 1 << places.randrange(8)
        cases.append(
            content(reader, f"flipped bit {number}", file_name, bytes(flipped), Expected.SANE)
        )
    others = {
        "zeros": bytes(5000),
        "random bytes": random.Random(reader).randbytes(5000),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
        "a page of HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
        "a zip archive": b"PK\x03\x04" + bytes(range(256)) * 20,
        "a line without end": b"1 " * 500_000,
        "a pickle that runs a command": b"cos\nsystem\n(S'touch executed'\ntR.",
    }
    cases += [content(reader, name, file_name, data) for name, data in others.items()]
    cases += [
        Case(reader, "no file", lambda folder: folder / file_name),
        Case(reader, "a folder", lambda folder: folder),
        Case(reader, "a device", lambda folder: Path("/dev/zero")),
        Case(reader, "a name with NUL", lambda folder: folder / f"\0{file_name}"),
        Case(reader, "a name without end", lambda folder: folder / (300 * "x" + file_name)),
        Case(reader, "a link to itself", lambda folder: _link_to_itself(folder / file_name)),
        Case(reader, "a pipe", lambda folder: _pipe(folder / file_name)),
    ]
    return cases


def _link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path
