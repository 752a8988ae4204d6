"""SaveMD files of every kind that Mantid may have written, and damaged ones."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from fcinv_core import files
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, ExperimentInfo, GoniometerAxis, SQEHistogram, nexus

NAMES = ("[H,H,0]", "[H,-H,0]", "[0,0,L]", "DeltaE")
SHAPE = (2, 3, 1, 4)
VALUES = np.arange(24, dtype=float).reshape(SHAPE)
LOWER, UPPER = (0.0, -1.5, -0.1, 2.0), (1.0, 1.5, 0.1, 10.0)
HALF = np.linspace(0, 1, 3)


def write_version_2(path, identifiers=("D0", "D1", "D2", "D3"), frames=True):
    """A file as newer SaveMD writes it, by the layout of SaveMD2.cpp."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("MDHistoWorkspace")
        entry.attrs["NX_class"] = np.bytes_("NXentry")
        entry.attrs["SaveMDVersion"] = np.int32(2)
        entry.attrs["QConvention"] = np.bytes_("Crystallography")
        entry["coordinate_system"] = np.array([3], dtype=np.uint32)
        data = entry.create_group("data")
        for i, identifier in enumerate(identifiers):
            edges = np.linspace(LOWER[i], UPPER[i], SHAPE[i] + 1)
            data[identifier] = edges
            data[identifier].attrs["long_name"] = np.bytes_(NAMES[i])
            data[identifier].attrs["units"] = np.bytes_("DeltaE" if i == 3 else "r.l.u.")
            if frames:
                data[identifier].attrs["frame"] = np.bytes_("DeltaE" if i == 3 else "HKL")
        data["signal"] = VALUES.T
        data["signal"].attrs["axes"] = np.bytes_(":".join(reversed(identifiers)))
        data["errors_squared"] = 2 * VALUES.T
        data["num_events"] = np.ones(SHAPE[::-1])
        data["mask"] = (VALUES.T == 5).astype(np.int8)


