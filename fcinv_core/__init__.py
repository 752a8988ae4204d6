"""fcinv: interatomic force constants from single-crystal inelastic neutron scattering.

The names below are loaded when first used, so that ``import fcinv_core`` stays light:
Mantid imports every plugin file at start-up.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
    from fcinv_core.errors import FcinvError
    from fcinv_core.histogram import Axis, SQEHistogram
    from fcinv_core.inversion import InversionResult, TemperatureSeries, invert, invert_series
    from fcinv_core.scattering import ForwardModel

__version__ = "0.1.0"

# Threads that wait by spinning make torch tens of times slower on a machine that is busy with
# other work. libgomp reads this when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "Axis": "histogram",
    "Crystal": "crystal",
    "FcinvError": "errors",
    "ForceConstantBasis": "crystal",
    "ForceConstants": "crystal",
    "ForwardModel": "scattering",
    "InversionResult": "inversion",
    "SQEHistogram": "histogram",
    "TemperatureSeries": "inversion",
    "invert": "inversion",
    "invert_series": "inversion",
}

__all__ = [
    "Axis",
    "Crystal",
    "FcinvError",
    "ForceConstantBasis",
    "ForceConstants",
    "ForwardModel",
    "InversionResult",
    "SQEHistogram",
    "TemperatureSeries",
    "invert",
    "invert_series",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fcinv_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fcinv_core.{_HOME[name]}"), name)
