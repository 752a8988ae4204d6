"""Mantid's SaveMD files: HDF5/NeXus with one MDHistoWorkspace.

Version 2 (since 2015) keeps every axis as a dataset of edges, found through the ``axes``
attribute of the signal, and arrays with the dimensions reversed. Version 1 keeps
one-dimensional arrays, the first dimension varying fastest, and describes each dimension
in an XML attribute. Both are read; version 2 is written.

Q conventions: ``QConvention`` says whether Q = ki - kf ("Inelastic") or kf - ki
("Crystallography"). Values are kept as they are written in the file and nothing is flipped.
"""

from __future__ import annotations

import math
import re
import uuid
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.files import is_regular_file, write_whole
from fcinv_core.hdf5_values import MOST_VALUES, hard_child, numbers_of
from fcinv_core.histogram.axes import Axis
from fcinv_core.histogram.experiment import ExperimentInfo
from fcinv_core.histogram.model import SQEHistogram
from fcinv_core.histogram.nexus_experiment import write_experiment
from fcinv_core.histogram.nexus_types import (
    COMPRESSION,
    write_attributes,
    write_group,
    write_numbers,
)
from fcinv_core.limits import available_memory

ENTRY = "MDHistoWorkspace"
ARRAYS = ("signal", "errors_squared", "num_events", "mask")
_REWRITTEN = {"data", "coordinate_system", "visual_normalization", "dimensions", *ARRAYS}
"""Children of the entry that `save` writes anew; all others are carried along unread."""
_DAMAGE = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    ElementTree.ParseError,
)
"""What h5py, NumPy and the XML parser raise on files that are not what they should be."""
_MEMORY_PER_BIN = 45
"""Bytes: signal, error and number of events as float64, the mask, and what reading them takes."""
_MOST_RUNS = 5000
"""Of a measurement: some hundreds of goniometer angles, each measured several times."""
_FRAME_OF_COORDINATE_SYSTEM = {1: "QLab", 2: "QSample", 3: "HKL"}


def load(path: str | Path) -> SQEHistogram:
    """Read a file written by SaveMD.

    Raises
    ------
    FcinvError
        No such file, not an MDHistoWorkspace written by SaveMD, or damaged.
    """
    path = Path(path)
    if not is_regular_file(path):
        raise FcinvError(f"no such file: {path}; check the path")
    if not h5py.is_hdf5(path):
        raise FcinvError(
            f"{path} is not an HDF5/NeXus file; save the MDHistoWorkspace with Mantid's SaveMD"
        )
    try:
        with h5py.File(path, "r") as file:
            return _read(_entry(file, path), path)
    except _DAMAGE as error:
        reason = str(error).strip("'\"") or type(error).__name__
        raise FcinvError(
            f"cannot read {path}: {reason}; the file is damaged or incomplete, save it again"
        ) from error
    except MemoryError as error:
        raise FcinvError(
            f"{path} needs more memory than there is; use coarser bins or cut the data"
        ) from error


def save(histogram: SQEHistogram, path: str | Path) -> None:
    """Write a file that Mantid's LoadMD reads, whole or not at all.

    Raises
    ------
    FcinvError
        The file cannot be written (nothing is left behind), or an axis is not uniform,
        which SaveMD's format cannot express.
    """
    path = Path(path)
    for axis in histogram.axes:
        if not axis.is_uniform:
            raise FcinvError(
                f"axis {axis.name!r} has bins of different widths and Mantid would load them as "
                f"equal; rebin it before saving {path}"
            )
    # Built in memory and written in one go: the HDF5 library itself can crash the
    # process when the disk is full.
    write_whole(path, _image(lambda file: _write(file, histogram, path)))


def _entry(file: Any, path: Path) -> Any:
    if ENTRY in file:
        return hard_child(file, ENTRY)
    if "MDEventWorkspace" in file:
        raise FcinvError(
            f"{path} holds events (MDEventWorkspace), not a histogram; bin them with MDNorm or "
            "BinMD, then SaveMD"
        )
    found = ", ".join(list(file)[:5]) or "nothing"
    raise FcinvError(
        f"{path} holds {found} and no MDHistoWorkspace; save the MDHistoWorkspace with "
        "Mantid's SaveMD"
    )