def write_version_1(path, frame="HKL", coordinate_system=3):
    """A file as SaveMD before 2015 wrote it: flat arrays, dimensions in XML."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("MDHistoWorkspace")
        entry["dimensions"] = np.array([4], dtype=np.int32)
        entry["coordinate_system"] = np.array([coordinate_system], dtype=np.uint32)
        for i, name in enumerate(NAMES):
            integrated = (
                f"<Integrated><UpperLimit>{UPPER[i]:.4f}</UpperLimit>"
                f"<LowerLimit>{LOWER[i]:.4f}</LowerLimit></Integrated>"
            )
            entry.attrs[f"dimension{i}"] = np.bytes_(
                f'<Dimension ID="{name}"><Name>{name}</Name><Units>u</Units>'
                f"<Frame>{'DeltaE' if i == 3 and frame == 'HKL' else frame}</Frame>"
                f"<UpperBounds>{UPPER[i]:.4f}</UpperBounds>"
                f"<LowerBounds>{LOWER[i]:.4f}</LowerBounds>"
                f"<NumberOfBins>{SHAPE[i]:04d}</NumberOfBins>"
                f"{integrated if SHAPE[i] == 1 else ''}</Dimension>"
            )
        first_fastest = VALUES.ravel(order="F")
        entry["signal"] = first_fastest
        entry["errors_squared"] = 2 * first_fastest
        entry["num_events"] = np.ones(24)
        entry["mask"] = (first_fastest == 5).astype(np.int8)


def assert_is_the_synthetic_histogram(histogram):
    assert tuple(axis.name for axis in histogram.axes) == NAMES
    for i, axis in enumerate(histogram.axes):
        np.testing.assert_allclose(axis.edges, np.linspace(LOWER[i], UPPER[i], SHAPE[i] + 1))
    np.testing.assert_array_equal(histogram.signal, VALUES)
    np.testing.assert_array_equal(histogram.variance, 2 * VALUES)
    np.testing.assert_array_equal(histogram.mask, VALUES == 5)
    assert histogram.energy_axis == 3 and histogram.momentum_axes == (0, 1, 2)


@pytest.mark.parametrize("identifiers", [("D0", "D1", "D2", "D3"), NAMES, ("D3", "D1", "D0", "D2")])
def test_version_2_axes_are_found_through_the_signal_only(tmp_path, identifiers):
    write_version_2(tmp_path / "a.nxs", identifiers)
    histogram = SQEHistogram.load(tmp_path / "a.nxs")
    assert_is_the_synthetic_histogram(histogram)
    assert tuple(axis.identifier for axis in histogram.axes) == tuple(identifiers)
    assert histogram.q_convention == "Crystallography" and histogram.coordinate_system == 3
    assert histogram.experiments == () and histogram.temperature is None and histogram.ub is None
    histogram.save(tmp_path / "b.nxs")
    assert_is_the_synthetic_histogram(SQEHistogram.load(tmp_path / "b.nxs"))
    with h5py.File(tmp_path / "b.nxs") as file:
        entry = file["MDHistoWorkspace"]
        assert entry.attrs["QConvention"] == b"Crystallography"
        assert entry["data/signal"].attrs["axes"] == ":".join(reversed(identifiers)).encode()


def test_version_2_without_frames(tmp_path):
    write_version_2(tmp_path / "a.nxs", frames=False)
    assert_is_the_synthetic_histogram(SQEHistogram.load(tmp_path / "a.nxs"))


@pytest.mark.parametrize("frame", ["HKL", "Unknown frame"])
def test_version_1(tmp_path, frame):
    write_version_1(tmp_path / "a.nxs", frame)
    histogram = SQEHistogram.load(tmp_path / "a.nxs")
    assert_is_the_synthetic_histogram(histogram)
    assert histogram.axes[0].momentum_frame == "HKL"
    histogram.save(tmp_path / "b.nxs")
    with h5py.File(tmp_path / "b.nxs") as file:
        assert file["MDHistoWorkspace"].attrs["SaveMDVersion"] == 2
        assert set(file["MDHistoWorkspace"]) == {
            "coordinate_system", "data", "visual_normalization",
        }  # fmt: skip
    assert_is_the_synthetic_histogram(SQEHistogram.load(tmp_path / "b.nxs"))


def made_in_python(**keywords):
    axes = [
        Axis.energy_transfer([0, 1, 2, 3]),
        Axis.along((1, 1, 0), HALF),
        Axis.along((1, -1, 0), [-0.1, 0.1]),
        Axis.along((0, 0, 1), [-0.1, 0.1]),
    ]
    signal = np.arange(6, dtype=float).reshape(3, 2, 1, 1)
    signal[0, 0] = np.nan
    keywords = {"ub": np.diag([0.2, 0.2, 0.25]), "temperature": 12.0, **keywords}
    return SQEHistogram.from_arrays(axes, signal, signal, incident_energy=40.0, **keywords)


def test_histogram_made_in_python_comes_back(tmp_path):
    original = made_in_python()
    original.save(tmp_path / "a.nxs")
    again = SQEHistogram.load(tmp_path / "a.nxs")
    np.testing.assert_array_equal(again.signal, original.signal)
    np.testing.assert_array_equal(again.ub, original.ub)
    np.testing.assert_allclose(again.lattice, (5, 5, 4, 90, 90, 90))
    assert again.temperature == 12 and again.incident_energy == 40
    np.testing.assert_array_equal(again.hkl_matrix, original.hkl_matrix)
    assert [axis.name for axis in again.axes] == [axis.name for axis in original.axes]


def test_runs_made_in_python_come_back(tmp_path):
    exact = np.array([[1 / 3, 1, 0], [2 / 3, -1, 0], [0, 0, 1]])
    axes = [Axis.along(column, HALF) for column in exact.T] + [Axis.energy_transfer(HALF)]
    signal = np.ones((2, 2, 2, 2))
    run = [
        ExperimentInfo(
            ub=np.eye(3) / 5,
            lattice=(5.0, 5.0, 5.0, 90.0, 90.0, 90.0),
            goniometer=(
                GoniometerAxis("omega", angle, (0, 1, 0)),
                GoniometerAxis("chi", 3.5, (0, 0, 1), sense=-1),
            ),
            run_number=f"{1000 + i}",
            w_matrix=exact,
            instrument="LET",
        )
        for i, angle in enumerate(range(0, 120, 10))
    ]
    SQEHistogram(axes, signal, signal, signal, signal < 0, run).save(tmp_path / "a.nxs")
    again = SQEHistogram.load(tmp_path / "a.nxs")
    # Twelve runs: experiment10 must not come before experiment2.
    assert again.run_numbers == tuple(f"{1000 + i}" for i in range(12))
    assert again.orientations == 12
    np.testing.assert_allclose(again.experiments[11].rotation, run[11].rotation, atol=1e-15)
    assert again.experiments[3].instrument == "LET"
    np.testing.assert_array_equal(again.hkl_matrix, exact)


def test_minimal_experiment_is_laid_out_as_mantid_does_it(mantid_file, tmp_path):
    """All that we write is in real Mantid's file, with the same class and type."""
    made_in_python().save(tmp_path / "a.nxs")
    name = "si_300K_one_orientation_HHL0_slice.nxs"
    with h5py.File(tmp_path / "a.nxs") as file, h5py.File(mantid_file(name)) as real:
        ours, theirs = (x["MDHistoWorkspace/experiment0"] for x in (file, real))
        visited = []

        def compare(path, item):
            visited.append(path)
            model = theirs[path]
            assert type(item) is type(model), path
            # Time series have units; the single values that we write have none.
            for attribute in set(model.attrs) - {"units"}:
                types = [h5py.h5a.open(x.id, attribute.encode()).get_type() for x in (item, model)]
                assert types[0].get_class() == types[1].get_class(), (path, attribute)
                if attribute in ("NX_class", "version", "shape_xml", "unit", "sense"):
                    assert item.attrs[attribute] == model.attrs[attribute], (path, attribute)
            if isinstance(item, h5py.Dataset):
                assert item.dtype.kind == model.dtype.kind, path
                assert item.dtype.kind == "S" or item.dtype == model.dtype, path
                assert item.shape == model.shape or path.startswith("logs/"), path
                if item.dtype.kind == "S":
                    ours_type, model_type = item.id.get_type(), model.id.get_type()
                    assert ours_type.get_strpad() == model_type.get_strpad()
                    assert not ours_type.is_variable_str()

        ours.visititems(compare)
        required = (  # without these LoadMD drops the experiment, and the lattice
            "instrument/name", "instrument/instrument_xml/data", "sample/material",
            "sample/num_other_samples", "sample/num_oriented_lattice",
            "sample/oriented_lattice/orientation_matrix", "logs/goniometer/num_axes",
            "instrument/instrument_parameter_map/data", "logs/Ei/value",
        )  # fmt: skip
        assert set(required) <= set(visited)


