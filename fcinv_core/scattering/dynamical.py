"""Dynamical matrices from force constants, and the modes that they give.

    D_{κα,κ'β}(q) = (m_κ m_κ')^-½ Σ_R Φ(κ0, κ'R)_αβ exp(i q·R)

with R the lattice translation between the primitive cells of the two atoms, averaged over the
equivalent shortest vectors of the supercell. Phonopy's matrices have phases of full atomic
separations instead: the same eigenvalues, and eigenvectors that differ by exp(i q·r_κ), so that
structure factors here carry exp(-i Q·r_κ) where phonopy's carry exp(-i G·r_κ). In this
convention D(q) is periodic, and real sums over half of the R give it. Eigenvalues are squared
phonon energies in meV², negative for unstable modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.hermitian import lower_triangles, unpacked
from fcinv_core.units import ENERGY_SQUARED_PER_DYNAMICAL

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal


@dataclass(frozen=True)
class Modes:
    """Phonon modes at a list of q points; leading dimensions may hold several crystals.

    Attributes
    ----------
    squared_energies
        (..., n_q, n_modes) in meV², ascending.
    eigenvectors
        (..., n_q, 3 n_atoms, n_modes) complex; columns are modes.
    """

    squared_energies: torch.Tensor
    eigenvectors: torch.Tensor

    @classmethod
    def from_packed(cls, matrices: torch.Tensor) -> Modes:
        """Diagonalise matrices given by their components (..., n_q, (3 n_atoms)²) in meV²."""
        return cls(*torch.linalg.eigh(unpacked(matrices)))

    @property
    def energies(self) -> torch.Tensor:
        """(..., n_q, n_modes) in meV; unstable modes are negative."""
        return self.squared_energies.sign() * self.squared_energies.abs().sqrt()


@dataclass(frozen=True)
class RealSpace:
    """Mass-weighted force constants by lattice translation, for n_sets sets at once.

    Attributes
    ----------
    even, odd
        (n_sets, n_translations, n) in meV²: what multiplies cos(q·R) in the real parts and
        sin(q·R) in the imaginary parts of D(q), components as in `hermitian`.
    """

    even: torch.Tensor
    odd: torch.Tensor

    def matrices(self, waves: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Components of D(q), (n_sets, n_q, (3 n_atoms)²) in meV², for waves of `FourierSum`."""
        cosines, sines = waves
        even, odd = self.even.to(cosines.dtype), self.odd.to(sines.dtype)
        return torch.cat([cosines @ even, sines @ odd], dim=-1)


class FourierSum:
    """The sum over lattice translations that turns force constants of a crystal into D(q).

    Parameters
    ----------
    crystal
        Its shortest vectors and their multiplicities are phonopy's.
    device, dtype
        Of the waves that it makes, hence of spectra. Sums over atoms are in double precision
        always: soft modes are small differences of large force constants.

    Attributes
    ----------
    mass_weights
        (3 n_atoms, 3 n_atoms) meV² of D(q) per eV/Å² of force constant.
    """

    def __init__(
        self,
        crystal: Crystal,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.n_atoms = crystal.n_primitive
        self.n_supercell = crystal.n_supercell
        self.device, self.dtype = torch.device(device), dtype
        self._gather_images(crystal)
        masses = np.asarray(crystal.primitive_masses, float)
        weight = ENERGY_SQUARED_PER_DYNAMICAL / np.sqrt(np.outer(masses, masses))
        self.mass_weights = torch.as_tensor(
            np.kron(weight, np.ones((3, 3))), dtype=torch.float64, device=self.device
        )

    @property
    def n_modes(self) -> int:
        """3 n_atoms."""
        return 3 * self.n_atoms

    @property
    def n_translations(self) -> int:
        """Number of lattice translations, one of each pair ±R."""
        return len(self._translations)

    def _gather_images(self, crystal: Crystal) -> None:
        """Which pair of atoms each shortest vector joins, across which translation."""
        counts, starts = crystal.multiplicity[..., 0], crystal.multiplicity[..., 1]
        positions = crystal.primitive_positions
        supercell_atom, atom = (
            np.repeat(index.reshape(-1), counts.reshape(-1)) for index in np.indices(counts.shape)
        )
        first = np.repeat(starts.reshape(-1), counts.reshape(-1))
        within = np.arange(len(first)) - np.repeat(
            np.cumsum(counts) - counts.reshape(-1), counts.reshape(-1)
        )
        other = crystal.supercell_to_primitive[supercell_atom]
        across = crystal.shortest_vectors[first + within] - positions[other] + positions[atom]
        across = np.rint(across).astype(int)
        leading = across[np.arange(len(across)), np.argmax(across != 0, axis=1)]
        sign = np.where(leading < 0, -1, 1)
        translations, which = np.unique(across * sign[:, None], axis=0, return_inverse=True)
        cell = (which.reshape(-1) * self.n_atoms + atom) * self.n_atoms + other
        share = 1.0 / np.repeat(counts.reshape(-1), counts.reshape(-1))

        def tensor(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(values, dtype=dtype, device=self.device)

        self._translations = tensor(translations, torch.float64)
        self._source = tensor(atom * self.n_supercell + supercell_atom, torch.int64)
        self._cell = tensor(cell, torch.int64)
        self._share = tensor(share, torch.float64)[:, None]
        self._signed_share = tensor(share * sign, torch.float64)[:, None]

    def real_space(self, values: torch.Tensor) -> RealSpace:
        """Force constants by translation; differentiable.

        Parameters
        ----------
        values
            (n_sets, n_atoms, n_supercell, 3, 3) compact force constants in eV/Å².
        """
        n_sets = len(values)
        pairs = values.to(self.device, torch.float64).reshape(n_sets, -1, 9)[:, self._source]
        triangles = []
        for share, sign in ((self._share, 1.0), (self._signed_share, -1.0)):
            blocks = pairs.new_zeros((n_sets, self.n_translations * self.n_atoms**2, 9))
            blocks = blocks.index_add(1, self._cell, pairs * share)
            shape = (n_sets, self.n_translations, self.n_atoms, self.n_atoms, 3, 3)
            size = self.n_modes
            matrices = blocks.reshape(shape).transpose(3, 4).reshape(n_sets, -1, size, size)
            triangles.append(0.5 * self.mass_weights * (matrices + sign * matrices.transpose(2, 3)))
        return RealSpace(*lower_triangles(*triangles))

    def waves(
        self, q_points: torch.Tensor, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """cos(q·R) and sin(q·R), (n_q, n_translations) each.

        Parameters
        ----------
        q_points
            (n_q, 3) in reciprocal coordinates of the primitive cell.
        dtype
            Precision, by default that of spectra.
        """
        dtype = dtype or self.dtype
        phase = 2 * torch.pi * (q_points.to(self.device, torch.float64) @ self._translations.T)
        return phase.cos().to(dtype), phase.sin().to(dtype)

    def wave_slopes(
        self, waves: tuple[torch.Tensor, torch.Tensor], vectors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Derivatives of `waves` along vectors in q, (n_q, n, n_translations) each.

        Parameters
        ----------
        waves
            At n_q points.
        vectors
            (n, 3) in reciprocal coordinates of the primitive cell.
        """
        cosines, sines = waves
        along = 2 * torch.pi * (vectors.to(self.device, torch.float64) @ self._translations.T)
        along = along.to(cosines.dtype)
        return -sines[:, None] * along, cosines[:, None] * along
