"""The report: what a person must find in it, and what a browser must not fetch for it."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_result import axis, density_of_states, dispersion, fake_result, fit, histogram
from matplotlib.figure import Figure
from PIL import Image

from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.result import Dispersion
from fcinv_core.report import html as html_module
from fcinv_core.report.figures import BLUE, dispersion_figure, histogram_figure
from fcinv_core.report.html import render_report
from fcinv_core.report.pictures import drawings
from fcinv_core.report.planes import Plane, PlaneView
from fcinv_core.report.wording import HEADLINES, with_sigma


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    VOID = ("meta", "img", "source", "link", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def html():
    fits = (fit([axis("[H,H,0]", -2, 2, 80), axis("DeltaE", -5, 70, 75)]),)
    return render_report(fake_result("no", fits=fits))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_page_is_well_formed_and_small(html, page):
    assert page.open == []
    assert len(html) < 5e6


def test_nothing_is_fetched(html, page):
    """Only a click on the citation leaves the page."""
    links = []
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "xlink:href", "data", "action"):
            value = attributes.get(name, "data:")
            if not value.startswith(("data:", "#")):
                links.append((tag, name, value))
        assert not any(name.startswith("on") for name in attributes)
    assert links == [("a", "href", "https://doi.org/10.1039/D6DD00008H")]
    assert set(re.findall(r"url\((.)", html)) <= {"#"} and "@import" not in html
    assert html.count("://") == 1
    (policy,) = [a["content"] for _, a in page.tags if "content-security-policy" in str(a).lower()]
    assert "default-src 'none'" in policy


def test_parts_that_drawings_refer_to_are_in_the_page_once(page):
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")}
    targets |= {
        a["clip-path"][5:-1] for _, a in page.tags if a.get("clip-path", "").startswith("url(#")
    }
    assert targets and targets <= set(names)


def test_verdict_comes_first_in_words_with_escaped_reasons(html, page):
    order = [HEADLINES["no"], "The deviance is 1.03", "Do not use its numbers", "Measured and sim"]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert "Do not use its numbers" not in Page(render_report(fake_result("yes"))).text
    assert "One reason <b>." in page.text
    assert "<b>" not in html


@pytest.mark.parametrize(
    "expected",
    [
        "Si–Si", "2.352", "12.340 ± 0.050", "0.512 ± 0.021", "9.8720",  # shells and start
        "Error σ (meV)", "States (1/meV)", "U|K", "Force constant (eV/Å²)",  # labels of drawings
        "[100], [010], [001] 5.860 ± 0.029",  # √(C44/ρ), km/s
        "(1.234 ± 0.021)·10⁻⁴", "1.080 ± 0.011", "Background slope (1/meV)",  # nuisances
        "80.00 ± 0.80", "Bulk modulus98.00 ±",  # elastic constants
        "1.03", "0.99",  # deviance, Pearson
        "The 4th shell's transverse constant.",
        "4, 4, 4", "(1, 0), (0, 1)", "ab" * 32, "41.2 s",  # settings, hash, timing
        "10.1039/D6DD00008H", "Digital Discovery", "phonopy",
    ],
)  # fmt: skip
def test_report_shows(page, expected):
    assert expected in " ".join(page.text.split())


def test_pictures_for_browsers_without_scripts(html):
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    assert len(pictures) == 2  # for a wide and a narrow page
    for picture in pictures:
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L"))
        assert image.std() > 10


def test_drawings_take_the_colours_of_the_page():
    drawing = drawings(dispersion_figure, dispersion())["wide"]
    assert "var(--blue)" in drawing and "var(--ink)" in drawing
    assert BLUE.lower() not in drawing.lower() and "#000000" not in drawing


def test_drawings_keep_numbers_that_are_read():
    """Places are rounded, numbers on an axis are not."""

    def figure(narrow=False):
        made = Figure()
        made.subplots().set_yticks([0.0, 0.005, 0.0125], ["0", "0.005", "0.0125"])
        return made

    drawing = drawings(figure)["wide"]
    assert ">0.005<" in drawing and ">0.0125<" in drawing
    assert not re.search(r"[ \"-]\d+\.\d{3,}", "".join(re.findall(r"<[^>]*>", drawing)))


def test_page_of_large_volumes_is_as_small_as_any(monkeypatch):
    """Bins are merged as far as it takes, and the page says so."""
    monkeypatch.setattr(html_module, "LARGEST_PAGE", 400_000)
    axes = [
        axis("[H,0,0]", -2, 2, 31), axis("[0,K,0]", -1, 1, 20), axis("[0,0,L]", -1, 1, 6),
        axis("DeltaE", -5, 70, 30),
    ]  # fmt: skip
    page = render_report(fake_result(fits=(fit(axes), fit(axes, seed=1))))
    assert len(page) < 400_000 + 50_000  # text, styles and scripts
    text = Page(page).text
    assert text.count("bins are merged here: 2 along [H,0,0]") == 2
    # Pictures take half of the room at most, so the second has none.
    assert text.count("Open this page in a browser") == 1


def test_data_along_one_axis_are_drawn_as_curves():
    line = fit([axis("DeltaE", -5, 70, 20), axis("[H,0,0]", -0.1, 0.1, 1)])
    page = Page(render_report(fake_result(fits=(line,))))
    assert "Measured" in page.text and "Residual (σ)" in page.text
    assert "Integrated over [H,0,0] from -0.1 to 0.1 r.l.u." in page.text
    assert not any(attributes.get("class") == "viewer" for _, attributes in page.tags)


def test_workspace_without_anything_used_is_still_shown():
    empty = fit([axis("[H,H,0]", -2, 2, 8), axis("DeltaE", -5, 4, 9)])
    assert not empty.used.any()
    assert "0 used" in " ".join(Page(render_report(fake_result(fits=(empty,)))).text.split())


def test_measured_and_simulated_share_one_scale():
    figure = histogram_figure(
        PlaneView.of(fit([axis("DeltaE", -5, 70, 30), axis("[H,H,0]", -2, 2, 40)]))
    )
    meshes = [panel.collections[0] for panel in figure.axes[:3]]
    assert meshes[0].norm is meshes[1].norm
    assert meshes[2].norm.vmin == -meshes[2].norm.vmax
    assert figure.axes[0].get_xlabel() == "[H,H,0] (r.l.u.)"
    assert figure.axes[0].get_ylabel() == "Energy transfer (meV)"
    np.testing.assert_allclose(figure.axes[0].get_xlim(), (-2, 2))
    # Blank where nothing was measured: E > 45 meV, H > 0.3.
    blank = np.ma.getmaskarray(meshes[0].get_array()).reshape(30, 40)
    assert blank[-1, -1] and not blank[-1, 0]


def test_plane_of_four_dimensions_is_the_slice_that_varies_most():
    axes = [
        axis("DeltaE", -5, 70, 20),
        axis("[0,K,0]", -1, 1, 5),
        axis("[H,0,0]", -2, 2, 30),
        axis("[0,0,L]", -0.1, 0.1, 1),
    ]
    made = fit(axes)
    used = made.used.copy()
    used[:, [0, 1, 2, 4]] = False
    view = PlaneView.of(replace(made, used=used))
    assert [a.name for a in view.plane.axes] == ["[H,0,0]", "DeltaE"]
    assert view.plane.averaged == ()
    np.testing.assert_array_equal(view.measured, made.measured.signal[:, 3, :, 0].T)
    np.testing.assert_array_equal(view.simulated, made.simulated.signal[:, 3, :, 0].T)
    np.testing.assert_allclose(view.residual, made.residual[:, 3, :, 0].T, rtol=1e-12)
    assert "[0,K,0] from 0.2 to 0.6 r.l.u." in view.plane.description


def one_orientation():
    """Bins on a surface: at each H and E one K is measured."""
    axes = [axis("[H,0,0]", -2, 2, 40), axis("[0,K,0]", -2, 2, 25), axis("DeltaE", 5, 70, 30)]
    made = fit(axes)
    h, k, energy = np.meshgrid(*[a.centres for a in axes], indexing="ij")
    surface = np.abs(k - (0.2 * h + energy / 40 - 1)) < axes[1].width / 2
    hidden = ~surface | np.isnan(made.measured.signal)
    measured, simulated = (
        histogram(axes, np.where(hidden, np.nan, h_.signal))
        for h_ in (made.measured, made.simulated)
    )
    residual = np.where(hidden, np.nan, made.residual)
    return replace(
        made,
        measured=measured,
        simulate=lambda: simulated,
        used=made.used & ~hidden,
        residual=residual,
    )


def test_data_on_a_surface_are_averaged_along_the_axis_that_hides_it():
    made = one_orientation()
    view = PlaneView.of(made)
    assert [a.name for a in view.plane.axes] == ["[H,0,0]", "DeltaE"]
    assert view.plane.averaged == (1,)
    assert "average over [0,K,0] from -2 to 2 r.l.u." in view.plane.description
    # One bin stands behind nearly every average, so averaging changes nothing there.
    single = (np.isfinite(made.measured.signal)).sum(axis=1) == 1
    assert single.mean() > 0.5
    counted = single & (np.nansum(made.measured.signal, axis=1) > 0)
    for values, shown in [
        (made.measured.signal, view.measured),
        (made.simulated.signal, view.simulated),
        (made.residual, view.residual),
    ]:
        expected = np.nansum(values, axis=1)[counted]
        np.testing.assert_allclose(np.nan_to_num(shown[counted]), expected, rtol=1e-9)


def test_averages_are_all_counts_over_all_exposure():
    """Two bins of 9 and 4 counts, exposures 9 and 1 (signal 1 and 4, variance signal/exposure)."""
    axes = [axis("[H,0,0]", 0, 1, 1), axis("[0,K,0]", 0, 1, 2), axis("DeltaE", 0, 2, 1)]
    shape = (1, 2, 1)
    signal, exposure = np.array([1.0, 4.0]).reshape(shape), np.array([9.0, 1.0]).reshape(shape)
    measured = SQEHistogram.from_arrays(axes, signal, signal / exposure)
    expected = np.array([6.0, 3.0])  # counts that the model says
    made = fit(axes)
    made = replace(
        made,
        measured=measured,
        simulate=lambda: measured.with_values(expected.reshape(shape) / exposure, 0 * signal),
        used=np.ones(shape, bool),
        residual=((np.array([9.0, 4.0]) - expected) / np.sqrt(expected)).reshape(shape),
    )
    plane = Plane(axes[:1], (slice(None), 0, 0), (1,), False, "")
    view = PlaneView.on(plane, made)
    np.testing.assert_allclose(view.measured, [13 / 10])
    np.testing.assert_allclose(view.simulated, [9 / 10])
    np.testing.assert_allclose(view.sigma, [np.sqrt(13) / 10])
    np.testing.assert_allclose(view.residual, [(13 - 9) / np.sqrt(9)])


@pytest.mark.parametrize(
    "axes, shape",
    [
        ([axis("[0,K,0]", -2, 2, 12), axis("DeltaE", 29, 31, 1), axis("[H,0,0]", -2, 2, 30)],
         (12, 30)),
        ([axis("DeltaE", -5, 70, 20), axis("[H,0,0]", -0.1, 0.1, 1)], (20,)),
        ([axis("DeltaE", -5, 70, 1), axis("[H,0,0]", -0.1, 0.1, 1)], (1,)),
    ],
)  # fmt: skip
def test_planes_of_maps_lines_and_a_single_bin(axes, shape):
    made = fit(axes)
    view = PlaneView.of(made)
    assert view.residual.shape == view.measured.shape == shape
    histogram_figure(view).draw_without_rendering()


def test_dispersion_labels_jumps_and_imaginary_modes():
    unstable = dispersion(-3.0)
    panel, errors = dispersion_figure(dispersion(), unstable).axes
    assert [t.get_text() for t in errors.get_xticklabels()] == ["Γ", "U|K", "Γ"]
    assert panel.get_ylim()[0] < unstable.energy_mev.min()
    # No line bridges the jump from U to K: fitted and start are drawn in two parts each.
    lengths = {len(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) > 0}
    assert lengths == {40, 25}


def test_dispersion_band_is_one_sigma_wide():
    panel, errors = dispersion_figure(dispersion()).axes
    box = panel.collections[0].get_paths()[0].vertices
    at_start = box[np.isclose(box[:, 0], 0.0), 1]
    assert np.ptp(at_start) == pytest.approx(2 * 0.4)
    np.testing.assert_allclose(errors.lines[0].get_ydata(), 0.4)


def test_density_of_states_shares_the_energies():
    states = density_of_states()
    panel, _, beside = dispersion_figure(dispersion(), None, states).axes
    assert panel.get_ylim() == beside.get_ylim()
    line = beside.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), states.density)
    np.testing.assert_array_equal(line.get_ydata(), states.energy_mev)


def test_dispersion_without_imaginary_modes_starts_at_zero():
    stable = dispersion()
    assert dispersion_figure(stable, stable).axes[0].get_ylim()[0] == 0
    undetermined = Dispersion(
        stable.path_labels, stable.q, stable.distance, stable.energy_mev,
        np.full_like(stable.energy_mev, np.nan),
    )  # fmt: skip
    dispersion_figure(undetermined).draw_without_rendering()


@pytest.mark.parametrize(
    "value, sigma, text",
    [
        (12.3456, 0.0123, "12.346 ± 0.012"),
        (-3.2, 1.5, "-3.2 ± 1.5"),
        (123456.0, 789.0, "123456 ± 789"),
        (1.5e-7, 2e-9, "(1.500 ± 0.020)·10⁻⁷"),
        (2.5e12, 1e10, "(2.500 ± 0.010)·10¹²"),
        (0.0, 0.02, "0.000 ± 0.020"),
        (1.5, float("nan"), "1.5"),
        (float("nan"), 1.0, "–"),
    ],
)
def test_numbers_carry_the_digits_their_sigma_justifies(value, sigma, text):
    assert with_sigma(value, sigma) == text