def test_every_group_has_a_class_and_text_is_fixed_length_ascii(tmp_path):
    made_in_python().save(tmp_path / "a.nxs")
    with h5py.File(tmp_path / "a.nxs") as file:

        def check(path, item):
            if isinstance(item, h5py.Group):
                assert item.attrs["NX_class"].startswith(b"NX"), path
            for attribute in item.attrs:
                kind = h5py.h5a.open(item.id, attribute.encode()).get_type()
                if isinstance(kind, h5py.h5t.TypeStringID):
                    assert not kind.is_variable_str(), (path, attribute)
                    assert kind.get_cset() == h5py.h5t.CSET_ASCII
                    assert kind.get_strpad() == h5py.h5t.STR_NULLTERM

        file.visititems(check)
        data = file["MDHistoWorkspace/data"]
        kinds = {name: data[name].dtype for name in nexus.ARRAYS}
        assert kinds.pop("mask") == np.int8
        assert set(kinds.values()) == {np.dtype(np.float64)}
        assert data["signal"].shape == (1, 1, 2, 3) and data["signal"].chunks == (1, 1, 2, 3)
        assert data["signal"].compression == "gzip"


def experiment(tmp_path, **logs):
    """`ExperimentInfo` of a group with these logs."""
    with h5py.File(tmp_path / "experiment.h5", "w") as file:
        group = file.create_group("experiment0")
        for name, value in logs.items():
            group[f"logs/{name}/value"] = value
        return ExperimentInfo.from_nexus(group)


