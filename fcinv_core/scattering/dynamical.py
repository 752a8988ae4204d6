"""Dynamical matrices from force constants, and the modes that they give.

With phonopy's phase convention (full atomic separations, ``exp(+i q·r)``)

    D_{κα,κ'β}(q) = (m_κ m_κ')^-½ Σ_l Φ(κ0, κ'l)_αβ exp(i q·[r(κ'l) - r(κ0)])

averaged over the equivalent shortest vectors of the supercell. Eigenvalues here are squared
phonon energies in meV², negative for unstable modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.units import ENERGY_SQUARED_PER_DYNAMICAL

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstantBasis

BLOCK_BYTES = 2**24
"""Largest temporary array that the blocked loops of this package build: small enough for the
processor's cache, which makes them several times faster than large ones."""


@dataclass(frozen=True)
class Modes:
    """Phonon modes at a list of q points.

    Attributes
    ----------
    squared_energies
        (n_q, n_modes) in meV², ascending.
    eigenvectors
        (n_q, 3 n_atoms, n_modes) complex; columns are modes.
    """

    squared_energies: torch.Tensor
    eigenvectors: torch.Tensor

    @classmethod
    def from_dynamical_matrices(cls, matrices: torch.Tensor) -> Modes:
        """Diagonalise Hermitian matrices (n_q, 3 n_atoms, 3 n_atoms) in meV²."""
        return cls(*torch.linalg.eigh(matrices))

    @property
    def energies(self) -> torch.Tensor:
        """(n_q, n_modes) in meV; unstable modes are negative."""
        return self.squared_energies.sign() * self.squared_energies.abs().sqrt()


class FourierSum:
    """The phases that turn supercell force constants of a crystal into D(q), at fixed q.

    Parameters
    ----------
    crystal
        Its shortest vectors and their multiplicities are phonopy's.
    q_points
        (n_q, 3) in reciprocal coordinates of the primitive cell.
    """

    def __init__(self, crystal: Crystal, q_points: np.ndarray) -> None:
        self.n_atoms = crystal.n_primitive
        self.n_q = len(q_points)
        self._columns = [
            np.flatnonzero(crystal.supercell_to_primitive == atom) for atom in range(self.n_atoms)
        ]
        masses = np.asarray(crystal.primitive_masses, float)
        self._weight = ENERGY_SQUARED_PER_DYNAMICAL / np.sqrt(np.outer(masses, masses))
        self._phases = self._image_averages(crystal, np.asarray(q_points, float))

    def _image_averages(self, crystal: Crystal, q_points: np.ndarray) -> torch.Tensor:
        """(n_atoms, n_super, n_q) mean of exp(i q·r) over equivalent images."""
        vectors, multiplicity = crystal.shortest_vectors, crystal.multiplicity
        phases = np.empty((self.n_atoms, crystal.n_supercell, self.n_q), complex)
        for atom in range(self.n_atoms):
            counts, starts = multiplicity[:, atom, 0], multiplicity[:, atom, 1]
            rows = np.concatenate(
                [np.arange(s, s + c) for s, c in zip(starts, counts, strict=True)]
            )
            images = np.exp(2j * np.pi * (vectors[rows] @ q_points.T))
            firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            phases[atom] = np.add.reduceat(images, firsts, axis=0) / counts[:, None]
        return torch.from_numpy(phases)

    def matrices(self, values: torch.Tensor) -> torch.Tensor:
        """D(q) in meV² of compact force constants.

        Parameters
        ----------
        values
            (n_atoms, n_super, 3, 3, ...) in eV/Å²; trailing dimensions are a batch.

        Returns
        -------
        (n_q, 3 n_atoms, 3 n_atoms, ...) complex, made exactly Hermitian.
        """
        batch = values.shape[4:]
        flat = values.reshape(self.n_atoms, values.shape[1], 9, -1).to(torch.complex128)
        n_atoms, n_sets = self.n_atoms, flat.shape[-1]
        result = torch.empty((self.n_q, n_atoms, 3, n_atoms, 3, n_sets), dtype=torch.complex128)
        for i in range(n_atoms):
            for j, columns in enumerate(self._columns):
                block = self._phases[i, columns].T @ flat[i, columns].reshape(len(columns), -1)
                result[:, i, :, j] = self._weight[i, j] * block.reshape(self.n_q, 3, 3, n_sets)
        size = 3 * n_atoms
        result = result.reshape(self.n_q, size, size, n_sets)
        result = 0.5 * (result + result.transpose(1, 2).conj())
        return result.reshape(self.n_q, size, size, *batch)


class DynamicalBasis:
    """D(q; p) = Σ_k p_k D_k(q): linear in the parameters of a force-constant basis.

    Parameters
    ----------
    basis
        Symmetry-reduced basis; its map carries full force constants.
    q_points
        (n_q, 3) in reciprocal coordinates of the primitive cell.
    """

    def __init__(self, basis: ForceConstantBasis, q_points: np.ndarray) -> None:
        crystal = basis.crystal
        full = torch.from_numpy(np.ascontiguousarray(basis.map)).reshape(
            crystal.n_primitive, crystal.n_supercell, 3, 3, -1
        )
        per_q = 16 * (3 * crystal.n_primitive) ** 2 * full.shape[-1]
        step = max(1, BLOCK_BYTES // per_q)
        self.matrices = torch.cat(
            [
                FourierSum(crystal, q_points[start : start + step]).matrices(full)
                for start in range(0, len(q_points), step)
            ]
        )

    def dynamical_matrices(self, parameters: torch.Tensor) -> torch.Tensor:
        """D(q) in meV², (n_q, 3 n_atoms, 3 n_atoms), for ``parameters`` (n_par,) in eV/Å²."""
        return self.matrices @ parameters.to(torch.complex128)

    def modes(self, parameters: torch.Tensor) -> Modes:
        """Modes for ``parameters`` (n_par,) in eV/Å²."""
        return Modes.from_dynamical_matrices(self.dynamical_matrices(parameters))

    def in_mode_basis(self, modes: Modes) -> torch.Tensor:
        """e_μ† (∂D/∂p_k) e_ν at each q: (n_q, n_modes, n_modes, n_par), meV² per eV/Å²."""
        vectors = modes.eigenvectors
        n_q, size, n_modes = vectors.shape
        n_par = self.matrices.shape[-1]
        left = vectors.transpose(1, 2).conj() @ self.matrices.reshape(n_q, size, size * n_par)
        right = left.reshape(n_q, n_modes, size, n_par).permute(0, 1, 3, 2) @ vectors[:, None]
        return right.permute(0, 1, 3, 2)
