"""The forward model: force constants -> S(Q,E) on the bins of histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.line_shape import GaussianLine, LineShape
from fcinv_core.scattering.measured_bins import MeasuredBins
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.sampler import BinSampler

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram

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
    incoherent
        Add incoherent scattering by one phonon.
    multiphonon
        Add scattering by two and more phonons, in the incoherent approximation.
    device, dtype
        Of the calculation. A device of torch, or ``"auto"``: CUDA where there is some. float64, or
        float32 for speed (see the documentation for its error).

    Raises
    ------
    FcinvError
        When the temperature, resolution or lattice of a histogram is unknown or impossible, or
        ``reference`` belongs to another crystal.

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
        incoherent: bool = False,
        multiphonon: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        _refuse_impossible(q_spread_scale, q_fwhm, tolerance)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._like: torch.Tensor
        self.register_buffer("_like", torch.empty(0, device=device, dtype=dtype), persistent=False)
        self.crystal = crystal
        self._is_single = not isinstance(histograms, Sequence)
        items = list(histograms) if isinstance(histograms, Sequence) else [histograms]
        self._samplers = [
            BinSampler(
                MeasuredBins(item, crystal, kelvin, fwhm, line or GaussianLine(), kf_over_ki),
                crystal,
                tolerance,
                q_spread_scale,
                q_fwhm,
                incoherent,
                multiphonon,
            )
            for item, kelvin, fwhm in zip(
                items,
                _for_each(temperature, len(items), "temperatures"),
                _for_each(energy_fwhm, len(items), "resolutions"),
                strict=True,
            )
        ]
        self._reference = None if reference is None else self._own(reference)
        self._fixed_counts: dict[int, tuple[int, int, int]] = {}
        self._dynamics = LatticeDynamics(crystal, self._like.device, self._like.dtype)

    def forward(
        self,
        force_constants: ForceConstants | torch.Tensor,
        born_charges: torch.Tensor | None = None,
        dielectric: torch.Tensor | None = None,
        resolution_scale: torch.Tensor | float = 1.0,
        progress: Report | None = None,
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
        progress
            Called with a text and a fraction; an exception that it raises cancels.

        Returns
        -------
        NaN where the histogram was not measured. A list for a list of histograms.

        Raises
        ------
        FcinvError
            When the force constants belong to another crystal or supercell than the model's;
            lattice constants may differ. When one of Born charges and dielectric tensor is
            missing.
        """
        if not isinstance(force_constants, torch.Tensor):
            force_constants = self._own(force_constants)
            with torch.no_grad():
                signals = self._signals(
                    torch.from_numpy(force_constants.values)[None],
                    self._dynamics_here.polar_part_of(force_constants),
                    resolution_scale,
                    progress,
                )
            arrays = [signal[0].cpu().numpy() for signal in signals]
            return arrays[0] if self._is_single else arrays
        is_batch = force_constants.dim() == 5
        values = force_constants if is_batch else force_constants[None]
        if (born_charges is None) != (dielectric is None):
            raise FcinvError("Born charges and dielectric tensor are needed together: give both")
        polar = None
        if born_charges is not None and dielectric is not None:
            polar = self._dynamics_here.polar_part(born_charges, dielectric)
        signals = self._signals(values, polar, resolution_scale, progress)
        if not is_batch:
            signals = [signal[0] for signal in signals]
        return signals[0] if self._is_single else signals

    def _own(self, force_constants: ForceConstants) -> ForceConstants:
        """The same force constants on the crystal of the model."""
        if force_constants.crystal.content_hash == self.crystal.content_hash:
            return force_constants
        return force_constants.on(self.crystal)

    @property
    def _dynamics_here(self) -> LatticeDynamics:
        """On the present device."""
        fourier = self._dynamics.fourier
        if (fourier.device, fourier.dtype) != (self._like.device, self._like.dtype):
            self._dynamics = LatticeDynamics(self.crystal, self._like.device, self._like.dtype)
        return self._dynamics

    def _signals(
        self,
        values: torch.Tensor,
        polar: PolarPart | None,
        resolution_scale: torch.Tensor | float,
        progress: Report | None,
    ) -> list[torch.Tensor]:
        dynamics = self._dynamics_here
        real_space = dynamics.real_space(values, polar)
        tensors: dict[float, torch.Tensor] = {}
        result: list[torch.Tensor] = []

        def monitor(fraction: float) -> None:
            if progress is not None:
                progress("Simulating", (len(result) + fraction) / len(self._samplers))

        for place, sampler in enumerate(self._samplers):
            temperature = sampler.measured.temperature
            if temperature not in tensors:
                tensors[temperature] = dynamics.tensors(real_space, temperature, polar)
            counts = self._fixed_counts.get(place)
            if counts is None and self._reference is not None:
                polar_reference = dynamics.polar_part_of(self._reference)
                stored = torch.from_numpy(self._reference.values)[None]
                reference = dynamics.real_space(stored, polar_reference)
                counts = sampler.counts(dynamics, reference, polar_reference)
                self._fixed_counts[place] = counts
            elif counts is None:
                counts = sampler.counts(dynamics, real_space, polar)
            rows = sampler.spectra(
                counts,
                dynamics,
                real_space,
                tensors[temperature],
                resolution_scale,
                polar,
                monitor,
            )
            result.append(sampler.measured.assembled(rows, sampler.row(counts)))
        return result


def _refuse_impossible(q_spread_scale: float, q_fwhm: float, tolerance: float) -> None:
    if not (math.isfinite(q_spread_scale) and q_spread_scale > 0):
        raise FcinvError(f"q_spread_scale {q_spread_scale}: give a number above 0; 1 is the bin")
    if not (math.isfinite(q_fwhm) and q_fwhm >= 0):
        raise FcinvError(f"q_fwhm {q_fwhm}: give a width in 1/Å, 0 or above")
    if not tolerance > 0:
        raise FcinvError(
            f"tolerance {tolerance}: give an error relative to the largest intensity, above 0"
        )


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
    progress: Report | None = None,
) -> SQEHistogram:
    """Noise-free simulation of a measurement on the bins of ``like``.

    The signal is in mbarn/meV per primitive cell, NaN where ``like`` was not measured; the
    variance is zero. ``progress`` is called with a text and a fraction; an exception that it
    raises cancels.
    """
    model = ForwardModel(force_constants.crystal, like, temperature, energy_fwhm)
    signal = model(force_constants, progress=progress)
    return like.with_values(signal, np.where(np.isnan(signal), np.nan, 0.0))