@pytest.mark.parametrize(
    ("logs", "temperature"),
    [
        ({"SampleTemperature": [300.0]}, 300),
        ({"SampleTemp": np.array([4.0, 5.0, 6.0])}, 5),
        ({"sample_temperature": np.array([4, 8], dtype=np.int32)}, 6),
        ({"T_sample": [np.nan, 7.0]}, 7),
        ({"Temp_Sample": np.float32(1.5)}, 1.5),
        ({"temperature": [b"12.5"]}, 12.5),
        ({"SampleTemp": [0.0], "temperature": [77.0]}, 77),
        ({"SampleTemp": [b"unknown"]}, None),
        ({"SampleTemp": np.array([], dtype=float)}, None),
        ({"T_setpoint": [10.0]}, None),
        ({}, None),
    ],
)
def test_temperature_logs(tmp_path, logs, temperature):
    assert experiment(tmp_path, **logs).temperature == temperature


@pytest.mark.parametrize(
    ("logs", "energy"),
    [
        ({"Ei": [25.0], "EnergyRequest": [30.0]}, 25),
        ({"EnergyRequest": [30.0, 30.0]}, 30),
        ({"efixed": 12.0}, 12),
        ({"Ei": [-1.0]}, None),
    ],
)
def test_incident_energy_logs(tmp_path, logs, energy):
    assert experiment(tmp_path, **logs).incident_energy == energy


def test_other_logs(tmp_path):
    info = experiment(
        tmp_path, run_number=np.array([4711], dtype=np.int32), W_MATRIX=np.arange(9.0)
    )
    assert info.run_number == "4711"
    np.testing.assert_array_equal(info.w_matrix, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    assert experiment(tmp_path, W_MATRIX=np.arange(4.0)).w_matrix is None


def test_goniometer_in_radians_and_clockwise(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["logs/goniometer/num_axes"] = np.array([1], dtype=np.int32)
        axis = file.create_group("logs/goniometer/axis0")
        axis["name"] = np.array([b"phi"])
        axis["angle"] = [np.pi / 2]
        axis["angle"].attrs["unit"] = np.bytes_("rad")
        axis["angle"].attrs["sense"] = np.bytes_("CW")
        axis["rotationaxis"] = [0.0, 1.0, 0.0]
        (found,) = ExperimentInfo.from_nexus(file).goniometer
    assert found == GoniometerAxis("phi", 90, (0, 1, 0), -1)


def test_lattice_without_an_orientation(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        crystal = file.create_group("sample/oriented_lattice")
        for name, value in zip(
            ("a", "b", "c", "alpha", "beta", "gamma"), (3, 4, 5, 90, 90, 120), strict=True
        ):
            crystal[f"unit_cell_{name}"] = [float(value)]
        info = ExperimentInfo.from_nexus(file)
    assert info.lattice == (3, 4, 5, 90, 90, 120) and info.ub is None


def damage(path, change):
    write_version_2(path)
    with h5py.File(path, "a") as file:
        change(file["MDHistoWorkspace"])


def reshape_signal(entry):
    axes = entry["data/signal"].attrs["axes"]
    del entry["data/signal"]
    entry["data/signal"] = np.zeros((4, 3, 2, 1))
    entry["data/signal"].attrs["axes"] = axes


def reverse_edges(entry):
    entry["data/D0"][()] = entry["data/D0"][()][::-1]


def drop(name):
    def change(entry):
        del entry[name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reshape_signal, r"signal has shape \(1, 2, 3, 4\) and the axes have \(2, 3, 1, 4\)"),
        (reverse_edges, r"axis '\[H,H,0\]': bin edges must be"),
        (drop("data/signal"), "damaged or incomplete"),
        (drop("data/errors_squared"), "errors_squared.*damaged or incomplete"),
        (drop("data/D1"), "D1.*damaged or incomplete"),
        (drop("data"), "damaged or incomplete"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, message):
    damage(tmp_path / "a.nxs", change)
    assert_refused(tmp_path / "a.nxs", message)


def test_files_that_are_no_histograms(tmp_path):
    assert_refused(tmp_path / "none.nxs", "no such file")
    assert_refused(tmp_path, "no such file")
    (tmp_path / "text.nxs").write_text("not HDF5")
    assert_refused(tmp_path / "text.nxs", "not an HDF5/NeXus file")
    for entry, message in (
        ("MDEventWorkspace", "holds events"),
        ("mantid_workspace_1", "holds mantid_workspace_1 and no MDHistoWorkspace"),
    ):
        with h5py.File(tmp_path / f"{entry}.nxs", "w") as file:
            file.create_group(entry)
        assert_refused(tmp_path / f"{entry}.nxs", message)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9, 0.999])
def test_truncated_files(mantid_file, tmp_path, fraction):
    content = mantid_file("si_300K_one_orientation_HHL0_slice.nxs").read_bytes()
    path = tmp_path / "cut.nxs"
    path.write_bytes(content[: int(fraction * len(content))])
    assert_refused(path, "damaged or incomplete")


def assert_refused(path, message):
    with pytest.raises(FcinvError, match=message) as caught:
        SQEHistogram.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.nxs"
    path.write_bytes(b"old")
    open_file = open

    def open_on_full_disk(*arguments, **keywords):
        stream = open_file(*arguments, **keywords)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *details):
                stream.close()

            def write(self, content):
                stream.write(content[:100])
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr(files, "open", open_on_full_disk, raising=False)
    with pytest.raises(FcinvError, match="cannot write .*No space left on device"):
        made_in_python().save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nxs"]
    assert path.read_bytes() == b"old"


