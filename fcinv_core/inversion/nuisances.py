"""What is fitted beside force constants: scale, background, widths, several phonons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.inversion.result import Estimate

if TYPE_CHECKING:
    from fcinv_core.inversion.preparation import PreparedHistogram

NUISANCES = (
    "scale",
    "background",
    "background_slope",
    "resolution_scale",
    "q_spread_scale",
    "multiphonon_scale",
    "elastic_tail",
    "elastic_decay",
)
"""Fitted along for each histogram. Scale, resolution scale and decay are fitted as logarithms (the
decay over `USUAL_DECAY`); the spread of Q and the scale of scattering by several phonons as
differences from 1: events do not fill the volume of a bin evenly, and several phonons are known in
the incoherent approximation only. Backgrounds are in units of the typical signal, the slope over
half the energy range, the tail at `TAIL_BEGINS`."""

SCALE, BACKGROUND, SLOPE, RESOLUTION, Q_SPREAD, MULTIPHONON, TAIL, DECAY = range(len(NUISANCES))

NUISANCE_SIGMA = np.array([np.inf, np.inf, 1.0, 0.2, 0.05, 0.5, 3.0, 0.5])
"""Prior widths of `NUISANCES`: scale and background free, the slope no larger than the signal,
the resolution known to 20 %, the spread of Q inside bins to 5 %, several phonons to a half, as
multiple scattering looks much alike; the tail of the elastic line a few times the signal."""

LEADING_SIGMA = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05])
"""The same around the first guess while the stages lead the way: else a model whose lines are
nowhere near those measured makes peace by becoming all background."""

HELD_SIGMA = 1e-6
"""Width of the prior of a background that is held at zero."""

BACKGROUNDS = {"linear": (), "flat": (SLOPE, TAIL), "none": (BACKGROUND, SLOPE, TAIL)}
"""Kinds of background, and which of `NUISANCES` each holds at zero."""

NO_MULTIPHONON = -1.0
"""Of the scale of scattering by several phonons, as a difference from 1."""

TAIL_BEGINS = 1.5
"""Elastic widths (full, at half maximum) from zero energy at which the elastic tail is stated."""

USUAL_DECAY = 0.6
"""Elastic widths over which it falls to 1/e."""


@dataclass(frozen=True)
class Background:
    """b + s x + t exp(-(|E| - E₀)/d): flat, sloping, and the tail of the elastic line.

    Attributes
    ----------
    typical_signal
        Unit of b, s and t.
    relative_energy
        (n_energy,) x, from -1 to 1.
    beyond_elastic
        (n_energy,) (|E| - E₀) over the usual decay; infinite where there is no tail to tell.
    """

    typical_signal: float
    relative_energy: np.ndarray
    beyond_elastic: np.ndarray

    @classmethod
    def of(cls, prepared: PreparedHistogram, typical_signal: float) -> Background:
        """On the energy bins of a measurement."""
        energies = prepared.energies
        middle = 0.5 * (energies[0] + energies[-1])
        width = prepared.resolution.elastic_fwhm
        beyond = (np.abs(energies) - TAIL_BEGINS * width) / (USUAL_DECAY * width)
        if not prepared.has_spectra:
            beyond = np.full(len(energies), np.inf)
        relative = (energies - middle) / half_range(prepared)
        return cls(typical_signal, relative, np.maximum(beyond, 0.0))

    def values(self, nuisance: np.ndarray) -> np.ndarray:
        """(n_energy,) in units of the signal."""
        straight = nuisance[BACKGROUND] + nuisance[SLOPE] * self.relative_energy
        return self.typical_signal * (straight + nuisance[TAIL] * self._decaying(nuisance))

    def fill_slopes(self, columns: np.ndarray, nuisance: np.ndarray) -> None:
        """Write derivatives by `NUISANCES` into (..., n_energy, len(NUISANCES))."""
        decaying = self._decaying(nuisance)
        columns[..., BACKGROUND] = self.typical_signal
        columns[..., SLOPE] = self.typical_signal * self.relative_energy
        columns[..., TAIL] = self.typical_signal * decaying
        exponent = np.where(decaying > 0, self.beyond_elastic, 0.0) * np.exp(-nuisance[DECAY])
        columns[..., DECAY] = self.typical_signal * nuisance[TAIL] * decaying * exponent

    def _decaying(self, nuisance: np.ndarray) -> np.ndarray:
        return np.exp(-self.beyond_elastic * np.exp(-nuisance[DECAY]))


def half_range(prepared: PreparedHistogram) -> float:
    """meV: half the range of energies, 1 for a map at one energy."""
    energies = prepared.energies
    return 0.5 * float(energies[-1] - energies[0]) or 1.0


def pull(
    nuisance: np.ndarray, guess: np.ndarray | None, background: str
) -> tuple[float, np.ndarray, np.ndarray]:
    """Cost, gradient and curvature of the prior of a histogram's nuisances.

    Parameters
    ----------
    nuisance
        (len(NUISANCES),).
    guess
        Around which they are held while stages lead the way.
    background
        One of `BACKGROUNDS`.
    """
    weak = (NUISANCE_SIGMA if guess is None else LEADING_SIGMA) ** -2.0
    weak[list(BACKGROUNDS[background])] = HELD_SIGMA**-2.0
    offset = nuisance if guess is None else nuisance - guess
    return 0.5 * float(offset @ (weak * offset)), weak * offset, weak


def estimates(
    values: np.ndarray, sigmas: np.ndarray, typical_signal: float, prepared: PreparedHistogram
) -> dict[str, Estimate]:
    """Of `NUISANCES`, in the units of the data.

    Parameters
    ----------
    values, sigmas
        (len(NUISANCES),) as they were fitted.
    """
    per_mev = typical_signal / half_range(prepared)
    scale, width = np.exp(values[SCALE]), np.exp(values[RESOLUTION])
    decay = USUAL_DECAY * prepared.resolution.elastic_fwhm * np.exp(values[DECAY])

    def linear(place: int, unit: float, name: str) -> Estimate:
        return Estimate(values[place] * unit, sigmas[place] * unit, name)

    found = (
        Estimate(scale, scale * sigmas[SCALE], "signal per mbarn/meV and primitive cell"),
        linear(BACKGROUND, typical_signal, "signal"),
        linear(SLOPE, per_mev, "signal/meV"),
        Estimate(width, width * sigmas[RESOLUTION]),
        Estimate(1 + values[Q_SPREAD], sigmas[Q_SPREAD]),
        Estimate(1 + values[MULTIPHONON], sigmas[MULTIPHONON]),
        linear(TAIL, typical_signal, "signal"),
        Estimate(decay, decay * sigmas[DECAY], "meV"),
    )
    return dict(zip(NUISANCES, found, strict=True))
