"""Mean-square displacements of the atoms and the Debye-Waller factor.

    ⟨u u⟩_κ = ħ²/(2 m_κ N) Σ_qν coth(E_qν/2kT)/E_qν · Re(e_κν e_κν†),   W_κ(Q) = ½ Q·⟨u u⟩_κ·Q

(Squires, Introduction to the Theory of Thermal Neutron Scattering, eq. 3.57.) The sum runs
over a Γ-centred mesh whose Γ cell is subdivided and weighted, so that the 1/q² of the acoustic
modes is integrated: leaving out Γ alone would cost several percent of ⟨u u⟩.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.dynamical import FourierSum, Modes, RealSpace
from fcinv_core.scattering.irreducible import GRID, IrreducibleQ, first_of_each
from fcinv_core.scattering.kernel import Lines, bose_occupation, continued_energy
from fcinv_core.scattering.partial_densities import (
    diagonalised,
    partial_densities,
)
from fcinv_core.units import HBAR_SQUARED_OVER_U

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

MESH_LENGTH = 45.0
"""Å: the mesh has at least this length over |a| points along each reciprocal axis."""

GAMMA_LEVELS = 2
"""How many times the cell around Γ is subdivided into 3x3x3."""

_RANGE = 0.03
"""Decay of the Gaussian in `_integral_less_sum`; smaller is more exact and slower."""


def brillouin_mesh(
    lattice: np.ndarray, mesh_length: float = MESH_LENGTH
) -> tuple[np.ndarray, np.ndarray]:
    """Half of a Γ-centred mesh (time reversal gives the rest) and its weights.

    Parameters
    ----------
    lattice
        (3, 3) rows are the primitive vectors in Å.
    mesh_length
        Å: at least this over |a| points along each reciprocal axis.

    Returns
    -------
    q_points (n, 3) in reciprocal coordinates, Γ itself left out; weights (n,) such that 1/q² is
    integrated exactly: those of the points in the Γ cell make up for what midpoints of a convex
    function miss.
    """
    sizes = np.ceil(mesh_length / np.linalg.norm(lattice, axis=1) - 1e-6).astype(int)
    points, weights = _without_gamma(_grid(sizes, np.ones(3)))
    volume = 1.0 / np.prod(sizes)
    levels = [
        _without_gamma(_grid(np.array([3, 3, 3]), 3.0**-level / sizes))
        for level in range(GAMMA_LEVELS)
    ]
    inner = np.vstack([level[0] for level in levels])
    inner_weights = np.concatenate(
        [weight / 27.0 ** (level + 1) for level, (_, weight) in enumerate(levels)]
    )
    steps = np.linalg.inv(lattice).T / sizes[:, None]
    squares = np.sum((inner @ np.linalg.inv(lattice).T) ** 2, axis=1)
    inner_weights *= _integral_less_sum(steps) / np.sum(inner_weights / squares)
    return np.vstack([points, inner]), volume * np.append(weights, inner_weights)


def irreducible_mesh(
    crystal: Crystal, mesh_length: float = MESH_LENGTH
) -> tuple[torch.Tensor, torch.Tensor]:
    """`brillouin_mesh` reduced by the point group: q points (n, 3) and their weights (n,).

    The very same tensors for the same crystal, so that what belongs to them is kept, too.
    """
    lattice, rotations = crystal.primitive_lattice, crystal.point_group_rotations
    described = (np.ascontiguousarray(part, dtype=float).tobytes() for part in (lattice, rotations))
    return _irreducible_mesh(*described, mesh_length)


@lru_cache(maxsize=16)
def _irreducible_mesh(
    lattice: bytes, rotations: bytes, mesh_length: float
) -> tuple[torch.Tensor, torch.Tensor]:
    points, weights = brillouin_mesh(np.frombuffer(lattice).reshape(3, 3), mesh_length)
    reduced = IrreducibleQ.from_points(points, np.frombuffer(rotations).reshape(-1, 3, 3))
    return (
        torch.from_numpy(reduced.q_points),
        torch.from_numpy(np.bincount(reduced.index, weights)),
    )


def _integral_less_sum(steps: np.ndarray) -> float:
    """∫ d³q/(V q²) - Σ' 1/q² over all lattice points q but 0 of a lattice with cell volume V.

    Each diverges. Both are taken with a factor exp(-αq²), for which sum and integral of the
    smooth remainder, -α at q = 0, agree. (8.913633 for a simple cubic lattice: minus its Epstein
    zeta function at 2.)

    Parameters
    ----------
    steps
        (3, 3) rows are the lattice vectors.
    """
    volume = abs(np.linalg.det(steps))
    decay = _RANGE / volume ** (2 / 3)
    reach = np.ceil(6 / np.sqrt(decay) * np.linalg.norm(np.linalg.inv(steps), axis=0)).astype(int)
    ranges = [np.arange(-n, n + 1) for n in reach]
    integers = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    squares = np.sum((integers[integers.any(axis=1)] @ steps) ** 2, axis=1)
    total = np.sum(np.exp(-decay * squares) / squares)
    return float(2 * np.pi * np.sqrt(np.pi / decay) / volume - total + decay)


def _grid(sizes: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """(n, 3) centred grid of ``sizes`` points over ``extent``."""
    ranges = [(np.arange(n) - (n // 2)) / n * width for n, width in zip(sizes, extent, strict=True)]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)


def _without_gamma(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop Γ and one of each pair ±q that both are on the grid; weights 1 or 2."""
    n_points = len(points)
    _, index = first_of_each(np.vstack([points, -points]))
    paired = np.isin(index[n_points:], index[:n_points])
    rounded = np.rint(points * GRID)
    leading = rounded[np.arange(n_points), np.argmax(rounded != 0, axis=1)]
    keep = (leading > 0) | (~paired & (leading < 0))
    return points[keep], np.where(paired[keep], 2.0, 1.0)


