"""fcinv's algorithms in Mantid: entered in its settings, taken out, tried.

Mantid loads algorithms from the folders in ``user.python.plugins.directories`` of its user
properties file. It is a text of ``key=value`` lines that users edit, so everything but our own
folder stays as it is, byte for byte.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from fcinv_core.errors import FcinvError
from fcinv_core.files import write_whole

ALGORITHMS = ("SimulateSQE", "InvertForceConstants")
"""Each is a file of that name in the plugin folder."""

KEY = b"user.python.plugins.directories"

FOLDERS = (Path(__file__).parent / "mantid_plugins", Path(__file__).parents[1] / "plugins")
"""Where the plugins may be: installed with the package, or beside it in the sources."""

SECONDS = 120
"""How long Mantid may take to start."""

LAUNCHERS = ("mantidpython", "mantidworkbench", "workbench")
"""Commands of Mantid that may be on PATH."""

_UNREADABLE = (";", ",", "`", "\\", "${", "\n", "\r")
"""What Mantid's reader of properties takes for something else in a path."""

# Possessive, as a line never has to be read in a second way. A backslash takes the next
# character along, in values only, and the end of the line with it.
_LINE = re.compile(
    rb"[ \t\v\f]*+(?:[#!][^\r\n]*+|(?P<key>[^=:\r\n]*+)(?P<separator>[=:]?+)[ \t\v\f]*+"
    rb"(?P<value>(?:\\(?:\r\n|[\s\S]|\Z)|[^\\\r\n])*+))(?:\r\n|\r|\n|\Z)"
)
_ESCAPE = re.compile(rb"\\(?:\r\n|\r|\n|([\s\S]?))")

_ANSWER = "fcinv: "
_PROBE = f"""
import importlib.util, json, runpy, sys
sys.path[:] = [folder for folder in sys.path if folder]
import mantid, mantid.simpleapi
from mantid.api import AlgorithmFactory
from mantid.kernel import ConfigService
answer = dict(
    python=sys.executable, version=mantid.__version__, properties=ConfigService.getUserFilename(),
    fcinv=importlib.util.find_spec("fcinv_core") is not None,
    missing=[name for name in sys.argv[2:] if not AlgorithmFactory.exists(name)], error="",
)
try:
    for name in answer["missing"]:
        runpy.run_path(sys.argv[1] + "/" + name + ".py")
except Exception as error:
    answer["error"] = type(error).__name__ + ": " + str(error)
print("\\n{_ANSWER}" + json.dumps(answer), flush=True)
"""
"""Started with the plugin folder and the names of the algorithms; Mantid prints, too."""


@dataclass(frozen=True)
class MantidFound:
    """A Mantid, and what became of fcinv's algorithms there.

    Attributes
    ----------
    python
        Its Python, or what starts it.
    version
        None where it did not start.
    problem
        Why the algorithms cannot be used there; None if they can.
    """

    python: str
    version: str | None
    problem: str | None


@dataclass(frozen=True)
class Status:
    """Where things stand with fcinv's algorithms in Mantid.

    Attributes
    ----------
    properties
        The properties file of Mantid that names folders of plugins.
    plugins
        The folder of the algorithms.
    entered
        The folders of such algorithms that Mantid's settings name.
    mantid
        None where none was found.
    """

    properties: Path
    plugins: Path
    entered: tuple[Path, ...]
    mantid: MantidFound | None

    @property
    def is_enabled(self) -> bool:
        """Whether Mantid's settings name the folder, and no other copy of it."""
        return self.entered == (self.plugins,)


def plugin_directory() -> Path:
    """The folder that holds the algorithms.

    Raises
    ------
    FcinvError
    """
    for folder in FOLDERS:
        if _holds_algorithms(folder):
            return folder
    raise FcinvError(
        f"the algorithms for Mantid are neither in {FOLDERS[0]} nor in {FOLDERS[1]}; install "
        "fcinv again"
    )


def properties_file() -> Path:
    """The properties file that counts for plugins, whether it exists or not.

    That is the user's, unless the file that MANTIDPROPERTIES names sets their folders: Mantid
    reads it last.

    Raises
    ------
    FcinvError
        Without a home directory; on Windows, where the file is in Mantid's folder, without Mantid.
    """
    last = os.environ.get("MANTIDPROPERTIES")
    if last and _settings(_read(Path(last))):
        return Path(last).absolute()
    folder = _windows_folder() if sys.platform == "win32" else _home() / ".mantid"
    return folder / "Mantid.user.properties"


def enable() -> bool:
    """Enter the algorithms in Mantid's settings, in place of another copy of them.

    Returns
    -------
    bool
        False if they were there already.

    Raises
    ------
    FcinvError
        When the settings cannot be read or written.
    """
    folder = plugin_directory()
    for text in _UNREADABLE:
        if text in folder.as_posix():
            raise FcinvError(
                f"Mantid cannot read the path {folder} because of {text!r}; install fcinv elsewhere"
            )
    return _edit(properties_file(), folder)


def disable() -> bool:
    """Take the algorithms out of Mantid's settings.

    Returns
    -------
    bool
        False if they were not there.

    Raises
    ------
    FcinvError
        When the settings cannot be read or written.
    """
    return _edit(properties_file(), None)


