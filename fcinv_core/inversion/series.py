"""Force constants at several temperatures, and how they change with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.inversion.pipeline import invert
from fcinv_core.scattering.conditions import assumed_temperature

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import Crystal
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.result import InversionResult

SAME_TEMPERATURE = (1.0, 0.01)
"""K, and relative: measurements no farther apart belong to one temperature."""

N_SHELLS = 4


@dataclass(frozen=True, eq=False)
class Trend:
    """One quantity at all temperatures.

    Attributes
    ----------
    kind
        "shell", "energy" or "elastic constant".
    name, unit
        Of the quantity.
    temperatures, values, sigma
        (n,) K, and the quantity with its standard deviations, which are independent.
    """

    kind: str
    name: str
    unit: str
    temperatures: np.ndarray
    values: np.ndarray
    sigma: np.ndarray

    @property
    def slope(self) -> tuple[float, float]:
        """Of the best straight line, with its standard deviation, per K."""
        weights = 1 / np.maximum(self.sigma, 1e-12 * np.abs(self.values).max() + 1e-300) ** 2
        away = self.temperatures - np.average(self.temperatures, weights=weights)
        spread = float(weights @ away**2)
        return float(weights @ (away * self.values)) / spread, spread**-0.5


@dataclass(frozen=True, eq=False)
class TemperatureSeries:
    """What `invert_series` returns.

    Attributes
    ----------
    temperatures
        (n,) K, rising.
    results
        One for each.
    """

    temperatures: np.ndarray
    results: tuple[InversionResult, ...]

    @cached_property
    def trends(self) -> tuple[Trend, ...]:
        """Nearest shells, phonon energies at the labelled points, elastic constants."""
        tables = [_quantities(result) for result in self.results]
        return tuple(
            Trend(
                *name,
                self.temperatures,
                np.array([table[name][0] for table in tables]),
                np.array([table[name][1] for table in tables]),
            )
            for name in tables[0]
        )


def invert_series(
    histograms: Sequence[SQEHistogram],
    crystal: Crystal,
    *,
    sources: Sequence[str | Path] = (),
    progress: Report | None = None,
    **options: Any,
) -> TemperatureSeries:
    """Force constants of a crystal at each temperature that it was measured at.

    Histograms of one temperature are fitted together, those of different ones apart: error bars
    are independent.

    Parameters
    ----------
    histograms, crystal, sources, progress
        As for `invert`.
    options
        The others of `invert`; each temperature comes from the logs.

    Raises
    ------
    FcinvError
        When all have the same temperature, one has none, or as for `invert`.
    """
    if sources and len(sources) != len(histograms):
        raise FcinvError(f"{len(sources)} sources of {len(histograms)} histograms: give one each")
    measured = np.array([assumed_temperature(histogram, None) for histogram in histograms])
    groups = _groups(measured)
    if len(groups) < 2:
        raise FcinvError(
            "a temperature series needs measurements at several temperatures, and all of these "
            f"({len(histograms)}) are at one temperature: add others, or invert them together, "
            "without --each-temperature"
        )
    results = []
    for number, group in enumerate(groups):

        def tell(what: str, fraction: float, number: int = number, group: Any = group) -> None:
            if progress is not None:
                kelvin = f"{measured[group].mean():.4g} K"
                progress(f"{kelvin}: {what}", (number + fraction) / len(groups))

        results.append(
            invert(
                [histograms[i] for i in group],
                crystal,
                sources=[sources[i] for i in group] if sources else (),
                progress=tell,
                **options,
            )
        )
    return TemperatureSeries(np.array([measured[group].mean() for group in groups]), tuple(results))


def _groups(temperatures: np.ndarray) -> list[list[int]]:
    """Indices by temperature, rising."""
    order = [int(i) for i in np.argsort(temperatures, kind="stable")]
    groups = [order[:1]]
    for last, current in pairwise(order):
        apart = temperatures[current] - temperatures[last]
        absolute, relative = SAME_TEMPERATURE
        if apart > max(absolute, relative * temperatures[current]):
            groups.append([])
        groups[-1].append(current)
    return groups


def _quantities(result: InversionResult) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Value and standard deviation by kind, name and unit."""
    found: dict[tuple[str, str, str], tuple[float, float]] = {}
    for shell in sorted(result.shells, key=lambda shell: shell.distance)[:N_SHELLS]:
        for kind in ("longitudinal", "transverse"):
            pair = getattr(shell, kind), getattr(shell, f"{kind}_sigma")
            # Distances change with temperature, the order of shells does not.
            name = f"{shell.name.rsplit(' ', 2)[0]}, {kind}"
            found["shell", name, "eV/Å²"] = pair
    bands = result.dispersion
    for index, label in bands.path_labels:
        for branch, energy in enumerate(bands.energy_mev[index]):
            key = ("energy", f"{label}, branch {branch + 1}", "meV")
            if key not in found and not (label == "Γ" and branch < 3):
                found[key] = float(energy), float(bands.sigma_mev[index, branch])
    for name, estimate in result.elastic.estimates.items():
        found["elastic constant", name, estimate.unit] = estimate.value, estimate.sigma
    return found
