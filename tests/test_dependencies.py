"""What fcinv stands on: installed as pinned, free to be used so, and named on the page."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "requirements/pinned.txt"

MAY_BE_COMBINED = {
    "0BSD",
    "Apache-2.0",
    "BSD",
    "BSL-1.0",
    "CC0-1.0",
    "GPL-3.0-or-later",
    "LGPL",
    "MIT",
    "MPL-2.0",
    "PSF-2.0",
    "Zlib",
    "public domain",
}
"""With software under GPL-3.0-or-later, by the list of the Free Software Foundation."""

WORDS = (
    (r"GPL-3\.0-or-later(?<!LGPL-3\.0-or-later)", "GPL-3.0-or-later"),
    (r"\bLGPL", "LGPL"),
    (r"\bMPL|Mozilla Public", "MPL-2.0"),
    (r"\bApache", "Apache-2.0"),
    (r"\b0BSD\b", "0BSD"),
    (r"\bBSD|Kiwi licensing|SciPy Developers", "BSD"),
    (r"\bMIT\b", "MIT"),
    (r"\bPSF|Python Software Foundation", "PSF-2.0"),
    (r"\bBSL-1", "BSL-1.0"),
    (r"\bCC0", "CC0-1.0"),
    (r"\bZlib", "Zlib"),
    (r"public domain", "public domain"),
)


def pinned():
    """Names and versions of the packages that a user gets, not those of tests."""
    text = PINNED.read_text(encoding="utf-8").partition("# Tests")[0]
    return re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)


def stated_licence(metadata):
    """As a package itself states it, by the most reliable of its three ways."""
    expression = metadata.get("License-Expression")
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    return expression or "; ".join(classifiers) or (metadata.get("License") or "")[:200]


def families(text):
    return {name for pattern, name in WORDS if re.search(pattern, text, re.IGNORECASE)}


def rows():
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").partition("## Data")[0]
    return dict(re.findall(r"^\| ([\w.-]+) \| (.+?) \|$", page, re.MULTILINE))


def test_every_package_is_on_the_page():
    assert {name for name, _ in pinned()} == rows().keys() - {"package"}


@pytest.mark.parametrize("name", [name for name, _ in pinned()])
def test_licences_are_those_on_the_page_and_may_be_combined(name):
    told = families(rows()[name])
    assert told and told <= MAY_BE_COMBINED
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not in this environment")
    stated = families(stated_licence(metadata))
    assert not stated or told & stated, stated_licence(metadata)


def test_versions_agree_with_each_other():
    """Those that fcinv asks for; an environment may hold other software, too."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=120
    )
    assert not re.search("^fcinv ", done.stdout, re.MULTILINE), done.stdout


def test_ranges_hold_the_pinned_versions():
    from packaging.requirements import Requirement

    versions = {name.lower(): version for name, version in pinned()}
    for line in importlib.metadata.requires("fcinv"):
        requirement = Requirement(line)
        if (version := versions.get(requirement.name.lower())) is not None:
            assert requirement.specifier.contains(version), line


def test_tests_reach_no_other_machine():
    """The hook of ``conftest.py`` that watches all of them is there."""
    with pytest.raises(RuntimeError, match="a connection to 'example.org'"):
        socket.create_connection(("example.org", 80), timeout=1)
