"""Packaging of fcinv; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "fcinv_core/__init__.py").read_text(), re.MULTILINE
).group(1)

# The ranges are wide on purpose: fcinv shares the conda environment of Mantid, whose own
# pins decide. requirements/pinned.txt holds one tested set of exact versions.
setup(
    name="fcinv",
    version=VERSION,
    description="Interatomic force constants from single-crystal inelastic neutron scattering",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="GPL-3.0-or-later",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["fcinv_core", "fcinv_core.*"]),
        # Mantid takes a folder of algorithms; it must hold nothing else.
        "fcinv_core.mantid_plugins",
        "fcinv_core.mantid_docs",
    ],
    package_dir={
        "fcinv_core.mantid_plugins": "plugins",
        "fcinv_core.mantid_docs": "docs/algorithms",
    },
    package_data={
        "fcinv_core": ["py.typed", "data/**/*"],
        "fcinv_core.report": ["templates/*"],
        "fcinv_core.mantid_docs": ["*.md"],
    },
    install_requires=[
        "numpy>=1.26,<3",
        "scipy>=1.11",
        "torch>=2.2",
        "filelock>=3.12",
        "phonopy>=4.4",
        "symfc>=1.5",
        "spglib>=2.5",
        "seekpath>=2.1",
        "ase>=3.23",
        "h5py>=3.8",
        "matplotlib>=3.8",
        "Jinja2>=3.1",
        "rich>=13",
        "periodictable>=1.7",
        "PyYAML>=6",
        "safetensors>=0.4",
        "shtab>=1.9",
    ],
    extras_require={
        "forcefields": ["chgnet>=0.4"],
        # Training in several processes.
        "distributed": ["lightning-fabric>=2.4"],
        # ResINS may change its interface with every 0.x.
        "instruments": ["resins>=0.1,<0.2"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.7",
            "hypothesis>=6",
            "lightning-fabric>=2.4",
            "euphonic>=2.1",
            "resins>=0.1,<0.2",
            "ruff",
            "mypy",
            "codespell>=2.3",
            "types-PyYAML",
        ],
        "docs": ["sphinx>=7", "myst-parser>=3", "furo"],
    },
    entry_points={"console_scripts": ["fcinv = fcinv_core.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Physics",
    ],
)
