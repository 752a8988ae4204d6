"""The ``fcinv`` command.

Exit codes: 0 done; 2 bad input, with one line on stderr; 3 done, but the result is not to be
trusted; 130 interrupted. Standard error stays empty otherwise, as beamline job runners take
anything there for a failure; only a terminal gets a progress bar.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from fcinv_core import __version__
from fcinv_core.commands import inspect, invert, mantid, models, simulate, train
from fcinv_core.commands.terminal import quiet_libraries
from fcinv_core.errors import NO_MEMORY, FcinvError, is_out_of_memory
from fcinv_core.limits import MOST_THREADS

WELCOME = """\
fcinv: interatomic force constants from single-crystal inelastic neutron scattering.

  fcinv inspect FILE.nxs                              what a file from Mantid's SaveMD holds
  fcinv invert FILE.nxs --structure CRYSTAL.cif -o DIR     its force constants, with errors
  fcinv simulate --force-constants phonopy.yaml --like FILE.nxs -o OUT.nxs
  fcinv models                                        trained networks for invert
  fcinv train --structure CRYSTAL.cif -o DIR          one more, for another crystal
  fcinv mantid enable                                 the same as algorithms in Mantid

Add --help to a command for its options."""

BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 2, 130, 141

TRACEBACK = "FCINV_TRACEBACK"
"""Environment variable: if set, errors come with the traceback that they otherwise hide."""


class _Parser(argparse.ArgumentParser):
    """argparse, but with this program's one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise FcinvError(f"{message}; see '{self.prog} --help'")


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
        with quiet_libraries() as terminal:
            code: int = options.run(options, terminal)
            sys.stdout.flush()
        return code
    except FcinvError as error:
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fcinv",
        description="Interatomic force constants from single-crystal neutron spectra.",
    )
    parser.add_argument("--version", action="version", version=f"fcinv {__version__}")
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


def _fail(message: str) -> int:
    """Report the error that is being handled."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    print("Error:", " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
