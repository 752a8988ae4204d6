"""InvertForceConstants gives what the core gives, and behaves as Mantid's algorithms do."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import phonopy
import pytest
from mantid.api import AlgorithmManager, AnalysisDataService

from fcinv_core import Axis, ForceConstants, SQEHistogram, invert
from fcinv_core.inversion.inputs import InversionInputs

pytestmark = pytest.mark.usefixtures("few_samples")

SPARSE = "five_orientations_HHL0_slice_clean"


@pytest.fixture
def compare(simpleapi, silicon_file, truth_file):
    """Call it without a refinement, which takes seconds."""

    def run(workspace="measured", **options):
        given = {
            "Structure": silicon_file,
            "StartForceConstants": truth_file,
            "EnergyResolution": 2.4,
            "Refine": False,
            "OutputWorkspace": "table",
        }
        return simpleapi.InvertForceConstants(InputWorkspace=workspace, **(given | options))

    return run


def rows(table):
    return {row["parameter"]: row for row in (table.row(i) for i in range(len(table)))}


def test_it_is_what_the_core_finds_in_the_file(
    compare, load, mantid_file, silicon_file, truth_file, any_signal
):
    measured = load(any_signal)
    found = compare(
        OutputSimulation="fit", OutputResidual="residual", OutputDispersion="dispersion"
    )
    file = SQEHistogram.load(mantid_file(f"si_300K_{any_signal}.nxs"))
    inputs = InversionInputs.from_files(silicon_file, start=truth_file)
    known = invert([file], inputs.crystal, start=inputs.start, energy_fwhm=2.4, refine=False)
    assert found.TrustVerdict == known.verdict.trust
    assert found.Deviance == pytest.approx(known.deviance_per_dof, rel=1e-9)
    table = rows(found.OutputWorkspace)
    for parameter, value in zip(known.basis.names, known.parameters, strict=True):
        row = table[parameter.replace("Å", "Angstrom")]
        assert row["value"] == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert row["unit"] == "eV/Angstrom^2"
    for nuisance, estimate in known.fits[0].nuisance.items():
        assert table[nuisance]["value"] == pytest.approx(estimate.value, rel=1e-6, abs=1e-9)
        assert table[nuisance]["sigma"] == pytest.approx(estimate.sigma, rel=1e-6, abs=1e-9)
    fit = found.OutputSimulation.getSignalArray()
    np.testing.assert_allclose(fit, known.simulated[0].signal, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(fit), ~file.covered)
    residual = found.OutputResidual.getSignalArray()
    np.testing.assert_allclose(residual, known.fits[0].residual, rtol=1e-5, atol=1e-6)
    branches = found.OutputDispersion
    for i in range(branches.getNumberHistograms()):
        np.testing.assert_allclose(branches.readY(i), known.dispersion.energy_mev[:, i])
        np.testing.assert_allclose(branches.readE(i), known.dispersion.sigma_mev[:, i])
    for made in (found.OutputSimulation, found.OutputResidual):
        for i in range(measured.getNumDims()):
            own, other = made.getDimension(i), measured.getDimension(i)
            assert (own.name, own.getNBins()) == (other.name, other.getNBins())
    left = ["dispersion", "fit", "measured", "residual", "table"]
    assert sorted(AnalysisDataService.getObjectNames()) == left


def test_a_slice_from_end_to_end(simpleapi, load, silicon_file, tmp_path):
    """The shipped network, refinement and files."""
    load(SPARSE)
    paths = {
        "OutputForceConstants": tmp_path / "fc.yaml",
        "ReportFile": tmp_path / "report.html",
        "ResultFile": tmp_path / "result.json",
    }
    found = simpleapi.InvertForceConstants(
        InputWorkspace="measured",
        Structure=silicon_file,
        EnergyMin=5.0,
        EnergyMax=70.0,
        MaxIterations=12,
        Seed=3,
        OutputWorkspace="table",
        **{name: str(path) for name, path in paths.items()},
    )
    result = json.loads(paths["ResultFile"].read_text())
    assert result["verdict"]["trust"] == found.TrustVerdict in ("yes", "caution")
    assert result["deviance_per_dof"] == pytest.approx(found.Deviance)
    settings = result["settings"]
    assert settings["model"]["name"].startswith("Si") and result["seed"] == 3
    assert settings["energy_range_mev"] == [5.0, 70.0] and settings["max_iterations"] == 12
    assert result["inputs"] == [{"name": "measured"}]
    assert "<html" in paths["ReportFile"].read_text()
    phonon = phonopy.load(str(paths["OutputForceConstants"]), log_level=0)
    phonon.run_qpoints([[0, 0, 0]])
    top = phonon.qpoints.frequencies.max() * 4.135667696
    assert top == pytest.approx(64.0, abs=2.5)  # meV, Raman line of silicon: 64.2


def test_the_history_of_a_result_repeats_it(compare, load):
    load(SPARSE)
    compare(Seed=3, EnergyMax=60.0)
    again = AnalysisDataService["table"].getHistory().lastAlgorithm()
    assert again.name() == "InvertForceConstants" and again.getPropertyValue("Seed") == "3"
    again.setProperty("OutputWorkspace", "repeated")
    again.execute()
    first, second = rows(AnalysisDataService["table"]), rows(AnalysisDataService["repeated"])
    assert first == second


def test_joint_inversions_have_nuisances_and_copies_of_each(simpleapi, compare, load):
    load(SPARSE)
    load("HK0_map_30meV_clean", "map")
    load("one_orientation_HHL0_slice_clean", "other")
    simpleapi.GroupWorkspaces(["map", "other"], OutputWorkspace="more")
    found = compare(AdditionalWorkspaces="more", OutputSimulation="fit")
    assert list(found.OutputSimulation.getNames()) == ["fit_1", "fit_2", "fit_3"]
    for made, name in zip(("fit_1", "fit_2", "fit_3"), ("measured", "map", "other"), strict=True):
        own, other = AnalysisDataService[made], AnalysisDataService[name]
        assert own.getSignalArray().shape == other.getSignalArray().shape
    table = rows(found.OutputWorkspace)
    assert {f"scale of {name}" for name in ("measured", "map", "other")} <= table.keys()


def test_a_group_is_inverted_one_by_one(simpleapi, compare, load):
    load(SPARSE, "a")
    load("one_orientation_HHL0_slice_clean", "b")
    simpleapi.GroupWorkspaces(["a", "b"], OutputWorkspace="both")
    compare("both")
    assert sorted(AnalysisDataService["table"].getNames()) == ["a_table", "b_table"]


def test_normalization_tells_what_empty_bins_are_worth(simpleapi, compare, load):
    load("HHL0_slice_clean")
    load("HHL0_slice_clean_data", "data")
    load("HHL0_slice_norm", "norm")
    plain = compare()
    known = compare(InputDataWorkspace="data", InputNormalizationWorkspace="norm")
    assert known.Deviance != plain.Deviance
    load("HHL0_slice_data", "data")  # of other counts
    with pytest.raises(RuntimeError, match="one call of MDNorm"):
        compare(InputDataWorkspace="data", InputNormalizationWorkspace="norm")


def test_cancelling_takes_less_than_a_second_and_leaves_nothing(load, silicon_file):
    load(SPARSE)
    algorithm = AlgorithmManager.create("InvertForceConstants")
    algorithm.setRethrows(True)
    for name, value in (
        ("InputWorkspace", "measured"),
        ("Structure", silicon_file),
        ("OutputWorkspace", "table"),
    ):
        algorithm.setProperty(name, value)
    pressed = []

    def press():
        pressed.append(time.monotonic())
        algorithm.cancel()

    threading.Timer(3.0, press).start()
    with pytest.raises(KeyboardInterrupt):
        algorithm.execute()
    assert time.monotonic() - pressed[0] < 1.0
    assert not algorithm.isExecuted() and "table" not in AnalysisDataService


def without(histogram, path, simpleapi, **changes):
    """A workspace like a measurement whose logs lack something."""
    known = {"ub": histogram.ub, "temperature": 300.0, "incident_energy": 80.0} | changes
    SQEHistogram.from_arrays(histogram.axes, histogram.signal, histogram.variance, **known).save(
        path
    )
    return simpleapi.LoadMD(str(path), OutputWorkspace="measured")


@pytest.mark.parametrize(
    "lacking, named, told",
    [
        ("temperature", "Temperature", "sample logs of measured"),
        ("incident_energy", "EnergyResolution", "sample logs of measured"),
        ("ub", "InputWorkspace", "UB"),
    ],
)
def test_what_a_workspace_lacks_is_asked_for(
    simpleapi, mantid_file, silicon_file, tmp_path, lacking, named, told
):
    histogram = SQEHistogram.load(mantid_file(f"si_300K_{SPARSE}.nxs"))
    without(histogram, tmp_path / "lacking.nxs", simpleapi, **{lacking: None})
    algorithm = AlgorithmManager.create("InvertForceConstants")
    algorithm.setProperty("InputWorkspace", "measured")
    algorithm.setProperty("Structure", silicon_file)
    algorithm.setProperty("OutputWorkspace", "x")
    issues = algorithm.validateInputs()
    assert list(issues) == [named] and told in issues[named]
    if named != "InputWorkspace":
        algorithm.setProperty(named, 5.0)
        assert algorithm.validateInputs() == {}


def test_energy_must_be_an_axis(simpleapi, tmp_path, silicon_file):
    axes = [Axis.along(d, np.array([-0.1, 0.1])) for d in ([1, 0, 0], [0, 1, 0], [0, 0, 1])]
    ones = np.ones((1, 1, 1))
    SQEHistogram.from_arrays(axes, ones, ones, ub=np.eye(3) / 5.4).save(tmp_path / "q.nxs")
    simpleapi.LoadMD(str(tmp_path / "q.nxs"), OutputWorkspace="q")
    algorithm = AlgorithmManager.create("InvertForceConstants")
    algorithm.setProperty("InputWorkspace", "q")
    assert "no energy-transfer dimension" in algorithm.validateInputs()["InputWorkspace"]


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"EnergyMin": 50.0, "EnergyMax": 20.0}, "EnergyMax"),
        ({"SupercellMatrix": "2,2,2,2"}, "SupercellMatrix"),
        ({"BornFile": "/nowhere/BORN"}, "BornFile"),
        ({"Model": "Si-direct"}, "Model"),
        ({"AdditionalWorkspaces": "nowhere"}, "AdditionalWorkspaces"),
        ({"InputDataWorkspace": "measured"}, "InputNormalizationWorkspace"),
    ],
)
def test_what_can_be_caught_before_is(load, silicon_file, truth_file, wrong, named):
    load(SPARSE)
    algorithm = AlgorithmManager.create("InvertForceConstants")
    algorithm.setProperty("InputWorkspace", "measured")
    algorithm.setProperty("Structure", silicon_file)
    algorithm.setProperty("StartForceConstants", truth_file)
    algorithm.setProperty("OutputWorkspace", "x")
    for name, value in wrong.items():
        algorithm.setProperty(name, value)
    issues = algorithm.validateInputs()
    assert list(issues) == [named] and "\n" not in issues[named]


def test_what_only_the_work_finds_is_one_line(compare, load, truth_file, tmp_path):
    load(SPARSE)
    for options, told in (
        ({"StartForceConstants": "", "Model": "Xx"}, "no model 'Xx'"),
        ({"Structure": truth_file.replace("Si_dft", "MgO_dft")}, "lattice|structure"),
        ({"EnergyMin": 75.0}, "nothing to fit"),
        ({"ReportFile": str(tmp_path / "no" / "report.html")}, "cannot write"),
    ):
        with pytest.raises(RuntimeError, match=told) as caught:
            compare(**options)
        assert "Traceback" not in str(caught.value)
    assert sorted(AnalysisDataService.getObjectNames()) == ["measured"]


def test_the_background_can_be_held_at_zero(compare, load):
    load(SPARSE)
    for kind, zero in (("Flat", ["background_slope"]), ("None", ["background", "elastic_tail"])):
        table = rows(compare(Background=kind).OutputWorkspace)
        assert all(abs(table[name]["value"]) < 1e-6 for name in zero)


def test_force_constants_of_the_file_come_back(compare, load, truth_file, tmp_path):
    load(SPARSE)
    path = tmp_path / "out.yaml"
    compare(OutputForceConstants=str(path))
    written, truth = (ForceConstants.from_file(file) for file in (path, truth_file))
    points = np.random.default_rng(0).uniform(size=(20, 3))
    np.testing.assert_allclose(written.frequencies(points), truth.frequencies(points), atol=0.05)
