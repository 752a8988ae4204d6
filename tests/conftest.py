"""Fixtures that several test modules share."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MANTID_DATA = Path(__file__).parent / "data" / "mantid"


@pytest.fixture(scope="session")
def mantid_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Unpacks a file that real Mantid has written; call it with the file's name (".nxs")."""
    folder = tmp_path_factory.mktemp("mantid")

    def unpack(name: str) -> Path:
        path = folder / name
        if not path.exists():
            with lzma.open(MANTID_DATA / f"{name}.xz") as packed, open(path, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        return path

    yield unpack
    shutil.rmtree(folder, ignore_errors=True)
