"""The report: one HTML file that carries its pictures and asks nothing of the network."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib
import numpy as np

from fcinv_core.inversion.output import SOUND_DIRECTIONS
from fcinv_core.report.figures import (
    INTENSITY,
    RESIDUAL,
    RESIDUAL_LIMIT,
    dispersion_figure,
    histogram_figure,
    shells_figure,
)
from fcinv_core.report.pictures import drawings, pictures
from fcinv_core.report.planes import PlaneView, extent
from fcinv_core.report.volume import LARGEST_RESIDUAL, MISSING, RESIDUAL_STEP, Volume
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
    from markupsafe import Markup

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


LARGEST_PAGE = 4_500_000
"""Characters of a report, roughly: it is to be mailed."""


def render_report(result: InversionResult) -> str:
    """The whole report of an inversion as one HTML page.

    Parameters
    ----------
    result
        What `fcinv_core.invert` returned.

    Returns
    -------
    str
        A self-contained page: pictures, data and scripts inside, no requests, light and dark.
    """
    parts: dict[str, Any] = {
        "dispersion": drawings(
            dispersion_figure,
            result.dispersion,
            result.start_dispersion,
            result.density_of_states,
        ),
        "shells": drawings(shells_figure, result.shells, result.start_shells),
    }
    workspaces = [_workspace(fit, number) for number, fit in enumerate(result.fits, 1)]
    views = [PlaneView.of(fit) for fit in result.fits]
    filled = sum(map(_size, parts.values()))
    for workspace, view in zip(workspaces, views, strict=True):
        if len(view.plane.axes) == 1:
            workspace["drawing"] = drawings(histogram_figure, view)
            filled += _size(workspace["drawing"])
        elif filled < LARGEST_PAGE / 2:
            workspace["picture"] = pictures(histogram_figure, view)
            filled += _size(workspace["picture"])
    for workspace, fit, view in zip(workspaces, result.fits, views, strict=True):
        if len(view.plane.axes) == 2:
            workspace |= _viewer(fit, view, (LARGEST_PAGE - filled) // len(views))
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            result=result,
            formula=result.force_constants.crystal.formula,
            headline=HEADLINES[result.verdict.trust],
            start=_start(result),
            workspaces=workspaces,
            shell_rows=list(zip(result.shells, result.start_shells, strict=True)),
            elastic_constants=_elastic_constants(result.elastic),
            sounds=_sounds(result.elastic),
            nuisances=NUISANCES,
            dispersion_sigma=_typical_sigma(result),
            bins_used=sum(int(np.count_nonzero(fit.used)) for fit in result.fits),
            versions=software_versions(),
            palettes={"intensity": _palette(INTENSITY), "residual": _palette(RESIDUAL)},
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            **parts,
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


def _sounds(elastic: ElasticConstants) -> list[tuple[str, list[tuple[float, float]]]]:
    """Directions that are alike, and velocities of their sounds with standard deviations, km/s."""
    rows: list[tuple[str, list[tuple[float, float]]]] = []
    for direction in SOUND_DIRECTIONS:
        velocities, sigma = elastic.sound_velocities(np.array(direction))
        name = f"[{''.join(map(str, direction))}]"
        row = list(zip(velocities.tolist(), sigma.tolist(), strict=True))
        alike = [i for i, (_, other) in enumerate(rows) if np.allclose(row, other, rtol=1e-4)]
        if alike:
            rows[alike[0]] = f"{rows[alike[0]][0]}, {name}", row
        else:
            rows.append((name, row))
    return rows


def _start(result: InversionResult) -> str:
    """Where the refinement started, in words."""
    origin = str(result.settings.get("start", "as given"))
    return {"network": "the network’s estimate", "force field": "the force field"}.get(
        origin, origin
    )


def _size(images: dict[str, Markup]) -> int:
    return sum(map(len, images.values()))


def _workspace(fit: HistogramFit, number: int) -> dict[str, Any]:
    return {
        "fit": fit,
        "name": Path(fit.source).name if fit.source else f"Workspace {number}",
        "shape": " × ".join(f"{axis.name} {axis.n_bins}" for axis in fit.measured.axes),
        "fixed": _fixed(fit),
        "bins_used": int(np.count_nonzero(fit.used)),
        "drawing": None,
        "picture": None,
        "viewer": None,
    }


def _fixed(fit: HistogramFit) -> str:
    """A sentence on the axes that have one bin."""
    thin = [axis for axis in fit.measured.axes if axis.n_bins == 1]
    ranges = [f"{axis.name} {extent(axis.edges[0], axis.edges[-1], axis)}" for axis in thin]
    return sentence(f"integrated over {', '.join(ranges)}") if ranges else ""


def _viewer(fit: HistogramFit, view: PlaneView, largest: int) -> dict[str, Any]:
    """What the page's viewer needs, in at most ``largest`` characters."""
    volume, packed = Volume.packed_within(fit, largest)
    merged = [
        f"{factor} along {axis.name}"
        for axis, factor in zip(volume.axes, volume.merged, strict=True)
        if factor > 1
    ]
    return {
        "merged": ", ".join(merged),
        "viewer": volume.shown(view.plane)
        | {
            "axes": volume.described_axes(),
            "packed": packed,
            "roots": volume.roots,
            "missing": MISSING,
            "exposure_scale": volume.exposure_scale,
            "residual_step": RESIDUAL_STEP,
            "largest_residual": LARGEST_RESIDUAL,
            "residual_limit": RESIDUAL_LIMIT,
            "has_counts": bool((fit.measured.variance[fit.used] > 0).any()),
        },
    }


def _palette(name: str) -> str:
    """256 colours of a map of matplotlib: RGB bytes in base64."""
    colours = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode()


def _typical_sigma(result: InversionResult) -> float:
    """Root mean square of the dispersion's standard deviation, meV."""
    sigma = result.dispersion.sigma_mev[np.isfinite(result.dispersion.sigma_mev)]
    return float(np.sqrt(np.mean(sigma**2))) if sigma.size else float("nan")