def status() -> Status:
    """Look at Mantid's settings, and try the algorithms in the Mantid that is found.

    Raises
    ------
    FcinvError
        When the settings cannot be read.
    """
    properties, plugins = properties_file(), plugin_directory()
    found = Status(properties, plugins, _entered(_read(properties)), None)
    command = _mantid_command()
    if command is None:
        return found
    return replace(found, mantid=_try_algorithms(command, plugins, found.is_enabled))


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        raise FcinvError("no home directory, where Mantid's settings are; set HOME") from None
    if not home.is_dir():
        raise FcinvError(f"no home directory {home}, where Mantid's settings are; set HOME")
    return home


def _windows_folder() -> Path:
    command = _mantid_command()
    if command is not None:
        beside = Path(command[0]).parent
        for folder in (beside, beside / "Library/bin"):
            if (folder / "Mantid.properties").is_file():
                return folder
    raise FcinvError("no Mantid here, whose folder has its settings; run fcinv in Mantid's Python")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise FcinvError(
            f"cannot read {file}: {error.strerror or error}; check its permissions"
        ) from error


def _edit(file: Path, folder: Path | None) -> bool:
    before = _read(file)
    after = _with_entry(before, folder)
    if after == before:
        return False
    file = file.resolve()  # a link stays one
    try:
        file.parent.mkdir(exist_ok=True)
        mode = file.stat().st_mode if file.exists() else None
        write_whole(file, after)
        if mode is not None:
            file.chmod(mode)
    except OSError as error:
        raise FcinvError(
            f"cannot write {file}: {error.strerror or error}; check the permissions of its folder"
        ) from error
    return True


def _with_entry(text: bytes, folder: Path | None) -> bytes:
    """The properties ``text`` with ``folder`` as the only one of ours, or none of ours."""
    entry = None if folder is None else folder.as_posix().encode("utf-8", "surrogateescape")
    settings = _settings(text)
    if not settings:
        if entry is None:
            return text
        # At the top, where no unfinished last line can swallow it.
        return KEY + b"=" + entry + (b"\r\n" if b"\r\n" in text else b"\n") + text
    last = settings[-1]
    entries = last["value"].split(b";")
    ours = [place for place, raw in enumerate(entries) if _is_ours(_path(raw))]
    if [_path(entries[place]) for place in ours] == ([] if folder is None else [folder]):
        return text
    kept = [raw for place, raw in enumerate(entries) if place not in ours]
    if not any(_decoded(raw) for raw in kept):
        kept = []
    if entry is not None:
        kept.insert(ours[0] if ours else 0, entry)
    elif not kept and len(settings) == 1:
        return text[: last.start()] + text[last.end() :]
    value = b";".join(kept)
    if value.endswith(b"\\") and len(entries) - 1 in ours:
        value += b";"  # or the next line would become part of this one
    start, end = last.span("value")
    return text[:start] + (b"" if last["separator"] else b"=") + value + text[end:]


def _settings(text: bytes) -> list[re.Match[bytes]]:
    """All lines that set the folders; the last one wins."""
    return [line for line in _LINE.finditer(text) if (line["key"] or b"").strip() == KEY]


def _entered(text: bytes) -> tuple[Path, ...]:
    """The folders of ours, or of other copies of them, that are in effect."""
    values = [line["value"] for line in _settings(text)[-1:]]
    paths = [_path(raw) for value in values for raw in value.split(b";")]
    return tuple(path for path in paths if _is_ours(path))


def _decoded(raw: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", raw).strip()


def _path(raw: bytes) -> Path:
    return Path(_decoded(raw).decode("utf-8", "surrogateescape"))


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of these algorithms, or was one that has been deleted."""
    return path.is_absolute() and (
        path.parts[-2:] == FOLDERS[0].parts[-2:] or _holds_algorithms(path)
    )


def _holds_algorithms(folder: Path) -> bool:
    # Not Path.is_file, which raises where the folder is not to be entered.
    return os.path.isfile(folder / f"{ALGORITHMS[-1]}.py")


def _mantid_command() -> list[str] | None:
    """What starts a Python that has Mantid."""
    package = importlib.util.find_spec("mantid")
    if package is not None and package.origin is not None:
        return [sys.executable]
    for name in LAUNCHERS:
        launcher = shutil.which(name)
        if launcher is None:
            continue
        if name == "mantidpython":
            return [launcher, "--classic"]  # without it, IPython
        folder = Path(launcher).resolve().parent
        for python in (folder / "python", folder.parent / "python.exe"):
            if python.is_file():
                return [str(python)]
    return None


def _try_algorithms(command: list[str], plugins: Path, is_enabled: bool) -> MantidFound:
    try:
        done = subprocess.run(
            [*command, "-c", _PROBE, str(plugins), *ALGORITHMS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return MantidFound(command[0], None, f"it did not start within {SECONDS} s")
    except OSError as error:
        return MantidFound(command[0], None, f"it did not start: {error.strerror or error}")
    # Mantid may fail at its exit; the answer counts.
    answers = [line for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if not answers:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return MantidFound(command[0], None, f"it did not start: {said[-1]}")
    answer = json.loads(answers[-1].removeprefix(_ANSWER))
    python, problem = answer["python"], None
    if not answer["fcinv"]:
        problem = f"fcinv is not installed there: {python} -m pip install fcinv"
    elif not is_enabled:
        problem = "not enabled: fcinv mantid enable"
    elif answer["missing"]:
        problem = " ".join(answer["error"].split()) or (
            f"Mantid has read {answer['properties']} and not loaded them; its log may say why"
        )
    return MantidFound(python, answer["version"], problem)
