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
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.ensemble.prior_position import PriorPosition, position
from fcinv_core.ensemble.samples import force_field_samples
from fcinv_core.ensemble.stability import EnergyExtremes
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.ensemble.potentials import Progress
    from fcinv_core.ensemble.samples import ForceFieldSample

DRAWS_AT_ONCE = 256
"""Fixed, so that a longer sample of the same seed begins with a shorter one."""

LEAST_ACCEPTED = 0.01
"""Share of draws below which a prior is refused: nearly all that it holds is unstable."""

KEPT_DISTANCES = 2000
"""Draws whose distances from the centre are kept, for ranks."""

RANK_SEED = 20_021
"""Of those draws."""


@dataclass(frozen=True)
class PriorWidths:
    """How far from a force field the truth may lie; dimensionless but for the lengths.

    The defaults are set by how far CHGNet is from force constants of density functional theory
    and of neutron experiments in Si, Ge, MgO, NaCl, Al and Cu; the documentation tells how they
    fare in crystals that had no part in it.

    Attributes
    ----------
    stiffness_median
        Factor on the force field's force constants: universal ones are too soft.
    stiffness_spread
        Standard deviation of its logarithm; 0.6 is 1.35 in frequencies.
    shell
        Relative standard deviation of a common factor on the force constants of a shell.
    scatter
        Standard deviation of a nearest-neighbour force constant, over the largest of them.
    decay
        Å over which the scatter falls by e.
    floor
        Scatter at long range, over the largest nearest-neighbour force constant.
    amplitude_spread
        Standard deviation τ of the logarithm of the common amplitude u.
    """

    stiffness_median: float = 1.6
    stiffness_spread: float = 0.6
    shell: float = 0.3
    scatter: float = 0.1
    decay: float = 2.0
    floor: float = 0.013
    amplitude_spread: float = 0.6


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
        What force fields could not do, or did badly.
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
        widths: PriorWidths = PriorWidths(),
        progress: Progress | None = None,
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
        progress
            Called with a few words and the fraction done.

        Raises
        ------
        FcinvError
            When no force field can tell anything, or nearly all of the prior is unstable.
        """
        found = force_field_samples(crystal, potentials, progress=progress)
        basis = ForceConstantBasis.from_crystal(crystal, cutoff)
        return cls.from_samples(basis, found.samples, widths=widths, failures=found.failures)

    @classmethod
    def from_samples(
        cls,
        basis: ForceConstantBasis,
        samples: Sequence[ForceFieldSample],
        *,
        widths: PriorWidths = PriorWidths(),
        energy_factors: tuple[float, float] = (0.5, 3.0),
        born_charges: np.ndarray | None = None,
        dielectric: np.ndarray | None = None,
        failures: Sequence[str] = (),
    ) -> Prior:
        """Build a prior around force constants of force fields.

        The stable samples count, or all where none is stable: their mean shape, with the
        stiffness of the first of them, is the centre.

        Parameters
        ----------
        basis
            Of the crystal that the samples belong to.
        energy_factors
            Lowest and highest energy that the top of a draw's spectrum may have, relative to
            that of the centre.
        born_charges, dielectric
            Of a polar crystal: draws are judged with their dipole part.

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
        shapes = parameters * (squares[0] / squares)[:, None]
        centre = shapes.mean(axis=0)
        factor = _shape_factor(basis, centre, shapes - centre, widths)
        unranked = cls(
            basis=basis,
            centre=centre,
            factor=factor,
            widths=widths,
            energy_range=(0.0, math.inf),
            born_charges=born_charges,
            dielectric=dielectric,
            sources=tuple(f"{sample.potential}, {sample.kind}" for sample in samples),
            failures=tuple(failures),
        )
        _, highest = unranked.extremes(torch.from_numpy(centre)[None])
        top = float(highest[0])
        content = {name: getattr(unranked, name) for name in unranked.__dataclass_fields__}
        content["energy_range"] = (energy_factors[0] * top, energy_factors[1] * top)
        ranged = cls(**content)
        draws = ranged.sample(KEPT_DISTANCES, RANK_SEED).numpy()
        content["distances"] = np.sort(ranged.squared_distances(draws).sum(axis=1))
        return cls(**content)

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
            When nearly all draws are rejected.
        """
        generator = torch.Generator(device).manual_seed(seed)
        centre, factor = (
            torch.as_tensor(array, device=device) for array in (self.centre, self.factor)
        )
        kept, n_kept, n_drawn = [], 0, 0
        while n_kept < n:

            def normal(*shape: int) -> torch.Tensor:
                return torch.randn(*shape, generator=generator, device=device, dtype=torch.float64)

            spread = self.widths.amplitude_spread
            amplitude = torch.exp(spread * normal(DRAWS_AT_ONCE, 1) - spread**2)
            shapes = centre + amplitude * (normal(DRAWS_AT_ONCE, factor.shape[1]) @ factor.T)
            stiffness = self.widths.stiffness_spread * normal(DRAWS_AT_ONCE, 1)
            if not fixed_stiffness:
                shapes = self.widths.stiffness_median * torch.exp(stiffness) * shapes
            lowest, highest = self.extremes(shapes)
            bottom, top = (0.0, math.inf) if fixed_stiffness else self.energy_range
            good = shapes[(lowest > 0) & (highest >= bottom) & (highest <= top)]
            kept.append(good)
            n_kept += len(good)
            n_drawn += DRAWS_AT_ONCE
            if n_drawn >= 20 * DRAWS_AT_ONCE and n_kept < LEAST_ACCEPTED * n_drawn:
                raise FcinvError(
                    f"only {n_kept} of {n_drawn} draws from the prior of {self.crystal.formula} "
                    "are stable: its force field is unstable (see the failures of the prior); "
                    "use another one, or narrower widths"
                )
        return torch.cat(kept)[:n]

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
            When they belong to another crystal.
        """
        return position(self, force_constants)

    def squared_distances(self, parameters: np.ndarray) -> np.ndarray:
        """Squared distances from the centre in standard deviations.

        Parameters
        ----------
        parameters
            (n, n_parameters) in eV/Å².

        Returns
        -------
        (n, 2): by overall stiffness, and by shape, for amplitude u = 1.
        """
        stiffness = self.stiffness(parameters)
        log_stiffness = np.log(np.maximum(stiffness, np.finfo(float).tiny))
        by_stiffness = (
            log_stiffness - math.log(self.widths.stiffness_median)
        ) / self.widths.stiffness_spread
        offsets = parameters / np.exp(log_stiffness)[:, None] - self.centre
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


