"""``fcinv mantid``: fcinv's algorithms in Mantid, switched on and off."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from fcinv_core.mantid_setup import Status

RESTART = """\
Restart Mantid Workbench. If it is open now, close it first, then run this command once more:
Workbench puts its settings back as they were when it closes."""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("mantid", help="fcinv's algorithms in Mantid")
    parser.add_argument(
        "action",
        choices=("enable", "disable", "status"),
        help="let Mantid load them or no more, or see whether it does",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Change Mantid's settings, or describe them and try the algorithms."""
    from fcinv_core import mantid_setup

    names = " and ".join(mantid_setup.ALGORITHMS)
    if options.action == "status":
        print(_description(mantid_setup.status(), names))
        return 0
    properties = mantid_setup.properties_file()
    if options.action == "enable":
        changed = mantid_setup.enable()
        folder = mantid_setup.plugin_directory()
        print(f"{'Enabled' if changed else 'Enabled already'}: {names} from {folder}")
    else:
        changed = mantid_setup.disable()
        print(f"{'Disabled' if changed else 'Disabled already'}: {names}")
    print(f"Mantid's settings: {properties}")
    if changed:
        print(RESTART)
    return 0


def _description(status: Status, names: str) -> str:
    if status.is_enabled:
        enabled = "yes"
    elif status.entered:
        copies = ", ".join(map(str, status.entered))
        enabled = f"another copy, {copies}; 'fcinv mantid enable' replaces it"
    else:
        enabled = "no"
    mantid = status.mantid
    if mantid is None:
        found = "none found in this Python or on PATH"
        algorithms = "not tried; run this in Mantid's Python"
    else:
        found = mantid.python if mantid.version is None else f"{mantid.version}, {mantid.python}"
        algorithms = f"{names} load" if mantid.problem is None else mantid.problem
    return (
        f"Mantid's settings: {status.properties}\n"
        f"Plugins:           {status.plugins}\n"
        f"Enabled:           {enabled}\n"
        f"Mantid:            {found}\n"
        f"Algorithms:        {algorithms}"
    )