def test_file_size_limit_ends_in_one_line_not_in_a_crash(tmp_path):
    """The operating system refuses the write half-way, as on a full disk."""
    script = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from fcinv_core.histogram import Axis, SQEHistogram\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "edges = np.arange(41.0)\n"
        "axes = [Axis.along(d, edges) for d in np.eye(3)] + [Axis.energy_transfer([0, 1])]\n"
        "values = np.random.default_rng(0).random((40, 40, 40, 1))\n"
        "histogram = SQEHistogram.from_arrays(axes, values)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    histogram.save(sys.argv[1])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.nxs")],
        capture_output=True, text=True, cwd=root, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("FcinvError cannot write") and done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_and_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(FcinvError, match="cannot write .*No such file"):
        made_in_python().save(tmp_path / "nowhere" / "a.nxs")
    (tmp_path / "a.nxs").mkdir()
    with pytest.raises(FcinvError, match="cannot write"):
        made_in_python().save(tmp_path / "a.nxs")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nxs"]


def test_axes_that_mantid_would_misread_are_refused(tmp_path):
    axes = [Axis.along(d, [0, 1, 3]) for d in np.eye(3)] + [Axis.energy_transfer([0, 1])]
    histogram = SQEHistogram.from_arrays(axes, np.ones((2, 2, 2, 1)))
    with pytest.raises(FcinvError, match="different widths"):
        histogram.save(tmp_path / "a.nxs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a:b", "a/b", "signal", "DeltaE"])
def test_axis_names_that_cannot_name_a_dataset(tmp_path, name):
    """A colon or slash, the name of an array, a name taken: numbered identifiers instead."""
    axes = [Axis(name, "T", "General Frame", np.array([0.0, 1.0])), *made_in_python().axes]
    SQEHistogram.from_arrays(axes, np.ones((1, 3, 2, 1, 1))).save(tmp_path / "a.nxs")
    again = SQEHistogram.load(tmp_path / "a.nxs")
    assert [axis.name for axis in again.axes] == [axis.name for axis in axes]
    assert [axis.identifier for axis in again.axes] == ["D0", "D1", "D2", "D3", "D4"]


def test_coordinate_system_of_the_oldest_files_is_a_log(tmp_path):
    write_version_1(tmp_path / "a.nxs", "Unknown frame")
    with h5py.File(tmp_path / "a.nxs", "a") as file:
        entry = file["MDHistoWorkspace"]
        del entry["coordinate_system"]
        entry["experiment0/logs/CoordinateSystem/value"] = np.array([3], dtype=np.int32)
    assert SQEHistogram.load(tmp_path / "a.nxs").coordinate_system == 3
