"""Exposure of bins: against real Mantid, MDNorm's algorithm step by step, and known cases."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import h5py
import numpy as np
import pytest
from scattering.mdnorm_reference import mdnorm

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, ExperimentInfo, SQEHistogram
from fcinv_core.scattering.coverage import exposure, exposure_of_runs
from fcinv_core.scattering.detectors import DetectorPixels

INCIDENT_ENERGY = 80.0
ENERGY_RANGE = (-10.0, 76.0)
UB = np.array([[0.02, 0.18, 0.01], [0.03, -0.02, 0.15], [0.21, 0.04, -0.03]])
FILES = (
    "si_300K_4d",
    "si_300K_4K0_slice_energy_first",
    "si_300K_HHL0_slice",
    "si_300K_HK0_map_30meV",
    "si_300K_five_orientations_HHL0_slice",
    "si_300K_one_orientation_4d",
    "si_300K_one_orientation_HHL0_slice",
)


@pytest.fixture(scope="module")
def load(mantid_file):
    return cache(lambda name: SQEHistogram.load(mantid_file(f"{name}.nxs")))


@pytest.fixture(scope="module")
def written(load):
    """`exposure_of_runs`: what the MDNorm that wrote the file gave."""
    return cache(lambda name: exposure_of_runs(load(name)))


def runs_of(histogram):
    """Directions of all pixels and rotations of all runs, for the reference."""
    rotations = np.array([info.rotation for info in histogram.experiments])
    return DetectorPixels.from_histogram(histogram).directions, rotations


def right_exposure(histogram):
    directions, rotations = runs_of(histogram)
    pixels = DetectorPixels(directions, np.ones(len(directions)))
    return exposure(histogram, pixels, INCIDENT_ENERGY, rotations, ENERGY_RANGE)


def overlap(a, b):
    """Intersection over union."""
    return (a & b).sum() / (a | b).sum()


# ------------------------------------------------------------------- real Mantid


@pytest.mark.parametrize("suffix", ["", "_clean"])
@pytest.mark.parametrize("name", FILES)
def test_measured_bins_are_those_of_real_mantid(load, written, name, suffix):
    assert overlap(written(name) > 0, load(name + suffix).covered) > 0.9998


@pytest.mark.parametrize("name", FILES)
def test_normalisation_is_that_of_real_mantid(load, written, name):
    """The files with drawn counts have it as signal / variance, wherever something was counted."""
    clean, found = load(f"{name}_clean"), written(name)
    counted = clean.covered & (clean.signal > 0)
    counted &= found > 0.05 * np.nanmedian(found)
    assert counted.sum() > 40
    ratio = (clean.signal[counted] / clean.variance[counted]) / found[counted]
    assert np.median(ratio) == pytest.approx(1, abs=1e-5)
    # Mantid's coordinates are float32: here and there a piece counts in the next bin.
    assert np.mean(np.abs(ratio - 1) < 1e-3) > 0.999


def test_normalisation_workspace_of_real_mantid(load):
    norm = load("si_300K_HHL0_slice_norm")
    found = exposure_of_runs(norm)
    np.testing.assert_array_equal(found > 0, norm.signal > 0)
    large = norm.signal > 0.05 * np.median(norm.signal[norm.signal > 0])
    np.testing.assert_allclose(found[large], norm.signal[large], rtol=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_every_bin_in_which_mantid_has_events_is_covered(load, name):
    """ConvertToMD places events by its own code; none lies where the spectrometer cannot see."""
    histogram = load(name)
    events = histogram.num_events > 0
    covered = np.isfinite(right_exposure(histogram))
    assert covered[events].all()
    # Not because all is covered; and Mantid's counts without normalisation are explained.
    assert covered.mean() < 0.8
    assert covered[np.isinf(histogram.signal)].all()


@pytest.mark.parametrize("name", [name for name in FILES if "orientation" in name])
def test_reference_is_what_wrote_the_files(load, name):
    """The step-by-step algorithm, with the error of that version, is real MDNorm to 5 digits."""
    clean = load(f"{name}_clean")
    directions, rotations = runs_of(clean)
    arguments = (clean, directions, INCIDENT_ENERGY, rotations, ENERGY_RANGE)
    expected = mdnorm(*arguments, error_of_2019=True)
    assert overlap(expected > 0, clean.covered) >= 0.999
    counted = clean.covered & (clean.signal > 0) & (expected > 0)
    ratio = (clean.signal[counted] / clean.variance[counted]) / expected[counted]
    assert np.mean(np.abs(ratio - 1) < 1e-3) > 0.99
    assert np.median(ratio) == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------- step by step


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("si_300K_4d", 15),
        ("si_300K_4K0_slice_energy_first", 15),
        ("si_300K_HHL0_slice", 5),
        ("si_300K_HK0_map_30meV", 10),
        ("si_300K_five_orientations_HHL0_slice", 1),
        ("si_300K_one_orientation_4d", 1),
    ],
)
def test_exposure_is_the_reference(load, name, every, error):
    histogram = load(name)
    directions, rotations = runs_of(histogram)
    arguments = (INCIDENT_ENERGY, rotations[::every], ENERGY_RANGE)
    pixels = DetectorPixels(directions, np.ones(len(directions)))
    found = exposure(histogram, pixels, *arguments, energy_border_error=error)
    expected = mdnorm(histogram, directions, *arguments, error_of_2019=error)
    np.testing.assert_array_equal(np.isfinite(found), expected > 0)
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("energy_range", [(2.0, 74.0), (10.0, 40.0), (-30.0, 79.0)])
def test_error_with_energy_borders_at_the_ends_of_trajectories(load, energy_range):
    """Where a border coincides with an end, Mantid's order of the two decides."""
    histogram = load("si_300K_one_orientation_HHL0_slice")
    directions, rotations = runs_of(histogram)
    arguments = (INCIDENT_ENERGY, rotations, energy_range)
    pixels = DetectorPixels(directions, np.full(len(directions), 0.5))
    found = exposure(
        histogram, pixels, *arguments, charges=np.array([3.0]), energy_border_error=True
    )
    expected = 1.5 * mdnorm(histogram, directions, *arguments, error_of_2019=True)
    np.testing.assert_array_equal(np.isfinite(found), expected > 0)
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-6 * expected.max())


