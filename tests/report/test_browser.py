"""The report in a browser, where there is one: no errors, and the numbers that it reads out."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from fake_result import axis, fake_result, fit

from fcinv_core.report.html import render_report
from fcinv_core.report.planes import PlaneView

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

AXES = [axis("[H,0,0]", -2, 2, 20), axis("[0,K,0]", -1, 1, 5), axis("DeltaE", -5, 70, 30)]


def opened(html, folder):
    """The page after its scripts have run, and what they complained of."""
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
            "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


@pytest.fixture
def whole():
    return fit(AXES)


@pytest.fixture
def on_a_surface():
    """One K is measured at each H and E, so that K is averaged over."""
    made = fit(AXES)
    h, k, energy = np.meshgrid(*[a.centres for a in AXES], indexing="ij")
    hidden = np.abs(k - 0.3 * h - (energy - 32) / 80) > AXES[1].width
    made.measured.signal[hidden] = np.nan
    made.simulated.signal[hidden] = np.nan
    made.residual[hidden] = np.nan
    made.used[hidden] = False
    return made


@pytest.mark.parametrize("kind, averaged", [("whole", ()), ("on_a_surface", (1,))])
def test_viewer_reads_out_what_the_figure_shows(kind, averaged, request, tmp_path):
    made = request.getfixturevalue(kind)
    view = PlaneView.of(made)
    assert view.plane.averaged == averaged
    page, complaints = opened(render_report(fake_result(fits=(made,))), tmp_path)
    assert complaints == []
    (text,) = re.findall(r'<p class="readout">([^<]*)</p>', page)
    number = r"(-?[\d.]+)"
    found = re.fullmatch(
        rf"\[H,0,0\] {number} r\.l\.u\., E {number} meV: measured {number} ± {number}, "
        rf"simulated {number}, residual {number} σ",
        unescape(text),
    )
    assert found, text
    h, energy, measured, sigma, simulated, residual = map(float, found.groups())
    place = tuple(
        int(np.argmin(np.abs(a.centres - value)))
        for a, value in zip(view.plane.axes, (h, energy), strict=True)
    )
    assert measured == pytest.approx(view.measured[place], rel=0.02)
    assert sigma == pytest.approx(view.sigma[place], rel=0.03)
    assert simulated == pytest.approx(view.simulated[place], rel=0.02)
    assert residual == pytest.approx(view.residual[place], abs=0.06 + 0.02 * abs(residual))


def test_complaints_are_heard(whole, tmp_path):
    """Of a page whose script is broken, and of one that asks for a picture elsewhere."""
    html = render_report(fake_result(fits=(whole,)))
    _, complaints = opened(html.replace("drawMap, drawCut", "drawCut"), tmp_path)
    assert "drawMap" in " ".join(complaints)
    (tmp_path / "other").mkdir()
    fetching = html.replace("<body>", '<body><img src="https://example.org/a.png">')
    _, complaints = opened(fetching, tmp_path / "other")
    assert "Content Security Policy" in " ".join(complaints)
