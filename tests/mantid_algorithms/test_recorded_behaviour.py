"""What we rely on in Mantid, as a real one was seen to do it.

These tests use algorithms made for them, none of ours. The records are in
tests/data/mantid/recorded_behaviour.json and expected.json.
"""

from __future__ import annotations

import numpy as np
import pytest
from mantid.api import (
    AlgorithmFactory,
    AlgorithmManager,
    AnalysisDataService,
    FileAction,
    FileProperty,
    IMDHistoWorkspace,
    IMDHistoWorkspaceProperty,
    ITableWorkspaceProperty,
    Progress,
    PropertyMode,
    PythonAlgorithm,
    WorkspaceFactory,
    WorkspaceGroup,
)
from mantid.kernel import (
    Direction,
    FloatArrayProperty,
    FloatBoundedValidator,
    IntArrayProperty,
    Property,
    StringArrayProperty,
    StringListValidator,
    config,
)


class BehaviourProbe(PythonAlgorithm):
    """Has the kinds of properties that ours have, and does what the tests tell it."""

    seen = {}

    def category(self):
        return "Inelastic\\Phonons"

    def PyInit(self):
        self.declareProperty(
            IMDHistoWorkspaceProperty("InputWorkspace", "", Direction.Input), "measured"
        )
        self.declareProperty(
            IMDHistoWorkspaceProperty("Other", "", Direction.Input, optional=PropertyMode.Optional),
            "more",
        )
        self.declareProperty(FileProperty("Structure", "", FileAction.Load, ["cif"]), "crystal")
        self.declareProperty(FileProperty("Born", "", FileAction.OptionalLoad), "charges")
        self.declareProperty(
            FileProperty("Report", "", FileAction.OptionalSave, ["html"]), "report"
        )
        self.declareProperty(
            "Temperature",
            Property.EMPTY_DBL,
            validator=FloatBoundedValidator(lower=0.0),
            doc="in K",
        )
        self.declareProperty(
            "Kind", "Flat", validator=StringListValidator(["Flat", "None"]), doc=""
        )
        self.declareProperty(FloatArrayProperty("Numbers", []), "some")
        self.declareProperty(IntArrayProperty("Matrix", []), "some")
        self.declareProperty(StringArrayProperty("Names", direction=Direction.Input), "some")
        self.declareProperty("Action", "", doc="what to do")
        self.declareProperty(ITableWorkspaceProperty("OutputWorkspace", "", Direction.Output), "")
        self.declareProperty("Verdict", "", direction=Direction.Output, doc="")

    def validateInputs(self):
        refused = self.getProperty("Action").value == "refuse"
        return {"Temperature": "this one is refused"} if refused else {}

    def PyExec(self):
        action = self.getProperty("Action").value
        temperature = self.getProperty("Temperature")
        BehaviourProbe.seen = {
            "is_default": temperature.isDefault,
            "workspace": self.getProperty("InputWorkspace").value.id(),
            "other": self.getProperty("Other").value,
            "born": self.getProperty("Born").value,
            "names": list(self.getProperty("Names").value),
            "numbers": list(self.getProperty("Numbers").value),
            "matrix": [int(n) for n in self.getProperty("Matrix").value],
        }
        if action == "fail":
            raise RuntimeError("one line: what, where, what to do")
        if action == "loop":
            self._loop()
        self.setProperty("OutputWorkspace", WorkspaceFactory.createTable("TableWorkspace"))
        self.setProperty("Verdict", "yes")

    def _loop(self):
        """Never moves the bar, and has the cancel button pressed on the way."""
        progress = Progress(self, start=0.0, end=1.0, nreports=99)
        progress.setNotifyStep(0.0)
        for turn in range(100):
            BehaviourProbe.seen["turn"] = turn
            progress.report(50, "half way")
            if turn == 10:
                self.cancel()


AlgorithmFactory.subscribe(BehaviourProbe)


@pytest.fixture
def slice_(load):
    return load("five_orientations_HHL0_slice_clean")


@pytest.fixture
def probe(slice_, silicon_file):
    """Ready to run."""
    algorithm = AlgorithmManager.create("BehaviourProbe")
    algorithm.setRethrows(True)
    algorithm.setProperty("InputWorkspace", "measured")
    algorithm.setProperty("Structure", silicon_file)
    algorithm.setProperty("OutputWorkspace", "table")
    return algorithm


