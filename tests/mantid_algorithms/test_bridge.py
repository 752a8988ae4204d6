"""Workspaces become histograms and back, exactly."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mantid.api import AnalysisDataService

from fcinv_core import Axis, FcinvError, SQEHistogram, mantid_bridge
from fcinv_core.inversion.elasticity import ElasticConstants
from fcinv_core.inversion.result import Dispersion, InversionResult


def test_a_workspace_is_what_the_file_is(load, mantid_file, every_file):
    """Axes in any order and projection, NaN, infinities, logs, goniometers."""
    found = SQEHistogram.from_workspace(load(every_file))
    known = SQEHistogram.load(mantid_file(f"si_300K_{every_file}.nxs"))
    for array in ("signal", "variance", "num_events"):
        np.testing.assert_array_equal(getattr(found, array), getattr(known, array))
    for own, other in zip(found.axes, known.axes, strict=True):
        np.testing.assert_array_equal(own.edges, other.edges)
        assert (own.name, own.unit, own.frame) == (other.name, other.unit, other.frame)
    np.testing.assert_array_equal(found.hkl_matrix, known.hkl_matrix)
    assert found.source == "measured" and found.q_convention == known.q_convention
    assert len(found.experiments) == len(known.experiments)
    for info, other in zip(found.experiments, known.experiments, strict=True):
        np.testing.assert_array_equal(info.ub, other.ub)
        np.testing.assert_allclose(info.rotation, other.rotation, atol=1e-12)
        np.testing.assert_array_equal(info.w_matrix, other.w_matrix)
        assert info.lattice == pytest.approx(other.lattice)
        for key in ("temperature", "incident_energy", "run_number", "instrument"):
            assert getattr(info, key) == getattr(other, key)
    assert found.orientations == known.orientations


def test_the_copy_does_not_share_memory(load):
    workspace = load("five_orientations_HHL0_slice_clean")
    found = SQEHistogram.from_workspace(workspace)
    assert not np.shares_memory(found.signal, workspace.getSignalArray())


@pytest.mark.parametrize("name", ["4K0_slice_energy_first", "one_orientation_HHL0_slice"])
def test_values_go_back_into_the_bins_that_they_came_from(load, name):
    workspace = load(name)
    histogram = SQEHistogram.from_workspace(workspace)
    before = list(AnalysisDataService.getObjectNames())
    copy = histogram.with_values(2 * histogram.signal, histogram.variance).to_workspace(workspace)
    np.testing.assert_array_equal(copy.getSignalArray(), 2 * workspace.getSignalArray())
    np.testing.assert_array_equal(copy.getErrorSquaredArray(), workspace.getErrorSquaredArray())
    again = SQEHistogram.from_workspace(copy)
    assert [axis.name for axis in again.axes] == [axis.name for axis in histogram.axes]
    assert again.temperature == histogram.temperature
    assert list(AnalysisDataService.getObjectNames()) == before


def test_a_histogram_of_python_becomes_a_workspace_with_its_lattice():
    axes = [
        Axis.energy_transfer(np.arange(5.0, 30.0, 2.5)),
        Axis.along([1, 1, 0], np.arange(0.0, 2.05, 0.1)),
        Axis.along([1, -1, 0], np.array([-0.1, 0.1])),
        Axis.along([0, 0, 1], np.array([-0.2, 0.2])),
    ]
    shape = tuple(axis.n_bins for axis in axes)
    signal = np.arange(np.prod(shape), dtype=float).reshape(shape)
    signal[0, 3] = np.nan
    made = SQEHistogram.from_arrays(
        axes, signal, signal, ub=np.eye(3) / 5.43, temperature=77.0, incident_energy=40.0
    )
    workspace = made.to_workspace()
    found = SQEHistogram.from_workspace(workspace)
    np.testing.assert_array_equal(found.signal, signal)
    np.testing.assert_allclose(found.ub, made.ub)
    np.testing.assert_allclose(found.hkl_matrix, made.hkl_matrix)
    assert (found.temperature, found.incident_energy) == (77.0, 40.0)
    for own, other in zip(found.axes, axes, strict=True):
        np.testing.assert_allclose(own.edges, other.edges, atol=1e-5)


def test_what_is_no_histogram_is_refused():
    table = mantid_bridge.WorkspaceFactory.createTable("TableWorkspace")
    AnalysisDataService.addOrReplace("numbers", table)
    with pytest.raises(FcinvError, match="numbers is a TableWorkspace, no MDHistoWorkspace"):
        SQEHistogram.from_workspace(AnalysisDataService["numbers"])


def test_groups_are_taken_apart(simpleapi, load):
    for name in ("a", "b", "c"):
        load("five_orientations_HHL0_slice_clean", name)
    simpleapi.GroupWorkspaces(["a", "b"], OutputWorkspace="g")
    found = mantid_bridge.named_workspaces(["c", "g"])
    assert [workspace.name() for workspace in found] == ["c", "a", "b"]
    with pytest.raises(FcinvError, match="no workspace 'd'"):
        mantid_bridge.named_workspaces(["d"])


def test_a_dispersion_is_one_spectrum_per_branch_with_its_errors():
    energies = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 6.0]])
    dispersion = Dispersion(
        path_labels=((0, "Γ"), (2, "X")),
        q=np.zeros((3, 3)),
        distance=np.array([0.0, 0.5, 1.1]),
        energy_mev=energies,
        sigma_mev=0.1 * energies,
    )
    workspace = mantid_bridge.dispersion_workspace(dispersion)
    assert workspace.getNumberHistograms() == 2
    for branch in range(2):
        np.testing.assert_allclose(workspace.readX(branch), dispersion.distance)
        np.testing.assert_allclose(workspace.readY(branch), energies[:, branch])
        np.testing.assert_allclose(workspace.readE(branch), 0.1 * energies[:, branch])
        assert workspace.getAxis(1).label(branch) == f"branch {branch + 1}"
    assert workspace.getAxis(0).getUnit().unitID() == "MomentumTransfer"
    assert workspace.YUnitLabel() == "Energy transfer (meV)"
    assert workspace.run().getProperty("path_labels").value == "Gamma 0.0000, X 1.1000"


def test_long_work_does_not_hold_the_cancel_button_up():
    """A step of the work that never reports."""
    import threading
    import time

    from mantid.api import AlgorithmManager

    from fcinv_core import cancellable

    stopped = threading.Event()

    def work(report):
        report("one long step", 0.3)
        time.sleep(1.5)
        try:
            report("the next step", 0.4)
        finally:
            stopped.set()

    algorithm = AlgorithmManager.create("SimulateSQE")
    pressed = threading.Timer(0.3, algorithm.cancel)
    pressed.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        mantid_bridge.run(algorithm, work)
    assert time.monotonic() - begin < 0.3 + 1.0
    assert stopped.wait(5.0)
    assert cancellable.CHECKED_EVERY < 0.5


def test_a_program_waits_for_cancelled_work_before_it_ends(tmp_path):
    """Else Python may kill a thread amid compiled code, which takes the process down."""
    script = tmp_path / "cancelled.py"
    script.write_text(
        "import time\n"
        "from fcinv_core.cancellable import run_cancellable\n"
        "def work(report):\n"
        "    try:\n"
        "        while True:\n"
        "            time.sleep(1.0)\n"
        "            report('step', 0.5)\n"
        "    finally:\n"
        "        print('work ended', flush=True)\n"
        "def interface(text, fraction):\n"
        "    raise SystemExit(2)\n"
        "run_cancellable(work, interface)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and ended.stderr == "" and ended.stdout == "work ended\n"


def test_errors_of_the_work_are_those_of_the_caller():
    def work(report):
        raise FcinvError("what, where, what to do")

    @mantid_bridge.one_line_errors
    def execute(algorithm):
        mantid_bridge.run(algorithm, work)

    algorithm = mantid_bridge.AlgorithmManager.create("SimulateSQE")
    with pytest.raises(RuntimeError, match="^what, where, what to do$"):
        execute(algorithm)


def test_groups_of_results_are_named_after_the_output(simpleapi, load):
    one = load("five_orientations_HHL0_slice_clean", "a")
    histogram = SQEHistogram.from_workspace(one)
    made = [histogram.to_workspace(one) for _ in range(2)]
    assert mantid_bridge.group_of(made[:1], "fit") is made[0]
    group = mantid_bridge.group_of(made, "fit")
    assert list(group.getNames()) == ["fit_1", "fit_2"]


def test_units_of_tables_are_plain_letters():
    """Some of Mantid's files do not take others."""
    fitted = SimpleNamespace(
        covariance=np.diag([0.04]),
        parameters=np.array([1.5]),
        basis=SimpleNamespace(names=("Si-Si 2.35 Å xx",)),
    )
    elastic = SimpleNamespace(
        independent=("C11",), constant=lambda _: (160.0, 2.0), bulk_modulus=(98.0, 1.0)
    )
    fake = SimpleNamespace(
        parameter_estimates=InversionResult.parameter_estimates.fget(fitted),
        fits=(),
        elastic=SimpleNamespace(estimates=ElasticConstants.estimates.fget(elastic)),
    )
    table = mantid_bridge.table_of(fake)
    assert table.row(0) == {
        "parameter": "Si-Si 2.35 Angstrom xx",
        "value": 1.5,
        "sigma": pytest.approx(0.2),
        "unit": "eV/Angstrom^2",
    }
    assert table.row(1) == {"parameter": "C11", "value": 160.0, "sigma": 2.0, "unit": "GPa"}
    assert table.row(2)["parameter"] == "bulk modulus"
