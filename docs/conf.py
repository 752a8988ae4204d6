"""Sphinx settings."""

import re
import sys
from pathlib import Path

project = "fcinv"
author = "The fcinv developers"
release = re.search(
    r'__version__ = "(.+)"', (Path(__file__).parents[1] / "fcinv_core/__init__.py").read_text()
).group(1)

# The package beside these pages, whichever is installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "benchmarks/*.md"]  # Included by pages.
html_theme = "furo"
html_title = "fcinv"
