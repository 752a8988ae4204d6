"""The least-squares problem: parameters and nuisances -> expected signal on symmetric rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.displacements import Displacements
from fcinv_core.scattering.dynamical import DynamicalBasis, Modes
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.sampling import sample_counts
from fcinv_core.scattering.spectra import StructureFactors, spectra, spectra_with_jacobian

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstantBasis

NUISANCES = ("scale", "background", "background_slope", "resolution_scale", "q_spread_scale")
"""Fitted along for each histogram. Scale and resolution scale are fitted as logarithms, the
spread of Q as its difference from 1: events do not fill the volume of a bin evenly."""

SPREAD_STEP = 0.06
"""Relative narrowing of the bins from which the effect of the spread of Q is taken."""


class LatticeState:
    """Modes and displacements of one parameter set, shared by all histograms.

    Attributes
    ----------
    parameters
        (n_par,) eV/Å².
    """

    def __init__(
        self, parameters: np.ndarray, displacements: Displacements, mesh: DynamicalBasis
    ) -> None:
        self.parameters = torch.from_numpy(np.ascontiguousarray(parameters))
        self._displacements = displacements
        self._mesh = mesh
        self._modes = mesh.modes(self.parameters)
        self._tensors: dict[float, torch.Tensor] = {}
        self._slopes: dict[float, torch.Tensor] = {}

    def tensors(self, temperature: float) -> torch.Tensor:
        """⟨u u⟩, (n_atoms, 3, 3) in Å²."""
        if temperature not in self._tensors:
            self._tensors[temperature] = self._displacements.tensors(self._modes, temperature)
        return self._tensors[temperature]

    def slopes(self, temperature: float) -> torch.Tensor:
        """∂⟨u u⟩/∂p, (n_atoms, 3, 3, n_par) in Å² per eV/Å²."""
        if temperature not in self._slopes:
            self._slopes[temperature] = self._displacements.slopes(
                self._modes, self._couplings, temperature
            )
        return self._slopes[temperature]

    @cached_property
    def _couplings(self) -> torch.Tensor:
        return self._mesh.in_mode_basis(self._modes)


class Lattice:
    """Force-constant basis with its displacement mesh, shared by all histograms."""

    def __init__(self, basis: ForceConstantBasis) -> None:
        self.basis = basis
        self._displacements = Displacements(basis.crystal)
        self._mesh = DynamicalBasis(basis, self._displacements.q_points)

    def state(self, parameters: np.ndarray) -> LatticeState:
        """Modes on the mesh for ``parameters`` (n_par,) in eV/Å²."""
        return LatticeState(parameters, self._displacements, self._mesh)

    def force_constant_values(self, parameters: np.ndarray) -> torch.Tensor:
        """Compact force constants (n_primitive, n_supercell, 3, 3) in eV/Å²."""
        crystal = self.basis.crystal
        shape = (crystal.n_primitive, crystal.n_supercell, 3, 3)
        return torch.from_numpy((self.basis.map @ parameters).reshape(shape))


@dataclass(frozen=True)
class Expectation:
    """Expected signal on rows (n_rows, n_energy), and its derivatives (..., n_par + 5).

    The last columns belong to `NUISANCES`.
    """

    signal: np.ndarray
    jacobian: np.ndarray


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
        See `sample_counts`.
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
        crystal = lattice.basis.crystal
        counts = sample_counts(
            crystal,
            lattice.force_constant_values(reference),
            prepared.bin_vectors,
            prepared.edges,
            prepared.resolution,
            step_over_width,
        )
        self.bins = _informative_bins(prepared, largest_rows)
        sampling = BinSampling.from_bins(
            prepared.centres[self.bins],
            prepared.bin_vectors,
            counts,
            crystal.point_group_rotations,
        )
        self.row = sampling.row
        self.n_rows = len(sampling.q_index)
        self.weigh(np.ones((len(self.bins), prepared.counts.shape[1])), 1.0)
        self._factors = StructureFactors(crystal, sampling)
        self._dynamical = DynamicalBasis(lattice.basis, sampling.q_points)
        self._narrow: tuple[StructureFactors, DynamicalBasis] | None = None
        if largest_rows is None:
            narrow = BinSampling.from_bins(
                prepared.centres[self.bins],
                (1 - SPREAD_STEP) * prepared.bin_vectors,
                counts,
                crystal.point_group_rotations,
            )
            self._narrow = (
                StructureFactors(crystal, narrow),
                DynamicalBasis(lattice.basis, narrow.q_points),
            )
        self._edges = torch.from_numpy(prepared.edges)
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

    def spectra(self, state: LatticeState, resolution_scale: float) -> np.ndarray:
        """S(Q,E) in mbarn/meV on rows, without scale and background."""
        modes = self._dynamical.modes(state.parameters)
        kernel = self._kernel(modes, resolution_scale)
        tensors = state.tensors(self.prepared.temperature)
        return spectra(self._factors, modes, kernel, tensors).numpy()

    def expectation(self, state: LatticeState, nuisance: np.ndarray) -> Expectation:
        """Expected signal and its derivatives.

        Parameters
        ----------
        nuisance
            (5,): log scale, background and slope in units of ``typical_signal`` (the slope over
            half the energy range), log resolution scale, relative change of the spread of Q.
        """
        modes = self._dynamical.modes(state.parameters)
        result = spectra_with_jacobian(
            self._factors,
            modes,
            self._kernel(modes, float(np.exp(nuisance[3]))),
            state.tensors(self.prepared.temperature),
            state.slopes(self.prepared.temperature),
            self._dynamical.in_mode_basis(modes),
        )
        scale = np.exp(nuisance[0])
        by_spread = self._by_spread(state, nuisance, result.spectra)
        value = scale * (result.spectra.numpy() + nuisance[4] * by_spread)
        n_par = result.parameters.shape[-1]
        jacobian = np.empty((*value.shape, n_par + len(NUISANCES)))
        np.multiply(result.parameters.numpy(), scale, out=jacobian[..., :n_par])
        jacobian[..., n_par] = value
        jacobian[..., n_par + 1] = self.typical_signal
        jacobian[..., n_par + 2] = self.typical_signal * self.relative_energy
        jacobian[..., n_par + 3] = scale * result.resolution.numpy()
        jacobian[..., n_par + 4] = scale * by_spread
        return Expectation(value + self.background(nuisance), jacobian)

    def _by_spread(
        self, state: LatticeState, nuisance: np.ndarray, spread: torch.Tensor
    ) -> np.ndarray:
        """Derivative of the spectra by the relative spread of Q; 0 where it is not fitted."""
        if self._narrow is None:
            return np.zeros(tuple(spread.shape))
        factors, dynamical = self._narrow
        modes = dynamical.modes(state.parameters)
        kernel = self._kernel(modes, float(np.exp(nuisance[3])))
        tensors = state.tensors(self.prepared.temperature)
        return (spread - spectra(factors, modes, kernel, tensors)).numpy() / SPREAD_STEP

    def background(self, nuisance: np.ndarray) -> np.ndarray:
        """(n_energy,) in signal units."""
        return self.typical_signal * (nuisance[1] + nuisance[2] * self.relative_energy)

    def _kernel(self, modes: Modes, resolution_scale: float) -> ModeKernel:
        return ModeKernel(
            modes.squared_energies,
            self._edges,
            self.prepared.temperature,
            self.prepared.resolution,
            resolution_scale,
        )


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
