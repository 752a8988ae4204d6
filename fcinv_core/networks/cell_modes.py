"""Phonon modes at the cells of the wedge, linear in the coordinates of the prior.

Coordinates β of force constants p = [p₀, u] β with p₀ the prior's centre and u its factor: β₀ is
the overall stiffness, β₁.. the shape times the stiffness. D(q) = Σ β_k D_k(q) + D_dipole(q), so
that energies squared change with β by e†D_k e (Hellmann-Feynman).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.hermitian import packed_gradient, unpacked
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior

LOWEST = 0.08
"""Cells' modes below this fraction of the highest energy are left out: long acoustic waves, which
elastic lines cover."""

LEAST_SQUARE = 1e-3
"""Squared energies are taken to be this fraction of the highest one at least."""


@dataclass(frozen=True, eq=False)
class Waves:
    """Modes of n crystals at some cells.

    Attributes
    ----------
    squares
        (n, n_cells, n_modes) in meV², above 0.
    outer
        (n, n_cells, n_modes, (3 n_atoms)²): e e† as components, so that the sum of products with
        those of a Hermitian matrix X is e†X e.
    slopes
        (n, n_cells, n_modes, n_coordinates): derivatives of the logarithm of ``squares``.
    remainder
        (n, n_cells, n_modes): what the dipole part adds to ``squares``, relative to them.
    """

    squares: torch.Tensor
    outer: torch.Tensor
    slopes: torch.Tensor
    remainder: torch.Tensor

    @property
    def energies(self) -> torch.Tensor:
        """meV."""
        return self.squares.sqrt()


@dataclass(frozen=True, eq=False)
class CellMatrices:
    """Dynamical matrices at some wave vectors, linear in coordinates.

    Attributes
    ----------
    linear
        (n_cells, (3 n_atoms)², n_coordinates) components in meV².
    constant
        (n_cells, (3 n_atoms)²) in meV²: the dipole part.
    usable
        (n_cells, n_modes): 1 for modes that count, else 0.
    least_square
        meV²: squared energies are taken to be that large at least.
    """

    linear: torch.Tensor
    constant: torch.Tensor
    usable: torch.Tensor
    least_square: float

    def dynamical(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Components of D(q) in meV²: (n, n_cells, (3 n_atoms)²)."""
        return torch.einsum("cxk,nk->ncx", self.linear, coordinates) + self.constant

    @torch.no_grad()
    def waves(self, coordinates: torch.Tensor) -> Waves:
        """Modes of force constants (n, n_coordinates)."""
        squares, vectors = torch.linalg.eigh(unpacked(self.dynamical(coordinates)))
        squares = squares.clamp(min=self.least_square)
        by_mode = vectors.transpose(-1, -2)
        outer = packed_gradient(by_mode[..., :, None] * by_mode[..., None, :].conj())
        n, n_cells, n_modes, size = outer.shape
        stacked = outer.permute(1, 0, 2, 3).reshape(n_cells, n * n_modes, size)
        slopes = torch.bmm(stacked, self.linear).reshape(n_cells, n, n_modes, -1)
        slopes = slopes.permute(1, 0, 2, 3) / squares[..., None]
        remainder = (outer * self.constant[:, None]).sum(dim=-1) / squares
        return Waves(squares, outer, slopes, remainder)

    def some(self, chosen: torch.Tensor) -> CellMatrices:
        """Only the cells ``chosen``."""
        return CellMatrices(
            self.linear[chosen], self.constant[chosen], self.usable[chosen], self.least_square
        )


class CellModes(torch.nn.Module):
    """Makes dynamical matrices of one crystal.

    Parameters
    ----------
    prior
        Centre, factor and Born charges count.

    Attributes
    ----------
    top
        Highest energy of the centre, meV.
    dynamics, polar
        Of the crystal; the dipole part is None without Born charges.
    """

    to_parameters: torch.Tensor
    from_parameters: torch.Tensor

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.dynamics = LatticeDynamics(prior.crystal)
        self.polar = self.dynamics.polar_part_with(prior.born_charges, prior.dielectric)
        directions = torch.from_numpy(np.column_stack([prior.centre, prior.factor]))
        values = prior.values(directions.T)
        self._linear = self.dynamics.real_space(values)
        self._constant = None
        if self.polar is not None:
            self._constant = self.dynamics.real_space(torch.zeros_like(values[:1]), self.polar)
        centre = torch.from_numpy(prior.centre)[None]
        self.top = float(prior.extremes(centre)[1][0])
        self.register_buffer("to_parameters", directions, persistent=False)
        inverse = torch.linalg.pinv(directions)
        self.register_buffer("from_parameters", inverse, persistent=False)

    @property
    def n_coordinates(self) -> int:
        """Of β."""
        return self.to_parameters.shape[1]

    @property
    def device(self) -> torch.device:
        """That of the results."""
        return self.to_parameters.device

    def coordinates(self, parameters: torch.Tensor) -> torch.Tensor:
        """(n, n_coordinates) of parameters (n, n_parameters)."""
        return (parameters.double() @ self.from_parameters.T).float()

    def parameters_of(self, coordinates: torch.Tensor) -> torch.Tensor:
        """(n, n_parameters) in eV/Å², float64."""
        return coordinates.double() @ self.to_parameters.T

    @torch.no_grad()
    def at(self, q_points: np.ndarray) -> CellMatrices:
        """Matrices at q points (n_cells, 3), reciprocal coordinates of the primitive cell."""
        points = torch.from_numpy(np.ascontiguousarray(q_points))
        waves = self.dynamics.fourier.waves(points, torch.float64)
        linear = self._linear.matrices(waves)
        constant = torch.zeros_like(linear[0])
        if self._constant is not None and self.polar is not None:
            constant = self._constant.matrices(waves)[0] + self.polar.components(points)
        at_centre = torch.linalg.eigvalsh(unpacked(linear[0] + constant))
        usable = at_centre > (LOWEST * self.top) ** 2
        if self.polar is not None:  # the limit depends on the direction
            usable &= torch.from_numpy(np.abs(q_points - np.rint(q_points)).max(axis=1) > 0)[
                :, None
            ]
        return CellMatrices(
            linear.permute(1, 2, 0).float().to(self.device),
            constant.float().to(self.device),
            usable.float().to(self.device),
            LEAST_SQUARE * self.top**2,
        )


def trace_weights(components: torch.Tensor) -> torch.Tensor:
    """How often each of the components (..., n²) of a Hermitian matrix enters tr(X D): (n²,)."""
    size = round(components.shape[-1] ** 0.5)
    return packed_gradient(torch.full((size, size), 1 + 1j, device=components.device))
