"""Inputs that cannot be inverted: one line that says why, exit code 2, nothing left behind.

The good input that each case spoils was written by real Mantid.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import one_error, run
from fake_result import fake_result

from fcinv_core.crystal import ForceConstants

DATA = Path(__file__).parent / "data"
STRUCTURES, FORCE_CONSTANTS = DATA / "structures", DATA / "force_constants"


@pytest.fixture
def good(mantid_file, tmp_path):
    """A copy of a slice through silicon, to be spoilt."""
    return shutil.copy(
        mantid_file("si_300K_one_orientation_HHL0_slice_clean.nxs"), tmp_path / "data.nxs"
    )


@pytest.fixture
def refuse(capsys, tmp_path):
    """Runs ``fcinv invert`` on what must be refused; returns its line of error."""

    def refused(
        file,
        *options,
        structure=STRUCTURES / "Si.cif",
        start="Si_dft.yaml",
        out=tmp_path / "out",
    ):
        present = sorted(tmp_path.iterdir())
        start = ["--start", FORCE_CONSTANTS / start] if start else []
        line = one_error(
            capsys, ["invert", file, "--structure", structure, *start, *options, "-o", out]
        )
        assert sorted(tmp_path.iterdir()) == present
        return line

    return refused


@contextlib.contextmanager
def opened(path):
    with h5py.File(path, "r+") as file:
        yield file["MDHistoWorkspace"]


@contextlib.contextmanager
def file_size_limit(size):
    """No file may grow beyond ``size`` bytes: writing fails half-way as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def remove(group, *words):
    """Delete the children whose names contain one of ``words``."""
    names = [name for name in group if any(word in name.lower() for word in words)]
    assert names
    for name in names:
        del group[name]


# -- the measurement ----------------------------------------------------------------------------


def test_missing_file(refuse, tmp_path):
    assert "no such file" in refuse(tmp_path / "nowhere.nxs")


@pytest.mark.parametrize("content", [b"", b"H,K,L,E\n0,0,0,0\n", bytes(range(256)) * 100])
def test_not_hdf5(refuse, tmp_path, content):
    path = tmp_path / "data.nxs"
    path.write_bytes(content)
    assert "is not an HDF5/NeXus file" in refuse(path)


@pytest.mark.parametrize("kept", [600, 0.1, 0.5, 0.999])
def test_truncated(refuse, good, kept):
    content = good.read_bytes()
    good.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    assert "damaged or incomplete" in refuse(good)


def test_damaged_inside(refuse, good):
    """The compressed signal is overwritten; the file opens and its structure is whole."""
    with opened(good) as entry:
        signal = entry["data/signal"]
        place = signal.id.get_chunk_info(0)
    with open(good, "r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\x55" * place.size)
    assert "damaged or incomplete" in refuse(good)


@pytest.mark.parametrize("name, told", [("MDEventWorkspace", "events"), ("entry", "entry")])
def test_other_kinds_of_nexus_files(refuse, tmp_path, name, told):
    path = tmp_path / "data.nxs"
    with h5py.File(path, "w") as file:
        file.create_group(name)
    line = refuse(path)
    assert f"holds {told}" in line and "SaveMD" in line


def test_no_lattice(refuse, good):
    with opened(good) as entry:
        remove(entry["experiment0/sample"], "oriented_lattice")
    assert "no lattice (UB matrix)" in refuse(good)


def test_no_energy_dimension(refuse, good):
    with opened(good) as entry:
        (axis,) = (d for d in entry["data"].values() if "DeltaE" in str(d.attrs.get("frame")))
        axis.attrs["frame"] = axis.attrs["long_name"] = "Temperature"
        axis.attrs["units"] = "K"
    assert "no energy-transfer dimension" in refuse(good)


@pytest.mark.parametrize(
    "signal, mask, told",
    [
        (np.nan, 0, "nothing is measured"),
        (np.inf, 0, "nothing is measured"),
        (1.0, 1, "nothing is measured"),
        (0.0, 0, "no counted bin"),
        (-1.0, 0, "no counted bin"),
    ],
)
def test_nothing_in_it(refuse, good, signal, mask, told):
    with opened(good) as entry:
        for name in ("signal", "errors_squared"):
            entry["data"][name][...] = signal
        entry["data/mask"][...] = mask
    assert told in refuse(good)


def test_unknown_temperature(refuse, good):
    with opened(good) as entry:
        remove(entry["experiment0/logs"], "temp")
    assert "temperature" in refuse(good)


def test_unknown_resolution(refuse, good):
    with opened(good) as entry:
        remove(entry["experiment0/logs"], "ei", "energy")
    line = refuse(good)
    assert "unknown energy resolution" in line and "--energy-fwhm" in line


