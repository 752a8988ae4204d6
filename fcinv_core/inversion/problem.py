"""The least-squares problem: parameters and nuisances -> expected signal on symmetric rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.evaluation import Expectation, Vicinity
from fcinv_core.inversion.multiphonon import Multiphonon
from fcinv_core.inversion.nuisances import (
    MULTIPHONON,
    NUISANCES,
    Q_SPREAD,
    RESOLUTION,
    SCALE,
    Background,
)
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.selection import (
    best_of_neighbours,
    information_on_energies,
    most_counted_bins,
    most_rows,
)
from fcinv_core.scattering.bins import BinSampling, distinct_bins
from fcinv_core.scattering.jacobian import spectra_with_jacobian
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.sampling import COARSEST_STEP, converged_counts, sample_counts
from fcinv_core.scattering.spectra import spectra

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice, LatticeState
    from fcinv_core.scattering.polar import PolarPart

SAMPLING_OVER_COUNTING = 0.15
"""Largest error of sampling over that of counting, in single bins. Too few samples make all lines
narrower or ragged alike: at 0.3 a thousand bins took that for a resolution three standard
deviations off."""

_PROBES = 24

SPREAD_STEP = 0.06
"""Relative narrowing of the bins from which the effect of the spread of Q is taken."""

ROUGH_SAMPLES, FINE_SAMPLES = 64, 512
"""Samples in a bin that derivatives by force constants are averaged over at most; values take as
many as they need. Derivatives cost up to thirty times as much. With rough ones steps are a tenth
off; with fine ones, which have the last word, error bars are by about 2 %."""

ROUGH_ERROR = 0.02
"""Error of sampling, relative to the largest intensity, beyond which rough samples need not go."""

WIDTH_STEP = 0.01
"""Change of the logarithm of the resolution scale from which its effect is taken where force
constants are fixed."""


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
        (n_par,) parameters whose bands decide how finely bins are sampled: sampling errs by
        less than the counts do.
    largest_rows
        Use at most about this many rows, those with the most counts; all when left out. A
        part of the rows leads to the right valley, where few samples are enough
        (`ROUGH_SAMPLES`) and the spread of Q does not matter yet: it is kept at that of the bins.
    share
        Of the memory and time that a fit may take: rows beyond are left out, those that tell
        least of their neighbours.
    scatter
        Variance of the counts over that of Poisson counts, as far as it is known: to sample more
        finely than such counts can tell takes time alone.
    """

    def __init__(
        self,
        prepared: PreparedHistogram,
        lattice: Lattice,
        reference: np.ndarray,
        largest_rows: int | None = None,
        share: float = 1.0,
        scatter: float = 1.0,
    ) -> None:
        self.prepared = prepared
        self._last: dict[str, tuple[LatticeState, float, np.ndarray]] = {}
        numbers = sample_counts(
            lambda points: lattice.energies(reference, points),
            prepared.bin_vectors,
            prepared.edges,
            prepared.resolution,
            COARSEST_STEP,
        )
        self.bins = most_counted_bins(prepared, largest_rows)
        self._lattice = lattice
        self._plan = self._plan_of(self.bins, prepared.bin_vectors, numbers)
        self.sampling_error = 0.0
        at_least = 0.0 if largest_rows is None else ROUGH_ERROR
        finer = self._fine_enough(numbers, reference, scatter, at_least)
        if largest_rows is not None:
            finer = _at_most(finer, ROUGH_SAMPLES)
        if largest_rows is None:
            self.bins = self._within_reach(finer, reference, share)
        if finer != numbers or len(self.bins) != len(self._plan.row):
            self._plan = self._plan_of(self.bins, prepared.bin_vectors, finer)
        self._fits_spread = largest_rows is None
        self._numbers = finer
        self._plans = {(finer, 1.0): self._plan}
        self.row = self._plan.row
        self.n_rows = self._plan.n_rows
        self._first_bin = np.unique(self.row, return_index=True)[1]
        self.weigh(np.ones((len(self.bins), prepared.counts.shape[1])), scatter)
        total = self.exposure.sum()
        self.typical_signal = float(self.counts.sum() / total) if total > 0 else 1.0
        self._background = Background.of(prepared, self.typical_signal)
        self._multiphonon = Multiphonon(prepared, lattice)

    @property
    def used(self) -> np.ndarray:
        """(n_q, n_energy) bool: bins of the histogram that take part."""
        chosen = np.zeros((len(self.prepared.used), 1), bool)
        chosen[self.bins] = True
        return self.prepared.used & chosen

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
        self,
        counts: tuple[int, int, int],
        reference: np.ndarray,
        scatter: float,
        at_least: float,
    ) -> tuple[int, int, int]:
        """Numbers of samples raised until sampling errs by less than counting does.

        In the rows with the most counts, whose error bars are the smallest. An error of sampling
        is the same in every bin, so that fits would take it for physics. An error of ``at_least``
        is granted.
        """
        row, prepared = self._plan.row, self.prepared
        peak = np.zeros(self._plan.n_rows)
        np.add.at(peak, row, prepared.counts[self.bins].max(axis=1))
        chosen = np.unique(row, return_index=True)[1][np.argsort(peak)[-_PROBES:]]
        state = self._lattice.state(reference)

        def probe(numbers: tuple[int, int, int]) -> np.ndarray:
            plan = self._plan_of(self.bins[chosen], prepared.bin_vectors, numbers)
            return self._spectra_on(plan, state, 1.0)[plan.row]

        counting = float(np.sqrt(scatter / max(peak.max(), scatter)))
        self.sampling_error = max(SAMPLING_OVER_COUNTING * counting, at_least)
        return converged_counts(probe, counts, self.sampling_error)

    def _within_reach(
        self, numbers: tuple[int, int, int], reference: np.ndarray, share: float
    ) -> np.ndarray:
        """Indices of all bins, or of those in the most telling rows if there are too many."""
        prepared, bins = self.prepared, self.bins
        rotations = self._lattice.basis.crystal.point_group_rotations
        first, row = distinct_bins(prepared.centres[bins], prepared.bin_vectors, numbers, rotations)
        n_free = len(reference) + len(NUISANCES)
        n_samples, n_derived = (
            int(np.prod(each)) for each in (numbers, _at_most(numbers, ROUGH_SAMPLES))
        )
        most = most_rows(n_samples, n_derived, prepared.counts.shape[1] * n_free, share)
        if len(first) <= most:
            return bins
        exposure = np.zeros((len(first), prepared.counts.shape[1]))
        np.add.at(exposure, row, prepared.exposure[bins])
        middles = self._plan_of(bins[first], prepared.bin_vectors, (1, 1, 1))
        signal = self._spectra_on(middles, self._lattice.state(reference), 1.0)[middles.row]
        telling = information_on_energies(signal, exposure, prepared.energies)
        return bins[np.isin(row, best_of_neighbours(telling, most))]

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
        return self._remembered(
            "values", state, resolution_scale, partial(self._spectra_on, self._plan)
        )

    def _remembered(
        self,
        what: str,
        state: LatticeState,
        resolution_scale: float,
        make: Callable[[LatticeState, float], np.ndarray],
    ) -> np.ndarray:
        """What was made last, if it is asked for again."""
        last = self._last.get(what)
        if last is None or last[0] is not state or last[1] != resolution_scale:
            last = self._last[what] = state, resolution_scale, make(state, resolution_scale)
        return last[2]

    def _spectra_on(
        self, plan: SpectraPlan, state: LatticeState, resolution_scale: float
    ) -> np.ndarray:
        tensors = state.tensors(self.prepared.temperature)
        dipoles = self._dipoles(plan)
        return spectra(plan, state.real_space, tensors, resolution_scale, dipoles)[0].numpy()

    def vicinity(
        self,
        state: LatticeState,
        nuisance: np.ndarray,
        values: np.ndarray,
        most_samples: int | None,
        with_multiphonon: bool = True,
    ) -> Vicinity:
        """Around a point.

        Parameters
        ----------
        nuisance
            (8,) see `NUISANCES`.
        values
            What `values` gives there.
        most_samples
            That derivatives by force constants are averaged over in a bin; None where these are
            fixed.
        with_multiphonon
            False leaves scattering by several phonons out.
        """
        resolution_scale = float(np.exp(nuisance[RESOLUTION]))
        numbers, as_sampled = self._numbers, values
        if most_samples is None:
            wider = self.values(state, float(np.exp(nuisance[RESOLUTION] + WIDTH_STEP)))
            by_parameters = np.empty((*values.shape, 0))
            by_resolution = (wider - values) / WIDTH_STEP
        else:
            numbers = _at_most(self._numbers, most_samples)
            as_sampled, by_parameters, by_resolution = self._slopes(
                state, resolution_scale, numbers
            )
        by_spread = np.zeros_like(values)
        if self._fits_spread:
            narrow_plan = self._plan_with(numbers, 1 - SPREAD_STEP)
            narrow = self._spectra_on(narrow_plan, state, resolution_scale)
            # Equivalent bins stay so when they shrink, but rows are in another order.
            narrow = narrow[narrow_plan.row[self._first_bin]]
            by_spread = (as_sampled - narrow) / SPREAD_STEP
        several = np.zeros_like(values)
        if with_multiphonon:
            several = self.multiphonon(state, resolution_scale)
        tensors = state.tensors(self.prepared.temperature)
        return Vicinity(by_parameters, by_resolution, by_spread, several, tensors)

    def multiphonon(self, state: LatticeState, resolution_scale: float) -> np.ndarray:
        """(n_rows, n_energy) scattering by two and more phonons, mbarn/meV."""
        centres = self.prepared.centres[self.bins[self._first_bin]]
        return self._remembered(
            "multiphonon",
            state,
            resolution_scale,
            lambda state, scale: self._multiphonon.spectra(state, centres, scale),
        )

    def _slopes(
        self, state: LatticeState, resolution_scale: float, numbers: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Spectra, and their derivatives by parameters and resolution, from so many samples."""
        plan = self._plan_with(numbers)
        result = spectra_with_jacobian(
            plan,
            state.real_space,
            self._lattice.directions,
            state.tensors(self.prepared.temperature),
            state.slopes(self.prepared.temperature),
            resolution_scale,
            self._dipoles(plan),
        )
        rows = plan.row[self._first_bin]
        parts = result.spectra, result.parameters, result.resolution
        spectra, parameters, resolution = (part.numpy()[rows] for part in parts)
        return spectra, parameters, resolution

    def signal(self, values: np.ndarray, nuisance: np.ndarray, vicinity: Vicinity) -> np.ndarray:
        """Expected signal on rows alone, see `expectation`."""
        return self._phonons(values, nuisance, vicinity) + self._background.values(nuisance)

    def _phonons(self, values: np.ndarray, nuisance: np.ndarray, vicinity: Vicinity) -> np.ndarray:
        spread = nuisance[Q_SPREAD] * vicinity.q_spread
        several = (1 + nuisance[MULTIPHONON]) * vicinity.multiphonon
        return np.exp(nuisance[SCALE]) * (values + spread + several)

    def expectation(
        self, values: np.ndarray, nuisance: np.ndarray, vicinity: Vicinity
    ) -> Expectation:
        """Expected signal and its derivatives: nuisances applied to spectra and their slopes.

        Parameters
        ----------
        values
            What `values` gives.
        nuisance
            (8,) see `NUISANCES`.
        vicinity
            Here or nearby.
        """
        scale = np.exp(nuisance[SCALE])
        phonons = self._phonons(values, nuisance, vicinity)
        n_free = vicinity.parameters.shape[-1]
        jacobian = np.empty((*values.shape, n_free + len(NUISANCES)))
        np.multiply(vicinity.parameters, scale, out=jacobian[..., :n_free])
        columns = jacobian[..., n_free:]
        self._background.fill_slopes(columns, nuisance)
        columns[..., SCALE] = phonons
        columns[..., RESOLUTION] = scale * vicinity.resolution
        columns[..., Q_SPREAD] = scale * vicinity.q_spread
        columns[..., MULTIPHONON] = scale * vicinity.multiphonon
        return Expectation(phonons + self._background.values(nuisance), jacobian)

    def _plan_with(self, numbers: tuple[int, int, int], extent: float = 1.0) -> SpectraPlan:
        """That of the values with so many samples, and bins ``extent`` times as large."""
        key = numbers, extent
        if key not in self._plans:
            self._plans[key] = self._plan_of(self.bins, extent * self.prepared.bin_vectors, numbers)
        return self._plans[key]

    def smooth(self, state: LatticeState, centres: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
        """(n, n_energy) signal of several phonons and background at any Q bins (n, 3)."""
        several = self._multiphonon.spectra(state, centres, float(np.exp(nuisance[RESOLUTION])))
        scale = np.exp(nuisance[SCALE]) * (1 + nuisance[MULTIPHONON])
        return scale * several + self._background.values(nuisance)


def _at_most(counts: tuple[int, int, int], most_samples: int) -> tuple[int, int, int]:
    """Numbers of samples along the edges of a bin whose product is no larger."""
    numbers = np.array(counts)
    while numbers.prod() > most_samples:
        numbers[np.argmax(numbers)] -= 1
    return int(numbers[0]), int(numbers[1]), int(numbers[2])
