"""JSON of NumPy's numbers and arrays, and of what is not finite."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np


def to_json(document: dict[str, Any], indent: int | None = None) -> str:
    """Text of plain JSON values (see `plain_values`), with a newline at its end."""
    return json.dumps(document, allow_nan=False, ensure_ascii=False, indent=indent) + "\n"


def plain_values(value: Any) -> Any:
    """Plain JSON values: numpy's types unwrapped, ``None`` for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_values(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    if isinstance(value, np.generic):
        return plain_values(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
