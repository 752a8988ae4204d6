"""The command line: exit codes, one line of error, and silence on standard error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import phonopy
import pytest
from command_line import ROOT, one_error, run
from fake_result import axis, fake_result, fit, histogram
from toy_network import register, toy_model

import fcinv_core
from fcinv_core import cli
from fcinv_core.crystal import ForceConstants
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram

DATA = Path(__file__).parent / "data"

SILICON = """\
silicon
1.0
0.0 2.7155 2.7155
2.7155 0.0 2.7155
2.7155 2.7155 0.0
Si
2
Direct
0.0 0.0 0.0
0.25 0.25 0.25
"""


@pytest.fixture
def measured(tmp_path):
    axes = [axis("[H,0,0]", -2, 2, 12), axis("[0,K,0]", -0.1, 0.1, 1),
            axis("[0,0,L]", -0.1, 0.1, 1), axis("DeltaE", -5, 70, 15)]  # fmt: skip
    signal = np.random.default_rng(0).poisson(3.0, (12, 1, 1, 15)).astype(float)
    path = tmp_path / "measured.nxs"
    histogram(axes, signal).save(path)
    return path


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(SILICON)
    return path


@pytest.fixture
def invert(monkeypatch, tmp_path):
    """Stands in for the inversion: records what it is given, returns ``invert.result``."""
    import fcinv_core.inversion
    from fcinv_core.networks import library

    monkeypatch.setattr(library, "SHIPPED", tmp_path / "no models")
    monkeypatch.setenv("FCINV_MODELS", str(tmp_path / "no models"))

    class Inversion:
        trust = "yes"
        error = None

        def __call__(self, histograms, crystal, **options):
            self.histograms, self.crystal, self.options = histograms, crystal, options
            if self.error is not None:
                raise self.error
            axes = [axis("[H,0,0]", -2, 2, 12), axis("[0,K,0]", -0.1, 0.1, 1),
                    axis("[0,0,L]", -0.1, 0.1, 1), axis("DeltaE", -5, 70, 15)]  # fmt: skip
            return fake_result(self.trust, fits=(fit(axes),))

    stand_in = Inversion()
    monkeypatch.setattr(fcinv_core.inversion, "invert", stand_in, raising=False)
    return stand_in


def test_alone_it_says_what_to_do_next(capsys):
    assert cli.main([]) == 0
    captured = capsys.readouterr()
    for command in ("inspect", "invert", "train", "models", "--help"):
        assert command in captured.out
    assert (ROOT / re.search(r"docs/\S+\.md", captured.out)[0]).is_file()
    assert captured.err == ""


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"fcinv {fcinv_core.__version__}\n"


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["invert"], "--structure"),
        (["frobnicate"], "'frobnicate' is not a command: give inspect, "),
        (["invrt"], "(did you mean invert?)"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--energy_fwhm", "2"],
         "fcinv invert takes no option '--energy_fwhm' (did you mean --energy-fwhm?)"),
        (["inspect", "a.nxs", "b.nxs"], "fcinv inspect takes no further argument 'b.nxs'"),
        (["train", "--structure", "b", "-o", "c", "--device", "gpu"], "give auto, cpu, cuda"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--seed", "-1"], "'-1'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--model", "si-drect"],
         "(did you mean Si-direct?)"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--model", "Ge"], "mean Ge-direct?)"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--energy-fwhm", "2meV"], "a unit"),
        (["invert", "a.nxs", "--structure", "b", "-o", ""], "argument -o: the path is empty"),
        (["inspect", "nowhere.nxs"], "nowhere.nxs"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--temperature", "warm"], "'warm'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--temperature", "-4"], "'-4'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--energy-fwhm", "0"], "'0'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--cutoff", "nan"], "'nan'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--supercell", "2", "2", "0"], "'0'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c", "--model", "si"], "no model 'si'"),
        (["invert", "a.nxs", "--structure", "b", "-o", "c"], "b does not exist"),
        (["invert", "a.nxs", "--structure", str(DATA / "structures/Si.cif"), "-o", "c"], "a.nxs"),
        (["simulate", "--force-constants", "f", "--like", "a.nxs", "-o", "/no/x.nxs"], "/no"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert told in one_error(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_file_is_refused_before_the_work(capsys, invert, measured, structure):
    error = one_error(capsys, ["invert", measured, "--structure", structure, "-o", measured])
    assert "is a file" in error
    assert not hasattr(invert, "histograms")


def test_invert_passes_everything_on_and_writes(capsys, invert, measured, structure, tmp_path):
    arguments = ["invert", measured, measured, "--structure", structure, "--temperature", "0",
                 "--energy-fwhm", "2.5", "--cutoff", "4.5", "--supercell", "2", "2", "3",
                 "--no-refine", "--seed", "7", "-o", tmp_path / "out"]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "This result can be trusted" in captured.out
    assert "The deviance is 1.03 per degree of freedom." in captured.out
    assert "Si-Si, 2.352 Å" in captured.out and "12.340 ± 0.050" in captured.out
    assert str(tmp_path / "out" / "report.html") in captured.out
    assert len(invert.histograms) == 2
    np.testing.assert_array_equal(invert.crystal.supercell_matrix, np.diag([2, 2, 3]))
    assert invert.options == {
        "model": None, "start": None, "born_charges": None, "temperature": 0.0, "energy_fwhm": 2.5,
        "cutoff": 4.5, "refine": False, "seed": 7, "sources": [measured, measured],
        "progress": None,
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "result.json").read_text())["verdict"]["trust"] == "yes"


@pytest.mark.parametrize("trust, code", [("yes", 0), ("no", 3)])
def test_invert_tells_a_program(capsys, invert, measured, structure, tmp_path, trust, code):
    invert.trust = trust
    arguments = ["invert", measured, "--structure", structure, "--json", "-o", tmp_path / "out"]
    assert cli.main([str(a) for a in arguments]) == code
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == "" and captured.out.count("\n") == 1
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert told["verdict"] == stored["verdict"]
    assert told["deviance_per_dof"] == stored["deviance_per_dof"]
    assert {Path(file).parent for file in told["written"]} == {tmp_path / "out"}
    assert all(Path(file).is_file() for file in told["written"])
    assert "fcinv train" in told["remarks"][0]


def test_words_and_json_exclude_each_other(capsys, measured, structure):
    arguments = ["invert", measured, "--structure", structure, "--json", "--verbose", "-o", "out"]
    assert "--verbose" in one_error(capsys, arguments)


@pytest.fixture
def germanium_model(invert, monkeypatch, tmp_path, germanium_prior):
    """The path of the only model that there is."""
    register(monkeypatch)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("FCINV_MODELS", str(tmp_path / "models"))
    toy_model(germanium_prior).save(tmp_path / "models/Ge-toy.safetensors")
    return tmp_path / "models/Ge-toy.safetensors"


@pytest.mark.parametrize("asked", [[], ["--model", "Ge-toy"], ["--model", "PATH"]])
def test_invert_starts_from_the_model_that_fits(
    capsys, invert, measured, germanium_model, tmp_path, asked
):
    asked = [germanium_model if word == "PATH" else word for word in asked]
    arguments = ["invert", measured, "--structure", DATA / "structures/Ge.cif", *asked,
                 "-o", tmp_path / "out"]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    assert invert.options["model"].name == "Ge-toy"
    assert ("Started from the trained model Ge-toy." in capsys.readouterr().out) == (not asked)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (["--structure", "POSCAR"], True),
        (["--structure", DATA / "structures/Ge.cif", "--model", "none"], False),
        (["--structure", DATA / "structures/Ge.cif",
          "--start", DATA / "force_constants/Ge_standin.yaml"], False),
    ],
)  # fmt: skip
def test_invert_without_a_model(
    capsys, invert, measured, structure, germanium_model, tmp_path, asked, hint
):
    asked = [structure if word == "POSCAR" else word for word in asked]
    arguments = ["invert", measured, *asked, "-o", tmp_path / "out"]
    assert cli.main([str(a) for a in arguments]) == 0
    assert invert.options["model"] is None
    told = f"fcinv train --structure {structure}" in capsys.readouterr().out
    assert told == hint


def test_invert_refuses_the_wrong_model(
    capsys, invert, measured, structure, germanium_model, tmp_path
):
    start = DATA / "force_constants/Si_dft.yaml"
    for asked, told in (
        (["--model", "Ge-toy"], "does not fit Si: the primitive cells differ: Ge Ge and Si Si"),
        (["--model", "Si"], "there are Ge-toy"),
        (["--model", tmp_path / "x.safetensors"], "no model at"),
        (["--model", "Ge-toy", "--start", start], "exclude each other"),
        (["--model", measured], "no model of fcinv"),
    ):
        line = ["invert", measured, "--structure", structure, *asked, "-o", tmp_path / "out"]
        assert told in one_error(capsys, line)
    assert not hasattr(invert, "histograms")


def test_invert_passes_a_damaged_model_over(capsys, invert, measured, germanium_model, tmp_path):
    content = bytearray(germanium_model.read_bytes())
    content[-1] ^= 1
    germanium_model.write_bytes(content)
    arguments = ["invert", measured, "--structure", DATA / "structures/Ge.cif",
                 "-o", tmp_path / "out"]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    assert invert.options["model"] is None
    assert "Passed over: the model" in capsys.readouterr().out


def test_distrust_is_exit_code_3_with_the_files_written(
    capsys, invert, measured, structure, tmp_path
):
    invert.trust = "no"
    arguments = ["invert", measured, "--structure", structure, "-o", tmp_path / "out"]
    assert cli.main([str(a) for a in arguments]) == 3
    captured = capsys.readouterr()
    assert "Do not trust this result" in captured.out and captured.err == ""
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    "error, told",
    [
        (FcinvError("nothing\nis measured"), "Error: nothing is measured\n"),
        (OSError(5, "Input/output error", "x.nxs"), "Error: x.nxs: Input/output error\n"),
        (MemoryError(), "Error: not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Error: not enough memory"),
        (ValueError("operands could\nnot"), "Error: unexpected ValueError (operands could not)"),
        (AssertionError(), "Error: unexpected AssertionError"),
    ],
)
def test_failures_inside_leave_no_output(
    capsys, invert, measured, structure, tmp_path, error, told
):
    invert.error = error
    line = one_error(capsys, ["invert", measured, "--structure", structure, "-o", tmp_path / "out"])
    assert line.startswith(told)
    assert not (tmp_path / "out").exists()


def test_the_unforeseen_shows_its_traceback_when_asked(
    capsys, invert, measured, structure, tmp_path, monkeypatch
):
    invert.error = ValueError("unforeseen")
    arguments = ["invert", measured, "--structure", structure, "-o", tmp_path / "out"]
    assert "FCINV_TRACEBACK=1" in one_error(capsys, arguments)
    monkeypatch.setenv("FCINV_TRACEBACK", "1")
    assert cli.main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and "raise self.error" in "".join(lines)
    assert lines[-1].startswith("Error: unexpected ValueError (unforeseen)")


def test_interruption_is_quiet(capsys, invert, measured, structure, tmp_path):
    invert.error = KeyboardInterrupt()
    arguments = ["invert", measured, "--structure", structure, "-o", tmp_path / "out"]
    assert cli.main([str(a) for a in arguments]) == 130
    assert capsys.readouterr() == ("", "")


def test_inspect_describes_and_draws(measured, tmp_path):
    picture = tmp_path / "picture.png"
    done = run(["inspect", measured, "-o", picture])
    assert (done.returncode, done.stderr) == (0, "")
    assert "[H,0,0]" in done.stdout and "DeltaE" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_pictures_are_png(capsys, measured, tmp_path):
    assert "NAME.png" in one_error(capsys, ["inspect", measured, "-o", tmp_path / "picture.pdf"])
    assert not (tmp_path / "picture.pdf").exists()


def test_inspect_tells_a_program(measured, tmp_path):
    done = run(["inspect", measured, "--json"], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert [axis["bins"] for axis in told["axes"]] == [12, 1, 1, 15]
    assert told["axes"][-1]["unit"] == "meV" and told["axes"][-1]["last_edge"] == 70
    assert told["bins"]["total"] == told["bins"]["measured"] == 12 * 15
    assert told["lattice"] is None and "UB" in " ".join(told["warnings"])
    counts = SQEHistogram.load(measured).effective_counts()
    assert told["estimated_counts"] == pytest.approx(np.nansum(counts))


def test_simulate_agrees_with_a_measurement_up_to_scale_and_background(mantid_file, tmp_path):
    """Counts of a virtual experiment, drawn from Euphonic's S(Q, E) and reduced by Mantid."""
    like, simulated = mantid_file("si_300K_HHL0_slice_clean.nxs"), tmp_path / "simulated.nxs"
    force_constants = DATA / "force_constants" / "Si_dft.yaml"
    done = run(["simulate", "--force-constants", force_constants, "--like", like,
                    "--energy-fwhm", "2.4", "-o", simulated])  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert str(simulated) in done.stdout

    measured, model = SQEHistogram.load(like), SQEHistogram.load(simulated)
    np.testing.assert_array_equal(np.isnan(model.signal), ~measured.covered)
    # Bins with enough counts that Poisson is Gaussian.
    enough = measured.covered & (measured.effective_counts() > 20)
    sigma = np.sqrt(measured.variance[enough])
    columns = np.column_stack([model.signal[enough], np.ones(enough.sum())]) / sigma[:, None]
    target = measured.signal[enough] / sigma
    solution = np.linalg.lstsq(columns, target, rcond=None)[0]
    chi2_per_dof = np.mean((target - columns @ solution) ** 2)
    assert enough.sum() > 500
    assert 0.8 < chi2_per_dof < 1.25