def _read(entry: Any, path: Path) -> SQEHistogram:
    data = hard_child(entry, "data") if "data" in entry else entry
    coordinate_system = _coordinate_system(entry)
    try:
        if "data" in entry:
            axes = _axes_from_datasets(data)
        else:
            axes = _axes_from_xml(entry, coordinate_system)
    except FcinvError as error:
        raise FcinvError(f"{path}: {error}") from error
    shape = tuple(axis.n_bins for axis in axes)
    _check_memory(shape, path)
    arrays = {name: _array(data, name, shape, path) for name in ARRAYS}
    experiments = _experiments(entry, path)
    return SQEHistogram(
        axes=axes,
        signal=arrays["signal"],
        variance=arrays["errors_squared"],
        num_events=arrays["num_events"],
        mask=arrays["mask"] != 0,
        experiments=experiments,
        q_convention=_text(entry.attrs.get("QConvention", "Inelastic")),
        coordinate_system=coordinate_system,
        visual_normalization=_integer(entry, "visual_normalization"),
        mantid_groups=_image(lambda file: _carry(entry, file.create_group(ENTRY))),
        source=str(path),
    )


def _experiments(entry: Any, path: Path) -> tuple[ExperimentInfo, ...]:
    experiments = []
    names = experiment_names(entry)
    if len(names) > _MOST_RUNS:
        raise ValueError(f"it has {len(names)} runs")
    for name in names:
        try:
            experiments.append(ExperimentInfo.from_nexus(hard_child(entry, name)))
        except FcinvError as error:
            raise FcinvError(f"{path}, {name}: {error}") from error
    return tuple(experiments)


def _axes_from_datasets(data: Any) -> tuple[Axis, ...]:
    """Axes in Mantid's dimension order; the signal's ``axes`` lists them reversed."""
    axes: list[Axis] = []
    for identifier in reversed(_text(hard_child(data, "signal").attrs["axes"]).split(":")):
        if any(identifier == axis.identifier for axis in axes):
            raise ValueError(f"two of its axes are {identifier!r}")
        dataset = hard_child(data, identifier)
        name, unit, frame = (
            _text(dataset.attrs.get(key, "")) for key in ("long_name", "units", "frame")
        )
        axis = Axis(name or identifier, unit, frame, numbers_of(dataset), identifier)
        if not axis.is_uniform:
            raise FcinvError(
                f"axis {axis.name!r} has bins of different widths, which SaveMD does not write; "
                "the file is damaged, save it again"
            )
        axes.append(axis)
    return tuple(axes)


def _axes_from_xml(entry: Any, coordinate_system: int) -> tuple[Axis, ...]:
    """Axes of a version 1 file, from its attributes ``dimension0``, ``dimension1``, ..."""
    axes = []
    for i in range(_integer(entry, "dimensions")):
        document = _text(entry.attrs[f"dimension{i}"])
        # The parser expands entities, and a few of them can fill the memory.
        if "<!DOCTYPE" in document or "<!ENTITY" in document:
            raise ValueError(f"dimension{i} has a document type")
        dimension = ElementTree.fromstring(document)
        text = {child.tag: (child.text or "").strip() for child in dimension}
        lower, upper = float(text["LowerBounds"]), float(text["UpperBounds"])
        if not 0 < int(text["NumberOfBins"]) < MOST_VALUES:
            raise ValueError(f"dimension{i} has {text['NumberOfBins']} bins")
        edges = np.linspace(lower, upper, int(text["NumberOfBins"]) + 1)
        name = text.get("Name", f"D{i}")
        frame = text.get("Frame", "")
        known = Axis(name, text.get("Units", ""), frame, edges, dimension.get("ID", name))
        if i < 3 and not known.is_energy and not known.is_momentum:
            # As LoadMD does for these files, whose dimensions have no frames of their own.
            frame = _FRAME_OF_COORDINATE_SYSTEM.get(coordinate_system, frame)
        axes.append(Axis(known.name, known.unit, frame, edges, known.identifier))
    if not axes:
        raise ValueError("it describes no dimensions")
    return tuple(axes)


def _check_memory(shape: tuple[int, ...], path: Path) -> None:
    """Refuse more bins than the memory holds, before any of them are read."""
    needed, available = math.prod(shape) * _MEMORY_PER_BIN, available_memory()
    if available is not None and needed > available:
        raise FcinvError(
            f"{path} has {math.prod(shape)} bins, which take {needed / 1e9:.3g} GB of memory, and "
            f"{available / 1e9:.3g} GB are free; use coarser bins or cut the data"
        )