# -------------------------------------------------------------------- versions


def written_by(histogram, change):
    """The histogram with another history."""
    with h5py.File("history", "w", driver="core", backing_store=False) as file:
        with h5py.File(h5py.h5f.open_file_image(histogram.mantid_groups)) as original:
            original.copy("MDHistoWorkspace", file)
        change(file["MDHistoWorkspace"])
        file.flush()
        return replace(histogram, mantid_groups=file.id.get_file_image())


def set_version(text):
    def change(entry):
        del entry["process/MantidEnvironment/data"]
        entry["process/MantidEnvironment/data"] = f"Framework Version: {text}\nOS name: Linux\n"

    return change


def without_mdnorm(entry):
    for name, record in entry["process"].items():
        if record["data"][()].ravel()[0].startswith(b"Algorithm: MDNorm v1"):
            del entry[f"process/{name}"]


@pytest.mark.parametrize(
    "change",
    [
        set_version("6.9.0"),
        set_version("4.1.0"),
        set_version("3.13.0"),
        without_mdnorm,
        lambda entry: entry.pop("process"),
        lambda entry: entry["process"].pop("MantidEnvironment"),
    ],
    ids=["6.9.0", "4.1.0", "3.13.0", "without MDNorm", "without history", "without version"],
)
def test_other_versions_do_not_have_the_error(load, written, change):
    name = "si_300K_one_orientation_HHL0_slice"
    expected = right_exposure(load(name))
    assert overlap(expected > 0, written(name) > 0) < 0.5
    np.testing.assert_array_equal(exposure_of_runs(written_by(load(name), change)), expected)


def test_other_builds_of_early_2019_have_the_error(load, written):
    name = "si_300K_one_orientation_HHL0_slice"
    found = exposure_of_runs(written_by(load(name), set_version("3.13.20190211.1035")))
    np.testing.assert_array_equal(found, written(name))


# ----------------------------------------------------------------------- known cases


def bank(n=40, seed=1):
    rng = np.random.default_rng(seed)
    return DetectorPixels(rng.normal(size=(n, 3)), rng.uniform(0.5, 2.0, n))


def turned(*degrees):
    about_y = np.radians(degrees)
    c, s, o = np.cos(about_y), np.sin(about_y), np.zeros(len(degrees))
    return np.moveaxis(np.array([[c, o, s], [o, o + 1, o], [-s, o, c]]), -1, 0)


def grid(edges, order=(0, 1, 2, 3), directions=((1, 0, 0), (0, 1, 0), (0, 0, 1)), **keywords):
    axes = [Axis.along(d, e) for d, e in zip(directions, edges[:3], strict=True)]
    axes.append(Axis.energy_transfer(edges[3]))
    axes = [axes[i] for i in order]
    keywords = {"ub": UB, **keywords}
    return SQEHistogram.from_arrays(axes, np.zeros([axis.n_bins for axis in axes]), **keywords)


EVERYWHERE = [np.linspace(-20, 20, 9)] * 3 + [np.linspace(-12, 80, 24)]
SOMEWHERE = [np.linspace(-4, 3, 15), np.linspace(-6, 2, 5), [-2.0, 2.5], np.linspace(1, 60, 21)]


