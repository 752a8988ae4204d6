"""Measurements whose force constants are known, of several kinds."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from benchmarks.networks import materials

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.ensemble.measurement import expected_signal
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges, Range
from fcinv_core.ensemble.peak_intensity import peak_intensity
from fcinv_core.ensemble.random_measurement import RandomMeasurement
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.born_charges import BornCharges
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.scattering.resolution import EnergyResolution

MOST_Q = 200
"""Q bins of a measurement; others are as if not measured."""

MOST_ENERGIES = 80

ATTEMPTS = 20
"""Plans of a measurement, before giving up to find one that can be inverted."""


@dataclass(frozen=True)
class Kind:
    """What measurements of one kind have in common.

    Attributes
    ----------
    peak_counts
        In the highest bins of strong peaks.
    n_orientations
        Goniometer settings.
    cuts
        Reductions that see enough with so many settings.
    fewest_q
        Q bins that a measurement has at least.
    is_idealised
        All chosen bins are seen equally, there is no background and no noise, and the
        resolution is known exactly.
    """

    peak_counts: float
    n_orientations: Range = (30, 100)
    cuts: tuple[str, ...] = ("slice", "slab", "volume")
    fewest_q: int = 100
    is_idealised: bool = False

    @property
    def sampling_error(self) -> float:
        """Of simulated bin averages: a tenth of the counting error of strong peaks."""
        return 0.1 / self.peak_counts**0.5

    @property
    def ranges(self) -> MeasurementRanges:
        """All bands fit below the incident energy, elastic tails end near the line, and bins are
        no thicker than 0.2/Å: thick ones take minutes to invert.
        """
        return MeasurementRanges(
            kinds=self.cuts,
            n_orientations=self.n_orientations,
            elastic_tail=(0.01, 1.0),
            elastic_decay=(0.3, 0.7),
            peak_counts=(self.peak_counts, self.peak_counts),
            top_energy_over_incident=(0.5, 0.85),
            temperature=(5.0, 400.0),
            energy_bins=(40, MOST_ENERGIES),
            q_step=(0.03, 0.08),
            thickness=(0.05, 0.2),
        )


KINDS = {
    "idealised": Kind(1e4, is_idealised=True),
    "noisy-1000": Kind(1000),
    "noisy-100": Kind(100),
    "noisy-20": Kind(20),
    "one-orientation": Kind(200, (1, 1), cuts=("slab", "volume")),
}
"""Those with many orientations share force constants and bins, case by case."""


@dataclass(frozen=True, eq=False)
class Case:
    """A measurement, what a user knows about it, and the truth.

    Attributes
    ----------
    material, kind, origin, number
        What it was made from.
    truth
        Total force constants behind the measurement, on the crystal.
    histogram
        The measurement.
    resolution
        As it is known to the user: that of the spectrometer's description, which is up to a
        quarter too narrow.
    prepared
        What an inversion makes of it.
    """

    material: str
    kind: str
    origin: str
    number: int
    truth: ForceConstants
    histogram: SQEHistogram
    resolution: EnergyResolution
    prepared: PreparedHistogram

    @property
    def crystal(self) -> Crystal:
        """As the user gives it."""
        return materials.crystal(self.material)

    @property
    def born_charges(self) -> BornCharges | None:
        """As the user gives them."""
        return materials.born_charges(self.material)


def make_case(material: str, kind: str, origin: str, number: int, most_q: int = MOST_Q) -> Case:
    """The same arguments give the same case.

    Raises
    ------
    FcinvError
        When no measurement is found that can be inverted.
    """
    truth = materials.truth(material, origin, number)
    ranges = KINDS[kind].ranges
    geometry = f"{material} {origin} {ranges.n_orientations}"
    for attempt in range(ATTEMPTS):
        entropy = (zlib.crc32(geometry.encode()), number, attempt)
        plan_seed, counts_seed = np.random.SeedSequence(entropy).generate_state(2).tolist()
        try:
            plan = RandomMeasurement.draw(truth, ranges, plan_seed)
            if _n_seen(plan) < KINDS[kind].fewest_q:
                raise FcinvError(f"{plan.kind} on {plan.spectrometer} sees few wave vectors")
            plan = _with_few_bins(plan, most_q)
            if KINDS[kind].is_idealised:
                resolution = plan.resolution
                histogram = _idealised(plan, truth)
            else:
                resolution = plan.resolution.scaled(1 / plan.width_excess)
                seed = counts_seed + zlib.crc32(kind.encode())
                histogram = plan.simulate(truth, seed, KINDS[kind].sampling_error)
            prepared = PreparedHistogram.from_histogram(
                histogram, materials.crystal(material), None, resolution
            )
        except FcinvError as error:
            failure = error
            continue
        return Case(material, kind, origin, number, truth, histogram, resolution, prepared)
    raise failure


def _n_seen(plan: RandomMeasurement) -> int:
    return int(plan.template.spectra(plan.template.covered).any(axis=1).sum())


def _with_few_bins(plan: RandomMeasurement, most_q: int) -> RandomMeasurement:
    """At most so many Q bins are left, chosen at random, more likely where more is seen."""
    template = plan.template
    exposure = template.spectra(plan.exposure)
    n_seen = np.isfinite(exposure).sum(axis=1)
    n_q = min(most_q, np.count_nonzero(n_seen))
    chosen = np.random.default_rng(plan.seed).choice(
        len(n_seen), n_q, replace=False, p=n_seen / n_seen.sum()
    )
    left = np.full(exposure.shape, np.nan)
    left[chosen] = exposure[chosen]
    return replace(plan, exposure=np.ascontiguousarray(template.from_spectra(left)))


def _idealised(plan: RandomMeasurement, truth: ForceConstants) -> SQEHistogram:
    """The expected signal itself in all energy bins, with error bars of many counts."""
    template = plan.template
    seen = np.isfinite(template.spectra(plan.exposure))
    whole = np.where(seen.any(axis=1)[:, None], 1.0, np.nan) * np.ones(seen.shape)
    exposure = np.ascontiguousarray(template.from_spectra(whole))
    expected = expected_signal(
        truth,
        template,
        exposure,
        temperature=plan.temperature,
        energy_fwhm=plan.resolution,
        tolerance=KINDS["idealised"].sampling_error,
    )
    rows = expected.spectra(expected.signal)[seen.any(axis=1)]
    strong = float(peak_intensity(torch.from_numpy(np.ascontiguousarray(rows))))
    per_signal = KINDS["idealised"].peak_counts / strong
    return expected.with_values(expected.signal, expected.signal / per_signal)
