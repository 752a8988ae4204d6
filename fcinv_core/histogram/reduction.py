"""What a reduction leaves in a file besides the histogram.

Instrument, energy range, proton charges, and the history of Mantid's algorithms.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import h5py
import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.hdf5_values import numbers_of
from fcinv_core.histogram.experiment import child, text_of
from fcinv_core.histogram.nexus import ENTRY, experiment_names

if TYPE_CHECKING:
    from fcinv_core.histogram.model import SQEHistogram

_Value = TypeVar("_Value")


def instrument_xml(histogram: SQEHistogram) -> str:
    """Mantid's instrument definition of the first run; see `InstrumentDefinition.from_xml`.

    Raises
    ------
    FcinvError
        Not in the file.
    """
    for text in _of_runs(
        histogram, lambda run: text_of(child(run, "instrument/instrument_xml/data"))
    ):
        if text:
            return text
    raise FcinvError(
        f"no instrument definition in {histogram.source}; reduce data that have their instrument, "
        "or give detector pixels"
    )


def reduced_energy_range(histogram: SQEHistogram) -> tuple[float, float]:
    """Lowest and highest energy transfer of the reduced runs in meV.

    From where MDNorm takes it: the logs MDNorm_low and MDNorm_high, or else the bin boundaries
    of the runs.

    Raises
    ------
    FcinvError
        Not in the file.
    """
    limits = [value for value in _of_runs(histogram, _energy_limits) if value is not None]
    if not limits:
        raise FcinvError(
            "the range of energy transfers of the runs (logs MDNorm_low and MDNorm_high) is not "
            f"in {histogram.source}; give it"
        )
    return min(low for low, _ in limits), max(high for _, high in limits)


def proton_charges(histogram: SQEHistogram) -> np.ndarray:
    """(n_runs,) log gd_prtn_chrg of each run, which MDNorm multiplies with; 1 without one."""
    found = _of_runs(histogram, lambda run: _numbers(run, "logs/gd_prtn_chrg/value"))
    charges = [1.0 if charge is None else float(charge[0]) for charge in found]
    return np.array(charges or [1.0] * len(histogram.experiments))


def mantid_version(histogram: SQEHistogram) -> str | None:
    """Version of Mantid that saved the file, such as "3.13.20190128"; None if it does not say."""
    environment = _history(histogram).get("MantidEnvironment", "")
    found = re.search(r"Framework Version:\s*(\S+)", environment)
    return found[1] if found else None


def algorithms(histogram: SQEHistogram) -> set[str]:
    """Names of Mantid's algorithms in the file's history."""
    found = (re.match(r"Algorithm:\s*(\w+)", text) for text in _history(histogram).values())
    return {match[1] for match in found if match}


def _history(histogram: SQEHistogram) -> dict[str, str]:
    """Records of Mantid's history by their names, MantidEnvironment and MantidAlgorithm_1, ..."""
    if histogram.mantid_groups is None:
        return {}
    with h5py.File(h5py.h5f.open_file_image(histogram.mantid_groups)) as file:
        records = file[ENTRY].get("process", {})
        return {name: text_of(child(records, f"{name}/data")) for name in records}


def _of_runs(histogram: SQEHistogram, read: Callable[[Any], _Value]) -> list[_Value]:
    """What ``read`` finds in the HDF5 group of each run; nothing for data without a file."""
    if histogram.mantid_groups is None:
        return []
    with h5py.File(h5py.h5f.open_file_image(histogram.mantid_groups)) as file:
        entry = file[ENTRY]
        return [read(entry[name]) for name in experiment_names(entry)]


def _energy_limits(run: Any) -> tuple[float, float] | None:
    low, high = (_numbers(run, f"logs/MDNorm_{end}/value") for end in ("low", "high"))
    if low is None or high is None:
        low = high = _numbers(run, "logs/processed_histogram_bins/value")
    return None if low is None or high is None else (float(low.min()), float(high.max()))


def _numbers(run: Any, path: str) -> np.ndarray | None:
    """Finite numbers of a dataset, or None."""
    try:
        values = numbers_of(child(run, path))
    except (TypeError, ValueError, OSError, RuntimeError):
        return None
    if not np.isfinite(values).all():
        return None
    return values.ravel() if values.size else None
