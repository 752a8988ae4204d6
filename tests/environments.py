"""``python tests/environments.py``: the tests with other versions of Python and NumPy.

Each environment is made anew in build/environments, as wide as setup.py allows and without
Euphonic, as in Mantid's. Versions of Python that are not at hand are left out, and named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/environments"
ENVIRONMENTS = (
    ("3.11", "numpy==1.26.*"),
    ("3.11", "numpy>=2"),
    ("3.12", "numpy>=2,<2.2"),  # Mantid 6.16 pins it so
    ("3.13", "numpy>=2"),
)
TOOLS = ("setuptools", "wheel", "cython", "pytest", "pytest-xdist", "hypothesis", "torch==2.13.0")
"""CHGNet comes without wheels for the newest Pythons: then Cython builds it."""


def interpreter(version: str) -> str | None:
    """A Python of this version, on PATH or among those of pyenv."""
    home = Path.home() / ".pyenv/versions"
    candidates = [shutil.which(f"python{version}"), *sorted(home.glob(f"{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "--version"], capture_output=True, text=True)
        if asked.returncode == 0 and f" {version}." in asked.stdout:
            return str(candidate)
    return None


def made(python: str, numpy: str, folder: Path) -> Path:
    """The Python of a new environment with fcinv in it."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin/python"
    pip = [own, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)  # older ones search for hours
    subprocess.run([*pip, numpy, *TOOLS], check=True)
    # ResINS wants NumPy 2.
    extras = "forcefields" if numpy.startswith("numpy==1") else "forcefields,instruments"
    fcinv = f"{ROOT}[{extras}]"
    subprocess.run([*pip, "--no-build-isolation", "-e", fcinv, numpy], check=True)
    return own


def main(arguments: list[str]) -> int:
    """Run the tests, or those that ``arguments`` ask pytest for, in all environments."""
    failed = 0
    for version, numpy in ENVIRONMENTS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version} is not here: left out", flush=True)
            continue
        print(f"Python {version} with {numpy}", flush=True)
        own = made(python, numpy, FOLDER / f"{version}-{numpy.translate(PLAIN)}")
        command = [own, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *arguments]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        failed += subprocess.run(command, cwd=ROOT, env=os.environ | threads).returncode != 0
    return int(failed > 0)


PLAIN = str.maketrans(dict.fromkeys("<>=,*"))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
