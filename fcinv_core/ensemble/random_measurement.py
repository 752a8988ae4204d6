"""Random but realistic measurements: spectrometer, orientation, scan, cuts, counting time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.cuts import Cut, random_cut
from fcinv_core.ensemble.measurement import simulate_measurement
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges, Range, log_uniform
from fcinv_core.ensemble.orientation import Scan, random_scan
from fcinv_core.ensemble.peak_intensity import expected_peaks, usual_intensity
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram
from fcinv_core.histogram.experiment import ExperimentInfo, lattice_from_ub
from fcinv_core.scattering.coverage import exposure
from fcinv_core.scattering.detectors import DetectorPixels
from fcinv_core.scattering.forward import TOLERANCE
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectrometer import Spectrometer
from fcinv_core.units import (
    NEUTRON_ENERGY_PER_K2,
)

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstants

ATTEMPTS = 50
"""Cuts that are tried before giving up to find one that sees enough."""

FEWEST_Q, FEWEST_BINS = 8, 100
"""Q bins and bins that a cut must see."""

WEAKEST = 0.02
"""Strong peaks that a cut must see, relative to `usual_intensity`."""

_TRAJECTORIES = 400_000
"""Pixels times runs aimed at: pixels are as fine as that allows."""

_SPACINGS = (0.5, 1.2)
"""Degrees between pixels, at least and at most."""


@dataclass(frozen=True, eq=False)
class RandomMeasurement:
    """A measurement that has been planned: everything but the force constants and the counts.

    Attributes
    ----------
    template
        Bins and logs as a reduced file has them; signal 0 where something is seen, else NaN.
    exposure
        Shape of the template: counts per unit of signal, NaN where nothing is seen.
    spectrometer
        Its name.
    kind
        "slice", "map", "slab" or "volume".
    temperature
        K, as in the logs.
    resolution
        True width of lines.
    width_excess
        True over stated width.
    background, scale
        See `simulate_measurement`.
    seed
        It was drawn with.
    """

    template: SQEHistogram
    exposure: np.ndarray
    spectrometer: str
    kind: str
    temperature: float
    resolution: EnergyResolution
    width_excess: float
    background: Background
    scale: float
    seed: int

    @classmethod
    def draw(
        cls,
        reference: ForceConstants,
        ranges: MeasurementRanges | None = None,
        seed: int = 0,
    ) -> RandomMeasurement:
        """Plan a measurement of a crystal.

        Parameters
        ----------
        reference
            Plausible force constants: they tell how far bands reach, and how strong peaks are.
        ranges
            What to draw from.
        seed
            The same seed gives the same measurement.

        Raises
        ------
        FcinvError
            When no spectrometer has an incident energy for the crystal, or no cut is found
            that sees something.
        """
        ranges = ranges or MeasurementRanges()
        random = np.random.default_rng(seed)
        top = float(reference.frequencies(np.indices((4, 4, 4)).reshape(3, -1).T / 4).max())
        spectrometer, incident_energy = _spectrometer(ranges, top, random)
        temperature = log_uniform(random, ranges.temperature)
        stated = spectrometer.resolution(incident_energy)
        excess = float(random.uniform(*ranges.width_excess))
        resolution = stated.scaled(excess)
        scan = random_scan(
            reference.crystal, ranges.n_orientations, ranges.orientation_step, random
        )
        pixels = _pixels(spectrometer, scan, ranges, random)
        reduced = spectrometer.energy_range(incident_energy)
        infos = _logs(scan, temperature, incident_energy, spectrometer.name)
        kind = str(random.choice(ranges.kinds))
        for _ in range(ATTEMPTS):
            edges = _energy_edges(ranges, stated.elastic_fwhm, top, reduced, random)
            cut = random_cut(
                kind,
                scan,
                _reached(scan, pixels, incident_energy, edges, random),
                edges,
                log_uniform(random, ranges.q_step),
                log_uniform(random, ranges.thickness),
                random,
            )
            if cut is None:
                continue
            template = _template(cut, infos, seed)
            seen = exposure(template, pixels, incident_energy, scan.rotations, reduced)
            covered = np.isfinite(seen)
            if covered.sum() < FEWEST_BINS * (1 if kind != "map" else 0.5):
                continue
            if template.spectra(covered).any(axis=1).sum() < FEWEST_Q:
                continue
            template = template.with_values(np.where(covered, 0.0, np.nan))
            strength = expected_peaks(reference, template, temperature, resolution, random)
            if strength >= WEAKEST * usual_intensity(reference.crystal, top, resolution):
                break
        else:
            raise FcinvError(
                f"no {kind} of {reference.crystal.formula} on {spectrometer.name} at "
                f"{incident_energy:.3g} meV sees enough: widen the ranges"
            )
        seen = seen * _counted_share(template, incident_energy)
        scale = log_uniform(random, ranges.scale)
        counts = log_uniform(random, ranges.peak_counts)
        return cls(
            template=template,
            exposure=seen * (counts / (strength * scale * float(np.median(seen[covered])))),
            spectrometer=spectrometer.name,
            kind=kind,
            temperature=temperature,
            resolution=resolution,
            width_excess=excess,
            background=_background(ranges, strength, stated.elastic_fwhm, edges, random),
            scale=scale,
            seed=seed,
        )

    @property
    def incident_energy(self) -> float:
        """meV."""
        assert self.template.incident_energy is not None
        return self.template.incident_energy

    @property
    def stated_fwhm(self) -> float:
        """Elastic width in meV that the spectrometer's description gives, not the true one."""
        return self.resolution.elastic_fwhm / self.width_excess

    def simulate(
        self, force_constants: ForceConstants, seed: int = 0, tolerance: float = TOLERANCE
    ) -> SQEHistogram:
        """The measurement with counting noise; a file of it is one for ``fcinv invert``.

        Parameters
        ----------
        force_constants
            Of a crystal with the lattice of the one that it was planned for.
        seed
            Of the counts.
        tolerance
            Of the sampling of bins, see `simulate_measurement`.
        """
        return simulate_measurement(
            force_constants,
            self.template,
            self.exposure,
            temperature=self.temperature,
            energy_fwhm=self.resolution,
            background=self.background,
            scale=self.scale,
            seed=seed,
            tolerance=tolerance,
        )