def test_arrays_are_read_only_views_in_fortran_order(slice_):
    for values in (slice_.getSignalArray(), slice_.getErrorSquaredArray()):
        assert values.dtype == np.float64 and values.flags.f_contiguous
        assert not values.flags.writeable
        assert values.shape == tuple(
            slice_.getDimension(i).getNBins() for i in range(slice_.getNumDims())
        )


def test_arrays_are_set_in_either_order_with_the_right_shape_only(simpleapi, slice_, recorded):
    clone = simpleapi.CloneMDWorkspace(slice_, OutputWorkspace="clone")
    values = np.arange(slice_.getSignalArray().size, dtype=float).reshape(
        slice_.getSignalArray().shape
    )
    values.flat[3] = np.nan
    for order in "CF":
        clone.setSignalArray(np.array(values, order=order))
        np.testing.assert_array_equal(clone.getSignalArray(), values)
    np.testing.assert_array_equal(clone.getNumEventsArray(), slice_.getNumEventsArray())
    for wrong in ("wrong_shape", "wrong_ndim"):
        kind, text = recorded[f"setSignalArray_{wrong}"]
        bad = values[1:] if wrong == "wrong_shape" else values.ravel()
        with pytest.raises(ValueError, match=text.split(" The ")[0]):
            clone.setSignalArray(bad)
        assert kind == "ValueError"


def test_a_clone_has_the_lattice_and_the_logs(simpleapi, slice_):
    clone = simpleapi.CloneMDWorkspace(slice_, OutputWorkspace="clone")
    assert clone.getNumExperimentInfo() == slice_.getNumExperimentInfo() > 0
    info, other = clone.getExperimentInfo(0), slice_.getExperimentInfo(0)
    np.testing.assert_array_equal(
        info.sample().getOrientedLattice().getUB(), other.sample().getOrientedLattice().getUB()
    )
    assert list(info.run().keys()) == list(other.run().keys())
    with pytest.raises(RuntimeError, match="nope"):
        info.run().getProperty("nope")


def test_an_experiment_that_is_not_there_is_an_error(slice_, recorded):
    with pytest.raises(ValueError, match=r"runIndex is out of range"):
        slice_.getExperimentInfo(slice_.getNumExperimentInfo())
    assert "runIndex is out of range" in recorded["getExperimentInfo_without_any"][1]


def test_every_file_is_read_as_mantid_reads_it(load, expected):
    assert len(expected) > 5
    for record in expected:
        name = record["file"].removeprefix("si_300K_").removesuffix(".nxs")
        workspace = load(name)
        signal, error2 = workspace.getSignalArray(), workspace.getErrorSquaredArray()
        assert list(signal.shape) == record["shape"]
        for i, known in enumerate(record["dims"]):
            dimension = workspace.getDimension(i)
            assert dimension.name == known["name"]
            assert str(dimension.getUnits()) == known["units"]
            assert dimension.getMDFrame().name() == known["frame"]
            assert dimension.getMinimum() == known["min"]
            assert dimension.getMaximum() == known["max"]
        assert np.isnan(signal).sum() == record["n_nan"]
        for sample in record["samples"]:
            place = tuple(sample["index"])
            assert signal[place] == pytest.approx(sample["signal"], rel=1e-12)
            assert error2[place] == pytest.approx(sample["error2"], rel=1e-12)
        assert workspace.getNumExperimentInfo() == record["num_experiment_infos"]
        info = workspace.getExperimentInfo(0)
        np.testing.assert_allclose(info.sample().getOrientedLattice().getUB(), record["UB"])
        for log, value in record["logs"].items():
            np.testing.assert_allclose(
                np.ravel(info.run().getProperty(log).value), np.ravel(value), rtol=1e-6
            )
        w_matrix = np.ravel(info.run().getProperty("W_MATRIX").value)
        np.testing.assert_allclose(w_matrix, record["W_MATRIX"])
    assert config["Q.convention"] == record["Q_convention"]


def test_properties_at_their_defaults_are_known_as_such(probe, recorded):
    assert recorded["in_PyExec"]["EMPTY_DBL"] == Property.EMPTY_DBL
    probe.setProperty("Numbers", [2.4, -0.01])
    probe.setProperty("Matrix", "5,5,5")
    probe.setProperty("Names", "a,b")
    probe.execute()
    assert BehaviourProbe.seen == {
        "is_default": True,
        "workspace": recorded["in_PyExec"]["workspace_type"],
        "other": None,
        "born": "",
        "names": ["a", "b"],
        "numbers": [2.4, -0.01],
        "matrix": [5, 5, 5],
    }
    probe.setProperty("Temperature", 300.0)
    probe.execute()
    assert not BehaviourProbe.seen["is_default"]


