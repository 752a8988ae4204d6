"""``fcinv mantid``: Mantid's settings, edited and left alone, and what a Mantid makes of them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from command_line import one_error
from hypothesis import example, given
from hypothesis import strategies as st

from fcinv_core import cli, mantid_setup

KEY = b"user.python.plugins.directories"
NAMES = "SimulateSQE and InvertForceConstants"

FAKE_MANTID = {
    "__init__.py": '__version__ = "6.15.0"\n',
    "api.py": """
class AlgorithmFactory:
    names = []
    subscribe = names.append
    exists = names.__contains__
""",
    "kernel.py": """
import os
class ConfigService:
    getUserFilename = staticmethod(lambda: os.environ["HOME"] + "/.mantid/Mantid.user.properties")
""",
    # Loads what is named in the settings, as Mantid does, and is as talkative.
    "simpleapi.py": """
import pathlib, runpy, sys
from mantid.kernel import ConfigService
print("FrameworkManager-[Notice] Welcome to Mantid")
print("FrameworkManager-[Warning] on the other stream", file=sys.stderr)
for line in open(ConfigService.getUserFilename()).read().splitlines():
    key, _, value = line.partition("=")
    if key.strip() == "user.python.plugins.directories":
        for folder in filter(None, value.strip().split(";")):
            for plugin in sorted(pathlib.Path(folder).glob("*.py")):
                try:
                    runpy.run_path(str(plugin))
                except Exception as error:
                    print("[Warning] Failed to load plugin", plugin, error)
""",
}
PLUGIN = "from mantid.api import AlgorithmFactory\nAlgorithmFactory.subscribe('{name}')\n"


def write_plugins(folder):
    folder.mkdir(parents=True)
    for name in mantid_setup.ALGORITHMS:
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name))
    return folder


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """The user properties file in a home of its own, beside the plugins, and no Mantid."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MANTIDPROPERTIES", raising=False)
    monkeypatch.setenv("PATH", "")
    folders = (tmp_path / "fcinv_core/mantid_plugins", write_plugins(tmp_path / "plugins"))
    monkeypatch.setattr(mantid_setup, "FOLDERS", folders)
    # Other tests may have brought one into this process.
    for name in [name for name in sys.modules if name.partition(".")[0] == "mantid"]:
        monkeypatch.delitem(sys.modules, name)
    without = [folder for folder in sys.path if not Path(folder, "mantid/kernel.py").exists()]
    monkeypatch.syspath_prepend(tmp_path)  # and puts all of the path back in the end
    sys.path[:] = without
    return tmp_path / ".mantid/Mantid.user.properties"


@pytest.fixture
def plugins(settings, tmp_path):
    return tmp_path / "plugins"


def write_mantid(folder, monkeypatch, **other):
    for name, text in (FAKE_MANTID | other).items():
        (folder / "mantid").mkdir(parents=True, exist_ok=True)
        (folder / "mantid" / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))


@pytest.fixture
def mantid(tmp_path, monkeypatch):
    """A fake Mantid in this Python."""
    write_mantid(tmp_path / "site", monkeypatch)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site/mantid"


