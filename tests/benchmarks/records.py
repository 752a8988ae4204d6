"""What benchmarks keep: records as lines of JSON."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Records:
    """A file of records that grows line by line, and survives being cut off at any moment.

    Parameters
    ----------
    path
        That file.
    kept
        A compressed file of records from earlier runs, which come first.
    key
        Names of the values that a record is known by.
    """

    def __init__(self, path: Path, kept: Path | None, key: Sequence[str]) -> None:
        self._path, self._kept, self._key = path, kept, tuple(key)

    def key_of(self, record: Record) -> tuple[Any, ...]:
        """What a record is known by."""
        return tuple(record[name] for name in self._key)

    def records(self) -> list[Record]:
        """All that are whole; of those with the same key the last."""
        found = {}
        for line in self._lines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off when a run was killed
            found[self.key_of(record)] = record
        return list(found.values())

    def _lines(self) -> Iterator[str]:
        if self._kept is not None and self._kept.exists():
            yield from lzma.decompress(self._kept.read_bytes()).decode().splitlines()
        if self._path.exists():
            yield from self._path.read_text(encoding="utf-8").splitlines()

    def keep(self) -> None:
        """Write all records into the compressed file."""
        assert self._kept is not None
        lines = [json.dumps(_rounded(record), ensure_ascii=False) for record in self.records()]
        self._kept.write_bytes(lzma.compress(("\n".join(lines) + "\n").encode()))

    def append(self, record: Record) -> None:
        """Add a record, on a line of its own even after one that was cut off."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


def _rounded(value: Any) -> Any:
    """With five significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
