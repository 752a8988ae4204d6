"""The report: one HTML file that carries its pictures and asks nothing of the network."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup

from fcinv_core.report.figures import dispersion_figure, histogram_figure
from fcinv_core.report.planes import PlaneView
from fcinv_core.report.wording import (
    HEADLINES,
    rounded,
    sentence,
    setting,
    setting_name,
    with_sigma,
)
from fcinv_core.versions import software_versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fcinv_core.inversion.elasticity import ElasticConstants
    from fcinv_core.inversion.result import HistogramFit, InversionResult

NUISANCES = (
    ("scale", "Scale"),
    ("background", "Background"),
    ("background_slope", "Background slope"),
    ("resolution_scale", "Resolution scale"),
    ("q_spread_scale", "Spread of Q in a bin"),
    ("multiphonon_scale", "Scattering by several phonons"),
    ("elastic_tail", "Elastic tail"),
    ("elastic_decay", "Decay of the elastic tail"),
)
"""Keys of ``HistogramFit.nuisance`` with their names, in the order they are shown."""


def render_report(result: InversionResult) -> str:
    """The whole report of an inversion as one HTML page.

    Parameters
    ----------
    result
        What `fcinv_core.invert` returned.

    Returns
    -------
    str
        A self-contained page: pictures inside, no scripts, no requests, light and dark.
    """
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            result=result,
            headline=HEADLINES[result.verdict.trust],
            workspaces=[_workspace(fit, i) for i, fit in enumerate(result.fits, 1)],
            dispersion=pictures(
                dispersion_figure,
                result.dispersion,
                result.start_dispersion,
                result.density_of_states,
            ),
            elastic_constants=_elastic_constants(result.elastic),
            nuisances=NUISANCES,
            dispersion_sigma=_typical_sigma(result),
            bins_used=sum(int(np.count_nonzero(fit.used)) for fit in result.fits),
            versions=software_versions(),
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def environment() -> jinja2.Environment:
    """Of the templates, with the words and numbers of reports."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("fcinv_core.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        rounded=rounded, sentence=sentence, setting=setting, setting_name=setting_name
    )
    found.globals.update(with_sigma=with_sigma)
    return found


def _elastic_constants(elastic: ElasticConstants) -> list[tuple[str, float, float]]:
    """Name, value and standard deviation of those that the symmetry leaves free, and of B."""
    return [
        (name[0].upper() + name[1:], estimate.value, estimate.sigma)
        for name, estimate in elastic.estimates.items()
    ]


def _workspace(fit: HistogramFit, number: int) -> dict[str, Any]:
    view = PlaneView.of(fit)
    return {
        "fit": fit,
        "name": Path(fit.source).name if fit.source else f"Workspace {number}",
        "shape": " × ".join(f"{axis.name} {axis.n_bins}" for axis in fit.measured.axes),
        "place": view.plane.description,
        "is_image": len(view.plane.axes) == 2,
        "picture": pictures(histogram_figure, view),
        "bins_used": int(np.count_nonzero(fit.used)),
    }


def pictures(draw: Callable[..., Figure], *of: object) -> dict[str, Markup]:
    """What ``draw`` makes of its arguments as data URIs, for a wide and a narrow page."""
    return {
        "wide": _data_uri(draw(*of)),
        "narrow": _data_uri(draw(*of, narrow=True)),
    }


def _data_uri(figure: Figure) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return Markup("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())


def _typical_sigma(result: InversionResult) -> float:
    """Root mean square of the dispersion's standard deviation, meV."""
    sigma = result.dispersion.sigma_mev[np.isfinite(result.dispersion.sigma_mev)]
    return float(np.sqrt(np.mean(sigma**2))) if sigma.size else float("nan")
