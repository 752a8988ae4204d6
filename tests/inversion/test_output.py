"""What an inversion leaves on disk: the contract of result.json, and all or nothing."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from fake_result import axis, fake_result, fit

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.output import result_document, write_result

FILES = {"force_constants.yaml", "result.json", "simulated.nxs"}


def two_fits():
    axes = [axis("[H,0,0]", -2, 2, 12), axis("[0,K,0]", -0.1, 0.1, 1),
            axis("[0,0,L]", -0.1, 0.1, 1), axis("DeltaE", -5, 70, 15)]  # fmt: skip
    return fit(axes, 0, "first.nxs"), fit(axes, 1, "second.nxs")


@pytest.fixture
def result():
    return fake_result(fits=two_fits())


def names(directory):
    return {path.name for path in directory.iterdir()}


def strict(text):
    """json.loads that refuses NaN and Infinity, which JSON does not have."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_document_has_every_key_of_the_contract(result):
    document = strict(json.dumps(result_document(result)))
    assert document["schema"] == 1
    assert document["verdict"] == {"trust": "caution", "reasons": list(result.verdict.reasons)}
    assert document["parameters"][1] == {
        "name": "b", "value": -3.0, "sigma": pytest.approx(0.3), "unit": "eV/Å²",
        "element": [0, 1, 0, 1], "part": "total",
    }  # fmt: skip
    assert document["covariance"] == [[0.04, 0.01], [0.01, 0.09]]
    assert document["shells"][0]["longitudinal"] == 12.34
    assert document["shells"][0]["unit"] == "eV/Å²"
    assert document["deviance_per_dof"] == 1.03
    assert document["nuisance"]["scale"] == {"value": 1.234e-4, "sigma": 2.1e-6, "unit": ""}
    assert set(document["nuisance"]) == {
        "scale", "background", "background_slope", "resolution_scale", "q_spread_scale",
        "multiphonon_scale", "elastic_tail", "elastic_decay", "workspaces",
    }  # fmt: skip
    second = document["nuisance"]["workspaces"][1]
    assert second["file"] == "second.nxs"
    assert second["pearson_per_dof"] == 0.99 and second["background"]["value"] == 0.3
    assert document["dispersion"]["path_labels"][0] == [0, "GAMMA"]
    assert np.shape(document["dispersion"]["q"]) == (65, 3)
    assert np.shape(document["dispersion"]["sigma_mev"]) == (65, 3)
    states = document["density_of_states"]
    assert np.shape(states["energy_mev"]) == np.shape(states["sigma_per_mev"]) == (50,)
    assert states["smoothing_fwhm_mev"] == 1.2
    elastic = document["elastic_constants"]
    assert np.shape(elastic["stiffness_gpa"]) == np.shape(elastic["sigma_gpa"]) == (6, 6)
    assert elastic["independent"] == ["C11", "C12", "C44"]
    assert elastic["bulk_modulus"]["value"] == pytest.approx((166 + 2 * 64) / 3)
    first = elastic["sound_velocities"][0]
    # √(C44/ρ) twice, √(C11/ρ); half the relative errors of the constants.
    expected = np.sqrt(np.array([80, 80, 166]) / 2.33)
    assert first["direction"] == [1, 0, 0] and first["km_per_s"] == pytest.approx(expected)
    assert first["sigma_km_per_s"] == pytest.approx(0.005 * expected)
    assert document["coverage"] == {
        "bins_used": sum(int(f.used.sum()) for f in result.fits),
        "q_points": 240,
        "orientations": 122,
    }
    assert set(document["versions"]) == {"fcinv", "python", "numpy", "torch", "phonopy", "symfc"}
    assert document["inputs"] == [{"path": "si_slice.nxs", "sha256": "ab" * 32}]
    assert document["seed"] == 3 and document["timing_s"]["refine"] == 41.2
    assert document["settings"]["supercell"] == [4, 4, 4]
    assert document["undetermined"] == ["The 4th shell's transverse constant."]


def test_what_is_not_finite_becomes_null(result):
    document = result_document(result)
    assert document["nuisance"]["background_slope"]["sigma"] is None


def test_files_are_written_and_readable(result, tmp_path):
    target = tmp_path / "new" / "out"
    written = write_result(result, target)
    assert names(target) == FILES | {"report.html", "simulated_2.nxs"}
    assert {path.name for path in written} == names(target)
    strict((target / "result.json").read_text(encoding="utf-8"))
    for name, fitted in zip(("simulated.nxs", "simulated_2.nxs"), result.fits, strict=True):
        np.testing.assert_array_equal(
            SQEHistogram.load(target / name).signal, fitted.simulated.signal
        )
    assert names(tmp_path) == {"new"} and names(tmp_path / "new") == {"out"}


def test_folder_and_files_are_readable_by_others(result, tmp_path):
    mask = os.umask(0o022)
    try:
        write_result(result, tmp_path / "out", report=False)
    finally:
        os.umask(mask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "result.json").stat().st_mode & 0o777 == 0o644


def test_second_result_leaves_nothing_of_the_first(result, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_result(result, tmp_path)
    write_result(fake_result("no", fits=two_fits()[:1]), tmp_path, report=False)
    assert names(tmp_path) == FILES | {"notes.txt"}
    assert strict((tmp_path / "result.json").read_text())["verdict"]["trust"] == "no"


@pytest.mark.parametrize("wrapped", [False, True])
def test_full_disk_leaves_no_trace(result, tmp_path, monkeypatch, wrapped):
    def full(histogram, path):
        with open(path, "wb") as file:
            file.write(b"half")
        error = OSError(errno.ENOSPC, "No space left on device")
        if wrapped:
            raise FcinvError(f"cannot write {path}") from error
        raise error

    monkeypatch.setattr(SQEHistogram, "save", full)
    with pytest.raises(FcinvError, match="out: No space left on device; free"):
        write_result(result, tmp_path / "new" / "out", report=False)
    assert names(tmp_path) == set()


def test_full_disk_keeps_the_earlier_result(result, tmp_path, monkeypatch):
    write_result(result, tmp_path / "out", report=False)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FcinvError, match="No space left"):
        write_result(fake_result("no", fits=two_fits()), tmp_path / "out", report=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    assert names(tmp_path) == {"out"}


def test_interruption_leaves_no_trace(result, tmp_path, monkeypatch):
    def interrupted(histogram, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(SQEHistogram, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_result(result, tmp_path / "out", report=False)
    assert names(tmp_path) == set()


def test_file_in_place_of_the_folder_is_refused(result, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FcinvError, match="out is a file, not a folder"):
        write_result(result, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"