def tell(capsys, action):
    """What the command prints where all is well."""
    assert cli.main(["mantid", action]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def properties(text):
    """Keys and values, character by character as Mantid's library reads them."""
    found, position = {}, 0
    while position < len(text):
        if text[position : position + 1].isspace():
            position += 1
            continue
        comment, key, value, escaped = text[position : position + 1] in b"#!", b"", None, False
        while position < len(text):
            byte = text[position : position + 1]
            position += 1
            if value is not None and byte == b"\\" and not comment and not escaped:
                escaped = True
            elif escaped:
                escaped = False
                if byte == b"\r" and text[position : position + 1] == b"\n":
                    position += 1
                value += b"" if byte in b"\r\n" else byte
            elif byte in b"\r\n":
                break
            elif value is not None:
                value += byte
            elif byte in b"=:" and not comment:
                value = b""
            else:
                key += byte
        if not comment:
            found[key.strip()] = (value or b"").strip()
    return found


def entries(text):
    """The folders of plugins, or None where there is no such key."""
    value = properties(text).get(KEY)
    return None if value is None else [e.strip() for e in value.split(b";") if e.strip()]


def test_enable_makes_folder_and_file(capsys, settings, plugins):
    told = tell(capsys, "enable")
    assert settings.read_bytes() == KEY + b"=" + os.fsencode(plugins) + b"\n"
    assert f"Enabled: {NAMES} from {plugins}\nMantid's settings: {settings}\n" in told
    assert "Restart Mantid Workbench" in told
    assert [path.name for path in settings.parent.iterdir()] == [settings.name]


def test_both_ways_are_idempotent(capsys, settings):
    tell(capsys, "enable")
    once = settings.read_bytes()
    told = tell(capsys, "enable")
    assert told.startswith("Enabled already") and "Restart" not in told
    assert settings.read_bytes() == once
    assert tell(capsys, "disable").startswith("Disabled: ")
    assert settings.read_bytes() == b""
    assert tell(capsys, "disable").startswith("Disabled already")


def test_disable_without_settings_makes_none(capsys, settings):
    tell(capsys, "disable")
    assert not settings.parent.exists()


@pytest.mark.parametrize(
    ("before", "enabled"),
    [
        (b"# mine\r\nfacility = SNS", b"KEY=OURS\r\n# mine\r\nfacility = SNS"),
        (b"facility=\\\n", b"KEY=OURS\nfacility=\\\n"),
        (b"\xe9t\xe9=\xff\n", b"KEY=OURS\n\xe9t\xe9=\xff\n"),
        (b"#KEY=/a\n a=1\\\nKEY=/b\n", b"KEY=OURS\n#KEY=/a\n a=1\\\nKEY=/b\n"),
        (b"KEY=/a\nx=1\n", b"KEY=OURS;/a\nx=1\n"),
        (b"  KEY : /a ;/b \r\nx=1", b"  KEY : OURS;/a ;/b \r\nx=1"),
        (b"KEY = /a;\\\n  /b\nx=1\n", b"KEY = OURS;/a;\\\n  /b\nx=1\n"),
        (b"KEY=/a\nKEY=C:\\\\b\\\\\n", b"KEY=/a\nKEY=OURS;C:\\\\b\\\\\n"),
        (b"KEY=/a\nKEY=\n", b"KEY=/a\nKEY=OURS\n"),
    ],
)
def test_the_rest_of_the_settings_stays(capsys, settings, plugins, before, enabled):
    before, enabled = (
        text.replace(b"KEY", KEY).replace(b"OURS", os.fsencode(plugins))
        for text in (before, enabled)
    )
    settings.parent.mkdir()
    settings.write_bytes(before)
    tell(capsys, "enable")
    assert settings.read_bytes() == enabled
    tell(capsys, "disable")
    assert settings.read_bytes() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"KEY=OURS", b""),
        (b"x=1\nKEY = \\\n OURS ; \\\n\ny=2\n", b"x=1\ny=2\n"),
        (b"KEY=/a;OURS/;/b;\n", b"KEY=/a;/b;\n"),
        (b"KEY=/a\\;OURS\nx=1\n", b"KEY=/a\\;\nx=1\n"),
        (b"KEY=/a\nKEY=OURS\n", b"KEY=/a\nKEY=\n"),
        (b"KEY=/old/fcinv_core/mantid_plugins;/a\n", b"KEY=/a\n"),
        (b"KEY\nx=1\n", b"KEY\nx=1\n"),
        (b"KEY=plugins\n", b"KEY=plugins\n"),
    ],
)
def test_disable_leaves_what_others_entered(capsys, settings, plugins, monkeypatch, before, after):
    monkeypatch.chdir(plugins.parent)
    before, after = (
        text.replace(b"KEY", KEY).replace(b"OURS", os.fsencode(plugins)) for text in (before, after)
    )
    settings.parent.mkdir()
    settings.write_bytes(before)
    tell(capsys, "disable")
    assert settings.read_bytes() == after


def test_another_copy_is_replaced(capsys, settings, plugins, tmp_path):
    other = write_plugins(tmp_path / "other/plugins")
    settings.parent.mkdir()
    settings.write_text(f"{KEY.decode()}=/a;{other};/b;/gone/fcinv_core/mantid_plugins\n")
    assert f"another copy, {other}, /gone" in tell(capsys, "status")
    tell(capsys, "enable")
    assert settings.read_text() == f"{KEY.decode()}=/a;{plugins};/b\n"
    assert "Enabled:           yes" in tell(capsys, "status")


