"""Figures as parts of a page: drawings that take its colours, and pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import matplotlib
from markupsafe import Markup

from fcinv_core.report.figures import BLUE, GREY, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_COLOURS = {
    "#000000": "var(--ink)",
    BLUE.lower(): "var(--blue)",
    VERMILION.lower(): "var(--vermilion)",
    GREY: "var(--faint)",
}
"""Colours of figures and the variables of the page's style that stand for them, as a dark page
needs lighter ones."""


def drawings(draw: Callable[..., Figure], *of: object) -> dict[str, Markup]:
    """What ``draw`` makes of its arguments as inline SVG, for a wide and a narrow page."""
    return {"wide": _svg(draw(*of)), "narrow": _svg(draw(*of, narrow=True))}


def pictures(draw: Callable[..., Figure], *of: object) -> dict[str, Markup]:
    """The same as data URIs of PNGs, for what has too many marks to be drawn."""
    return {"wide": _png(draw(*of)), "narrow": _png(draw(*of, narrow=True))}


def _svg(figure: Figure) -> Markup:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fcinv"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Names of parts are needed where something refers to them only, and once in a page.
    salt = hashlib.sha256(text.encode()).hexdigest()[:8]
    needed = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{salt}{m[1]}"' if m[1] in needed else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{salt}", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", text)
    text = re.sub(r"<!--.*?-->\s*|<style.*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", _rounded, tag[0]), text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 sans-serif", text)
    for colour, variable in PAGE_COLOURS.items():
        text = re.sub(f"{colour}(?![0-9a-f])", variable, text, flags=re.IGNORECASE)
    return Markup(text)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _png(figure: Figure) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Markup("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
