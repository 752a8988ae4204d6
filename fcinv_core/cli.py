"""The ``fcinv`` command.

Exit codes: 0 done; 2 bad input, with one line on stderr; 3 done, but the result is not to be
trusted; 130 interrupted. Standard error stays empty otherwise, as beamline job runners take
anything there for a failure; only a terminal gets a progress bar.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from fcinv_core import __version__
from fcinv_core.commands import inspect, invert, mantid, models, simulate, train
from fcinv_core.commands.completion import SHELLS, PrintCompletion
from fcinv_core.commands.terminal import quiet_libraries
from fcinv_core.errors import NO_MEMORY, FcinvError, did_you_mean, is_out_of_memory
from fcinv_core.launch import Launch
from fcinv_core.limits import MOST_THREADS

WELCOME = """\
fcinv: interatomic force constants from single-crystal inelastic neutron scattering.

Begin with a file that Mantid's SaveMD wrote, and a CIF or POSCAR of the crystal:

  1. Is the file what you think it is?
       fcinv inspect FILE.nxs
  2. Force constants with errors, and a verdict on whether to believe them:
       fcinv invert FILE.nxs --structure CRYSTAL.cif -o DIR
     Open DIR/report.html in a browser.
  3. No trained network for your crystal ('fcinv models' lists them)? An hour or so makes one
     of a crystal with two atoms in the cell, some hours of one with six:
       fcinv train --structure CRYSTAL.cif -o DIR

Also: fcinv simulate (spectra of force constants you have), fcinv mantid enable (all of
this in Mantid Workbench). Add --help to a command for its options.
Documentation: docs/first-inversion.md in fcinv's sources; 'make docs' there builds all of it."""

BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 2, 130, 141

TRACEBACK = "FCINV_TRACEBACK"
"""Environment variable: if set, errors come with the traceback that they otherwise hide."""


class _Parser(argparse.ArgumentParser):
    """argparse, but with this program's one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise FcinvError(f"{message}; see '{self.prog} --help'")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse lists all choices in Python's notation, and knows no near miss.
        if action.choices is None or value in action.choices:
            return
        what = "a command" if action.dest == "command" else _name_of(action)
        known = ", ".join(map(str, action.choices))
        self.error(
            f"{value!r} is not {what}{did_you_mean(str(value), action.choices)}: give {known}"
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = self._of_command(options.command)
            word = unknown[0].partition("=")[0]
            known = [name for action in parser._actions for name in action.option_strings]
            what = "option" if word.startswith("-") else "further argument"
            hint = did_you_mean(word, known) if what == "option" else ""
            parser.error(f"{parser.prog} takes no {what} {word!r}{hint}")
        return options

    def _of_command(self, name: str | None) -> argparse.ArgumentParser:
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and name in action.choices:
                parser: argparse.ArgumentParser = action.choices[name]
                return parser
        return self


def _name_of(action: argparse.Action) -> str:
    """How a user would call an argument."""
    return (
        f"a value of {action.option_strings[0]}"
        if action.option_strings
        else f"a value of {action.dest.upper()}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        Those of the process if left out.
    """
    _bound_threads()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an old locale has no Å
    try:
        options = _parser().parse_args(arguments)
        if options.command is None:
            print(WELCOME)
            return 0
        with _ended_by_sigterm(), quiet_libraries() as terminal:
            code: int = options.run(options, terminal)
            sys.stdout.flush()
        return code
    except FcinvError as error:
        if _is_told_elsewhere(sys.argv[1:] if arguments is None else arguments):
            return BAD_INPUT
        return _fail(str(error))
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # one line for what nobody foresaw, too
        if is_out_of_memory(error):
            return _fail(NO_MEMORY)
        return _fail(
            f"unexpected {type(error).__name__} ({error}), a defect of fcinv: please report it "
            f"with the traceback that {TRACEBACK}=1 before the command shows"
        )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, with which batch systems end a job, taken for the Ctrl-C of a person.

    Half-written results are removed then, and a training saves where it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fcinv",
        description="Interatomic force constants from single-crystal neutron spectra.",
    )
    parser.add_argument("--version", action="version", version=f"fcinv {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print what makes a shell complete commands, options and files, and end",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in (inspect, simulate, invert, models, train, mantid):
        command.add_to(commands)
    return parser


def _bound_threads() -> None:
    """Bound the threads of torch and NumPy, unless the environment says otherwise.

    Both read it when they are first imported, which is after this. NumPy's products here are
    small: where others use the same cores, a second thread for them (and threads that spin
    while they wait) nearly doubles the time.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(min(os.cpu_count() or 1, MOST_THREADS)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _is_told_elsewhere(words: Sequence[str]) -> bool:
    """Whether the first of several processes that train together tells of a problem as well."""
    return "train" in words[:1] and Launch.of_environment().rank > 0


def _fail(message: str) -> int:
    """Report the error that is being handled."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    print("Error:", " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
