"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fcinv_core.errors import FcinvError


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
