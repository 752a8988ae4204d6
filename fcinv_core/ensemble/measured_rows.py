"""Q bins of a planned measurement, ready to be simulated for many force constants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.ensemble.peak_intensity import peak_intensity
from fcinv_core.ensemble.random_measurement import RandomMeasurement
from fcinv_core.scattering.conditions import bins_in_crystal
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.sloping_bands import SlopingBands, part_rotations, parts_of_bins

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstants

MOST_WAVE_VECTORS = 128
"""Diagonalisations for each set of force constants aimed at: Q bins are chosen so that they share
wave vectors."""

SAMPLING_OVER_COUNTING = 0.2
"""Largest rms error of a bin's average over the standard deviation of its counts, with
`PEAK_COUNTS` in strong peaks and a background of `BACKGROUND` of them."""

PEAK_COUNTS = 300.0
BACKGROUND = 0.02

MOST_PARTS = 32
"""Bins are cut into no more parts."""

MOST_PER_BIN = 4.0
"""Nor into so many that they need more wave vectors each than that, on average: thick bins along
axes without symmetry, a few in a hundred measurements, whose averages err by more."""

BRAGG_DISTANCE = 0.35
"""1/Å: bins whose centre is closer to a Bragg point do not decide on the number of parts:
intensities diverge there, and the elastic line covers them."""

_PROBES = 48


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """The Q bins of a measurement that see something.

    Attributes
    ----------
    q_points
        (n_q, 3) hkl of the centres.
    hkl_bin_vectors
        (3, 3) columns span a bin, hkl.
    centres, bin_vectors
        The same in reciprocal coordinates of the primitive cell.
    edges
        (n_energy + 1,) meV.
    exposure
        (n_q, n_energy) relative, float32: most of what a pool takes; 0 where nothing is seen.
    stated_resolution
        As the spectrometer's description has it.
    incident_energy
        meV.
    parts
        Into how many a bin is cut along its edges.
    kind
        (n_q,) bins of one kind need the same wave vectors.
    n_wave_vectors
        (n_kinds,) how many those are.
    """

    q_points: np.ndarray
    hkl_bin_vectors: np.ndarray
    centres: np.ndarray
    bin_vectors: np.ndarray
    edges: np.ndarray
    exposure: np.ndarray
    stated_resolution: EnergyResolution
    incident_energy: float
    parts: tuple[int, int, int]
    kind: np.ndarray
    n_wave_vectors: np.ndarray

    @classmethod
    def of(cls, measurement: RandomMeasurement, reference: ForceConstants) -> MeasuredRows:
        """Take a measurement apart; ``reference`` decides on the number of parts."""
        template = measurement.template
        centres, bin_vectors, edges = bins_in_crystal(template, reference.crystal)
        exposure = np.nan_to_num(template.spectra(measurement.exposure))
        seen = exposure.any(axis=1)
        parts = _parts_needed(
            measurement, reference, centres[seen], bin_vectors, edges, exposure[seen]
        )
        while True:
            rotations = part_rotations(bin_vectors, parts, reference.crystal.point_group_rotations)
            needed = np.sort(parts_of_bins(centres[seen], bin_vectors, parts, rotations).q_index)
            kinds, kind = np.unique(needed, axis=0, return_inverse=True)
            n_wave_vectors = 1 + np.count_nonzero(np.diff(kinds, axis=1), axis=1)
            if n_wave_vectors.sum() <= MOST_PER_BIN * len(kind) or max(parts) == 1:
                break
            finest = int(np.argmax(parts))
            a, b, c = (n // 2 if edge == finest else n for edge, n in enumerate(parts))
            parts = (a, b, c)
        return cls(
            q_points=template.q_bin_centres()[seen],
            hkl_bin_vectors=template.q_bin_edges_matrix(),
            centres=centres[seen],
            bin_vectors=bin_vectors,
            edges=edges,
            exposure=(exposure[seen] / np.median(exposure[exposure > 0])).astype(np.float32),
            stated_resolution=measurement.resolution.scaled(1 / measurement.width_excess),
            incident_energy=measurement.incident_energy,
            parts=parts,
            kind=kind.reshape(-1),
            n_wave_vectors=n_wave_vectors,
        )

    def some(self, most: int, random: np.random.Generator) -> MeasuredRows:
        """At most so many Q bins: all of some kinds, those of a first kind whatever they are."""
        if len(self.kind) <= most:
            return self
        kinds = random.permutation(len(self.n_wave_vectors))
        sizes = np.bincount(self.kind, minlength=len(kinds))[kinds]
        kept = np.sort(kinds[: max(1, np.count_nonzero(np.cumsum(sizes) <= most))])
        rows = np.flatnonzero(np.isin(self.kind, kept))
        return replace(
            self,
            q_points=self.q_points[rows],
            centres=self.centres[rows],
            exposure=self.exposure[rows],
            kind=np.searchsorted(kept, self.kind[rows]),
            n_wave_vectors=self.n_wave_vectors[kept],
        )

    def choose(self, n_q: int, random: np.random.Generator) -> np.ndarray:
        """Indices of ``n_q`` bins, or of all if there are no more, in increasing order.

        Bins of all kinds are equally likely, but come together with others of their kind: those
        that bins drawn one after the other belong to, until `MOST_WAVE_VECTORS` are used up and
        there are enough bins.
        """
        order = random.permutation(len(self.kind))
        kinds, first = np.unique(self.kind[order], return_index=True)
        kinds = kinds[np.argsort(first)]
        n_allowed = int(np.sum(np.cumsum(self.n_wave_vectors[kinds]) <= MOST_WAVE_VECTORS))
        rank = np.argsort(kinds)[self.kind]
        by_rank = order[np.argsort(rank[order], kind="stable")]
        n_candidates = max(np.count_nonzero(rank < n_allowed), n_q)
        return np.sort(random.permutation(by_rank[:n_candidates])[:n_q])


def _parts_needed(
    measurement: RandomMeasurement,
    reference: ForceConstants,
    centres: np.ndarray,
    bin_vectors: np.ndarray,
    edges: np.ndarray,
    exposure: np.ndarray,
) -> tuple[int, int, int]:
    """Along the edges of a bin, so that cutting any of them in two again changes little."""
    crystal = reference.crystal
    dynamics = LatticeDynamics(crystal, dtype=torch.float32)
    polar = dynamics.polar_part_of(reference)
    real_space = dynamics.real_space(torch.tensor(reference.values)[None], polar)
    tensors = dynamics.tensors(real_space, measurement.temperature, polar)
    kernel = ModeKernel(torch.from_numpy(edges), measurement.temperature, measurement.resolution)
    offsets = (centres - np.rint(centres)) @ crystal.reciprocal_lattice
    far = np.flatnonzero(np.linalg.norm(offsets, axis=1) > BRAGG_DISTANCE)
    candidates = far if len(far) else np.arange(len(centres))
    random = np.random.default_rng(0)
    probes = random.choice(candidates, min(_PROBES, len(candidates)), replace=False)
    covered = torch.from_numpy(exposure[probes] > 0)

    def spectra(parts: tuple[int, int, int]) -> torch.Tensor:
        bands = SlopingBands(
            crystal, centres[probes], bin_vectors, parts, kernel, dynamics.fourier, polar
        )
        return bands.spectra(real_space, tensors)[0] * covered

    parts = (1, 1, 1)
    while True:
        base = spectra(parts)
        strength = peak_intensity(base)
        noise = ((base + BACKGROUND * strength) * strength / PEAK_COUNTS).sqrt()
        errors = {}
        for edge in range(3):
            finer = list(parts)
            finer[edge] *= 2
            if np.prod(finer) <= MOST_PARTS:
                found = (finer[0], finer[1], finer[2])
                change = ((spectra(found) - base) / noise)[covered]
                errors[found] = float(change.square().mean().sqrt())
        if not errors or max(errors.values()) <= SAMPLING_OVER_COUNTING:
            return parts
        parts = max(errors, key=lambda found: errors[found])