PIECES = (KEY, b"=", b":", b";", b"/a", b"\\", b"\r\n", b"\n", b"\r", b" ", b"#", b"x", b"\xff\xe9")
TEXTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3)).map(b"".join)


@given(TEXTS)
@example(KEY)
@example(KEY + b"=/a;\\")
@example(b"x=\\" + KEY)
def test_enable_then_disable_changes_nothing_else(text):
    folder = mantid_setup.plugin_directory()
    before = entries(text)
    enabled = mantid_setup._with_entry(text, folder)
    assert entries(enabled) == [os.fsencode(folder), *(before or [])]
    assert mantid_setup._with_entry(enabled, folder) == enabled
    disabled = mantid_setup._with_entry(enabled, None)
    if before is None or before:
        assert disabled == text
    else:  # an empty list may go
        assert not entries(disabled)
        assert {**properties(disabled), KEY: b""} == {**properties(text), KEY: b""}


def test_links_and_permissions_stay(capsys, settings, tmp_path):
    real = tmp_path / "dotfiles/properties"
    real.parent.mkdir()
    real.write_text("password=x\n")
    real.chmod(0o600)
    settings.parent.mkdir()
    settings.symlink_to(real)
    tell(capsys, "enable")
    assert settings.is_symlink() and KEY in real.read_bytes()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_the_file_that_mantid_reads_last_is_edited(capsys, settings, monkeypatch, tmp_path):
    last = tmp_path / "facility.properties"
    monkeypatch.setenv("MANTIDPROPERTIES", str(last))
    last.write_bytes(b"facility=SNS\n")
    assert str(settings) in tell(capsys, "enable")
    last.write_bytes(KEY + b"=/facility\n")
    assert "Enabled:           no" in tell(capsys, "status")
    assert str(last) in tell(capsys, "enable")
    assert last.read_bytes().endswith(b"plugins;/facility\n")
    last.write_bytes(last.read_bytes().replace(b";/facility", b""))
    assert str(last) in tell(capsys, "disable")
    assert last.read_bytes() == b""


def test_unwritable_settings_are_one_line(capsys, settings, monkeypatch):
    def refuse(source, target):
        raise PermissionError(13, "Permission denied", str(source))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)  # as in a read-only folder, which root may write to
        error = one_error(capsys, ["mantid", "enable"])
    assert str(settings) in error and "Permission denied" in error
    assert list(settings.parent.iterdir()) == []
    settings.parent.rmdir()
    settings.parent.touch()
    for action in ("enable", "disable", "status"):
        assert str(settings) in one_error(capsys, ["mantid", action])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_home(capsys, settings):
    settings.parent.parent.chmod(0o500)
    error = one_error(capsys, ["mantid", "enable"])
    settings.parent.parent.chmod(0o700)
    assert str(settings) in error and "Permission denied" in error


