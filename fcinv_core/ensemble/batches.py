"""Thousands of noisy measurements: many force constants at once, on some Q bins of each.

Measurements come in groups. A group shares what is dear, the geometry: bins and coverage of one
`RandomMeasurement`, temperature and resolution. Each member has force constants, counting time,
scale, background and counts of its own. The next group has another measurement, other Q bins of
it, another temperature and resolution.

Experimenters choose incident energy and energy range by the bands of their crystal: members of a
group have bands that end at about the same energy, and most groups a measurement that fits them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.ensemble.measured_rows import MeasuredRows
from fcinv_core.ensemble.measurement_group import MeasurementGroup, SimulatedGroup
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges, log_uniform
from fcinv_core.ensemble.multiphonon import MultiphononGaussians
from fcinv_core.ensemble.random_measurement import RandomMeasurement
from fcinv_core.errors import FcinvError
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.sloping_bands import SlopingBands
from fcinv_core.scattering.threads import map_blocks

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior


MATCHED_TOPS = (0.92, 1.8)
"""Upper end of the energy bins over the top of the spectrum, in groups whose measurement fits."""

BLIND = 0.5
"""Share of groups whose Q bins are chosen one by one, and not so that they share wave vectors."""


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

    @classmethod
    def of_groups(cls, groups: Sequence[MeasurementGroup], n_q: int) -> MeasurementBatch:
        """All measurements of some groups, in this order, filled up to ``n_q`` Q bins."""
        return cls.joined([cls._of_group(group, n_q) for group in groups])

    @classmethod
    def _of_group(cls, group: MeasurementGroup, n_q: int) -> MeasurementBatch:
        n, missing = len(group), n_q - len(group.q_points)
        counts, exposure = (
            torch.nn.functional.pad(array, (0, 0, 0, missing))
            for array in (group.counts, group.exposure)
        )

        def shared(values: torch.Tensor | float) -> torch.Tensor:
            tensor = torch.as_tensor(values).to(counts)
            return tensor.expand(n, *tensor.shape)

        return cls(
            parameters=group.parameters,
            counts=counts,
            exposure=exposure,
            covered=exposure > 0,
            q_points=shared(torch.nn.functional.pad(group.q_points, (0, 0, 0, missing))),
            bin_vectors=shared(group.hkl_bin_vectors),
            energy_edges=shared(group.energy_edges),
            temperature=shared(group.temperature),
            energy_fwhm=shared(group.energy_fwhm),
            stated_fwhm=shared(group.stated_fwhm),
            incident_energy=shared(group.incident_energy),
            scale=group.scale,
            flat_background=group.flat_background,
        )

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
        A pool to take bins and coverage from, all with the same number of energy bins: those of
        `random_measurements`, or rows of `measurement_pool`.
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
        measurements: Sequence[RandomMeasurement] | Sequence[MeasuredRows],
        *,
        ranges: MeasurementRanges | None = None,
        n_q: int = 256,
        group_size: int = 32,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        middle = prior.force_constants(prior.widths.stiffness_median * prior.centre)
        rows = [
            m if isinstance(m, MeasuredRows) else MeasuredRows.of(m, middle) for m in measurements
        ]
        numbers = {len(each.edges) - 1 for each in rows}
        if len(numbers) != 1:
            raise FcinvError(
                f"measurements with {sorted(numbers) or 'no'} energy bins: give some that all have "
                "the same number"
            )
        self.prior, self.ranges = prior, ranges or MeasurementRanges()
        self.n_q, self.group_size = n_q, group_size
        self._crystal = prior.crystal
        self._dynamics = LatticeDynamics(self._crystal, device, dtype)
        self._polar = self._dynamics.polar_part_with(prior.born_charges, prior.dielectric)
        self._rows = rows
        self._tops = np.array([each.edges[-1] for each in rows])

    @property
    def device(self) -> torch.device:
        """Of the calculation."""
        return self._dynamics.fourier.device

    def draw(self, n: int, seed: int) -> MeasurementBatch:
        """``n`` measurements; the same seed gives the same ones on the same kind of device.

        They are in the order of the tops of their spectra.
        """
        groups = [
            group.observe(np.random.default_rng((seed, number, 1)), self.n_q)
            for number, group in enumerate(self.simulate(n, seed))
        ]
        return MeasurementBatch.of_groups(groups, self.n_q)

    def simulate(
        self, n: int, seed: int, numbers: Sequence[int] | None = None
    ) -> list[SimulatedGroup]:
        """Expected intensities of ``n`` crystals in groups, which is the dear part.

        Each group can be observed several times, with other noise. The same seed gives the same
        groups on the same kind of device. They are in the order of the tops of their spectra.

        Parameters
        ----------
        n
            How many crystals.
        seed
            Not negative.
        numbers
            Of the groups that are wanted, from 0; each is as it is among all, which is the default.
        """
        parameters = self.prior.sample(n, seed, device=self.device)
        _, tops = self.prior.extremes(parameters)
        order = tops.argsort(stable=True)
        parts = order.split(self.group_size)
        tasks = [
            (
                parameters[parts[number]],
                float(tops[parts[number]].median()),
                np.random.default_rng((seed, number, 0)),
            )
            for number in (range(len(parts)) if numbers is None else numbers)
        ]
        return list(map_blocks(self._simulated, tasks, self.device))

    @torch.no_grad()
    def _simulated(self, task: tuple[torch.Tensor, float, np.random.Generator]) -> SimulatedGroup:
        """Crystals whose spectra end at about the same energy, in one geometry."""
        parameters, top, random = task
        geometry = self._rows[self._place(top, random)]
        if random.random() < BLIND:
            chosen = np.sort(random.permutation(len(geometry.centres))[: self.n_q])
        else:
            chosen = geometry.choose(self.n_q, random)
        temperature = log_uniform(random, self.ranges.temperature)
        excess = float(random.uniform(*self.ranges.width_excess))
        resolution = geometry.stated_resolution.scaled(excess)
        kernel = ModeKernel(torch.from_numpy(geometry.edges), temperature, resolution)
        return SimulatedGroup(
            parameters=parameters,
            intensity=self._intensity(parameters, geometry, chosen, kernel),
            geometry=geometry,
            chosen=chosen,
            temperature=temperature,
            width_excess=excess,
            ranges=self.ranges,
        )

    def _place(self, top: float, random: np.random.Generator) -> int:
        """In the pool, of a measurement of crystals whose spectra end at ``top`` (meV)."""
        low, high = MATCHED_TOPS
        fitting = np.flatnonzero((self._tops > low * top) & (self._tops < high * top))
        if random.random() < self.ranges.matched and len(fitting):
            return int(random.choice(fitting))
        return int(random.integers(len(self._rows)))

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

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        fourier = self._dynamics.fourier
        return torch.as_tensor(array, dtype=fourier.dtype, device=fourier.device)