def test_everything_seen_is_somewhere():
    """All energies of all pixels end up in a grid that holds all: solid angle x charge x range."""
    pixels, rotations, charges = bank(), turned(0, 30, 75), np.array([1.0, 0.5, 3.0])
    found = exposure(
        grid(EVERYWHERE), pixels, INCIDENT_ENERGY, rotations, ENERGY_RANGE, charges=charges
    )
    expected = pixels.solid_angles.sum() * charges.sum() * (ENERGY_RANGE[1] - ENERGY_RANGE[0])
    assert np.nansum(found) == pytest.approx(expected, rel=1e-12)


def test_one_pixel_step_by_step():
    """A pixel at 90° in the plane, UB = 1/2π: Q = (-kf, 0, ki), by hand."""
    edges = [[-3.0, -2.0, -1.0], [-1.0, 1.0], [0.0, 10.0], [0.0, 100.0]]
    histogram = grid(edges, ub=np.eye(3) / (2 * np.pi))
    pixels = DetectorPixels(np.array([[1.0, 0.0, 0.0]]), np.array([0.25]))
    found = exposure(histogram, pixels, 100.0, np.eye(3)[None], (0.0, 99.0))
    energy = 2.0721248  # meV Å² of a neutron with k = 1 1/Å
    expected = 0.25 * energy * np.array([3.0**2 - 2.0**2, 2.0**2 - 1.0**2])
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_against_many_points_on_each_trajectory():
    histogram = grid(SOMEWHERE, directions=((1, 1, 0), (1, -1, 0), (0, 0, 1)))
    pixels, rotations = bank(), turned(10, 50)
    found = exposure(histogram, pixels, INCIDENT_ENERGY, rotations, ENERGY_RANGE)
    step = 86 / 20000
    transfer = np.arange(-10, 76, step) + step / 2
    k_f = np.sqrt((80 - transfer) / 2.0721248)
    expected = np.zeros(histogram.shape)
    for rotation in rotations:
        for direction, weight in zip(pixels.directions, pixels.solid_angles, strict=True):
            q_lab = np.array([0, 0, np.sqrt(80 / 2.0721248)]) - k_f[:, None] * direction
            hkl = np.linalg.solve(2 * np.pi * UB, rotation.T @ q_lab.T)
            x = np.linalg.solve(histogram.hkl_matrix, hkl)
            edges = [axis.edges for axis in histogram.axes]
            expected += weight * step * np.histogramdd(np.vstack([x, transfer]).T, edges)[0]
    assert (expected > 0).sum() > 50
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=5 * 2 * step)


@pytest.mark.parametrize("order", [(3, 0, 1, 2), (2, 3, 0, 1), (1, 0, 3, 2)])
def test_order_of_the_axes_changes_nothing(order):
    arguments = (bank(), INCIDENT_ENERGY, turned(0, 40), ENERGY_RANGE)
    expected = exposure(grid(SOMEWHERE), *arguments)
    found = exposure(grid(SOMEWHERE, order), *arguments)
    np.testing.assert_allclose(found, np.transpose(expected, order), rtol=1e-12)


def test_bins_of_different_width_are_sums_of_fine_ones():
    arguments = (bank(), INCIDENT_ENERGY, turned(0, 40), ENERGY_RANGE)
    fine = np.nan_to_num(exposure(grid(SOMEWHERE), *arguments))
    coarse = [np.delete(SOMEWHERE[0], [2, 3, 9]), *SOMEWHERE[1:3], np.delete(SOMEWHERE[3], 5)]
    found = np.nan_to_num(exposure(grid(coarse), *arguments))
    starts = [np.searchsorted(SOMEWHERE[i], coarse[i][:-1]) for i in (0, 3)]
    expected = np.add.reduceat(np.add.reduceat(fine, starts[0], axis=0), starts[1], axis=3)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_crystallography_convention_turns_q_round():
    arguments = (bank(), INCIDENT_ENERGY, turned(20), ENERGY_RANGE)
    expected = exposure(grid(SOMEWHERE), *arguments)
    reversed_edges = [-np.asarray(edges)[::-1] for edges in SOMEWHERE[:3]]
    other = replace(grid([*reversed_edges, SOMEWHERE[3]]), q_convention="Crystallography")
    found = exposure(other, *arguments)[::-1, ::-1, ::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)


