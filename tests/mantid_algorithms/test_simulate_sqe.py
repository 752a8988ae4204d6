"""SimulateSQE gives what the core gives, in any axis order and projection."""

from __future__ import annotations

import numpy as np
import pytest
from mantid.api import AnalysisDataService

from fcinv_core import ForceConstants, SQEHistogram
from fcinv_core.scattering import simulate_histogram


@pytest.fixture(scope="module")
def truth(truth_file):
    return ForceConstants.from_file(truth_file)


def test_it_is_what_the_core_simulates_on_the_file(
    simpleapi, load, mantid_file, truth, truth_file, any_file
):
    measured = load(any_file)
    simulated = simpleapi.SimulateSQE(
        InputWorkspace=measured,
        ForceConstants=truth_file,
        EnergyResolution=2.4,
        Scale=3.0,
        Background=0.25,
        OutputWorkspace="simulated",
    )
    file = SQEHistogram.load(mantid_file(f"si_300K_{any_file}.nxs"))
    known = simulate_histogram(truth, file, energy_fwhm=2.4)
    np.testing.assert_allclose(
        simulated.getSignalArray(), 3.0 * known.signal + 0.25, rtol=1e-9, atol=0
    )
    np.testing.assert_array_equal(np.isnan(simulated.getSignalArray()), ~file.covered)
    assert simulated.getNumDims() == measured.getNumDims()
    for i in range(measured.getNumDims()):
        own, other = simulated.getDimension(i), measured.getDimension(i)
        assert (own.name, own.getNBins()) == (other.name, other.getNBins())
        assert (own.getMinimum(), own.getMaximum()) == (other.getMinimum(), other.getMaximum())
    assert sorted(AnalysisDataService.getObjectNames()) == ["measured", "simulated"]


def test_all_bins_without_the_coverage(simpleapi, load, truth_file):
    measured = load("five_orientations_HHL0_slice_clean")
    covered, everywhere = (
        simpleapi.SimulateSQE(
            InputWorkspace=measured,
            ForceConstants=truth_file,
            EnergyResolution=2.4,
            ApplyCoverage=apply,
            OutputWorkspace=name,
        ).getSignalArray()
        for apply, name in ((True, "covered"), (False, "everywhere"))
    )
    assert np.isfinite(everywhere).all() and np.isnan(covered).any()
    where = np.isfinite(covered)
    # which bins are simulated decides a little of how finely they are sampled
    scale = covered[where].max()
    np.testing.assert_allclose(everywhere[where], covered[where], atol=2e-3 * scale)


def test_temperature_is_that_of_the_logs_unless_it_is_given(simpleapi, load, truth_file):
    measured = load("five_orientations_HHL0_slice_clean")
    options = {"EnergyResolution": 2.4, "OutputWorkspace": "simulated"}
    found = [
        np.nansum(
            simpleapi.SimulateSQE(
                InputWorkspace=measured, ForceConstants=truth_file, **options, **more
            ).getSignalArray()
        )
        for more in ({}, {"Temperature": 300.0}, {"Temperature": 5.0})
    ]
    assert found[0] == found[1] and found[2] < 0.8 * found[0]


def test_resolutions_of_all_kinds(simpleapi, load, truth_file, tmp_path):
    measured = load("five_orientations_HHL0_slice_clean")
    table = tmp_path / "widths.txt"
    table.write_text("# meV meV\n-80 2.4\n80, 2.4\n")
    signals = [
        simpleapi.SimulateSQE(
            InputWorkspace=measured,
            ForceConstants=truth_file,
            OutputWorkspace="simulated",
            **resolution,
        ).getSignalArray()
        for resolution in (
            {},  # 3 % of 80 meV
            {"EnergyResolution": 2.4},
            {"EnergyResolutionCoefficients": [2.4, 0.0]},
            {"EnergyResolutionFile": str(table)},
        )
    ]
    for signal in signals[1:]:
        np.testing.assert_allclose(signal, signals[0], rtol=1e-9)