class Displacements:
    """⟨u u⟩ tensors of a crystal from its modes on a mesh.

    The point group reduces the mesh, and what is left out comes back with the average over its
    operations. In double precision always: that costs little, and soft modes around Γ, which
    count most, do not bear less.

    Attributes
    ----------
    q_points
        (n_q, 3) irreducible points of the mesh, reciprocal coordinates of the primitive cell.
    """

    def __init__(self, crystal: Crystal, fourier: FourierSum) -> None:
        self.q_points, weights = irreducible_mesh(crystal)
        self._waves = fourier.waves(self.q_points, torch.float64)
        self._weights = weights.to(fourier.device)
        masses = np.asarray(crystal.primitive_masses, float)
        prefactor = np.repeat(0.5 * HBAR_SQUARED_OVER_U / masses, 9)
        average = symmetriser(*crystal.atom_operations) * prefactor
        self._symmetriser = torch.as_tensor(average, device=fourier.device)

    def tensors(
        self, real_space: RealSpace, temperature: float, polar: torch.Tensor | None = None
    ) -> torch.Tensor:
        """⟨u u⟩ in Å² at ``temperature`` (K): (n_sets, n_atoms, 3, 3); differentiable.

        Parameters
        ----------
        real_space
            Force constants by translation.
        polar
            (n_q, (3 n_atoms)²) components in meV² to add to D(q) at ``q_points``.
        """
        matrices = real_space.matrices(self._waves)
        if polar is not None:
            matrices = matrices + polar
        return self._of(matrices, diagonalised(matrices), temperature)

    def slopes(
        self,
        real_space: RealSpace,
        directions: RealSpace,
        temperature: float,
        polar: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Derivatives of `tensors` of one set along each of ``directions``.

        Returns
        -------
        (n_atoms, 3, 3, n_directions) in Å² per unit of the directions.
        """
        matrices = real_space.matrices(self._waves)
        if polar is not None:
            matrices = matrices + polar
        modes = diagonalised(matrices)
        # Tensors are symmetric: xx, xy, xz, yy, yz, zz are all. Each is taken from a set of its
        # own, so that one way back serves all of them.
        first, second = torch.triu_indices(3, 3, device=matrices.device)
        n_atoms = len(self._symmetriser) // 9
        n_sets = n_atoms * len(first)
        each = matrices.detach().expand(n_sets, -1, -1).requires_grad_()
        with torch.enable_grad():
            tensors = self._of(
                each,
                Modes(
                    modes.squared_energies.expand(n_sets, -1, -1),
                    modes.eigenvectors.expand(n_sets, -1, -1, -1),
                ),
                temperature,
            )
            own = tensors.unflatten(0, (n_atoms, -1)).diagonal(dim1=0, dim2=2)
            chosen = own[torch.arange(len(first)), first, second].sum()
        (by_matrices,) = torch.autograd.grad(chosen, each)
        n_even = directions.even.shape[-1]
        cosines, sines = self._waves
        by_even, by_odd = cosines.T @ by_matrices[..., :n_even], sines.T @ by_matrices[..., n_even:]
        slopes = by_even.flatten(1) @ directions.even.flatten(1).T
        slopes = slopes + by_odd.flatten(1) @ directions.odd.flatten(1).T
        place = torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]], device=tensors.device)
        return slopes.reshape(n_atoms, len(first), -1)[:, place]

    def _of(self, matrices: torch.Tensor, modes: Modes, temperature: float) -> torch.Tensor:
        """`tensors` of D(q) at ``q_points``."""
        blocks = partial_densities(matrices, modes, self._weights, _ThermalAmplitude(temperature))
        # The cell around Γ is a parallelepiped, so its subdivision breaks the symmetry a little,
        # and the irreducible points do more so; the average restores it exactly.
        return (blocks.flatten(1) @ self._symmetriser.T).unflatten(1, (-1, 3, 3))


@dataclass(frozen=True)
class _ThermalAmplitude:
    """g(λ) = coth(E/2kT)/E as one of `ModeFunctions`, at ``temperature`` in K."""

    temperature: float

    def __call__(
        self,
        squared_energies: torch.Tensor,
        resolution_scale: float | torch.Tensor = 1.0,
        *,
        derivatives: bool = False,
    ) -> Lines:
        energy, energy_slope = continued_energy(squared_energies)
        occupation, occupation_slope = bose_occupation(energy, self.temperature)
        value = (2 * occupation + 1) / energy
        slope = (2 * occupation_slope - value) / energy * energy_slope
        first = torch.zeros_like(energy, dtype=torch.int64)[..., None]
        return Lines(first, value[..., None, None], slope[..., None, None], None, 1)


def symmetriser(rotations: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """(9 n_atoms, 9 n_atoms) matrix that averages tensors over U → R U Rᵀ and R's permutation."""
    n_atoms = permutations.shape[1]
    matrix = np.zeros((n_atoms, 9, n_atoms, 9))
    for rotation, permutation in zip(rotations, permutations, strict=True):
        turn = np.kron(rotation, rotation)
        for atom, image in enumerate(permutation):
            matrix[image, :, atom] += turn
    return matrix.reshape(9 * n_atoms, -1) / len(permutations)
