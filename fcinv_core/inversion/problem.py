"""The least-squares problem: parameters and nuisances -> expected signal on symmetric rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.jacobian import spectra_with_jacobian
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.sampling import converged_counts, sample_counts
from fcinv_core.scattering.spectra import spectra

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice, LatticeState
    from fcinv_core.scattering.polar import PolarPart

NUISANCES = ("scale", "background", "background_slope", "resolution_scale", "q_spread_scale")
"""Fitted along for each histogram. Scale and resolution scale are fitted as logarithms, the
spread of Q as its difference from 1: events do not fill the volume of a bin evenly."""

SAMPLING_OVER_COUNTING = 0.3
"""Largest error of the sampling of bins, over the standard deviation of the counts."""

_PROBES = 24

SPREAD_STEP = 0.06
"""Relative narrowing of the bins from which the effect of the spread of Q is taken."""

ROUGH_SLOPES, FINE_SLOPES = 64, 512
"""Samples in a bin that derivatives by force constants are averaged over at most; values take as
many as they need. Derivatives cost up to thirty times as much. With rough ones steps are a tenth
off; with fine ones, which have the last word, error bars are by about 2 %."""

WIDTH_STEP = 0.01
"""Change of the logarithm of the resolution scale from which its effect is taken where force
constants are fixed."""


@dataclass(frozen=True)
class Spectra:
    """S(Q,E) in mbarn/meV on rows, without scale and background.

    Attributes
    ----------
    values
        (n_rows, n_energy).
    by_spread
        (n_rows, n_energy) derivative by the relative spread of Q; 0 where it is not fitted.
    """

    values: np.ndarray
    by_spread: np.ndarray


@dataclass(frozen=True)
class Expectation:
    """Expected signal on rows (n_rows, n_energy), and its derivatives (..., n_free + 5).

    The last columns belong to `NUISANCES`, those before to the force constants: n_free is n_par,
    or 0 where force constants are fixed.
    """

    signal: np.ndarray
    jacobian: np.ndarray


@dataclass(frozen=True)
class Slopes:
    """Derivatives of spectra on rows, without scale.

    Attributes
    ----------
    parameters
        (n_rows, n_energy, n_par).
    resolution
        (n_rows, n_energy) by the logarithm of the resolution scale.
    """

    parameters: np.ndarray
    resolution: np.ndarray


class HistogramProblem:
    """One measurement folded onto symmetry-distinct rows.

    Bins that are equivalent by symmetry have the same expected signal, so their counts and
    exposures add up without loss of information.

    Parameters
    ----------
    prepared
        The measurement.
    lattice
        Basis and mesh.
    reference
        (n_par,) parameters whose bands decide how finely bins are sampled.
    step_over_width
        See `sample_counts`; finer if that errs by more than the counts do.
    largest_rows
        Use at most about this many rows, those with the most counts; all when left out. A
        part of the rows leads to the right valley, where the spread of Q does not matter yet:
        it is kept at that of the bins.
    """

    def __init__(
        self,
        prepared: PreparedHistogram,
        lattice: Lattice,
        reference: np.ndarray,
        step_over_width: float,
        largest_rows: int | None = None,
    ) -> None:
        self.prepared = prepared
        numbers = sample_counts(
            lambda points: lattice.energies(reference, points),
            prepared.bin_vectors,
            prepared.edges,
            prepared.resolution,
            step_over_width,
        )
        self.bins = _informative_bins(prepared, largest_rows)
        self._lattice = lattice
        self._plan = self._plan_of(self.bins, prepared.bin_vectors, numbers)
        self._narrow: SpectraPlan | None = None
        if largest_rows is None:
            finer = self._fine_enough(numbers, reference)
            if finer != numbers:
                self._plan = self._plan_of(self.bins, prepared.bin_vectors, finer)
            narrow_vectors = (1 - SPREAD_STEP) * prepared.bin_vectors
            self._narrow = self._plan_of(self.bins, narrow_vectors, finer)
            numbers = finer
        self._numbers = numbers
        self._slope_plans = {numbers: self._plan}
        self.row = self._plan.row
        self.n_rows = self._plan.n_rows
        self._first_bin = np.unique(self.row, return_index=True)[1]
        self.weigh(np.ones((len(self.bins), prepared.counts.shape[1])), 1.0)
        energies = prepared.energies
        middle, half = 0.5 * (energies[0] + energies[-1]), 0.5 * (energies[-1] - energies[0])
        self.relative_energy = (energies - middle) / (half if half > 0 else 1.0)
        self.half_range = half
        total = self.exposure.sum()
        self.typical_signal = float(self.counts.sum() / total) if total > 0 else 1.0

    def weigh(self, believed: np.ndarray, scatter: float) -> None:
        """Fold counts and exposures onto rows.

        Parameters
        ----------
        believed
            (n_bins, n_energy) in [0, 1]: how far each bin's exposure is believed.
        scatter
            Variance of the counts over that of Poisson counts; a histogram that scatters more
            counts for less.
        """
        self.believed = believed
        self.counts = self._fold(self.prepared.counts[self.bins] * believed / scatter)
        self.exposure = self._fold(self.prepared.exposure[self.bins] * believed / scatter)

    def _fold(self, values: np.ndarray) -> np.ndarray:
        folded = np.zeros((self.n_rows, values.shape[1]))
        np.add.at(folded, self.row, values)
        return folded

    def _fine_enough(
        self, counts: tuple[int, int, int], reference: np.ndarray
    ) -> tuple[int, int, int]:
        """Numbers of samples raised until sampling errs by less than counting does.

        In the rows with the most counts, whose error bars are the smallest. An error of sampling
        is the same in every bin, so that fits would take it for physics.
        """
        row, prepared = self._plan.row, self.prepared
        peak = np.zeros(self._plan.n_rows)
        np.add.at(peak, row, prepared.counts[self.bins].max(axis=1))
        chosen = np.unique(row, return_index=True)[1][np.argsort(peak)[-_PROBES:]]
        state = self._lattice.state(reference)

        def probe(numbers: tuple[int, int, int]) -> np.ndarray:
            plan = self._plan_of(self.bins[chosen], prepared.bin_vectors, numbers)
            return self._spectra_on(plan, state, 1.0)[plan.row]

        tolerance = SAMPLING_OVER_COUNTING / np.sqrt(max(peak.max(), 1.0))
        return converged_counts(probe, counts, float(tolerance))

    def _plan_of(
        self, bins: np.ndarray, bin_vectors: np.ndarray, counts: tuple[int, int, int]
    ) -> SpectraPlan:
        prepared, lattice = self.prepared, self._lattice
        crystal = lattice.basis.crystal
        sampling = BinSampling.from_bins(
            prepared.centres[bins],
            bin_vectors,
            counts,
            crystal.point_group_rotations,
            reciprocal=crystal.reciprocal_lattice if lattice.is_polar else None,
        )
        kernel = ModeKernel(
            torch.from_numpy(prepared.edges), prepared.temperature, prepared.resolution
        )
        return SpectraPlan(crystal, sampling, lattice.dynamics.fourier, kernel)

    def _dipoles(self, plan: SpectraPlan) -> torch.Tensor | PolarPart | None:
        """Dipole part of D(q), as `spectra` wants it.

        It does not depend on the parameters and is kept, unless it would fill the memory.
        """
        polar = self._lattice.polar
        return None if polar is None else polar.kept_if_small(plan.q_points)

    def values(self, state: LatticeState, resolution_scale: float) -> np.ndarray:
        """(n_rows, n_energy) S(Q,E) in mbarn/meV on rows, without scale and background."""
        return self._spectra_on(self._plan, state, resolution_scale)

    def _spectra_on(
        self, plan: SpectraPlan, state: LatticeState, resolution_scale: float
    ) -> np.ndarray:
        tensors = state.tensors(self.prepared.temperature)
        dipoles = self._dipoles(plan)
        return spectra(plan, state.real_space, tensors, resolution_scale, dipoles)[0].numpy()

    def spectra(self, state: LatticeState, nuisance: np.ndarray) -> Spectra:
        """The same with what the spread of Q does to it, see `expectation` for nuisances."""
        resolution_scale = float(np.exp(nuisance[3]))
        values = self.values(state, resolution_scale)
        if self._narrow is None:
            return Spectra(values, np.zeros_like(values))
        narrow = self._spectra_on(self._narrow, state, resolution_scale)
        # Equivalent bins stay so when they shrink, but rows are in another order.
        by_spread = (values - narrow[self._narrow.row[self._first_bin]]) / SPREAD_STEP
        return Spectra(values, by_spread)

    def signal(self, plain: Spectra, nuisance: np.ndarray) -> np.ndarray:
        """Expected signal on rows alone, see `expectation`."""
        spread = nuisance[4] * plain.by_spread
        return np.exp(nuisance[0]) * (plain.values + spread) + self.background(nuisance)

    def slopes(self, state: LatticeState, nuisance: np.ndarray, most_samples: int) -> Slopes:
        """Derivatives of spectra, see `expectation`, averaged over so many samples at most."""
        plan = self._slope_plan(most_samples)
        result = spectra_with_jacobian(
            plan,
            state.real_space,
            self._lattice.directions,
            state.tensors(self.prepared.temperature),
            state.slopes(self.prepared.temperature),
            float(np.exp(nuisance[3])),
            self._dipoles(plan),
        )
        # Equivalent bins stay so, but rows are in another order.
        rows = plan.row[self._first_bin]
        return Slopes(result.parameters.numpy()[rows], result.resolution.numpy()[rows])

    def slopes_of_resolution(self, state: LatticeState, nuisance: np.ndarray) -> Slopes:
        """Those where force constants are fixed: by none of them."""
        value = self.values(state, float(np.exp(nuisance[3])))
        wider = self.values(state, float(np.exp(nuisance[3] + WIDTH_STEP)))
        return Slopes(np.empty((*value.shape, 0)), (wider - value) / WIDTH_STEP)

    def expectation(self, plain: Spectra, nuisance: np.ndarray, slopes: Slopes) -> Expectation:
        """Expected signal and its derivatives: nuisances applied to spectra and their slopes.

        Parameters
        ----------
        plain
            What `spectra` gives.
        nuisance
            (5,): log scale, background and slope in units of ``typical_signal`` (the slope over
            half the energy range), log resolution scale, relative change of the spread of Q.
        slopes
            Derivatives of the spectra, here or nearby.
        """
        scale = np.exp(nuisance[0])
        signal = self.signal(plain, nuisance)
        n_free = slopes.parameters.shape[-1]
        jacobian = np.empty((*signal.shape, n_free + len(NUISANCES)))
        np.multiply(slopes.parameters, scale, out=jacobian[..., :n_free])
        jacobian[..., n_free] = signal - self.background(nuisance)
        jacobian[..., n_free + 1] = self.typical_signal
        jacobian[..., n_free + 2] = self.typical_signal * self.relative_energy
        jacobian[..., n_free + 3] = scale * slopes.resolution
        jacobian[..., n_free + 4] = scale * plain.by_spread
        return Expectation(signal, jacobian)

    def _slope_plan(self, most_samples: int) -> SpectraPlan:
        """That of the values with fewer samples, if those are more than ``most_samples``."""
        numbers = np.array(self._numbers)
        while numbers.prod() > most_samples:
            numbers[np.argmax(numbers)] -= 1
        key = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        if key not in self._slope_plans:
            self._slope_plans[key] = self._plan_of(self.bins, self.prepared.bin_vectors, key)
        return self._slope_plans[key]

    def background(self, nuisance: np.ndarray) -> np.ndarray:
        """(n_energy,) in signal units."""
        return self.typical_signal * (nuisance[1] + nuisance[2] * self.relative_energy)


def _informative_bins(prepared: PreparedHistogram, largest_rows: int | None) -> np.ndarray:
    """Indices of Q bins with data: all of them, or those with the most counts, spread out.

    The most counted of each group of neighbours is taken, so that a selection still covers
    the whole of Q.
    """
    bins = np.flatnonzero(prepared.used.any(axis=1))
    if largest_rows is None or len(bins) <= largest_rows:
        return bins
    weight = prepared.used.sum(axis=1)[bins] * np.sqrt(prepared.counts.sum(axis=1)[bins] + 1)
    groups = np.array_split(np.arange(len(bins)), largest_rows)
    return bins[[group[np.argmax(weight[group])] for group in groups]]
