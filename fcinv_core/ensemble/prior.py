"""A distribution over plausible force constants of one crystal.

    p = exp(s) (p₀ + u δ),   s ~ N(μ, σ²),   δ ~ N(0, C),   log u ~ N(-τ², τ²)

with p₀ the force field's force constants. The overall stiffness exp(s) is the mean squared phonon
energy relative to that of p₀, a linear function of force constants (the trace of those on site
over the masses), which shapes p₀ + u δ all have in common. C holds how shapes from one force
field differ (volumes, amplitudes, temperature) with their correlations, a common factor on each
shell of neighbours, and independent scatter of each force constant that decays with distance to a
long-ranged floor. The amplitude u makes tails heavy: some force fields are good for a crystal and
some are not. Unstable draws, and those outside a range of energies, are drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.prior_position import PriorPosition, position
from fcinv_core.ensemble.prior_widths import USUAL, PriorWidths, mean_square_energy, shape_factor
from fcinv_core.ensemble.samples import ForceFieldSample, force_field_samples
from fcinv_core.ensemble.stability import EnergyExtremes
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import Crystal

DRAWS_AT_ONCE = 256
"""Fixed, so that a longer sample of the same seed begins with a shorter one."""

OUTLIER = 1.5
"""Ratio of the first sample's stiffness and the median from which it says nothing: CHGNet's gallium
arsenide is 1.3 to 6 times as stiff in other samples as at its own relaxed cell."""

ENOUGH_STABLE = 0.05
"""Share of shapes that must be stable; the scatter of shapes is narrowed until they are."""

NARROWING = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.09, 0.06, 0.04)
"""Factors on the scatter of shapes that are tried."""

MOST_FRUITLESS = 40
"""Times that `DRAWS_AT_ONCE` draws may be of no use before giving up."""

KEPT_DISTANCES = 2000
"""Draws whose distances from the centre are kept, for ranks."""

RANK_SEED = 20_021
"""Of those draws."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Plausible force constants of one crystal.

    Attributes
    ----------
    basis
        Of the parameters, with the crystal and its supercell.
    centre
        p₀, (n_parameters,) eV/Å².
    factor
        (n_parameters, rank) eV/Å²: δ = factor @ z, z standard normal. Shapes leave the mean
        squared energy alone, so that rank is n_parameters - 1.
    widths
        What the factor was made with; its stiffness and amplitude apply to draws.
    energy_range
        meV: the highest energy of a draw lies in it.
    born_charges, dielectric
        (n_primitive, 3, 3) in e and (3, 3) of a polar crystal, or None. Force constants are total
        ones in any case.
    sources
        The force-field samples that the prior was made of, in words.
    failures
        What force fields could not do, or did badly, and whether the prior had to be narrowed.
    distances
        Distances (squared) of `KEPT_DISTANCES` draws from the centre, ascending.
    """

    basis: ForceConstantBasis
    centre: np.ndarray
    factor: np.ndarray
    widths: PriorWidths
    energy_range: tuple[float, float]
    born_charges: np.ndarray | None = None
    dielectric: np.ndarray | None = None
    sources: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    distances: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def from_crystal(
        cls,
        crystal: Crystal,
        potentials: Sequence[str] = ("chgnet",),
        *,
        cutoff: float | None = None,
        widths: PriorWidths = USUAL,
        born_charges: np.ndarray | None = None,
        dielectric: np.ndarray | None = None,
        progress: Report | None = None,
    ) -> Prior:
        """Ask force fields, and build a prior around what they say.

        Parameters
        ----------
        crystal
            The measured crystal with its supercell.
        potentials
            Names of force fields; see `force_field_samples`.
        cutoff
            Å: range of the force constants; by default whatever the supercell holds.
        born_charges, dielectric
            (n_primitive, 3, 3) in e and (3, 3) of a polar crystal: draws are judged with their
            dipole part.
        progress
            Called with a few words and the fraction done.

        Raises
        ------
        FcinvError
            When no force field can tell anything, or nearly all of the prior is unstable.
        """
        found = force_field_samples(crystal, potentials, progress=progress)
        if progress is not None:
            progress("working out what is plausible", 1.0)
        basis = ForceConstantBasis.from_crystal(crystal, cutoff)
        return cls.from_samples(
            basis,
            found.samples,
            widths=widths,
            born_charges=born_charges,
            dielectric=dielectric,
            failures=found.failures,
        )

    @classmethod
    def from_samples(
        cls,
        basis: ForceConstantBasis,
        samples: Sequence[ForceFieldSample],
        *,
        widths: PriorWidths = USUAL,
        energy_factors: tuple[float, float] = (0.5, 3.0),
        born_charges: np.ndarray | None = None,
        dielectric: np.ndarray | None = None,
        failures: Sequence[str] = (),
    ) -> Prior:
        """Build a prior around force constants of force fields.

        The stable samples count, or all where none is stable: their mean shape, with the
        stiffness of the first of them, is the centre. Where that is off their median by more
        than a factor of `OUTLIER`, the median takes its place.

        Parameters
        ----------
        basis
            Of the crystal that the samples belong to.
        energy_factors
            Lowest and highest energy that the top of a draw's spectrum may have, relative to
            that of the centre.
        born_charges, dielectric
            As for `from_crystal`.

        Raises
        ------
        FcinvError
            When nearly all draws are unstable.
        """
        if not samples:
            raise FcinvError(f"a prior for {basis.crystal.formula} needs a force field's samples")
        samples = [sample for sample in samples if sample.is_stable] or samples
        parameters = np.array([basis.parameters_of(sample.force_constants) for sample in samples])
        squares = parameters @ mean_square_energy(basis)
        stiffness, median = squares[0], np.median(squares)
        if not 1 / OUTLIER <= stiffness / median <= OUTLIER:
            stiffness = median
        shapes = parameters * (stiffness / squares)[:, None]
        centre = shapes.mean(axis=0)
        prior = cls(
            basis=basis,
            centre=centre,
            factor=shape_factor(basis, centre, shapes - centre, widths),
            widths=widths,
            energy_range=(0.0, math.inf),
            born_charges=born_charges,
            dielectric=dielectric,
            sources=tuple(f"{sample.potential}, {sample.kind}" for sample in samples),
            failures=tuple(failures),
        )._narrowed_until_stable()
        _, highest = prior.extremes(torch.from_numpy(centre)[None])
        low, high = energy_factors
        prior = replace(prior, energy_range=(low * float(highest[0]), high * float(highest[0])))
        draws = prior.sample(KEPT_DISTANCES, RANK_SEED).numpy()
        return replace(prior, distances=np.sort(prior.squared_distances(draws).sum(axis=1)))

    def _narrowed_until_stable(self) -> Prior:
        """With shapes as widely scattered as leaves enough of them stable."""
        for factor in NARROWING:
            narrowed = replace(self, factor=factor * self.factor)
            generator = torch.Generator().manual_seed(RANK_SEED)
            lowest, _ = narrowed.extremes(narrowed.shapes(2 * DRAWS_AT_ONCE, generator))
            if (lowest > 0).double().mean() >= ENOUGH_STABLE:
                break
        else:
            raise FcinvError(
                f"hardly any force constants near those of the force field hold "
                f"{self.crystal.formula} together ({'; '.join(self.failures) or 'it does itself'})"
                ": use another force field, or give Born charges if the crystal is polar"
            )
        if factor == 1.0:
            return narrowed
        warning = (
            f"most force constants as far from the force field as usual are unstable: the prior "
            f"is narrowed to {factor:.0%} of its width and may exclude the truth"
        )
        return replace(narrowed, failures=(*self.failures, warning))

    @property
    def crystal(self) -> Crystal:
        """The crystal and its supercell."""
        return self.basis.crystal

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        fixed_stiffness: bool = False,
    ) -> torch.Tensor:
        """Draw parameters of plausible force constants.

        Parameters
        ----------
        n
            How many.
        seed
            The same seed gives the same draws on the same kind of device.
        device
            Of the calculation and the result.
        fixed_stiffness
            Draw shapes only, all with the mean squared energy of the centre.

        Returns
        -------
        (n, n_parameters) in eV/Å², float64.

        Raises
        ------
        FcinvError
            When none of thousands of draws is stable and in the range of energies.
        """
        generator = torch.Generator(device).manual_seed(seed)
        kept, n_kept = [torch.empty(0, len(self.centre), device=device, dtype=torch.float64)], 0
        bottom, top = (0.0, math.inf) if fixed_stiffness else self.energy_range
        while n_kept < n:
            if n_kept == 0 and len(kept) > MOST_FRUITLESS:
                raise FcinvError(
                    f"no draw of the prior of {self.crystal.formula} is stable and reaches up to "
                    f"{bottom:.3g} to {top:.3g} meV: its widths do not fit its range of energies"
                )
            drawn = self.shapes(DRAWS_AT_ONCE, generator)
            logarithm = self.widths.stiffness_spread * _normal(generator, DRAWS_AT_ONCE, 1)
            if not fixed_stiffness:
                drawn = self.widths.stiffness_median * torch.exp(logarithm) * drawn
            lowest, highest = self.extremes(drawn)
            kept.append(drawn[(lowest > 0) & (highest >= bottom) & (highest <= top)])
            n_kept += len(kept[-1])
        return torch.cat(kept)[:n]

    def shapes(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draws p₀ + u δ, unstable ones included: (n, n_parameters) in eV/Å²."""
        centre, factor = (
            torch.as_tensor(array, device=generator.device) for array in (self.centre, self.factor)
        )
        spread = self.widths.amplitude_spread
        amplitude = torch.exp(spread * _normal(generator, n, 1) - spread**2)
        return centre + amplitude * (_normal(generator, n, factor.shape[1]) @ factor.T)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Total compact force constants of parameters (n, n_parameters), both in eV/Å².

        Returns
        -------
        (n, n_primitive, n_supercell, 3, 3), on the device of the parameters.
        """
        linear_map = torch.as_tensor(self.basis.map, device=parameters.device)
        shape = (self.crystal.n_primitive, self.crystal.n_supercell, 3, 3)
        return (parameters @ linear_map.T).reshape(-1, *shape)

    def force_constants(self, parameters: np.ndarray | torch.Tensor) -> ForceConstants:
        """Force constants of one draw (n_parameters,), with the prior's Born charges."""
        plain = self.basis.force_constants(np.asarray(parameters))
        if self.born_charges is None or self.dielectric is None:
            return plain
        return plain.with_born_charges(self.born_charges, self.dielectric)

    def where(self, force_constants: ForceConstants) -> PriorPosition:
        """How far some force constants lie from the prior, among its own draws.

        They may be in another supercell or setting of the same crystal.

        Raises
        ------
        FcinvError
            When they belong to another crystal, or their mean squared energy is not above 0.
        """
        return position(self, force_constants)

    def squared_distances(self, parameters: np.ndarray) -> np.ndarray:
        """Squared distances from the centre in standard deviations.

        Parameters
        ----------
        parameters
            (n, n_parameters) in eV/Å², of a stiffness above 0.

        Returns
        -------
        (n, 2): by overall stiffness, and by shape, for amplitude u = 1.
        """
        stiffness = self.stiffness(parameters)
        by_stiffness = (
            np.log(stiffness / self.widths.stiffness_median) / self.widths.stiffness_spread
        )
        offsets = parameters / stiffness[:, None] - self.centre
        whitened = offsets @ self._whitening.T
        return np.stack([by_stiffness**2, np.sum(whitened**2, axis=1)], axis=1)

    def stiffness(self, parameters: np.ndarray) -> np.ndarray:
        """Mean squared energy of parameters (..., n_parameters) over that of the centre."""
        squares = mean_square_energy(self.basis)
        return (parameters @ squares) / (self.centre @ squares)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file that holds all of it, the crystal included."""
        from fcinv_core.ensemble.prior_file import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Prior:
        """Read what `save` wrote.

        Raises
        ------
        FcinvError
            When the file is missing or no prior.
        """
        from fcinv_core.ensemble.prior_file import load

        return load(path)

    def extremes(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest energy in meV of each set of parameters (n, n_parameters)."""
        device = str(parameters.device)
        if device not in self._probes:
            self._probes[device] = EnergyExtremes(
                self.crystal, self.born_charges, self.dielectric, device
            )
        return self._probes[device](self.values(parameters))

    @cached_property
    def _probes(self) -> dict[str, EnergyExtremes]:
        return {}

    @cached_property
    def _whitening(self) -> np.ndarray:
        """(rank, n_parameters) left inverse of the factor, on the space that it spans."""
        return np.linalg.pinv(self.factor / self._scales[:, None], rcond=1e-10) / self._scales

    @cached_property
    def _scales(self) -> np.ndarray:
        return np.linalg.norm(self.factor, axis=1)

    def settings(self) -> dict[str, Any]:
        """Widths and origin as plain data, for the record."""
        return {
            "widths": asdict(self.widths),
            "energy_range": list(self.energy_range),
            "sources": list(self.sources),
            "failures": list(self.failures),
        }


def _normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, device=generator.device, dtype=torch.float64)
