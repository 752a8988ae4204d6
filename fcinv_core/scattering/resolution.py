"""Energy resolution of the spectrometer: the width of a line as a function of energy transfer.

The shape of the line is in `fcinv_core.scattering.line_shape`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fcinv_core.errors import FcinvError
from fcinv_core.files import read_text, require_file
from fcinv_core.units import FWHM_PER_SIGMA

LARGEST_TABLE = 1_000_000
"""Bytes of a text file with widths."""

LARGEST_ENERGY = 1e5
"""meV: energies and widths in a table; larger ones are in another unit."""

SMALLEST_WIDTH = 0.05
"""Of the elastic width: a polynomial that falls below is held there. Far outside the energies it
was made for it may turn negative, and modes of a poor start may lie there. Real spectrometers
stay above: ResINS's smallest is 0.14 (HYSPEC, at 97 % of the incident energy)."""


@dataclass(frozen=True)
class PolynomialWidth:
    """Width as a polynomial in energy transfer.

    Attributes
    ----------
    coefficients
        FWHM(E)/meV = c₀ + c₁ E + c₂ E² + ..., E in meV.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(coefficient) for coefficient in self.coefficients)
        if not finite or not self.coefficients or self.coefficients[0] <= 0:
            raise FcinvError(
                f"energy resolution {self.coefficients} is no positive width at zero energy "
                "transfer: give a full width at half maximum in meV above 0"
            )

    def at(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """FWHM in meV at ``energy`` and its derivative, same shapes."""
        fwhm, slope = torch.zeros_like(energy), torch.zeros_like(energy)
        for coefficient in reversed(self.coefficients):
            slope = slope * energy + fwhm
            fwhm = fwhm * energy + coefficient
        floor = SMALLEST_WIDTH * self.coefficients[0]
        return fwhm.clamp(min=floor), slope.masked_fill(fwhm < floor, 0.0)

    def scaled(self, factor: float) -> PolynomialWidth:
        """``factor`` times as wide."""
        return PolynomialWidth(tuple(factor * value for value in self.coefficients))

    def smallest(self, lowest: float, highest: float) -> tuple[float, float]:
        """Smallest value of the polynomial itself between two energies, and where it is."""
        from numpy.polynomial import Polynomial

        polynomial = Polynomial(self.coefficients)
        # Real parts of complex roots are no extrema, and do no harm.
        extrema = [e for e in polynomial.deriv().roots().real.tolist() if lowest < e < highest]
        return min((float(polynomial(e)), e) for e in [lowest, highest, *extrema])


@dataclass(frozen=True)
class TabulatedWidth:
    """Width interpolated in a table, without overshoot (piecewise cubic Hermite, PCHIP).

    Value and slope are continuous everywhere: the slope is zero at both ends of the table, and
    beyond them the width stays what it is there.

    Attributes
    ----------
    energies, fwhm
        Energy transfers in increasing order and full widths at half maximum there, meV.
    """

    energies: tuple[float, ...]
    fwhm: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.energies) < 2 or len(self.energies) != len(self.fwhm):
            raise FcinvError(
                f"table of the energy resolution has {len(self.energies)} energies and "
                f"{len(self.fwhm)} widths: give one width for each of at least two energies"
            )
        steps = zip(self.energies, self.energies[1:], strict=False)
        if not all(abs(e) < LARGEST_ENERGY for e in self.energies) or any(a >= b for a, b in steps):
            raise FcinvError("energies of the table of the energy resolution do not increase: sort")
        for energy, fwhm in zip(self.energies, self.fwhm, strict=True):
            if not 0 < fwhm < LARGEST_ENERGY:
                raise FcinvError(
                    f"energy resolution is {fwhm} meV at an energy transfer of {energy:.6g} meV: "
                    "give full widths at half maximum above 0"
                )

    @cached_property
    def _pieces(self) -> torch.Tensor:
        """(4, n - 1): FWHM = p₀ + p₁ x + p₂ x² + p₃ x³, x the distance from a piece's start."""
        from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

        slopes = PchipInterpolator(self.energies, self.fwhm).derivative()(self.energies)
        slopes[[0, -1]] = 0.0
        spline = CubicHermiteSpline(self.energies, self.fwhm, slopes)
        return torch.from_numpy(spline.c[::-1].copy())

    @cached_property
    def _nodes(self) -> torch.Tensor:
        return torch.tensor(self.energies, dtype=torch.float64)

    def at(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """FWHM in meV at ``energy`` and its derivative, same shapes."""
        nodes, pieces = self._nodes.to(energy), self._pieces.to(energy)
        inside = energy.clamp(self.energies[0], self.energies[-1])
        piece = torch.bucketize(inside.detach(), nodes[1:-1], right=True)
        x = inside - nodes[piece]
        p0, p1, p2, p3 = (coefficient[piece] for coefficient in pieces)
        return p0 + x * (p1 + x * (p2 + x * p3)), p1 + x * (2 * p2 + x * (3 * p3))

    def scaled(self, factor: float) -> TabulatedWidth:
        """``factor`` times as wide."""
        return TabulatedWidth(self.energies, tuple(factor * fwhm for fwhm in self.fwhm))

    def smallest(self, lowest: float, highest: float) -> tuple[float, float]:
        """Smallest width of the table, which holds between any two energies, and where it is."""
        return min(zip(self.fwhm, self.energies, strict=True))


@dataclass(frozen=True)
class EnergyResolution:
    """Width of a line as a function of energy transfer; plain data.

    Make one with `constant`, `polynomial`, `tabulated` or `from_instrument`.

    Attributes
    ----------
    width
        The full width at half maximum. Given for a Gaussian, it sets the standard deviation;
        another line shape keeps this standard deviation.

    Examples
    --------
    >>> resolution = EnergyResolution.polynomial([2.4, -0.01])
    >>> resolution.elastic_fwhm
    2.4
    """

    width: PolynomialWidth | TabulatedWidth

    @classmethod
    def constant(cls, fwhm: float) -> EnergyResolution:
        """The same full width at half maximum ``fwhm`` (meV) everywhere."""
        return cls.polynomial([fwhm])

    @classmethod
    def polynomial(cls, coefficients: Iterable[float]) -> EnergyResolution:
        """FWHM(E)/meV = c₀ + c₁ E + c₂ E² + ..., E in meV.

        Where that falls below 5 % of c₀ it is held there; `check` tells whether it does.

        Raises
        ------
        FcinvError
            When a coefficient is not finite, or c₀ not above zero.
        """
        return cls(PolynomialWidth(tuple(float(value) for value in coefficients)))

    @classmethod
    def tabulated(cls, energies: Iterable[float], fwhm: Iterable[float]) -> EnergyResolution:
        """Interpolated smoothly and without overshoot; constant beyond the table.

        Parameters
        ----------
        energies, fwhm
            Energy transfers in increasing order and full widths at half maximum there, meV.

        Raises
        ------
        FcinvError
            When there are fewer than two, they do not match or increase, or a width is not
            above zero.
        """
        return cls(TabulatedWidth(tuple(float(e) for e in energies), tuple(float(w) for w in fwhm)))

    @classmethod
    def from_text_file(cls, path: str | Path) -> EnergyResolution:
        """`tabulated`, from a text file with two columns: energy transfer and width in meV.

        Columns are apart by blanks or commas; ``#`` begins a comment.

        Raises
        ------
        FcinvError
            When it cannot be read, or as for `tabulated`.
        """
        text = read_text(require_file(path), LARGEST_TABLE)
        try:
            lines = text.replace(",", " ").splitlines()
            rows = [line.split("#")[0].split() for line in lines]
            energies, fwhm = zip(*(map(float, row) for row in rows if row), strict=True)
        except ValueError as error:
            raise FcinvError(
                f"{path} is no table of the energy resolution: give two columns, energy transfer "
                "and full width at half maximum in meV"
            ) from error
        try:
            return cls.tabulated(energies, fwhm)
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error

    @classmethod
    def from_instrument(
        cls, instrument: str, incident_energy: float, **settings: str | float
    ) -> EnergyResolution:
        """Width that ResINS (PyChop) computes for a direct-geometry spectrometer.

        Needs the package ``resins``. The widths are tabulated between minus and 0.98 times the
        incident energy.

        Parameters
        ----------
        instrument
            ResINS's name: ARCS, CNCS, HYSPEC, LET, MAPS, MARI, MERLIN, PANTHER, SEQUOIA.
        incident_energy
            meV.
        settings
            All that the instrument leaves open, in ResINS's names: usually
            ``chopper_package`` and ``chopper_frequency`` (Hz); CNCS has
            ``resolution_disk_frequency`` and ``fermi_frequency`` instead of the latter, LET
            ``resolution_frequency`` and ``pulse_remover_frequency``. What is missing or
            unknown is named together with what there is to choose from.

        Raises
        ------
        FcinvError
            When the package is missing, the instrument or a setting unknown, the incident
            energy out of range, or the combination transmits nothing.

        Examples
        --------
        >>> resolution = EnergyResolution.from_instrument(
        ...     "ARCS", 60.0, chopper_package="ARCS-100-1.5-AST", chopper_frequency=300
        ... )
        >>> print(f"{resolution.elastic_fwhm:.2f} meV")
        2.61 meV
        """
        from fcinv_core.scattering.instrument_width import instrument_width

        return cls.tabulated(*instrument_width(instrument, incident_energy, settings))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> EnergyResolution:
        """The inverse of `to_dict`.

        Raises
        ------
        FcinvError
            When the document is not one of `to_dict`.
        """
        try:
            if document["kind"] == "polynomial":
                return cls.polynomial(document["coefficients"])
            if document["kind"] == "table":
                return cls.tabulated(document["energies"], document["fwhm"])
        except (KeyError, TypeError, ValueError) as error:
            raise FcinvError(f"energy resolution cannot be read from {document}") from error
        raise FcinvError(
            f"energy resolution of kind {document['kind']!r} is neither 'polynomial' nor 'table'"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: ``kind`` and its numbers in meV."""
        if isinstance(self.width, PolynomialWidth):
            return {"kind": "polynomial", "coefficients": list(self.width.coefficients)}
        return {
            "kind": "table",
            "energies": list(self.width.energies),
            "fwhm": list(self.width.fwhm),
        }

    def scaled(self, factor: float) -> EnergyResolution:
        """The same resolution with ``factor`` times the width."""
        return EnergyResolution(self.width.scaled(factor))

    @property
    def elastic_fwhm(self) -> float:
        """Full width at half maximum at zero energy transfer, meV."""
        return float(self.width.at(torch.zeros(1, dtype=torch.float64))[0])

    def check(self, energies: Iterable[float]) -> None:
        """Refuse a width that is not positive from the lowest to the highest of ``energies``.

        Raises
        ------
        FcinvError
            When a polynomial falls below 5 % of its elastic width in between, and would be
            held there.
        """
        values = [float(energy) for energy in energies]
        fwhm, energy = self.width.smallest(min(values), max(values))
        if isinstance(self.width, PolynomialWidth) and fwhm < SMALLEST_WIDTH * self.elastic_fwhm:
            raise FcinvError(
                f"energy resolution falls to {fwhm:.3g} meV at an energy transfer of "
                f"{energy:.4g} meV: give a polynomial whose width is positive from "
                f"{min(values):.4g} to {max(values):.4g} meV"
            )

    def sigma(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standard deviation in meV at ``energy`` (meV) and its derivative, same shapes.

        Positive everywhere, in the precision and on the device of ``energy``.
        """
        fwhm, slope = self.width.at(energy)
        return fwhm / FWHM_PER_SIGMA, slope / FWHM_PER_SIGMA
