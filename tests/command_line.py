"""Ways to run the command line that several test modules share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fcinv_core import cli

ROOT = Path(__file__).parents[1]


def run(arguments, **environment):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fcinv_core.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | environment,
        cwd=ROOT,
    )


def one_error(capsys, arguments):
    """The line of a command in this process that must end with exit code 2."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ") and captured.err.count("\n") == 1
    return captured.err