def test_no_home_directory(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    for action in ("enable", "disable", "status"):
        assert "set HOME" in one_error(capsys, ["mantid", action])

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert "set HOME" in one_error(capsys, ["mantid", "enable"])


def test_no_plugins(capsys, monkeypatch, tmp_path):
    (tmp_path / "plugins/InvertForceConstants.py").unlink()
    assert "install fcinv again" in one_error(capsys, ["mantid", "enable"])
    tell(capsys, "disable")


@pytest.mark.parametrize("name", ["a;b", "a,b", "a`b", "a\\b", "a${b"])
def test_paths_that_mantid_cannot_read_are_refused(capsys, settings, monkeypatch, tmp_path, name):
    folder = write_plugins(tmp_path / name / "plugins")
    monkeypatch.setattr(mantid_setup, "FOLDERS", (folder, folder))
    assert str(folder) in one_error(capsys, ["mantid", "enable"])
    assert not settings.exists()


def test_installed_plugins_go_before_those_beside(tmp_path):
    installed = write_plugins(tmp_path / "fcinv_core/mantid_plugins")
    assert mantid_setup.plugin_directory() == installed


@pytest.mark.parametrize("arguments", [[], ["install"]])
def test_unknown_actions(capsys, arguments):
    assert "fcinv mantid --help" in one_error(capsys, ["mantid", *arguments])


def test_status_without_mantid(capsys, settings, plugins):
    told = tell(capsys, "status")
    assert str(settings) in told and str(plugins) in told
    assert "Enabled:           no" in told
    assert "none found in this Python or on PATH" in told


def test_status_follows_what_mantid_loads(capsys, mantid, settings):
    settings.parent.mkdir()
    settings.touch()
    told = tell(capsys, "status")
    assert f"6.15.0, {sys.executable}" in told and "not enabled: fcinv mantid enable" in told
    assert "Welcome" not in told
    tell(capsys, "enable")
    assert f"Algorithms:        {NAMES} load" in tell(capsys, "status")


def test_status_says_why_a_plugin_does_not_load(capsys, mantid, plugins):
    (plugins / "SimulateSQE.py").write_text("raise ImportError('no module\\nnamed torch')\n")
    tell(capsys, "enable")
    told = tell(capsys, "status")
    assert "Algorithms:        ImportError: no module named torch" in told


def test_status_says_which_settings_mantid_has_read(capsys, mantid, settings, monkeypatch):
    tell(capsys, "enable")
    (settings.parent / "other").touch()
    kernel = FAKE_MANTID["kernel.py"].replace("Mantid.user.properties", "other")
    (mantid / "kernel.py").write_text(kernel)
    assert f"has read {settings.parent / 'other'}" in tell(capsys, "status")


def test_status_says_how_mantid_fails(capsys, mantid, monkeypatch):
    (mantid / "simpleapi.py").write_text("raise ImportError('libQt.so: no such file')\n")
    told = tell(capsys, "status")
    assert f"Mantid:            {sys.executable}\n" in told
    assert "it did not start: ImportError: libQt.so: no such file" in told
    (mantid / "simpleapi.py").write_text("import os\nos._exit(7)\n")
    assert "it did not start: exit code 7" in tell(capsys, "status")
    (mantid / "simpleapi.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(mantid_setup, "SECONDS", 1)
    assert "it did not start within 1 s" in tell(capsys, "status")


@pytest.mark.parametrize("launcher", ["mantidpython", "mantidworkbench", "workbench"])
def test_status_finds_mantid_on_the_path(capsys, monkeypatch, tmp_path, launcher):
    """In a Python of its own, where fcinv is not installed."""
    site, programs = tmp_path / "site", tmp_path / "mantid/bin"
    write_mantid(site, monkeypatch)
    programs.mkdir(parents=True)
    shift = "shift" if launcher == "mantidpython" else ""
    for name in {launcher, "mantidpython" if shift else "python"}:
        (programs / name).write_text(
            f'#!/bin/sh\n{shift}\nPYTHONPATH={site} exec {sys.executable} -S "$@"\n'
        )
        (programs / name).chmod(0o755)
    tell(capsys, "enable")
    monkeypatch.setenv("PATH", str(programs))
    told = tell(capsys, "status")
    assert f"6.15.0, {sys.executable}" in told
    assert f"fcinv is not installed there: {sys.executable} -m pip install fcinv" in told


def test_status_survives_a_broken_launcher(capsys, monkeypatch, tmp_path):
    (tmp_path / "mantidpython").write_text("#!/nowhere/python\n")
    (tmp_path / "mantidpython").chmod(0o755)
    (tmp_path / "workbench").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "it did not start: No such file or directory" in tell(capsys, "status")
    (tmp_path / "mantidpython").unlink()
    assert "none found" in tell(capsys, "status")  # no Python beside workbench


def test_windows_keeps_the_settings_in_the_folder_of_mantid(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Mantid's Python" in one_error(capsys, ["mantid", "enable"])
    folder = tmp_path / "conda/Library/bin"
    folder.mkdir(parents=True)
    (folder / "Mantid.properties").touch()
    monkeypatch.setattr(mantid_setup, "_mantid_command", lambda: [str(tmp_path / "conda/python")])
    assert str(folder / "Mantid.user.properties") in tell(capsys, "enable")
