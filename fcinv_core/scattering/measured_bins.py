"""The bins of one histogram that were measured, and the conditions they were measured in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.conditions import (
    assumed_resolution,
    assumed_temperature,
    bins_in_crystal,
)
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.line_shape import LineShape
from fcinv_core.scattering.resolution import EnergyResolution

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.histogram import SQEHistogram

N_PROBES = 24
"""Bins that tell how finely all of them must be sampled."""

_PATTERNLESS = np.array([12.9898, 78.233, 37.719])

BRAGG_DISTANCE = 0.15
"""1/Å: probes stay this far from Bragg points, where intensities diverge."""


class MeasuredBins:
    """Bins of one histogram, and how they were measured."""

    def __init__(
        self,
        histogram: SQEHistogram,
        crystal: Crystal,
        temperature: float | None,
        energy_fwhm: float | EnergyResolution | None,
        line: LineShape,
        kf_over_ki: bool,
    ) -> None:
        self.histogram = histogram
        self.temperature = assumed_temperature(histogram, temperature)
        self.resolution = assumed_resolution(histogram, energy_fwhm)
        self.centres, self.bin_vectors, edges = bins_in_crystal(histogram, crystal)
        covered = np.asarray(histogram.spectra(histogram.covered), bool)
        self.uncovered = None if covered.all() else ~covered
        self.measured = np.asarray(covered.any(axis=1))
        # Only energies that were measured somewhere are computed.
        energies = np.flatnonzero(covered.any(axis=0) | ~covered.any())
        self.energies = slice(int(energies[0]), int(energies[-1]) + 1)
        self.n_energy = len(edges) - 1
        self.edges = edges[self.energies.start : self.energies.stop + 1]
        incident_energy = histogram.incident_energy if kf_over_ki else None
        if kf_over_ki and incident_energy is None:
            raise FcinvError(
                f"unknown incident energy: {histogram.source} has no log of it, which k_f/k_i "
                "needs; leave the factor out if the reduction has corrected for it"
            )
        self.kernel = ModeKernel(
            torch.from_numpy(self.edges), self.temperature, self.resolution, line, incident_energy
        )

    def assembled(self, rows: torch.Tensor, row: np.ndarray) -> torch.Tensor:
        """Signal (n_sets, *shape of the histogram) from spectra (n_sets, n_rows, n_energy).

        NaN where nothing was measured; differentiable.
        """
        which = torch.from_numpy(row).to(rows.device)
        if self.measured.all():
            result = rows[:, which]
        else:
            measured = torch.as_tensor(self.measured, device=rows.device)
            shape = (len(rows), len(self.measured), rows.shape[-1])
            result = rows.new_full(shape, torch.nan)
            result[:, measured] = rows[:, which]
        before, after = self.energies.start, self.n_energy - self.energies.stop
        if before or after:
            result = torch.nn.functional.pad(result, (before, after), value=torch.nan)
        if self.uncovered is not None:
            result.masked_fill_(torch.as_tensor(self.uncovered, device=rows.device), torch.nan)
        axis = self.histogram.energy_axis
        other = [n for i, n in enumerate(self.histogram.shape) if i != axis]
        return result.reshape(len(rows), *other, self.n_energy).movedim(-1, axis + 1)

    def probes(self, reciprocal: np.ndarray) -> np.ndarray:
        """Centres (n, 3) of a few bins all over the measured ones.

        Parameters
        ----------
        reciprocal
            (3, 3) rows are reciprocal-lattice vectors of the primitive cell in 1/Å.
        """
        centres = self.centres[self.measured]
        # A number without pattern from each place, whatever the order of the bins.
        lottery = np.modf(np.sin(centres @ _PATTERNLESS) * 1e4)[0]
        n_candidates = min(8 * N_PROBES, len(centres))
        candidates = np.argpartition(lottery, n_candidates - 1)[:n_candidates]
        candidates = centres[candidates[np.argsort(lottery[candidates])]]
        corners = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), axis=-1).reshape(-1, 3)
        around = candidates[:, None] + corners @ self.bin_vectors.T / 2
        offsets = (around - np.rint(around)) @ reciprocal
        far = np.linalg.norm(offsets, axis=-1).min(axis=1) > BRAGG_DISTANCE
        return (candidates[far] if far.any() else candidates)[:N_PROBES]