# -- the crystal --------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["Si_dft.yaml", None])
def test_wrong_crystal(refuse, good, start):
    line = refuse(good, structure=STRUCTURES / "Ge.cif", start=start)
    assert "Ge" in line and ("5.658" in line) == (start is None)


@pytest.mark.parametrize("start", ["MgO_dft.yaml", None])
def test_wrong_crystal_from_a_phonopy_file(refuse, good, start):
    line = refuse(good, structure=FORCE_CONSTANTS / "MgO_dft.yaml", start=start)
    assert "5.431" in line and "4.256" in line and "give the structure that was measured" in line


@pytest.mark.parametrize(
    "name, content",
    [
        ("Si.cif", None),
        ("Si.cif", b"loop_ hello\n"),
        ("POSCAR", b"silicon\n1.0\n0 0\n"),
        ("POSCAR", b"\x89\xff\x00\x01" * 100),
        ("phonopy.yaml", b"unit_cell: [1, 2\n"),
        ("phonopy.yaml", b"a: 1\n"),
        ("structure.txt", b""),
    ],
)
def test_no_structure(refuse, good, tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refuse(good, structure=path)


def test_folder_for_a_structure(refuse, good):
    assert "is a directory" in refuse(good, structure=STRUCTURES)


# -- the start ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["MgO_dft.yaml", "Ge_standin.yaml"])
def test_start_of_another_crystal(refuse, good, start):
    assert "the start does not belong to the structure" in refuse(good, start=start)


def test_start_without_force_constants(refuse, good, tmp_path):
    path = tmp_path / "start.yaml"
    content = (FORCE_CONSTANTS / "Si_dft.yaml").read_text()
    path.write_text(content[: content.index("\ndisplacements:") + 1])
    assert "neither force constants nor forces" in refuse(good, start=path)


@pytest.mark.parametrize("name", ["FORCE_CONSTANTS", "start.yaml", "force_constants.hdf5"])
def test_unreadable_start(refuse, good, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"2 64\n1 1\n [0.1")
    assert str(path) in refuse(good, start=path)


def test_missing_start(refuse, good, tmp_path):
    assert "does not exist" in refuse(good, start=tmp_path / "nowhere.yaml")


def test_supercell_that_the_start_does_not_have(refuse, good):
    assert "supercell asked for" in refuse(good, "--supercell", 3, 3, 3)


def test_cutoff_below_the_nearest_neighbours(refuse, good):
    assert "nearest-neighbour distance" in refuse(good, "--cutoff", 1)


# -- the output ---------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "result"])
def test_output_that_is_a_file(refuse, good, below):
    assert "is a file" in refuse(good, out=good / below)


@pytest.mark.parametrize("size, earlier", [(2_000, False), (60_000, True)])
def test_full_disk(capsys, monkeypatch, good, tmp_path, size, earlier):
    """Full while the first file is written, or a later one; an earlier result stays whole."""
    import fcinv_core.inversion

    silicon = ForceConstants.from_file(FORCE_CONSTANTS / "Si_dft.yaml")
    result = fake_result(force_constants=silicon)
    monkeypatch.setattr(fcinv_core.inversion, "invert", lambda *a, **k: result)
    out = tmp_path / "out"
    if earlier:
        out.mkdir()
        (out / "report.html").write_text("earlier")
    arguments = ["invert", good, "--structure", STRUCTURES / "Si.cif", "-o", out]
    with file_size_limit(size):
        line = one_error(capsys, arguments)
    assert str(out) in line and "File too large" in line
    left = {path.name: path.read_text() for path in out.iterdir()} if out.exists() else None
    assert left == ({"report.html": "earlier"} if earlier else None)


@pytest.mark.parametrize(
    "arguments, out",
    [
        (["simulate", "--force-constants", FORCE_CONSTANTS / "Si_dft.yaml", "--like"], "s.nxs"),
        (["inspect"], "picture.png"),
    ],
)
def test_full_disk_for_single_files(capsys, good, tmp_path, arguments, out):
    with file_size_limit(10_000):
        line = one_error(capsys, [*arguments, good, "-o", tmp_path / out])
    assert "File too large" in line
    assert [path.name for path in tmp_path.iterdir()] == ["data.nxs"]


# -- as a process -------------------------------------------------------------------------------


def test_processes_end_in_one_line_too(good, tmp_path):
    structure = STRUCTURES / "Si.cif"
    truncated = tmp_path / "truncated.nxs"
    truncated.write_bytes(good.read_bytes()[:50_000])
    for file, crystal in [(truncated, structure), (good, STRUCTURES / "Ge.cif")]:
        done = run(["invert", file, "--structure", crystal, "-o", tmp_path / "out"])
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()
