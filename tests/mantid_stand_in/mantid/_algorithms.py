"""Those of Mantid's own algorithms that are used."""

from __future__ import annotations

import copy
from pathlib import Path

import h5py
import numpy as np

from mantid._workspaces import (
    Dimension,
    ExperimentInfo,
    IMDHistoWorkspace,
    MatrixWorkspace,
    Run,
    Sample,
    WorkspaceGroup,
)
from mantid.api import (
    AlgorithmFactory,
    AnalysisDataService,
    FileAction,
    FileProperty,
    IMDWorkspaceProperty,
    PythonAlgorithm,
    WorkspaceProperty,
)
from mantid.kernel import Direction, FloatArrayProperty, StringArrayProperty

CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def _text(value):
    value = np.ravel(value)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


class LoadMD(PythonAlgorithm):
    """A histogram that SaveMD wrote (version 2)."""

    def PyInit(self):
        self.declareProperty(FileProperty("Filename", "", FileAction.Load, [".nxs"]))
        self.declareProperty(IMDWorkspaceProperty("OutputWorkspace", "", Direction.Output))

    def PyExec(self):
        with h5py.File(self.getProperty("Filename").value, "r") as file:
            entry = file["MDHistoWorkspace"]
            data = entry["data"]
            names = _text(data["signal"].attrs["axes"]).split(":")[::-1]
            workspace = IMDHistoWorkspace(
                [self._dimension(data[name], name) for name in names],
                self._experiments(entry),
                int(np.ravel(entry["coordinate_system"][()])[0]),
            )
            arrays = [data[name][()].T for name in ("signal", "errors_squared", "num_events")]
            arrays[0] = np.where(data["mask"][()].T != 0, np.nan, arrays[0])
            for own, loaded in zip(workspace._arrays, arrays, strict=True):
                own[...] = loaded
        workspace._image = Path(self.getProperty("Filename").value).read_bytes()
        self.setProperty("OutputWorkspace", workspace)

    @staticmethod
    def _dimension(dataset, identifier):
        edges = dataset[()]
        name, units, frame = (
            _text(dataset.attrs[key]) if key in dataset.attrs else ""
            for key in ("long_name", "units", "frame")
        )
        return Dimension(
            name or identifier, units, frame, identifier, edges[0], edges[-1], edges.size - 1
        )

    def _experiments(self, entry):
        names = [name for name in entry if name.startswith("experiment")]
        names.sort(key=lambda name: int(name.removeprefix("experiment")))
        return [self._experiment(entry[name]) for name in names]

    def _experiment(self, group):
        sample = Sample()
        if "sample/oriented_lattice" in group:
            crystal = group["sample/oriented_lattice"]
            cell = [float(np.ravel(crystal[f"unit_cell_{name}"][()])[0]) for name in CELL]
            sample = Sample(np.array(crystal["orientation_matrix"][()]).reshape(3, 3), cell)
        logs = {
            name: self._value(log["value"][()])
            for name, log in group["logs"].items()
            if isinstance(log, h5py.Group) and "value" in log
        }
        rotation = np.eye(3)
        goniometer = group["logs"].get("goniometer")
        if goniometer is not None:
            for i in range(int(np.ravel(goniometer["num_axes"][()])[0])):
                rotation = rotation @ self._turn(goniometer[f"axis{i}"])
        return ExperimentInfo(Run(logs, rotation), sample, _text(group["instrument/name"][()]))

    @staticmethod
    def _value(value):
        if value.dtype.kind in "SO":
            return _text(value)
        return value.ravel() if value.size > 1 else np.ravel(value)

    @staticmethod
    def _turn(axis):
        angle = np.radians(float(np.ravel(axis["angle"][()])[0]))
        if _text(axis["angle"].attrs["sense"]) == "CW":
            angle = -angle
        x, y, z = np.ravel(axis["rotationaxis"][()]) / np.linalg.norm(axis["rotationaxis"][()])
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


class SaveMD(PythonAlgorithm):
    """Of a workspace that comes from a file, whose other content is kept."""

    def PyInit(self):
        self.declareProperty(IMDWorkspaceProperty("InputWorkspace", "", Direction.Input))
        self.declareProperty(FileProperty("Filename", "", FileAction.Save, [".nxs"]))

    def PyExec(self):
        workspace, path = (self.getProperty(n).value for n in ("InputWorkspace", "Filename"))
        Path(path).write_bytes(workspace._image)
        with h5py.File(path, "r+") as file:
            data = file["MDHistoWorkspace/data"]
            for name, values in zip(
                ("signal", "errors_squared", "num_events"), workspace._arrays, strict=True
            ):
                data[name][...] = values.T


class CloneMDWorkspace(PythonAlgorithm):
    def PyInit(self):
        self.declareProperty(IMDWorkspaceProperty("InputWorkspace", "", Direction.Input))
        self.declareProperty(IMDWorkspaceProperty("OutputWorkspace", "", Direction.Output))

    def PyExec(self):
        clone = copy.deepcopy(self.getProperty("InputWorkspace").value)
        clone._name = ""
        self.setProperty("OutputWorkspace", clone)


class CreateWorkspace(PythonAlgorithm):
    def PyInit(self):
        for name in ("DataX", "DataY", "DataE"):
            self.declareProperty(FloatArrayProperty(name, []))
        self.declareProperty("NSpec", 1)
        for name in ("UnitX", "YUnitLabel", "VerticalAxisUnit", "WorkspaceTitle"):
            self.declareProperty(name, "")
        self.declareProperty(StringArrayProperty("VerticalAxisValues", []))
        self.declareProperty(WorkspaceProperty("OutputWorkspace", "", Direction.Output))

    def PyExec(self):
        n_spectra = self.getProperty("NSpec").value
        x, y, e = (
            self.getProperty(name).value.reshape(n_spectra, -1)
            for name in ("DataX", "DataY", "DataE")
        )
        labels = self.getProperty("VerticalAxisValues").value
        if len(labels) != n_spectra:
            raise ValueError("Number of y-axis labels must match number of histograms.")
        units = [self.getProperty(name).value for name in ("UnitX", "YUnitLabel")]
        workspace = MatrixWorkspace(x, y, e, *units, labels)
        workspace.setTitle(self.getProperty("WorkspaceTitle").value)
        self.setProperty("OutputWorkspace", workspace)


class GroupWorkspaces(PythonAlgorithm):
    def PyInit(self):
        self.declareProperty(StringArrayProperty("InputWorkspaces", []))
        self.declareProperty(WorkspaceProperty("OutputWorkspace", "", Direction.Output))

    def PyExec(self):
        names = self.getProperty("InputWorkspaces").value
        for name in names:
            AnalysisDataService.retrieve(name)
        self.setProperty("OutputWorkspace", WorkspaceGroup(names))


for algorithm in (
    LoadMD,
    SaveMD,
    CloneMDWorkspace,
    CreateWorkspace,
    GroupWorkspaces,
):
    AlgorithmFactory.subscribe(algorithm)
