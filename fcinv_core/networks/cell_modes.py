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

from fcinv_core.networks.wedge import WedgeMesh
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


class CellModes(torch.nn.Module):
    """Dynamical matrices at the cells of one crystal's wedge.

    Parameters
    ----------
    prior
        Centre, factor and Born charges count.
    mesh
        Its irreducible points.
    """

    matrices: torch.Tensor
    constant: torch.Tensor
    counts: torch.Tensor
    to_parameters: torch.Tensor
    from_parameters: torch.Tensor

    def __init__(self, prior: Prior, mesh: WedgeMesh) -> None:
        super().__init__()
        dynamics = LatticeDynamics(prior.crystal)
        polar = None
        if prior.born_charges is not None and prior.dielectric is not None:
            polar = dynamics.polar_part(
                torch.from_numpy(np.array(prior.born_charges)),
                torch.from_numpy(np.array(prior.dielectric)),
            )
        directions = torch.from_numpy(np.column_stack([prior.centre, prior.factor]))
        points = torch.from_numpy(np.ascontiguousarray(mesh.q_points))
        waves = dynamics.fourier.waves(points)
        linear = dynamics.real_space(prior.values(directions.T)).matrices(waves)
        constant = torch.zeros_like(linear[0])
        if polar is not None:
            nothing = torch.zeros_like(prior.values(directions[:, :1].T))
            constant = dynamics.real_space(nothing, polar).matrices(waves)[0]
            constant = constant + polar.components(points)
        at_centre = torch.linalg.eigvalsh(unpacked(linear[0] + constant))
        highest = float(at_centre.max())
        usable = at_centre > LOWEST**2 * highest
        if polar is not None:  # the limit depends on the direction
            usable &= ~torch.from_numpy(np.abs(mesh.q_points).max(axis=1) == 0)[:, None]
        self.top = highest**0.5
        self.register_buffer("matrices", linear.permute(1, 2, 0).float(), persistent=False)
        self.register_buffer("constant", constant.float(), persistent=False)
        self.register_buffer("counts", usable.float(), persistent=False)
        self.register_buffer("to_parameters", directions, persistent=False)
        inverse = torch.linalg.pinv(directions)
        self.register_buffer("from_parameters", inverse, persistent=False)

    @property
    def n_coordinates(self) -> int:
        """Of β."""
        return self.to_parameters.shape[1]

    def coordinates(self, parameters: torch.Tensor) -> torch.Tensor:
        """(n, n_coordinates) of parameters (n, n_parameters)."""
        return (parameters.double() @ self.from_parameters.T).float()

    def parameters_of(self, coordinates: torch.Tensor) -> torch.Tensor:
        """(n, n_parameters) in eV/Å², float64."""
        return coordinates.double() @ self.to_parameters.T

    def dynamical(self, coordinates: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Components of D(q) in meV²: (n, n_cells, (3 n_atoms)²)."""
        linear = torch.einsum("cxk,nk->ncx", self.matrices[cells], coordinates)
        return linear + self.constant[cells]

    @torch.no_grad()
    def waves(self, coordinates: torch.Tensor, cells: torch.Tensor) -> Waves:
        """Modes of force constants (n, n_coordinates) at cells (n_cells,)."""
        least = LEAST_SQUARE * self.top**2
        squares, vectors = torch.linalg.eigh(unpacked(self.dynamical(coordinates, cells)))
        squares = squares.clamp(min=least)
        by_mode = vectors.transpose(-1, -2)
        outer = packed_gradient(by_mode[..., :, None] * by_mode[..., None, :].conj())
        n, n_cells, n_modes, size = outer.shape
        stacked = outer.permute(1, 0, 2, 3).reshape(n_cells, n * n_modes, size)
        slopes = torch.bmm(stacked, self.matrices[cells]).reshape(n_cells, n, n_modes, -1)
        slopes = slopes.permute(1, 0, 2, 3) / squares[..., None]
        remainder = (outer * self.constant[cells][:, None]).sum(dim=-1) / squares
        return Waves(squares, outer, slopes, remainder)