def test_bins_named_as_in_mdnorm(simpleapi, load, mantid_file, truth_file):
    """The dimensions of a file, spelt out, in an order of their own."""
    made = simpleapi.SimulateSQE(
        ForceConstants=truth_file,
        Temperature=300.0,
        EnergyResolution=2.4,
        QDimension0=[1, 1, 0],
        QDimension1=[1, -1, 0],
        QDimension2=[0, 0, 1],
        Dimension0Name="DeltaE",
        Dimension0Binning=[2, 1, 74],
        Dimension1Name="QDimension0",
        Dimension1Binning=[0.5, 0.1, 5.0],
        Dimension2Name="QDimension2",
        Dimension2Binning=[-0.15, 0.15],
        Dimension3Name="QDimension1",
        Dimension3Binning=[-0.15, 0.15],
        OutputWorkspace="made",
    )
    names = [made.getDimension(i).name for i in range(4)]
    assert names == ["DeltaE", "[H,H,0]", "[0,0,L]", "[H,-H,0]"]
    assert made.getSignalArray().shape == (72, 45, 1, 1)
    like = load("HHL0_slice")
    known = simpleapi.SimulateSQE(
        InputWorkspace=like,
        ForceConstants=truth_file,
        EnergyResolution=2.4,
        OutputWorkspace="known",
    ).getSignalArray()[:, 0, 0, :]
    found = made.getSignalArray()[:, :, 0, 0].T
    where = np.isfinite(known)
    np.testing.assert_allclose(found[where], known[where], atol=3e-3 * np.nanmax(known))
    lattice = made.getExperimentInfo(0).sample().getOrientedLattice()
    assert lattice.a() == pytest.approx(5.431, abs=0.05)


def test_force_constants_without_a_structure(simpleapi, load, truth, truth_file, tmp_path):
    from phonopy.file_IO import write_FORCE_CONSTANTS
    from phonopy.interface.vasp import write_vasp

    load("five_orientations_HHL0_slice_clean")
    phonon = truth.to_phonopy()
    path, structure = str(tmp_path / "FORCE_CONSTANTS"), str(tmp_path / "POSCAR")
    write_FORCE_CONSTANTS(phonon.force_constants, path, p2s_map=phonon.primitive.p2s_map)
    write_vasp(structure, phonon.unitcell)
    files = {"InputWorkspace": "measured", "OutputWorkspace": "found", "ForceConstants": path}
    with pytest.raises(RuntimeError, match="without a structure"):
        simpleapi.SimulateSQE(**files)
    with pytest.raises(RuntimeError, match="2 x 64 atoms.*give the supercell of the file"):
        simpleapi.SimulateSQE(Structure=structure, SupercellMatrix="3,3,3", **files)
    found = simpleapi.SimulateSQE(Structure=structure, SupercellMatrix="2,2,2", **files)
    known = simpleapi.SimulateSQE(
        InputWorkspace="measured", ForceConstants=truth_file, OutputWorkspace="known"
    )
    signal = known.getSignalArray()
    np.testing.assert_allclose(found.getSignalArray(), signal, atol=1e-3 * np.nanmax(signal))


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({}, {"Temperature", "EnergyResolution", "Dimension0Binning", "Dimension3Binning"}),
        ({"Dimension0Binning": "0,0.1,-1"}, {"Dimension0Binning"}),
        ({"Dimension1Binning": "0.1"}, {"Dimension1Binning"}),
        ({"Dimension2Name": "DeltaE"}, {"Dimension0Name"}),
        ({"SupercellMatrix": "2,2"}, {"SupercellMatrix"}),
        ({"EnergyResolution": 2.0, "EnergyResolutionCoefficients": "2,0"},
         {"EnergyResolutionCoefficients"}),
        ({"EnergyResolutionFile": "/nowhere.txt"}, {"EnergyResolutionFile"}),
    ],
)  # fmt: skip
def test_what_can_be_caught_before_is(truth_file, wrong, named):
    from mantid.api import AlgorithmManager

    algorithm = AlgorithmManager.create("SimulateSQE")
    algorithm.setProperty("ForceConstants", truth_file)
    algorithm.setProperty("OutputWorkspace", "x")
    for name, value in wrong.items():
        algorithm.setProperty(name, value)
    issues = algorithm.validateInputs()
    assert named <= issues.keys()
    assert all(len(text) > 10 and "\n" not in text for text in issues.values())
    with pytest.raises(RuntimeError, match="Some invalid Properties found"):
        algorithm.execute()