def test_axes_in_q_sample_do_not_depend_on_the_lattice():
    arguments = (bank(), INCIDENT_ENERGY, turned(20, 50), ENERGY_RANGE)
    expected = exposure(grid(SOMEWHERE, ub=np.eye(3) / (2 * np.pi)), *arguments)
    axes = [
        Axis(f"Q_sample_{x}", "Angstrom^-1", "QSample", np.array(edges))
        for x, edges in zip("xyz", SOMEWHERE[:3], strict=True)
    ]
    axes.append(Axis.energy_transfer(SOMEWHERE[3]))
    histogram = SQEHistogram.from_arrays(axes, np.zeros([a.n_bins for a in axes]), ub=UB)
    np.testing.assert_allclose(exposure(histogram, *arguments), expected, rtol=1e-9)


def test_a_lattice_can_be_given():
    arguments = (bank(), INCIDENT_ENERGY, turned(20, 50), ENERGY_RANGE)
    bare = grid(SOMEWHERE, ub=None)
    np.testing.assert_array_equal(
        exposure(bare, *arguments, ub=UB), exposure(grid(SOMEWHERE), *arguments)
    )
    with pytest.raises(FcinvError, match="no lattice"):
        exposure(bare, *arguments)


@pytest.mark.parametrize("error", [False, True])
def test_blocks_of_trajectories_change_nothing(monkeypatch, error):
    arguments = (bank(), INCIDENT_ENERGY, turned(*range(0, 60, 5)), ENERGY_RANGE)
    expected = exposure(grid(SOMEWHERE), *arguments, energy_border_error=error)
    monkeypatch.setattr("fcinv_core.scattering.coverage._TRAJECTORIES", 100)
    monkeypatch.setattr("fcinv_core.scattering.trajectories._CROSSINGS", 50)
    found = exposure(grid(SOMEWHERE), *arguments, energy_border_error=error)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_curves_that_stay_in_a_plane_count_above_it():
    """Pixels at beam height see L = 0, a border of bins, whatever side rounding puts them on."""
    ub = np.eye(3)[[0, 2, 1]] / (2 * np.pi)  # l is up
    edges = [[-20.0, 20.0], [-20.0, 20.0], [-1.0, 0.0, 1.0], [-10.0, 80.0]]
    angles = np.radians(np.linspace(-40, 130, 50))
    directions = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)
    pixels = DetectorPixels(directions, np.ones(50))
    rotations = turned(*np.linspace(-80, 80, 33))
    found = exposure(grid(edges, ub=ub), pixels, 80.0, rotations, (-10.0, 76.0)).ravel()
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(50 * 33 * 86)
    for only, expected in (([-1.0, 0.0], np.nan), ([0.0, 1.0], 50 * 33 * 86)):
        histogram = grid([*edges[:2], only, edges[3]], ub=ub)
        found = exposure(histogram, pixels, 80.0, rotations, (-10.0, 76.0))
        assert found.item() == pytest.approx(expected, nan_ok=True)


def test_nothing_to_see_with():
    nobody = bank().masked(np.zeros(40, bool))
    arguments = (grid(SOMEWHERE), nobody, INCIDENT_ENERGY, turned(0), ENERGY_RANGE)
    assert np.isnan(exposure(*arguments)).all()
    assert np.isnan(exposure(*arguments, energy_border_error=True)).all()


# ------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotations": np.eye(3)}, "give \\(n_runs, 3, 3\\)"),
        ({"rotations": np.zeros((0, 3, 3))}, "give \\(n_runs, 3, 3\\)"),
        ({"charges": np.ones(2)}, "charges \\(2,\\) for 1 runs"),
        ({"incident_energy": -1.0}, "incident energy -1.0 meV"),
        ({"energy_range": (90.0, 95.0)}, "no neutron of 80 meV"),
        ({"energy_range": (10.0, 5.0)}, "no neutron of 80 meV"),
    ],
)
def test_refusals(changes, message):
    arguments = {
        "pixels": bank(),
        "incident_energy": INCIDENT_ENERGY,
        "rotations": turned(0),
        "energy_range": ENERGY_RANGE,
        **changes,
    }
    with pytest.raises(FcinvError, match=message):
        exposure(grid(SOMEWHERE), **arguments)


def test_files_without_what_is_needed(load, tmp_path):
    complete = load("si_300K_one_orientation_HHL0_slice")
    unknown = replace(complete, experiments=(ExperimentInfo(ub=complete.ub),))
    with pytest.raises(FcinvError, match=r"no incident energy .*one_orientation_HHL0_slice.nxs"):
        exposure_of_runs(unknown)
    made = grid(SOMEWHERE, incident_energy=80.0)
    with pytest.raises(FcinvError, match="no instrument definition in histogram"):
        exposure_of_runs(made)
    made.save(tmp_path / "made.nxs")
    with pytest.raises(FcinvError, match=r"made.nxs has no detectors"):
        exposure_of_runs(SQEHistogram.load(tmp_path / "made.nxs"))
