"""What people see: progress on a terminal, words for the curious, completion, and nothing else."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import warnings

import pytest
from command_line import ROOT, one_error, run
from fake_result import axis, fake_result, fit

from fcinv_core import cli
from fcinv_core.commands.findings import findings
from fcinv_core.commands.terminal import progress_bar, quiet_libraries


class Terminal(io.StringIO):
    def isatty(self):
        return True


def last_line(terminal):
    """The last whole line that a person saw, without colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    return [line for line in re.split(r"[\r\n]", plain) if "left" in line][-1]


def test_progress_shows_stage_and_time_left():
    terminal = Terminal()
    with progress_bar(terminal) as progress:
        progress("Preparing", 0.0)
        for tenth in range(6):
            progress("Refining", tenth / 10)
            time.sleep(0.3)
    line = last_line(terminal)
    assert "Refining" in line and "50%" in line
    spent, left = re.findall(r"\d+:\d\d:(\d\d)", line)
    # Half is done at an even speed, so that as long is left.
    assert abs(int(spent) - int(left)) <= 1 and int(left) >= 1


def test_long_stages_fit_on_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    with progress_bar(terminal) as progress:
        progress("Finding a start: spectra smoothed by 1.5 bins", 0.4)
        time.sleep(0.3)
    line = last_line(terminal)
    assert "Finding a start: spectra" in line and line.endswith(" left") and len(line) <= 80


def test_another_piece_of_work_has_a_duration_of_its_own():
    terminal = Terminal()
    with progress_bar(terminal) as progress:
        for tenth in range(10):
            progress("Force field", tenth / 10)
            time.sleep(0.1)
        progress("Training", 0.0)
        time.sleep(0.3)
    line = last_line(terminal)
    assert "Training" in line and "0%" in line and "-:--:--" in line


def test_no_progress_without_a_terminal():
    nowhere = io.StringIO()
    with progress_bar(nowhere) as progress:
        assert progress is None
    assert nowhere.getvalue() == ""


SETTINGS = {
    "start": "network",
    "model": {"name": "Si-direct"},
    "first_guess": "draw 1 from the network's spread",
    "network_and_refinement": {"rms_mev": 1.34, "sigmas": 0.93},
}


def test_findings_name_bins_start_and_deviance():
    axes = [axis("[H,0,0]", -2, 2, 12), axis("DeltaE", -5, 70, 15)]
    result = fake_result(fits=(fit(axes),), settings=SETTINGS)
    text = findings(result)
    n_used = int(result.fits[0].used.sum())
    for fact in (f"{n_used} bins used, at 120 Q", "61 goniometer settings", "300 K, ", "2.4 meV",
                 "deviance 1.03", "χ² 0.99", "network Si-direct", "draw 1 from", "1.3 meV rms",
                 "0.9 times", "2 independent, not all determined", "refine 41.2"):  # fmt: skip
        assert fact in text


def test_findings_without_network_and_of_several():
    axes = [axis("[H,0,0]", -2, 2, 12), axis("DeltaE", -5, 70, 15)]
    nothing = dict.fromkeys(SETTINGS) | {"start": "given force constants"}
    result = fake_result(fits=(fit(axes), fit(axes)), settings=nothing, undetermined=())
    text = findings(result)
    assert "Workspace 2: " in text and "Start: given force constants\n" in text
    assert "guess" not in text and "network" not in text and "all determined by the data" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell, tmp_path):
    done = run(["--print-completion", shell])
    assert (done.returncode, done.stderr) == (0, "")
    assert "invert" in done.stdout and "each-temperature" in done.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["inv"], {"invert"}),
        (["invert", "--energy"], {"--energy-fwhm"}),
        (["invert", "meas"], {"measured.nxs"}),
        (["invert", "x.nxs", "--structure", "Si"], {"Si.cif"}),
        (["train", "-o", "res"], {"results"}),
        (["train", "--architecture", "l"], {"latent"}),
    ],
)
def test_bash_completes(tmp_path, words, expected):
    script = run(["--print-completion", "bash"]).stdout
    (tmp_path / "results").mkdir()
    for name in ("measured.nxs", "Si.cif", "rest.txt"):
        (tmp_path / name).touch()
    line = " ".join(["fcinv", *words])
    ask = f"""
        COMP_WORDS=({line}) COMP_CWORD={len(words)} COMP_LINE="{line}" COMP_POINT={len(line)}
        _shtab_fcinv fcinv "{words[-1]}" "{["fcinv", *words][-2]}" 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script + ask], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert set(done.stdout.split()) == expected


def test_completion_is_loaded_when_asked_for():
    code = "import sys, fcinv_core.cli; print({'shtab', 'rich', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_completion_without_shtab_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install shtab" in one_error(capsys, ["--print-completion", "bash"])


def test_unknown_shell(capsys):
    assert "give bash, zsh, fish" in one_error(capsys, ["--print-completion", "csh"])


def test_printing_a_completion_is_no_failure(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--print-completion", "bash"])
    assert exit_.value.code == 0 and capsys.readouterr().err == ""


def test_libraries_are_kept_off_standard_error(capfd):
    with quiet_libraries() as terminal:
        warnings.warn("python warning", stacklevel=1)
        logging.getLogger("library").warning("log record")
        print("python", file=sys.stderr)
        os.write(2, b"from C\n")
        print("progress", file=terminal)
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "progress\nafterwards\n"


@pytest.mark.parametrize("given", [None, "3"])
def test_threads_are_bounded_unless_told(monkeypatch, given):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name in names:
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
    cli.main([])
    expected = [given, given] if given else [str(cli.MOST_THREADS), "1"]
    assert [os.environ[name] for name in names] == expected
