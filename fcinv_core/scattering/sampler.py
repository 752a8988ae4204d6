"""Spectra of the bins of one measurement, sampled as finely as they need and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.bins import BinSampling, distinct_bins, symmetric_counts
from fcinv_core.scattering.dynamical import FourierSum, RealSpace
from fcinv_core.scattering.incoherent import IncoherentScattering
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.measured_bins import MeasuredBins
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.sampling import COARSEST_STEP, converged_counts, sample_counts
from fcinv_core.scattering.spectra import spectra
from fcinv_core.scattering.threads import block_slices
from fcinv_core.units import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

LARGEST_PLAN = 2**21
"""Samples planned at once, about 100 bytes each; larger measurements are done in parts, whose
plans are not kept."""


class BinSampler:
    """Spectra of the measured bins of one histogram.

    Parameters
    ----------
    measured
        Its bins and conditions.
    crystal
        Symmetry and structure.
    tolerance, q_spread_scale, q_fwhm, incoherent, multiphonon
        See `ForwardModel`.
    """

    def __init__(
        self,
        measured: MeasuredBins,
        crystal: Crystal,
        tolerance: float,
        q_spread_scale: float,
        q_fwhm: float,
        incoherent: bool,
        multiphonon: bool,
    ) -> None:
        self.measured = measured
        self._crystal = crystal
        self._tolerance = tolerance
        self._one_phonon, self._multiphonon = incoherent, multiphonon
        self._reciprocal = crystal.reciprocal_lattice
        self._bin_vectors = q_spread_scale * measured.bin_vectors
        lengths = np.linalg.norm(self._reciprocal.T @ self._bin_vectors, axis=0)
        a, b, c = (q_fwhm / FWHM_PER_SIGMA / lengths).tolist()
        self._spread = (a, b, c)
        self._distinct: tuple[tuple[int, int, int], np.ndarray, np.ndarray] | None = None
        self._incoherent: tuple[FourierSum, IncoherentScattering] | None = None
        self._kept: tuple[tuple[object, ...], SpectraPlan] | None = None

    def counts(
        self, dynamics: LatticeDynamics, real_space: RealSpace, polar: PolarPart | None
    ) -> tuple[int, int, int]:
        """Numbers of samples along the edges of a bin that keep the tolerance.

        Parameters
        ----------
        real_space
            Of one or several sets of force constants; the steepest bands among them decide.
        """
        if not self.measured.measured.any() or self._tolerance == math.inf:
            return 1, 1, 1
        # A Gaussian reaches farther than the box, whose own deviation is its length over √12.
        extent = self._bin_vectors * np.sqrt(1 + 12 * np.square(self._spread))
        guesses = []
        for k in range(len(real_space.even)):
            energies = partial(_energies, dynamics, _only(real_space, k), polar)
            edges, resolution = self.measured.edges, self.measured.resolution
            guesses.append(sample_counts(energies, extent, edges, resolution, COARSEST_STEP))
        one = _only(real_space, int(np.argmax(np.prod(guesses, axis=1))))
        centres = self.measured.probes(self._reciprocal)
        with torch.no_grad():
            tensors = dynamics.tensors(one, self.measured.temperature, polar)

        def probe(counts: tuple[int, int, int]) -> np.ndarray:
            plan = self._plan(dynamics, centres, counts, polar)
            with torch.no_grad():
                return spectra(plan, one, tensors, 1.0, polar)[0].cpu().numpy()[plan.row]

        a, b, c = np.max(guesses, axis=0).tolist()
        counts = converged_counts(probe, (a, b, c), self._tolerance)
        return symmetric_counts(counts, self._bin_vectors, self._crystal.point_group_rotations)

    def row(self, counts: tuple[int, int, int]) -> np.ndarray:
        """(n_bins,) which of the `spectra` belongs to each measured bin."""
        return self._distinct_bins(counts)[1]

    def spectra(
        self,
        counts: tuple[int, int, int],
        dynamics: LatticeDynamics,
        real_space: RealSpace,
        tensors: torch.Tensor,
        resolution_scale: torch.Tensor | float,
        polar: PolarPart | None,
        monitor: Callable[[float], None],
    ) -> torch.Tensor:
        """Bin-averaged S(Q,E) of bins that are not equivalent, (n_sets, n_rows, n_energy).

        Parameters
        ----------
        counts
            Numbers of samples along the edges of a bin.
        real_space, tensors, resolution_scale
            See `fcinv_core.scattering.spectra.spectra`.
        monitor
            Called with the fraction done; an exception that it raises cancels.
        """
        first, _ = self._distinct_bins(counts)
        centres = self.measured.centres[self.measured.measured][first]
        parts = block_slices(len(centres), math.prod(counts), LARGEST_PLAN)
        key = (counts, dynamics.fourier, polar is None)
        spectra_of_parts = [tensors.new_empty((len(tensors), 0, len(self.measured.edges) - 1))]
        for number, part in enumerate(parts):
            monitor(number / len(parts))
            if self._kept is not None and self._kept[0] == key:
                plan = self._kept[1]
            else:
                plan = self._plan(dynamics, centres[part], counts, polar)
                self._kept = (key, plan) if len(parts) == 1 else None
            dipoles: torch.Tensor | PolarPart | None = polar
            if polar is not None and self._kept is not None:
                dipoles = polar.kept_if_small(plan.q_points)
            rows = spectra(plan, real_space, tensors, resolution_scale, dipoles)
            spectra_of_parts.append(rows[:, torch.from_numpy(plan.row).to(rows.device)])
        coherent = spectra_of_parts[-1] if len(parts) == 1 else torch.cat(spectra_of_parts, dim=1)
        if not self._one_phonon and not self._multiphonon:
            return coherent
        # These vary little inside a bin: its centre stands for it.
        momenta = torch.from_numpy(centres @ self._reciprocal)
        return coherent + self._incoherent_on(dynamics).spectra(
            real_space, momenta, tensors, resolution_scale, polar
        )

    def _incoherent_on(self, dynamics: LatticeDynamics) -> IncoherentScattering:
        if self._incoherent is None or self._incoherent[0] is not dynamics.fourier:
            scattering = IncoherentScattering(
                dynamics,
                self.measured.kernel,
                one_phonon=self._one_phonon,
                multiphonon=self._multiphonon,
            )
            self._incoherent = (dynamics.fourier, scattering)
        return self._incoherent[1]

    def _distinct_bins(self, counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        if self._distinct is None or self._distinct[0] != counts:
            centres = self.measured.centres[self.measured.measured]
            rotations = self._crystal.point_group_rotations
            found = distinct_bins(
                centres, self._bin_vectors, counts, rotations, spread=self._spread
            )
            self._distinct = (counts, *found)
        return self._distinct[1:]

    def _plan(
        self,
        dynamics: LatticeDynamics,
        centres: np.ndarray,
        counts: tuple[int, int, int],
        polar: PolarPart | None,
    ) -> SpectraPlan:
        """Bins around ``centres`` (n, 3), none equivalent to another."""
        sampling = BinSampling.from_distinct_bins(
            centres,
            self._bin_vectors,
            counts,
            self._crystal.point_group_rotations,
            spread=self._spread,
            reciprocal=None if polar is None else self._reciprocal,
        )
        return SpectraPlan(self._crystal, sampling, dynamics.fourier, self.measured.kernel)


def _only(real_space: RealSpace, k: int) -> RealSpace:
    """One set of force constants, without its history."""
    return RealSpace(real_space.even[k : k + 1].detach(), real_space.odd[k : k + 1].detach())


def _energies(
    dynamics: LatticeDynamics, one: RealSpace, polar: PolarPart | None, points: np.ndarray
) -> np.ndarray:
    """(n_q, n_modes) in meV of one set of force constants."""
    return dynamics.modes(one, points, polar).energies[0].detach().cpu().numpy()