def _spectrometer(
    ranges: MeasurementRanges, top: float, random: np.random.Generator
) -> tuple[Spectrometer, float]:
    """One that has an incident energy for bands up to ``top`` (meV), and that energy."""
    wanted = top / np.array(ranges.top_energy_over_incident)
    for name in random.permutation(ranges.spectrometers):
        spectrometer = Spectrometer.load(str(name))
        lowest, highest = spectrometer.incident_energy_range
        lowest, highest = max(lowest, wanted[1]), min(highest, wanted[0])
        if lowest < highest:
            if spectrometer.movable:
                spectrometer = spectrometer.at(float(random.uniform(30.0, 90.0)))
            return spectrometer, log_uniform(random, (lowest, highest))
    raise FcinvError(
        f"no spectrometer of {', '.join(ranges.spectrometers)} has an incident energy for phonons "
        f"up to {top:.3g} meV: add one to the ranges"
    )


def _pixels(
    spectrometer: Spectrometer, scan: Scan, ranges: MeasurementRanges, random: np.random.Generator
) -> DetectorPixels:
    """As fine as the number of runs allows, less masked stretches of the banks."""
    spacing = math.degrees(
        math.sqrt(spectrometer.solid_angle * len(scan.rotations) / _TRAJECTORIES)
    )
    pixels = spectrometer.pixels(float(np.clip(spacing, *_SPACINGS)))
    angles = np.degrees(np.arctan2(pixels.directions[:, 0], pixels.directions[:, 2]))
    ordered = np.sort(angles)
    masked, goal = np.zeros(len(angles), bool), random.uniform(*ranges.masked_detectors)
    while masked.mean() < goal:
        start = int(random.integers(len(ordered)))
        stop = min(start + int(random.uniform(0.002, 0.05) * len(ordered)), len(ordered) - 1)
        masked |= (angles >= ordered[start]) & (angles <= ordered[stop])
    return pixels.masked(~masked)


def _energy_edges(
    ranges: MeasurementRanges,
    fwhm: float,
    top: float,
    reduced: Range,
    random: np.random.Generator,
) -> np.ndarray:
    """From somewhere around the elastic line to beyond the bands or to what the reduction kept."""
    low = random.uniform(-0.15, 0.15) * top
    high = min(random.uniform(1.02, 1.25) * top + 2 * fwhm, reduced[1])
    width = fwhm * log_uniform(random, ranges.energy_bin_over_width)
    n_bins = int(np.clip(round((high - low) / width), *ranges.energy_bins))
    return np.linspace(max(low, reduced[0]), high, n_bins + 1)


