"""The forward model: force constants -> S(Q,E) on the bins of histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.dynamical import RealSpace
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.line_shape import GaussianLine, LineShape
from fcinv_core.scattering.measured_bins import MeasuredBins
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.sampling import COARSEST_STEP, converged_counts, sample_counts
from fcinv_core.scattering.spectra import spectra
from fcinv_core.units import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram

POLAR_BYTES = 2**29
"""Dipole parts of D(q) that take no more than this are kept, larger ones worked out each time."""

TOLERANCE = 5e-4

Resolution = float | EnergyResolution | None


class ForwardModel(torch.nn.Module):
    """S(Q,E) of any force constants on the bins of one or several histograms.

    A torch module without parameters of its own: `to` moves it to another device or precision,
    and tensors that it returns can be differentiated with respect to those given to it, modes
    that are degenerate included. Bins that were not measured are not computed.

    Parameters
    ----------
    crystal
        The crystal that the force constants belong to.
    histograms
        One, or a list. Their bins are simulated where they were measured; their values are not
        used.
    temperature
        K; the histogram's log when left out. Like the next one, for all histograms, or a
        sequence with one for each.
    energy_fwhm
        Resolution: full width at half maximum in meV, or an `EnergyResolution`; 3 % of the
        incident energy when left out.
    reference
        Force constants whose bands decide how finely bins are sampled. By default those of each
        call do: use a reference when many similar ones follow, or for derivatives.
    line
        Shape of the resolution function.
    q_spread_scale
        Extent in Q over which a bin averages, relative to the bin: events need not fill it.
    q_fwhm
        Full width at half maximum in 1/Å of a Gaussian spread of Q, along each bin vector, in
        addition to the bin's own extent.
    tolerance
        Error that the sampling of a bin may make along each of its edges, relative to the
        largest intensity; it is measured on a few bins. Infinite: the centre of each bin only.
    kf_over_ki
        Multiply by k_f/k_i; data from the usual reduction have been corrected for it.
    device, dtype
        Of the calculation: float64, or float32 for speed (see the documentation for its error).

    Raises
    ------
    FcinvError
        When the temperature, resolution or lattice of a histogram is unknown or impossible.

    Examples
    --------
    >>> model = ForwardModel(crystal, data, temperature=5.0, energy_fwhm=1.0)  # doctest: +SKIP
    >>> signal = model(force_constants)  # doctest: +SKIP
    """

    def __init__(
        self,
        crystal: Crystal,
        histograms: SQEHistogram | Sequence[SQEHistogram],
        temperature: float | Sequence[float | None] | None = None,
        energy_fwhm: Resolution | Sequence[Resolution] = None,
        *,
        reference: ForceConstants | None = None,
        line: LineShape | None = None,
        q_spread_scale: float = 1.0,
        q_fwhm: float = 0.0,
        tolerance: float = TOLERANCE,
        kf_over_ki: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self._like: torch.Tensor
        self.register_buffer("_like", torch.empty(0, device=device, dtype=dtype), persistent=False)
        self.crystal = crystal
        self._is_single = not isinstance(histograms, Sequence)
        items = list(histograms) if isinstance(histograms, Sequence) else [histograms]
        self._measurements = [
            MeasuredBins(item, crystal, kelvin, fwhm, line or GaussianLine(), kf_over_ki)
            for item, kelvin, fwhm in zip(
                items,
                _for_each(temperature, len(items), "temperatures"),
                _for_each(energy_fwhm, len(items), "resolutions"),
                strict=True,
            )
        ]
        self._reference = reference
        self._q_spread_scale, self._q_fwhm = q_spread_scale, q_fwhm
        self._tolerance = tolerance
        self._reciprocal = 2 * np.pi * np.linalg.inv(crystal.primitive_lattice).T
        self._dynamics = LatticeDynamics(crystal, self._like.device, self._like.dtype)
        self._plans: dict[tuple[int, tuple[int, int, int]], SpectraPlan] = {}

    def forward(
        self,
        force_constants: ForceConstants | torch.Tensor,
        born_charges: torch.Tensor | None = None,
        dielectric: torch.Tensor | None = None,
        resolution_scale: torch.Tensor | float = 1.0,
    ) -> Any:
        """Simulated signal in mbarn/meV per primitive cell, shaped as the histogram's.

        Parameters
        ----------
        force_constants
            `ForceConstants`, which gives arrays; or a tensor of total compact values
            (n_primitive, n_supercell, 3, 3) in eV/Å², or (n_sets, ...) of them, which gives
            tensors with as many leading dimensions.
        born_charges, dielectric
            (n_primitive, 3, 3) in e and (3, 3), for tensors of polar crystals; `ForceConstants`
            bring their own.
        resolution_scale
            Factor on the width of lines.

        Returns
        -------
        NaN where the histogram was not measured. A list for a list of histograms.
        """
        if not isinstance(force_constants, torch.Tensor):
            with torch.no_grad():
                signals = self._signals(
                    torch.from_numpy(force_constants.values)[None],
                    self._dynamics_here.polar_part_of(force_constants),
                    resolution_scale,
                )
            arrays = [signal[0].cpu().numpy() for signal in signals]
            return arrays[0] if self._is_single else arrays
        is_batch = force_constants.dim() == 5
        values = force_constants if is_batch else force_constants[None]
        polar = None
        if born_charges is not None and dielectric is not None:
            polar = self._dynamics_here.polar_part(born_charges, dielectric)
        signals = self._signals(values, polar, resolution_scale)
        if not is_batch:
            signals = [signal[0] for signal in signals]
        return signals[0] if self._is_single else signals

    @property
    def _dynamics_here(self) -> LatticeDynamics:
        """On the present device; plans of another one are forgotten."""
        fourier = self._dynamics.fourier
        if (fourier.device, fourier.dtype) != (self._like.device, self._like.dtype):
            self._dynamics = LatticeDynamics(self.crystal, self._like.device, self._like.dtype)
            self._plans = {}
        return self._dynamics

    def _signals(
        self,
        values: torch.Tensor,
        polar: PolarPart | None,
        resolution_scale: torch.Tensor | float,
    ) -> list[torch.Tensor]:
        dynamics = self._dynamics_here
        real_space = dynamics.real_space(values, polar)
        tensors: dict[float, torch.Tensor] = {}
        result = []
        for place, measurement in enumerate(self._measurements):
            temperature = measurement.temperature
            if temperature not in tensors:
                tensors[temperature] = dynamics.tensors(real_space, temperature, polar)
            plan = self._plan(place, measurement, real_space, polar)
            dipoles: torch.Tensor | PolarPart | None = polar
            if polar is not None and 8 * len(plan.q_points) * plan.fourier.n_modes**2 < POLAR_BYTES:
                dipoles = polar.stored(plan.q_points)
            rows = spectra(plan, real_space, tensors[temperature], resolution_scale, dipoles)
            row = torch.from_numpy(plan.row).to(rows.device)
            result.append(measurement.assembled(rows, row))
        return result

    def _plan(
        self,
        place: int,
        measurement: MeasuredBins,
        real_space: RealSpace,
        polar: PolarPart | None,
    ) -> SpectraPlan:
        if self._reference is not None:
            known = [plan for key, plan in self._plans.items() if key[0] == place]
            if known:
                return known[0]
            dynamics = self._dynamics_here
            polar = dynamics.polar_part_of(self._reference)
            real_space = dynamics.real_space(torch.from_numpy(self._reference.values)[None], polar)
        counts = self._counts(measurement, real_space, polar)
        if (place, counts) not in self._plans:
            self._plans = {key: plan for key, plan in self._plans.items() if key[0] != place}
            centres = measurement.centres[measurement.measured]
            self._plans[place, counts] = self._plan_of(measurement, centres, counts, polar)
        return self._plans[place, counts]

    def _plan_of(
        self,
        measurement: MeasuredBins,
        centres: np.ndarray,
        counts: tuple[int, int, int],
        polar: PolarPart | None,
    ) -> SpectraPlan:
        """Bins around ``centres`` (n, 3), with given numbers of samples along their edges."""
        spread = self._spread(measurement)
        sampling = BinSampling.from_bins(
            centres,
            self._q_spread_scale * measurement.bin_vectors,
            counts,
            self.crystal.point_group_rotations,
            spread=(float(spread[0]), float(spread[1]), float(spread[2])),
            reciprocal=None if polar is None else self._reciprocal,
        )
        fourier = self._dynamics_here.fourier
        return SpectraPlan(self.crystal, sampling, fourier, measurement.kernel)

    def _spread(self, measurement: MeasuredBins) -> np.ndarray:
        """Standard deviations of the Gaussian spread of Q along bin vectors, over their lengths."""
        lengths = np.linalg.norm(self._reciprocal.T @ measurement.bin_vectors, axis=0)
        return self._q_fwhm / FWHM_PER_SIGMA / (self._q_spread_scale * lengths)

    def _counts(
        self, measurement: MeasuredBins, real_space: RealSpace, polar: PolarPart | None
    ) -> tuple[int, int, int]:
        """Numbers of samples along the edges of a bin that keep the tolerance."""
        if not measurement.measured.any() or self._tolerance == math.inf:
            return 1, 1, 1
        dynamics = self._dynamics_here
        # A Gaussian reaches farther than the box, whose own deviation is its length over √12.
        bin_vectors = self._q_spread_scale * measurement.bin_vectors
        bin_vectors = bin_vectors * np.sqrt(1 + 12 * self._spread(measurement) ** 2)
        first_guesses = []
        for k in range(len(real_space.even)):
            one = RealSpace(real_space.even[k : k + 1].detach(), real_space.odd[k : k + 1].detach())
            energies = partial(_energies, dynamics, one, polar)
            first_guesses.append(
                sample_counts(
                    energies, bin_vectors, measurement.edges, measurement.resolution, COARSEST_STEP
                )
            )
        stiffest = int(np.argmax(np.prod(first_guesses, axis=1)))
        guess = np.max(first_guesses, axis=0).tolist()
        chosen = slice(stiffest, stiffest + 1)
        one = RealSpace(real_space.even[chosen].detach(), real_space.odd[chosen].detach())
        centres = measurement.probes(self._reciprocal)

        def probe(counts: tuple[int, int, int]) -> np.ndarray:
            plan = self._plan_of(measurement, centres, counts, polar)
            with torch.no_grad():
                tensors = dynamics.tensors(one, measurement.temperature, polar)
                return spectra(plan, one, tensors, 1.0, polar)[0].cpu().numpy()[plan.row]

        return converged_counts(probe, (guess[0], guess[1], guess[2]), self._tolerance)


def _energies(
    dynamics: LatticeDynamics, one: RealSpace, polar: PolarPart | None, points: np.ndarray
) -> np.ndarray:
    """(n_q, n_modes) in meV of one set of force constants."""
    return dynamics.modes(one, points, polar).energies[0].cpu().numpy()


def _for_each(value: Any, n_items: int, what: str) -> list[Any]:
    """One value for each histogram."""
    if not isinstance(value, Sequence):
        return [value] * n_items
    if len(value) != n_items:
        raise FcinvError(f"{len(value)} {what} for {n_items} histograms: give one, or one for each")
    return list(value)


def simulate_histogram(
    force_constants: ForceConstants,
    like: SQEHistogram,
    *,
    temperature: float | None = None,
    energy_fwhm: float | None = None,
) -> SQEHistogram:
    """Noise-free simulation of a measurement on the bins of ``like``.

    The signal is in mbarn/meV per primitive cell, NaN where ``like`` was not measured; the
    variance is zero.
    """
    model = ForwardModel(force_constants.crystal, like, temperature, energy_fwhm)
    signal = model(force_constants)
    return like.with_values(signal, np.where(np.isnan(signal), np.nan, 0.0))
