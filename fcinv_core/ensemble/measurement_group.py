"""Measurements that share a geometry: simulated once, observed with noise as often as wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measured_rows import MeasuredRows
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges, Range
from fcinv_core.ensemble.peak_intensity import peak_intensity

WEAKEST_PEAK = 1e-9
"""mbarn/meV per primitive cell: bins in which force constants give less hold background only."""

IDEAL_COUNTS = 1e4
"""In strong peaks of idealised measurements, which have no noise: a mere unit."""

OBSERVED = (1.0, 1.0, 0.6, 0.4, 0.2)
"""Shares of the simulated Q bins that an observation sees, equally likely."""


@dataclass(frozen=True, eq=False)
class MeasurementGroup:
    """Measurements of ``n`` crystals on the same n_q Q bins and n_energy energy bins.

    Tensors on one device.

    Attributes
    ----------
    parameters
        (n, n_parameters) of the prior, eV/Å², float64: the truth.
    counts
        (n, n_q, n_energy).
    exposure
        (n, n_q, n_energy) counts per unit of signal; 0 where nothing is seen.
    centres, bin_vectors
        (n_q, 3) and (3, 3) columns: Q bins in reciprocal coordinates of the primitive cell,
        float64.
    q_points, hkl_bin_vectors
        The same as hkl.
    energy_edges
        (n_energy + 1,) meV.
    temperature
        K.
    energy_fwhm, stated_fwhm
        meV: elastic width of the resolution, and what the spectrometer's description says.
    incident_energy
        meV.
    scale
        (n,) signal per mbarn/meV per primitive cell.
    flat_background
        (n,) mbarn/meV per primitive cell at zero energy transfer.
    idealised
        Whether all bins are seen equally, without background and noise.
    """

    parameters: torch.Tensor
    counts: torch.Tensor
    exposure: torch.Tensor
    centres: torch.Tensor
    bin_vectors: torch.Tensor
    q_points: torch.Tensor
    hkl_bin_vectors: torch.Tensor
    energy_edges: torch.Tensor
    temperature: float
    energy_fwhm: float
    stated_fwhm: float
    incident_energy: float
    scale: torch.Tensor
    flat_background: torch.Tensor
    idealised: bool

    def __len__(self) -> int:
        return len(self.parameters)


@dataclass(frozen=True, eq=False)
class SimulatedGroup:
    """What ``n`` crystals scatter into the Q bins of one measurement, before it is counted.

    Attributes
    ----------
    parameters
        (n, n_parameters) of the prior, eV/Å², float64.
    intensity
        (n, n_q, n_energy) mbarn/meV per primitive cell: one phonon and several.
    geometry
        The measurement.
    chosen
        (n_q,) which of its Q bins these are.
    temperature
        K.
    width_excess
        True over stated width of the resolution.
    ranges
        Counting times, backgrounds and scales are drawn from these.
    """

    parameters: torch.Tensor
    intensity: torch.Tensor
    geometry: MeasuredRows
    chosen: np.ndarray
    temperature: float
    width_excess: float
    ranges: MeasurementRanges

    def __len__(self) -> int:
        return len(self.parameters)

    @torch.no_grad()
    def observe(self, random: np.random.Generator, n_q: int | None = None) -> MeasurementGroup:
        """Count neutrons: everything but crystals, Q bins, temperature and width is drawn anew.

        Parameters
        ----------
        random
            Its state decides on all that is drawn.
        n_q
            So many of the Q bins at random, or all if there are no more; by default a random
            number of them, see `OBSERVED`.
        """
        idealised = bool(random.random() < self.ranges.idealised)
        n_all = len(self.chosen)
        if n_q is None:
            n_q = max(1, round(float(random.choice(OBSERVED)) * n_all))
        seen = np.sort(random.permutation(n_all)[:n_q])
        rows = torch.from_numpy(seen).to(self.intensity.device)
        intensity = self.intensity[:, rows]
        draw = _Draws(intensity, int(random.integers(2**62)))
        exposure = self._tensor(self.geometry.exposure[self.chosen[seen]])
        if idealised:
            exposure = torch.ones_like(exposure)
        covered = exposure > 0
        strength = peak_intensity(intensity * covered).clamp(min=WEAKEST_PEAK)[:, None, None]
        scale = draw.log_uniform(self.ranges.scale)
        if idealised:
            per_intensity = IDEAL_COUNTS / strength * exposure
            counts, flat = per_intensity * intensity, torch.zeros_like(scale)
        else:
            background = self._background(strength, draw)
            flat = torch.as_tensor(background.flat)
            expected = intensity + background.spectrum(self._tensor(self.geometry.edges))
            # Relative to where half of the bins see less.
            peaks = draw.log_uniform(self.ranges.peak_counts) / exposure[covered].median()
            per_intensity = exposure * (peaks / strength)
            counts = draw.poisson(per_intensity * expected)
        shown = self.chosen[seen]
        return MeasurementGroup(
            parameters=self.parameters,
            counts=counts,
            exposure=per_intensity / scale,
            centres=self._exact(self.geometry.centres[shown]),
            bin_vectors=self._exact(self.geometry.bin_vectors),
            q_points=self._exact(self.geometry.q_points[shown]),
            hkl_bin_vectors=self._exact(self.geometry.hkl_bin_vectors),
            energy_edges=self._tensor(self.geometry.edges),
            temperature=self.temperature,
            energy_fwhm=self._stated_fwhm * self.width_excess,
            stated_fwhm=self._stated_fwhm,
            incident_energy=self.geometry.incident_energy,
            scale=scale.flatten(),
            flat_background=flat.flatten(),
            idealised=idealised,
        )

    @property
    def _stated_fwhm(self) -> float:
        return self.geometry.stated_resolution.elastic_fwhm

    def _background(self, strength: torch.Tensor, draw: _Draws) -> Background:
        """One for each member, relative to the intensity of its strong peaks (n, 1, 1)."""
        ranges, edges = self.ranges, self.geometry.edges
        flat = strength * draw.log_uniform(ranges.flat_background)
        slope = draw.uniform(ranges.background_slope)
        return Background(
            flat=flat,
            slope=flat * slope / float(edges[-1] - edges[0]),
            elastic=strength * draw.log_uniform(ranges.elastic_tail),
            decay=self._stated_fwhm * self.width_excess * draw.uniform(ranges.elastic_decay),
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=self.intensity.dtype, device=self.intensity.device)

    def _exact(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self.intensity.device)


class _Draws:
    """Random numbers (n, 1, 1) for the n members of a group, like ``intensity`` in kind."""

    def __init__(self, intensity: torch.Tensor, seed: int) -> None:
        self._like = intensity
        self._generator = torch.Generator(intensity.device).manual_seed(seed)

    def uniform(self, limits: Range) -> torch.Tensor:
        shape = (len(self._like), 1, 1)
        like, generator = self._like, self._generator
        draws = torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        return limits[0] + (limits[1] - limits[0]) * draws

    def log_uniform(self, limits: Range) -> torch.Tensor:
        low, high = np.log(limits).tolist()
        return self.uniform((low, high)).exp()

    def poisson(self, mean: torch.Tensor) -> torch.Tensor:
        """Counts with the given means."""
        return torch.poisson(mean, generator=self._generator)