def mean_square_energy(basis: ForceConstantBasis) -> np.ndarray:
    """(n_parameters,): its product with parameters is Σ_κ tr Φ(κ0, κ0) / m_κ in eV/Å²/u.

    That is the trace of D(q), the sum of the squared energies, averaged over all q.
    """
    crystal = basis.crystal
    blocks = basis.map.reshape(crystal.n_primitive, crystal.n_supercell, 3, 3, -1)
    total = np.zeros(basis.n_parameters)
    for atom, place in enumerate(crystal.primitive_to_supercell):
        on_site = np.trace(blocks[atom, place], axis1=0, axis2=1)
        total += on_site / crystal.primitive_masses[atom]
    return total


def _shape_factor(
    basis: ForceConstantBasis, centre: np.ndarray, offsets: np.ndarray, widths: PriorWidths
) -> np.ndarray:
    """Factor of the covariance of shapes, of full rank on those of equal stiffness."""
    distances = basis.distances
    nearest = distances[distances > 0].min()
    largest = np.abs(centre[np.isclose(distances, nearest, rtol=1e-3)]).max()
    decay = np.exp(-np.maximum(distances - nearest, 0.0) / widths.decay)
    scatter = largest * (widths.scatter * decay + widths.floor)
    shells = [
        widths.shell * np.where(basis.shell_index == number, centre, 0.0)
        for number in np.unique(basis.shell_index[basis.shell_index >= 0])
    ]
    among_samples = offsets / math.sqrt(max(len(offsets) - 1, 1))
    columns = np.vstack([np.diag(scatter), *shells, among_samples]).T
    squares = mean_square_energy(basis)
    columns = columns - np.outer(centre, squares @ columns) / (squares @ centre)
    vectors, lengths, _ = np.linalg.svd(columns / scatter[:, None], full_matrices=False)
    return scatter[:, None] * (vectors * lengths)[:, : basis.n_parameters - 1]