def test_invert_recovers_the_force_constants_of_a_virtual_experiment(mantid_file, tmp_path):
    """Its truth is Si_dft.yaml; the start has every energy 5 % lower."""
    truth = phonopy.load(DATA / "force_constants" / "Si_dft.yaml", log_level=0)
    start, out = tmp_path / "start.yaml", tmp_path / "out"
    ForceConstants.from_file(DATA / "force_constants" / "Si_dft.yaml").scaled(0.9025).save(start)
    done = run(["invert", mantid_file("si_300K_HHL0_slice_clean.nxs"), "--structure",
                    DATA / "structures" / "Si.cif", "--start", start,
                    "--energy-fwhm", "2.4", "-o", out])  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((out / "result.json").read_text())
    assert document["verdict"]["trust"] in ("yes", "caution")
    assert len(document["covariance"]) == len(document["parameters"])
    assert (out / "report.html").stat().st_size < 5e6

    fitted = phonopy.load(out / "force_constants.yaml", log_level=0)
    optic = [cell.run_qpoints([[0, 0, 0]]).frequencies[0, -1] for cell in (fitted, truth)]
    assert optic[0] == pytest.approx(optic[1], rel=0.01)


def test_process_reports_bad_input(tmp_path):
    done = run(["inspect", tmp_path / "nowhere.nxs"])
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1


def test_old_locales_get_a_substitute_character(measured):
    done = run(["inspect", measured], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_pipe_is_no_error(measured):
    command = f"{sys.executable} -m fcinv_core.cli inspect {measured} | true"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == ""
