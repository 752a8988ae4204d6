"""Measurements with known force constants, counted on spectra that Euphonic simulates."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from benchmarks.error_bars.euphonic_spectra import EuphonicSpectra
from benchmarks.networks import materials

from fcinv_core import Axis, Crystal, ForceConstants, SQEHistogram
from fcinv_core.crystal.transfer import carried_to

MATERIALS = ("Ge", "MgO", "Al", "Si", "Cu")

SQUARE_INVERSE_ANGSTROM = 2.0721
"""Energy of a neutron in meV over its squared wave number in 1/Å²."""

TYPICAL_Q = 200
"""Q bins of a measurement."""

RESOLUTION = 0.045
"""Full width at half maximum over the highest energy."""

EXPOSURE_SPREAD = 0.3
"""Standard deviation of the logarithm of exposures among Q bins."""


@dataclass(frozen=True)
class Design:
    """How a measurement cuts through reciprocal space.

    Attributes
    ----------
    directions
        Rows: hkl along the Q axes.
    ranges
        First, last and width of bins along each of them.
    n_q
        Q bins that are seen.
    n_gauss
        Points along each edge of a bin for its average.
    one_orientation
        Whether each Q is seen at the energies that one setting of the crystal reaches.
    """

    directions: tuple[tuple[float, float, float], ...]
    ranges: tuple[tuple[float, float, float], ...]
    n_q: int
    n_gauss: int = 4
    one_orientation: bool = False


_CUBE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

DESIGNS = {
    "slice": Design(
        ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, -1.0, 0.0)),
        ((0.4, 2.8, 0.04), (0.0, 4.0, 0.05), (-0.02, 0.02, 0.04)),
        TYPICAL_Q,
    ),
    "volume": Design(_CUBE, ((-1.0, 3.0, 0.05), (0.0, 3.0, 0.05), (0.0, 3.0, 0.05)), TYPICAL_Q),
    "one orientation": Design(
        _CUBE,
        ((0.0, 4.0, 0.04), (-2.0, 2.0, 0.04), (-1.0, 1.0, 0.04)),
        700,
        n_gauss=3,
        one_orientation=True,
    ),
}


@dataclass(frozen=True, eq=False)
class VirtualMeasurement:
    """A measurement, what its user knows, and the truth.

    Attributes
    ----------
    truth
        Total force constants, on the user's crystal.
    histogram
        Counts over exposure.
    energy_fwhm
        meV, as the user believes it.
    nuisance
        True values of those that are known, by name.
    """

    truth: ForceConstants
    histogram: SQEHistogram
    energy_fwhm: float
    nuisance: dict[str, float]

    @property
    def share_of_empty_bins(self) -> float:
        """Of those measured."""
        return float(np.mean(self.histogram.signal[np.isfinite(self.histogram.signal)] == 0))


@dataclass(frozen=True)
class Conditions:
    """How a measurement is done.

    Attributes
    ----------
    temperature
        K.
    believed_fwhm
        meV, what the user takes the resolution for.
    width_excess
        Factor from there to the true one.
    scale
        Signal per mbarn/meV and primitive cell.
    background
        Flat, over the mean of the scattering by phonons.
    peak_counts
        In the strongest bins.
    has_noise
        Whether counts are drawn, or are what is expected.
    """

    temperature: float
    believed_fwhm: float
    width_excess: float = 1.0
    scale: float = 1.0
    background: float = 0.0
    peak_counts: float = 1e4
    has_noise: bool = True

    @classmethod
    def draw(cls, top: float, rng: np.random.Generator) -> Conditions:
        """For phonons of up to ``top`` meV.

        The believed resolution is wrong by 20 % (one standard deviation), the background unknown,
        the strongest bins have 5 to 500 counts.
        """
        return cls(
            temperature=float(rng.uniform(5.0, 300.0)),
            believed_fwhm=RESOLUTION * top,
            width_excess=float(np.exp(0.2 * rng.standard_normal())),
            scale=float(np.exp(rng.normal())),
            background=float(rng.uniform(0.02, 0.5)),
            peak_counts=float(np.exp(rng.uniform(np.log(5), np.log(500)))),
        )


def drawn(material: str, design: str, number: int) -> VirtualMeasurement:
    """The same arguments give the same measurement.

    The truth is a draw from the prior of the networks that none of them was trained on.
    """
    entropy = (zlib.crc32(f"{material} {design}".encode()), number)
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    truth = carried_to(
        materials.truth(material, materials.DRAWN, number), materials.crystal(material)
    )
    return measure(truth, DESIGNS[design], Conditions.draw(top_energy(truth), rng), rng)


def top_energy(force_constants: ForceConstants) -> float:
    """Highest phonon energy in meV, of a few wave vectors."""
    return float(force_constants.frequencies(np.indices((4, 4, 4)).reshape(3, -1).T / 4).max())


def measure(
    truth: ForceConstants, plan: Design, conditions: Conditions, rng: np.random.Generator
) -> VirtualMeasurement:
    """A measurement of cubic crystals, on energies from twice the resolution to above all modes."""
    top, believed = top_energy(truth), conditions.believed_fwhm
    edges = np.arange(2 * believed, 1.15 * top, believed / 1.6)
    axes = [_axis(d, r) for d, r in zip(plan.directions, plan.ranges, strict=True)]
    axes.append(Axis.energy_transfer(edges))
    shape = tuple(axis.n_bins for axis in axes)
    centres = _centres(axes[:3], plan)
    ub = np.linalg.inv(truth.crystal.lattice)
    incident = 1.5 * top
    if plan.one_orientation:
        seen = _seen_at_once(centres, edges, truth.crystal, incident)
    else:
        seen = np.ones((len(centres), len(edges) - 1), dtype=bool)
    candidates = np.flatnonzero(seen.any(axis=1) & (np.linalg.norm(centres, axis=1) > 0.3))
    chosen = rng.choice(candidates, min(plan.n_q, len(candidates)), replace=False)
    spectra = EuphonicSpectra(truth, conditions.temperature)
    widths = [axis.edges[1] - axis.edges[0] for axis in axes[:3]]
    bin_vectors = np.array(plan.directions).T * widths
    fwhm = believed * conditions.width_excess
    coherent = spectra.averages(centres[chosen], bin_vectors, edges, fwhm, plan.n_gauss)
    momenta = 2 * np.pi * np.linalg.norm(centres[chosen] @ ub.T, axis=1)
    phonons = conditions.scale * (coherent + spectra.multiphonon(momenta, edges, fwhm))
    background = conditions.background * float(np.mean(phonons[seen[chosen]]))
    peak = float(np.percentile(phonons[seen[chosen]], 99))
    spread = np.exp(EXPOSURE_SPREAD * rng.standard_normal((len(chosen), 1)))
    exposure = conditions.peak_counts / peak * spread
    counts = exposure * (phonons + background)
    if conditions.has_noise:
        counts = rng.poisson(counts).astype(float)
    signal, variance = (np.full((len(centres), len(edges) - 1), np.nan) for _ in range(2))
    signal[chosen] = np.where(seen[chosen], counts / exposure, np.nan)
    variance[chosen] = np.where(seen[chosen], counts / exposure**2, np.nan)
    histogram = SQEHistogram.from_arrays(
        axes,
        signal.reshape(shape),
        variance.reshape(shape),
        ub=ub,
        temperature=conditions.temperature,
        incident_energy=incident,
    )
    nuisance = {
        "scale": conditions.scale,
        "background": background,
        "resolution_scale": conditions.width_excess,
    }
    return VirtualMeasurement(truth, histogram, believed, nuisance)


def _axis(direction: tuple[float, float, float], limits: tuple[float, float, float]) -> Axis:
    first, last, step = limits
    return Axis.along(
        np.array(direction), np.linspace(first, last, round((last - first) / step) + 1)
    )


def _centres(axes: list[Axis], plan: Design) -> np.ndarray:
    """(n_q, 3) hkl."""
    grid = np.stack(np.meshgrid(*(axis.centres for axis in axes), indexing="ij"), axis=-1)
    return np.asarray(grid.reshape(-1, 3) @ np.array(plan.directions))


def _seen_at_once(
    centres: np.ndarray, edges: np.ndarray, crystal: Crystal, incident_energy: float
) -> np.ndarray:
    """(n_q, n_energy) bool: energies that a neutron has left at Q with the beam along [100]."""
    momenta = 2 * np.pi * centres @ np.linalg.inv(crystal.lattice).T
    incident = np.sqrt(incident_energy / SQUARE_INVERSE_ANGSTROM) * np.array([1.0, 0.0, 0.0])
    final = np.linalg.norm(incident - momenta, axis=1)
    transfer = incident_energy - SQUARE_INVERSE_ANGSTROM * final**2
    # What a bin's width lets the energy vary by, at least one energy bin.
    half = 2 * SQUARE_INVERSE_ANGSTROM * final * 0.06 * np.pi / crystal.lattice[0, 0]
    half = np.maximum(half, np.diff(edges)[0])
    middle = 0.5 * (edges[1:] + edges[:-1])
    return np.abs(middle - transfer[:, None]) < half[:, None]
