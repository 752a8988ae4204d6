"""Files that are there, files that are read within limits, files written whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcinv_core.errors import FcinvError

_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lzma": lzma.open,
}
"""How a file is opened that is compressed, by the ending of its name."""


def is_regular_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a file; no device, and no name that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long; with NUL
        return False


def require_file(path: str | os.PathLike[str]) -> Path:
    """``path`` as a Path to a regular file that exists.

    Raises
    ------
    FcinvError
        When there is no such file.
    """
    given = Path(path)
    try:
        expanded = given.expanduser()
    except RuntimeError:  # of a user that is not known here
        expanded = given
    if is_regular_file(expanded):
        return expanded
    try:
        what = "is a directory" if expanded.is_dir() else "does not exist"
        if what == "does not exist" and expanded.exists():
            what = "is no regular file"
    except (OSError, ValueError):
        what = "does not exist"
    raise FcinvError(f"{given} {what}: give the path of a file")


def is_deeply_nested(text: str, deepest: int = 50) -> bool:
    """Whether brackets are nested so deeply in JSON or YAML that parsers may crash on it.

    They call themselves for each level, until the stack is full.
    """
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(depth - 1, 0)
        if depth > deepest:
            return True
    return False


def parsed_json(text: str) -> Any:
    """What a JSON document says.

    Raises
    ------
    ValueError
        When it is none, or nested beyond all that we write.
    """
    if is_deeply_nested(text):
        raise ValueError("nested too deeply")
    return json.loads(text)


def read_text(path: Path, largest: int) -> str:
    """All of a text file, unpacked if the ending of its name says that it is compressed.

    Bytes that are no UTF-8 are replaced, as titles and comments come in all encodings.

    Parameters
    ----------
    largest
        Bytes, once unpacked: a few kilobytes can unpack to more than any memory.

    Raises
    ------
    FcinvError
        When the file cannot be read, is damaged, or larger.
    """
    opened = _OPENERS.get(path.suffix.lower(), open)
    try:
        content = bytearray()
        with opened(path, "rb") as stream:
            # To the very end, where alone a compressed file shows that it was cut off.
            while len(content) <= largest and (piece := stream.read(1 << 20)):
                content += piece
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise FcinvError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): copy or make "
            "it again"
        ) from error
    if len(content) > largest:
        raise FcinvError(
            f"{path} holds more than {largest / 1e6:.0f} MB, which is no file of its kind: give "
            "another one"
        )
    return content.decode("utf-8", errors="replace")


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path`` so that a full disk leaves no part of it behind.

    An earlier file of that name stays until the new one is complete.

    Raises
    ------
    FcinvError
        When the file cannot be written; its cause is the OSError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError as error:
        raise FcinvError(
            f"cannot write {path}: {error.strerror or error}; check the folder, its permissions "
            "and the space left"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
