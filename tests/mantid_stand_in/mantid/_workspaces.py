"""Workspaces, and where they are kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


class Workspace:
    def __init__(self):
        self._name = ""
        self._title = ""
        self._history: list[Any] = []

    def name(self):
        return self._name

    def getName(self):
        return self._name

    def __str__(self):
        return self._name or self.id()

    def id(self):
        return type(self).__name__

    def getTitle(self):
        return self._title

    def setTitle(self, title):
        self._title = title

    def getHistory(self):
        return _History(self._history)


class _History:
    def __init__(self, records):
        self._records = records

    def size(self):
        return len(self._records)

    def getAlgorithmHistories(self):
        return list(self._records)

    def lastAlgorithm(self):
        """A new algorithm with the properties of the last one, ready to run again."""
        from mantid.api import AlgorithmManager

        record = self._records[-1]
        algorithm = AlgorithmManager.createUnmanaged(record.name())
        algorithm.initialize()
        for name, value in record.given.items():
            algorithm.setPropertyValue(name, value)
        return algorithm


class AlgorithmRecord:
    def __init__(self, algorithm):
        self._name = algorithm.name()
        self._properties = [
            SimpleNamespace(name=item.name, value=item.valueAsStr, isDefault=item.isDefault)
            for item in algorithm.getProperties()
        ]
        self.given = {p.name: p.value for p in self._properties if not p.isDefault}

    def name(self):
        return self._name

    def getPropertyValue(self, name):
        return next(p.value for p in self._properties if p.name == name)


class Dimension:
    def __init__(self, name, units, frame, identifier, low, high, n_bins):
        self.name, self._units, self._frame, self._id = name, units, frame, identifier
        self._low, self._high = float(np.float32(low)), float(np.float32(high))
        self._n_bins = n_bins

    def getName(self):
        return self.name

    def getUnits(self):
        return self._units

    def getDimensionId(self):
        return self._id

    def getMDFrame(self):
        return SimpleNamespace(name=lambda: self._frame)

    def getMinimum(self):
        return self._low

    def getMaximum(self):
        return self._high

    def getNBins(self):
        return self._n_bins

    def getNBoundaries(self):
        return self._n_bins + 1

    def getBinWidth(self):
        return float(np.float32((self._high - self._low) / self._n_bins))

    def getX(self, index):
        width = np.float32((np.float32(self._high) - np.float32(self._low)) / self._n_bins)
        return float(np.float32(self._low) + np.float32(index) * width)


class IMDWorkspace(Workspace):
    pass


class IMDHistoWorkspace(IMDWorkspace):
    """Arrays are read-only views in Fortran order."""

    def __init__(self, dimensions, experiments=(), coordinate_system=0):
        super().__init__()
        self._dimensions, self._experiments = list(dimensions), list(experiments)
        self._coordinate_system = coordinate_system
        shape = [d.getNBins() for d in self._dimensions]
        self._arrays = [np.full(shape, value, order="F") for value in (0.0, 0.0, 1.0)]

    def id(self):
        return "MDHistoWorkspace"

    def getNumDims(self):
        return len(self._dimensions)

    def getDimension(self, index):
        if not 0 <= index < len(self._dimensions):
            raise ValueError("Workspace does not have a dimension at that index.")
        return self._dimensions[index]

    def getNPoints(self):
        return self._arrays[0].size

    def getSpecialCoordinateSystem(self):
        return self._coordinate_system

    def getNumExperimentInfo(self):
        return len(self._experiments)

    def getExperimentInfo(self, index):
        if not 0 <= index < len(self._experiments):
            raise ValueError("MDWorkspace::getExperimentInfo(): runIndex is out of range.")
        return self._experiments[index]

    def _view(self, number):
        view = self._arrays[number].view()
        view.flags.writeable = False
        return view

    def getSignalArray(self):
        return self._view(0)

    def getErrorSquaredArray(self):
        return self._view(1)

    def getNumEventsArray(self):
        return self._view(2)

    def setSignalArray(self, values):
        self._set(0, values, "setSignalArray")

    def setErrorSquaredArray(self, values):
        self._set(1, values, "setErrorSquaredArray")

    def _set(self, number, values, what):
        own = self._arrays[number].shape
        if len(own) != values.ndim:
            raise ValueError(
                f"{what}: The number of  dimensions doe not match the current workspace size. "
                f"Workspace={len(own)} array={values.ndim}"
            )
        for i, (mine, other) in enumerate(zip(own, values.shape, strict=True)):
            if mine != other:
                raise ValueError(
                    f"{what}: The dimension size for the {i}th dimension do not match. Workspace "
                    f"dimension size={mine}, array size={other}"
                )
        if values.dtype != np.float64:
            raise TypeError(
                "No registered converter was able to produce a C++ rvalue of type double from this "
                f"Python object of type numpy.{values.dtype.name}"
            )
        self._arrays[number][...] = values


class ExperimentInfo:
    def __init__(self, run, sample, instrument):
        self._run, self._sample, self._instrument = run, sample, instrument

    def run(self):
        return self._run

    def sample(self):
        return self._sample

    def getInstrument(self):
        return SimpleNamespace(getName=lambda: self._instrument)


class Sample:
    def __init__(self, ub=None, cell=None):
        self._ub, self._cell = ub, cell

    def hasOrientedLattice(self):
        return self._ub is not None

    def getOrientedLattice(self):
        if self._ub is None:
            raise RuntimeError("Sample::getOrientedLattice - No OrientedLattice has been defined.")
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        lengths = {n: (lambda v=v: v) for n, v in zip(names, self._cell, strict=True)}
        return SimpleNamespace(getUB=self._ub.copy, **lengths)


class Run:
    def __init__(self, logs=None, rotation=None):
        self._logs = dict(logs or {})
        self._rotation = np.eye(3) if rotation is None else rotation

    def keys(self):
        return list(self._logs)

    def hasProperty(self, name):
        return name in self._logs

    def getProperty(self, name):
        if name not in self._logs:
            raise RuntimeError(f"Unknown property search object {name}")
        return SimpleNamespace(name=name, value=self._logs[name])

    getLogData = getProperty

    def addProperty(self, name, value, replace):
        if name in self._logs and not replace:
            raise ValueError(f"{name} is already there")
        self._logs[name] = value

    def getGoniometer(self):
        return SimpleNamespace(getR=self._rotation.copy)


class MatrixWorkspace(Workspace):
    def __init__(self, x, y, e, unit_x, y_label, axis_labels):
        super().__init__()
        self._x, self._y, self._e = x, y, e
        self._unit_x, self._y_label, self._labels = unit_x, y_label, axis_labels
        self._run = Run()

    def id(self):
        return "Workspace2D"

    def getNumberHistograms(self):
        return len(self._y)

    def readX(self, index):
        return self._x[index]

    def readY(self, index):
        return self._y[index]

    def readE(self, index):
        return self._e[index]

    def YUnitLabel(self):
        return self._y_label

    def getAxis(self, index):
        if index == 0:
            unit = SimpleNamespace(unitID=lambda: self._unit_x)
            return SimpleNamespace(getUnit=lambda: unit)
        return SimpleNamespace(label=lambda i: self._labels[i], isText=lambda: True)

    def run(self):
        return self._run

    mutableRun = run


class ITableWorkspace(Workspace):
    def __init__(self):
        super().__init__()
        self._columns: list[tuple[str, type, int]] = []
        self._rows: list[list[Any]] = []

    def id(self):
        return "TableWorkspace"

    def addColumn(self, type, name, plottype=0):
        self._columns.append((name, {"str": str, "double": float}[type], plottype))
        return True

    def getColumnNames(self):
        return [name for name, _, _ in self._columns]

    def getPlotType(self, index):
        return self._columns[index][2]

    def addRow(self, row):
        if len(row) != len(self._columns):
            raise ValueError(
                "Number of values given does not match the number of columns. Expected: "
                f"{len(self._columns)}"
            )
        for value, (name, kind, _) in zip(row, self._columns, strict=True):
            if type(value) is not kind:
                raise TypeError(f"Wrong datatype <{type(value).__name__}> for column <{name}>")
        self._rows.append(list(row))

    def rowCount(self):
        return len(self._rows)

    def __len__(self):
        return len(self._rows)

    def row(self, index):
        return dict(zip(self.getColumnNames(), self._rows[index], strict=True))

    def column(self, name):
        place = name if isinstance(name, int) else self.getColumnNames().index(name)
        return [row[place] for row in self._rows]


class WorkspaceGroup(Workspace):
    def __init__(self, names):
        super().__init__()
        self._names = list(names)

    def getNames(self):
        return list(self._names)

    def getNumberOfEntries(self):
        return len(self._names)

    size = __len__ = getNumberOfEntries

    def getItem(self, index):
        return AnalysisDataService.retrieve(self._names[index])

    __getitem__ = getItem


class _AnalysisDataService:
    def __init__(self):
        self._content: dict[str, Workspace] = {}

    def addOrReplace(self, name, workspace):
        workspace._name = name
        self._content[name] = workspace

    def doesExist(self, name):
        return name in self._content

    __contains__ = doesExist

    def retrieve(self, name):
        if name not in self._content:
            raise KeyError(f"'{name}' does not exist.")
        return self._content[name]

    __getitem__ = retrieve

    def getObjectNames(self):
        return sorted(self._content)

    def remove(self, name):
        self._content.pop(name, None)

    def clear(self):
        self._content.clear()


mtd = AnalysisDataService = _AnalysisDataService()
