"""Mean-square displacements of the atoms and the Debye-Waller factor.

    ⟨u u⟩_κ = ħ²/(2 m_κ N) Σ_qν coth(E_qν/2kT)/E_qν · Re(e_κν e_κν†),   W_κ(Q) = ½ Q·⟨u u⟩_κ·Q

(Squires, Introduction to the Theory of Thermal Neutron Scattering, eq. 3.57.) The sum runs
over a Γ-centred mesh whose Γ cell is subdivided and weighted, so that the 1/q² of the acoustic
modes is integrated: leaving out Γ alone would cost several percent of ⟨u u⟩.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.dynamical import Modes
from fcinv_core.scattering.kernel import (
    bose_occupation,
    continued_energy,
    divided_differences,
    pair_indices,
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


def brillouin_mesh(lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half of a Γ-centred mesh (time reversal gives the rest) and its weights.

    Parameters
    ----------
    lattice
        (3, 3) rows are the primitive vectors in Å.

    Returns
    -------
    q_points (n, 3) in reciprocal coordinates, Γ itself left out; weights (n,) such that 1/q² is
    integrated exactly: those of the points in the Γ cell make up for what midpoints of a convex
    function miss.
    """
    sizes = np.ceil(MESH_LENGTH / np.linalg.norm(lattice, axis=1) - 1e-6).astype(int)
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
    keys = np.round(points * 1e9).astype(np.int64)
    present = {tuple(key) for key in keys}
    keep, weights = [], []
    for index, key in enumerate(map(tuple, keys)):
        negative = tuple(-part for part in key)
        if key == negative or (negative in present and key < negative):
            continue
        keep.append(index)
        weights.append(2.0 if negative in present else 1.0)
    return points[keep], np.array(weights)


class Displacements:
    """⟨u u⟩ tensors of a crystal from its modes on a mesh.

    Attributes
    ----------
    q_points
        (n_q, 3) mesh on which modes (and couplings) are to be given.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.q_points, weights = brillouin_mesh(crystal.primitive_lattice)
        self._weights = torch.from_numpy(weights)
        masses = torch.as_tensor(np.asarray(crystal.primitive_masses, float))
        self._prefactor = 0.5 * HBAR_SQUARED_OVER_U / masses
        self._symmetriser = torch.from_numpy(_symmetriser(*crystal.atom_operations))

    def _spectral(self, modes: Modes, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """g(λ) = coth(E/2kT)/E and dg/dλ."""
        energy, slope = continued_energy(modes.squared_energies)
        occupation, occupation_slope = bose_occupation(energy, temperature)
        value = (2 * occupation + 1) / energy
        return value, (2 * occupation_slope - value) / energy * slope

    def tensors(self, modes: Modes, temperature: float) -> torch.Tensor:
        """(n_atoms, 3, 3) in Å² at ``temperature`` (K)."""
        value, _ = self._spectral(modes, temperature)
        return self._blocks(modes.eigenvectors * value[:, None], modes.eigenvectors)

    def slopes(self, modes: Modes, couplings: torch.Tensor, temperature: float) -> torch.Tensor:
        """Derivatives by the parameters that ``couplings`` belong to.

        Parameters
        ----------
        couplings
            (n_q, n_modes, n_modes, n_par) from `DynamicalBasis.in_mode_basis`.

        Returns
        -------
        (n_atoms, 3, 3, n_par) in Å² per eV/Å².
        """
        value, slope = self._spectral(modes, temperature)
        vectors = modes.eigenvectors
        first, second = pair_indices(value.shape[1])
        pairs = divided_differences(modes.squared_energies, value, slope)
        loewner = value.new_empty((*value.shape, value.shape[1]))
        loewner[:, first, second] = pairs
        loewner[:, second, first] = pairs
        n_q, size, n_modes = vectors.shape
        weighted = (loewner * self._weights[:, None, None])[..., None] * couplings
        by_atom = vectors.reshape(n_q, size // 3, 3, 1, n_modes, 1)
        by_other = vectors.conj().reshape(n_q, size // 3, 1, 3, 1, n_modes)
        outer = (by_atom * by_other).reshape(n_q, -1, n_modes**2).transpose(0, 1)
        blocks = outer.reshape(outer.shape[0], -1) @ weighted.reshape(n_q * n_modes**2, -1)
        return self._symmetrised(blocks.real.reshape(size // 3, 3, 3, -1))

    def _blocks(self, left: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Mesh average of the diagonal 3x3 blocks of left · vectors†, times ħ²/2m."""
        n_q, size, n_modes = vectors.shape
        shape = (n_q, size // 3, 3, n_modes)
        blocks = torch.einsum(
            "qnam,qnbm,q->nab",
            left.reshape(shape),
            vectors.conj().reshape(shape),
            self._weights.to(left.dtype),
        )
        return self._symmetrised(blocks.real[..., None])[..., 0]

    def _symmetrised(self, blocks: torch.Tensor) -> torch.Tensor:
        """Tensors (n_atoms, 3, 3, n) times ħ²/2m, averaged over the crystal's operations.

        The cell around Γ is a parallelepiped, so its subdivision breaks the symmetry a little;
        the average restores it exactly.
        """
        tensors = blocks * self._prefactor[:, None, None, None]
        return (self._symmetriser @ tensors.reshape(len(self._symmetriser), -1)).reshape(
            tensors.shape
        )


def _symmetriser(rotations: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """(9 n_atoms, 9 n_atoms) matrix that averages tensors over U → R U Rᵀ and R's permutation."""
    n_atoms = permutations.shape[1]
    matrix = np.zeros((n_atoms, 9, n_atoms, 9))
    for rotation, permutation in zip(rotations, permutations, strict=True):
        turn = np.kron(rotation, rotation)
        for atom, image in enumerate(permutation):
            matrix[image, :, atom] += turn
    return matrix.reshape(9 * n_atoms, -1) / len(permutations)