def _reached(
    scan: Scan,
    pixels: DetectorPixels,
    incident_energy: float,
    edges: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Some of the (Q, E) that are seen, (n, 4): coordinates along the axes, meV."""
    n = 20_000
    energies = random.uniform(edges[0], edges[-1], n)
    wave_numbers = np.sqrt((incident_energy - energies) / NEUTRON_ENERGY_PER_K2)
    momenta = -wave_numbers[:, None] * pixels.directions[random.integers(len(pixels), size=n)]
    momenta[:, 2] += np.sqrt(incident_energy / NEUTRON_ENERGY_PER_K2)
    rotations = scan.rotations[random.integers(len(scan.rotations), size=n)]
    sample = np.einsum("nij,ni->nj", rotations, momenta)
    along = sample @ np.linalg.inv(2 * np.pi * scan.ub @ scan.axes).T
    return np.column_stack([along, energies])


def _logs(
    scan: Scan, temperature: float, incident_energy: float, name: str
) -> tuple[ExperimentInfo, ...]:
    return tuple(
        ExperimentInfo(
            ub=scan.ub,
            lattice=lattice_from_ub(scan.ub),
            temperature=temperature,
            incident_energy=incident_energy,
            goniometer=(axis,),
            run_number=str(100_000 + i),
            w_matrix=scan.axes,
            instrument=name,
        )
        for i, axis in enumerate(scan.goniometer)
    )


def _template(cut: Cut, infos: tuple[ExperimentInfo, ...], seed: int) -> SQEHistogram:
    shape = tuple(axis.n_bins for axis in cut.axes)
    return SQEHistogram(
        axes=cut.axes,
        signal=np.zeros(shape),
        variance=np.zeros(shape),
        num_events=np.zeros(shape),
        mask=np.zeros(shape, dtype=bool),
        experiments=infos,
        coordinate_system=3,
        source=f"random measurement {seed}",
    )


def _counted_share(template: SQEHistogram, incident_energy: float) -> np.ndarray:
    """k_f/k_i along the energy axis, which broadcasts to the shape of the template.

    So many counts S(Q,E) gives; the reduction weighs each with k_i/k_f. MDNorm's normalisation
    knows nothing of that: over the weight, it is the exposure.
    """
    energies = template.axes[template.energy_axis].centres
    return template.along_energy(np.sqrt(1 - energies / incident_energy))


def _background(
    ranges: MeasurementRanges,
    strength: float,
    fwhm: float,
    edges: np.ndarray,
    random: np.random.Generator,
) -> Background:
    flat = strength * log_uniform(random, ranges.flat_background)
    return Background(
        flat=flat,
        slope=flat * float(random.uniform(*ranges.background_slope)) / float(edges[-1] - edges[0]),
        elastic=strength * log_uniform(random, ranges.elastic_tail),
        decay=fwhm * float(random.uniform(*ranges.elastic_decay)),
        multiphonon=True,
    )


def random_measurements(
    reference: ForceConstants,
    n: int,
    ranges: MeasurementRanges | None = None,
    seed: int = 0,
    *,
    energy_bins: int = 64,
) -> tuple[RandomMeasurement, ...]:
    """A pool of measurements that all have the same number of energy bins; no maps.

    Raises
    ------
    FcinvError
        When fewer than ``n`` of 10 ``n`` draws see anything.
    """
    ranges = ranges or MeasurementRanges()
    kinds = tuple(kind for kind in ranges.kinds if kind != "map")
    if not kinds:
        raise FcinvError("a pool of measurements holds no maps: give other kinds, too")
    ranges = replace(ranges, kinds=kinds, energy_bins=(energy_bins, energy_bins))
    found: list[RandomMeasurement] = []
    for number in range(10 * n):
        if len(found) == n:
            break
        try:
            one_seed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            found.append(RandomMeasurement.draw(reference, ranges, one_seed))
        except FcinvError as error:
            failure = error
    if len(found) < n:
        raise failure
    return tuple(found)
