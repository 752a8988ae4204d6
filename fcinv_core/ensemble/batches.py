"""Thousands of noisy measurements: many force constants at once, on some Q bins of each.

Measurements come in groups. A group shares what is dear, the geometry: bins and coverage of one
`RandomMeasurement`, temperature and resolution. Each member has force constants, counting time,
scale, background and counts of its own. The next group has another measurement, other Q bins of
it, another temperature and resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measured_rows import MeasuredRows
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges, Range, log_uniform
from fcinv_core.ensemble.multiphonon import MultiphononGaussians
from fcinv_core.ensemble.peak_intensity import peak_intensity
from fcinv_core.ensemble.random_measurement import RandomMeasurement
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.sloping_bands import SlopingBands
from fcinv_core.scattering.threads import map_blocks

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior


WEAKEST_PEAK = 1e-9
"""mbarn/meV per primitive cell: bins in which force constants give less hold background only."""


@dataclass(frozen=True, eq=False)
class MeasurementBatch:
    """Measurements of ``n`` crystals on n_q Q bins and n_energy energy bins each; tensors.

    Attributes
    ----------
    parameters
        (n, n_parameters) of the prior, eV/Å², float64: the truth.
    counts
        (n, n_q, n_energy).
    exposure
        (n, n_q, n_energy) counts per unit of signal; 0 where nothing is seen.
    covered
        (n, n_q, n_energy) bool: where something is seen. Measurements with fewer Q bins than n_q
        are filled up with such that see nothing.
    q_points
        (n, n_q, 3) hkl of the bins' centres.
    bin_vectors
        (n, 3, 3) whose columns span a bin, hkl.
    energy_edges
        (n, n_energy + 1) meV.
    temperature
        (n,) K.
    energy_fwhm, stated_fwhm
        (n,) meV: elastic width of the resolution, and what the spectrometer's description says.
    incident_energy
        (n,) meV.
    scale
        (n,) signal per mbarn/meV per primitive cell.
    flat_background
        (n,) mbarn/meV per primitive cell at zero energy transfer.
    """

    parameters: torch.Tensor
    counts: torch.Tensor
    exposure: torch.Tensor
    covered: torch.Tensor
    q_points: torch.Tensor
    bin_vectors: torch.Tensor
    energy_edges: torch.Tensor
    temperature: torch.Tensor
    energy_fwhm: torch.Tensor
    stated_fwhm: torch.Tensor
    incident_energy: torch.Tensor
    scale: torch.Tensor
    flat_background: torch.Tensor

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def signal(self) -> torch.Tensor:
        """(n, n_q, n_energy) counts over exposure; NaN where nothing is seen."""
        return (self.counts / self.exposure).masked_fill(~self.covered, torch.nan)

    @property
    def variance(self) -> torch.Tensor:
        """(n, n_q, n_energy) as in files: counts over exposure squared."""
        return (self.counts / self.exposure.square()).masked_fill(~self.covered, torch.nan)

    @classmethod
    def joined(cls, batches: Sequence[MeasurementBatch]) -> MeasurementBatch:
        """All in one, in this order."""
        return cls(
            *(torch.cat([getattr(batch, field.name) for batch in batches]) for field in fields(cls))
        )


class MeasurementBatches:
    """A source of random measurements of one crystal.

    Parameters
    ----------
    prior
        Of the force constants.
    measurements
        A pool to take bins and coverage from, all with the same number of energy bins; see
        `random_measurements`.
    ranges
        Temperatures, resolution, counting times, backgrounds and scales are drawn from these;
        all else is that of the pool.
    n_q
        Q bins of each measurement.
    group_size
        How many share a geometry.
    device, dtype
        Of the calculation. In float32 intensities err by 1e-5.

    Raises
    ------
    FcinvError
        When the pool is empty or its numbers of energy bins differ.
    """

    def __init__(
        self,
        prior: Prior,
        measurements: Sequence[RandomMeasurement],
        *,
        ranges: MeasurementRanges | None = None,
        n_q: int = 256,
        group_size: int = 32,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        numbers = {m.template.shape[m.template.energy_axis] for m in measurements}
        if len(numbers) != 1:
            raise FcinvError(
                f"measurements with {sorted(numbers) or 'no'} energy bins: give some that all have "
                "the same number"
            )
        self.prior, self.ranges = prior, ranges or MeasurementRanges()
        self.n_q, self.group_size = n_q, group_size
        self._crystal = prior.crystal
        self._dynamics = LatticeDynamics(self._crystal, device, dtype)
        self._polar = None
        if prior.born_charges is not None and prior.dielectric is not None:
            self._polar = self._dynamics.polar_part(
                torch.from_numpy(np.array(prior.born_charges)),
                torch.from_numpy(np.array(prior.dielectric)),
            )
        middle = prior.force_constants(prior.widths.stiffness_median * prior.centre)
        self._rows = [MeasuredRows.of(measurement, middle) for measurement in measurements]

    @property
    def device(self) -> torch.device:
        """Of the calculation."""
        return self._dynamics.fourier.device

    def draw(self, n: int, seed: int) -> MeasurementBatch:
        """``n`` measurements; the same seed gives the same ones on the same kind of device."""
        parameters = self.prior.sample(n, seed, device=self.device)
        parts = parameters.split(self.group_size)
        groups = [(part, np.random.SeedSequence((seed, i))) for i, part in enumerate(parts)]
        return MeasurementBatch.joined(list(map_blocks(self._group, groups, self.device)))

    @torch.no_grad()
    def _group(self, task: tuple[torch.Tensor, np.random.SeedSequence]) -> MeasurementBatch:
        """Measurements that share a geometry."""
        parameters, seeds = task
        n, device = len(parameters), self.device
        random = np.random.default_rng(seeds)
        generator = torch.Generator(device).manual_seed(int(random.integers(2**62)))
        geometry = self._rows[random.integers(len(self._rows))]
        chosen = geometry.choose(self.n_q, random)
        temperature = log_uniform(random, self.ranges.temperature)
        excess = float(random.uniform(*self.ranges.width_excess))
        resolution = geometry.stated_resolution.scaled(excess)
        kernel = ModeKernel(torch.from_numpy(geometry.edges), temperature, resolution)

        intensity = self._intensity(parameters, geometry, chosen, kernel)
        exposure = self._tensor(geometry.exposure[chosen])[None]
        covered = exposure > 0
        strength = peak_intensity(intensity * covered).clamp(min=WEAKEST_PEAK)[:, None, None]
        background = self._background(strength, resolution.elastic_fwhm, geometry.edges, generator)
        expected = intensity + background.spectrum(self._tensor(geometry.edges))
        ranges = self.ranges
        scale = self._log_uniform(ranges.scale, n, generator)
        peak_counts = self._log_uniform(ranges.peak_counts, n, generator)
        # Relative to where half of the bins see less.
        per_intensity = exposure * (peak_counts / strength / exposure[covered].median())
        counts = poisson(per_intensity * expected, generator)
        exposure, covered = per_intensity / scale, covered.expand(n, -1, -1)

        def shared(values: np.ndarray | float) -> torch.Tensor:
            tensor = self._tensor(np.asarray(values))
            return tensor.expand(n, *tensor.shape)

        missing = self.n_q - len(chosen)
        if missing:
            counts, exposure, covered = (
                torch.nn.functional.pad(array, (0, 0, 0, missing))
                for array in (counts, exposure, covered)
            )
        return MeasurementBatch(
            parameters=parameters,
            counts=counts,
            exposure=exposure,
            covered=covered,
            q_points=shared(np.pad(geometry.q_points[chosen], ((0, missing), (0, 0)))),
            bin_vectors=shared(geometry.hkl_bin_vectors),
            energy_edges=shared(geometry.edges),
            temperature=shared(temperature),
            energy_fwhm=shared(resolution.elastic_fwhm),
            stated_fwhm=shared(resolution.elastic_fwhm / excess),
            incident_energy=shared(geometry.incident_energy),
            scale=scale.flatten(),
            flat_background=torch.as_tensor(background.flat).flatten(),
        )

    def _intensity(
        self,
        parameters: torch.Tensor,
        geometry: MeasuredRows,
        chosen: np.ndarray,
        kernel: ModeKernel,
    ) -> torch.Tensor:
        """One phonon and several, (n, n_chosen, n_energy) in mbarn/meV per primitive cell."""
        values = self.prior.values(parameters)
        real_space = self._dynamics.real_space(values, self._polar)
        tensors = self._dynamics.tensors(real_space, kernel.temperature, self._polar)
        fourier = self._dynamics.fourier
        bands = SlopingBands(
            self._crystal,
            geometry.centres[chosen],
            geometry.bin_vectors,
            geometry.parts,
            kernel,
            fourier,
            self._polar,
        )
        several = MultiphononGaussians(self._crystal, kernel, fourier.device, fourier.dtype)
        momenta = np.linalg.norm(
            geometry.centres[chosen] @ self._crystal.reciprocal_lattice, axis=1
        )
        return bands.spectra(real_space, tensors) + several.spectra(
            values, tensors, self._tensor(momenta)
        )

    def _background(
        self,
        strength: torch.Tensor,
        fwhm: float,
        edges: np.ndarray,
        generator: torch.Generator,
    ) -> Background:
        """One for each member, relative to the intensity of its strong peaks (n, 1, 1)."""
        n, ranges = len(strength), self.ranges
        flat = strength * self._log_uniform(ranges.flat_background, n, generator)
        slope = self._uniform(ranges.background_slope, n, generator)
        return Background(
            flat=flat,
            slope=flat * slope / float(edges[-1] - edges[0]),
            elastic=strength * self._log_uniform(ranges.elastic_tail, n, generator),
            decay=fwhm * self._uniform(ranges.elastic_decay, n, generator),
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        fourier = self._dynamics.fourier
        return torch.as_tensor(array, dtype=fourier.dtype, device=fourier.device)

    def _uniform(self, limits: Range, n: int, generator: torch.Generator) -> torch.Tensor:
        """(n, 1, 1)."""
        fourier = self._dynamics.fourier
        draws = torch.rand(
            (n, 1, 1), generator=generator, dtype=fourier.dtype, device=fourier.device
        )
        return limits[0] + (limits[1] - limits[0]) * draws

    def _log_uniform(self, limits: Range, n: int, generator: torch.Generator) -> torch.Tensor:
        low, high = np.log(limits).tolist()
        return self._uniform((low, high), n, generator).exp()


def poisson(mean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Counts with the given means, on the device of the generator."""
    return torch.poisson(mean, generator=generator)