def _array(data: Any, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    dataset = hard_child(data, name)
    n_bins = math.prod(shape)
    claimed = getattr(dataset, "shape", None)
    if claimed is None or claimed not in (shape[::-1], (n_bins,)):
        raise FcinvError(
            f"{path}: {name} has shape {(claimed or ())[::-1]} and the axes have {shape} bins; "
            "the file is damaged, save it again"
        )
    if dataset.id.get_storage_size() == 0:
        raise ValueError(f"{name} was never filled")
    values = numbers_of(dataset, n_bins)
    dtype = np.int8 if name == "mask" else np.float64
    return np.ascontiguousarray(values.reshape(shape[::-1]).T, dtype=dtype)


def experiment_names(entry: Any) -> list[str]:
    """Names of the experiment groups in numerical order."""
    names = [name for name in entry if re.fullmatch(r"experiment\d+", name)]
    return sorted(names, key=lambda name: int(name.removeprefix("experiment")))


def _coordinate_system(entry: Any) -> int:
    """0 None, 1 QLab, 2 QSample, 3 HKL; the oldest files have it as a log."""
    for name in ("coordinate_system", "experiment0/logs/CoordinateSystem/value"):
        if name in entry:
            return _integer(entry, name)
    return 0


def _integer(entry: Any, name: str) -> int:
    return int(np.ravel(numbers_of(hard_child(entry, name)))[0]) if name in entry else 0


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0]
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \0")


def _carry(source: Any, target: Any) -> None:
    """Copy what is not rewritten: experiment infos, history, transformations."""
    for name in source:
        if name not in _REWRITTEN:
            # Copying a link that leads out of the file would fetch what lies there.
            source.copy(hard_child(source, name), target, name)


def _image(fill: Any) -> bytes:
    """The bytes of an HDF5 file that ``fill`` builds in memory."""
    # HDF5 tells open files in memory apart by their name.
    with h5py.File(f"{uuid.uuid4()}", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return file.id.get_file_image()


def _write(file: Any, histogram: SQEHistogram, path: Path) -> None:
    write_attributes(
        file,
        file_name=path.name,
        file_time=datetime.now(UTC).isoformat(timespec="seconds"),
        HDF5_Version=h5py.version.hdf5_version,
        creator="fcinv",
    )
    entry = write_group(file, ENTRY, "NXentry", SaveMDVersion=2, QConvention=histogram.q_convention)
    write_numbers(entry, "coordinate_system", histogram.coordinate_system, np.uint32)
    write_numbers(entry, "visual_normalization", histogram.visual_normalization, np.uint32)
    if histogram.mantid_groups is not None:
        with h5py.File(h5py.h5f.open_file_image(histogram.mantid_groups)) as carried:
            _carry(carried[ENTRY], entry)
    else:
        for i, info in enumerate(histogram.experiments):
            write_experiment(entry, i, info)
    _write_data(entry, histogram)


def _write_data(entry: Any, histogram: SQEHistogram) -> None:
    data = write_group(entry, "data", "NXdata")
    identifiers = [axis.identifier for axis in histogram.axes]
    unusable = any(re.search("[:/]", name) or name in ARRAYS for name in identifiers)
    if unusable or len(set(identifiers)) < len(identifiers):
        identifiers = [f"D{i}" for i in range(len(identifiers))]
    for axis, identifier in zip(histogram.axes, identifiers, strict=True):
        dataset = write_numbers(data, identifier, axis.edges)
        write_attributes(dataset, units=axis.unit, long_name=axis.name, frame=axis.frame)
    arrays = {
        "signal": histogram.signal,
        "errors_squared": histogram.variance,
        "num_events": histogram.num_events,
        "mask": histogram.mask.astype(np.int8),
    }
    for name, values in arrays.items():
        reversed_order = np.ascontiguousarray(values.T)
        chunks = (1, *reversed_order.shape[1:])
        data.create_dataset(name, data=reversed_order, chunks=chunks, **COMPRESSION)
    write_attributes(data["signal"], signal=1, axes=":".join(reversed(identifiers)))
