"""Mean-square displacements of the atoms and the Debye-Waller factor.

    ⟨u u⟩_κ = ħ²/(2 m_κ N) Σ_qν coth(E_qν/2kT)/E_qν · Re(e_κν e_κν†),   W_κ(Q) = ½ Q·⟨u u⟩_κ·Q

(Squires, Introduction to the Theory of Thermal Neutron Scattering, eq. 3.57.) The sum runs
over a Γ-centred mesh whose Γ cell is subdivided, so that the 1/q² of the acoustic modes is
integrated instead of left out.
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

GAMMA_LEVELS = 3
"""How many times the cell around Γ is subdivided into 3x3x3."""


def brillouin_mesh(lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half of a Γ-centred mesh (time reversal gives the rest) and its weights.

    Parameters
    ----------
    lattice
        (3, 3) rows are the primitive vectors in Å.

    Returns
    -------
    q_points (n, 3) in reciprocal coordinates, Γ itself left out; weights (n,), summing to 1
    less the volume of the innermost cell.
    """
    sizes = np.ceil(MESH_LENGTH / np.linalg.norm(lattice, axis=1) - 1e-6).astype(int)
    points, weights = _grid(sizes, np.ones(3))
    spacing, volume = 1.0 / sizes, 1.0 / np.prod(sizes)
    points, weights = _without_gamma(points, weights * volume)
    for _ in range(GAMMA_LEVELS):
        inner, inner_weights = _grid(np.array([3, 3, 3]), spacing)
        inner, inner_weights = _without_gamma(inner, inner_weights * volume / 27)
        points, weights = np.vstack([points, inner]), np.append(weights, inner_weights)
        spacing, volume = spacing / 3, volume / 27
    return points, weights


def _grid(sizes: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred grid of ``sizes`` points over ``extent``; weight 1 each."""
    ranges = [(np.arange(n) - (n // 2)) / n * width for n, width in zip(sizes, extent, strict=True)]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    return points, np.ones(len(points))


def _without_gamma(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop Γ and one of each pair ±q that both are on the mesh."""
    keys = np.round(points * 1e9).astype(np.int64)
    present = {tuple(key) for key in keys}
    keep, factor = [], []
    for index, key in enumerate(map(tuple, keys)):
        negative = tuple(-part for part in key)
        if key == negative or (negative in present and key < negative):
            continue
        keep.append(index)
        factor.append(2.0 if negative in present else 1.0)
    return points[keep], weights[keep] * np.array(factor)


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
        rotations, permutations = crystal.atom_operations
        self._rotations = torch.from_numpy(rotations)
        self._permutations = torch.from_numpy(permutations)

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
        inner = loewner[..., None] * couplings
        derivatives = [
            self._blocks(vectors @ inner[..., k], vectors) for k in range(inner.shape[-1])
        ]
        return torch.stack(derivatives, dim=-1)

    def _blocks(self, left: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Mesh average of the diagonal 3x3 blocks of left · vectors†, times ħ²/2m.

        The cell around Γ is a parallelepiped, so its subdivision breaks the symmetry a little;
        the average over the crystal's operations restores it exactly.
        """
        n_q, size, n_modes = vectors.shape
        shape = (n_q, size // 3, 3, n_modes)
        blocks = torch.einsum(
            "qnam,qnbm,q->nab",
            left.reshape(shape),
            vectors.conj().reshape(shape),
            self._weights.to(left.dtype),
        )
        tensors = blocks.real * self._prefactor[:, None, None]
        turned = self._rotations[:, None] @ tensors @ self._rotations.transpose(1, 2)[:, None]
        result = torch.zeros_like(tensors)
        for images, permutation in zip(turned, self._permutations, strict=True):
            result[permutation] += images
        return result / len(self._permutations)