def test_values_that_validators_refuse_are_value_errors(probe, recorded):
    for name, value in (("Temperature", -1.0), ("Kind", "Cubic"), ("Structure", "/nowhere/x.cif")):
        with pytest.raises(ValueError, match=f"Invalid value for property {name}"):
            probe.setProperty(name, value)
    assert "not found" in recorded["file_not_found"][1]
    with pytest.raises(RuntimeError, match="Unknown property search object Nope"):
        probe.setProperty("Nope", 1)


def test_a_workspace_of_another_kind_is_a_value_error(probe):
    AnalysisDataService.addOrReplace("a_table", WorkspaceFactory.createTable("TableWorkspace"))
    with pytest.raises(ValueError, match="Workspace a_table is not of the correct type"):
        probe.setProperty("InputWorkspace", "a_table")


def test_an_optional_file_that_is_not_there_passes(probe):
    probe.setProperty("Born", "/nowhere/BORN")
    probe.execute()
    assert BehaviourProbe.seen["born"] == "/nowhere/BORN"


def test_inputs_that_are_not_valid_are_a_runtime_error(probe, recorded):
    probe.setProperty("Action", "refuse")
    with pytest.raises(RuntimeError, match=recorded["validateInputs_error"][1]):
        probe.execute()


def test_an_exception_arrives_with_its_first_line(probe, recorded):
    kind, text = recorded["exception_in_PyExec"]
    probe.setProperty("Action", "fail")
    with pytest.raises(RuntimeError) as caught:
        probe.execute()
    assert kind == "RuntimeError" and text in str(caught.value).splitlines()[0]


def test_cancel_is_seen_at_the_next_report_even_if_the_bar_stands(probe, recorded):
    probe.setProperty("Action", "loop")
    with pytest.raises(KeyboardInterrupt):
        probe.execute()
    assert recorded["cancel"][0] == "KeyboardInterrupt"
    assert BehaviourProbe.seen["turn"] == 11
    assert not probe.isExecuted()
    assert "table" not in AnalysisDataService


def test_a_child_leaves_nothing_and_its_output_has_no_name(slice_):
    before = list(AnalysisDataService.getObjectNames())
    child = AlgorithmManager.createUnmanaged("CloneMDWorkspace")
    child.setChild(True)
    child.setLogging(False)
    child.initialize()
    child.setProperty("InputWorkspace", slice_)
    child.setProperty("OutputWorkspace", "__child")
    child.execute()
    clone = child.getProperty("OutputWorkspace").value
    assert isinstance(clone, IMDHistoWorkspace) and clone.name() == ""
    assert list(AnalysisDataService.getObjectNames()) == before


def test_a_group_is_run_once_per_member(simpleapi, load, silicon_file):
    load("five_orientations_HHL0_slice_clean", "w")
    load("five_orientations_HHL0_slice", "v")
    simpleapi.GroupWorkspaces(["w", "v"], OutputWorkspace="g")
    algorithm = AlgorithmManager.create("BehaviourProbe")
    algorithm.setProperty("InputWorkspace", "g")
    algorithm.setProperty("Structure", silicon_file)
    algorithm.setProperty("OutputWorkspace", "og")
    algorithm.execute()
    group = AnalysisDataService["og"]
    assert isinstance(group, WorkspaceGroup)
    assert sorted(group.getNames()) == ["v_og", "w_og"]


def test_a_table_takes_rows_of_the_types_of_its_columns():
    table = WorkspaceFactory.createTable("TableWorkspace")
    table.addColumn("str", "parameter", 6)
    table.addColumn("double", "value", 2)
    table.addRow(["a", 1.0])
    assert table.row(0) == {"parameter": "a", "value": 1.0} and len(table) == 1
    assert [table.getPlotType(i) for i in range(2)] == [6, 2]
    with pytest.raises(ValueError):
        table.addRow(["a"])
    with pytest.raises(TypeError):
        table.addRow(["a", "b"])


def test_our_algorithms_are_functions_since_they_come_from_a_plugin_directory(simpleapi):
    assert callable(simpleapi.SimulateSQE) and callable(simpleapi.InvertForceConstants)
    # subscribed above, but not loaded from a directory
    assert AlgorithmFactory.exists("BehaviourProbe")
    assert not hasattr(simpleapi, "BehaviourProbe")


def test_what_a_call_lacks_is_named(simpleapi, slice_):
    with pytest.raises(RuntimeError, match="Structure.*not supplied to InvertForceConstants"):
        simpleapi.InvertForceConstants(InputWorkspace="measured", OutputWorkspace="x")
