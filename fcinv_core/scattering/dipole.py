"""Dipole-dipole interaction of polar crystals: the part of D(q) that no supercell holds.

Ions with Born charges Z*, displaced in a medium with dielectric tensor ε, interact as dipoles:
at long range as 1/r³, so that D(q) depends on the direction of q as q → 0. This part of the
force constants is known in closed form; the rest is short ranged and may be interpolated from
a supercell (Gonze and Lee, Phys. Rev. B 55, 10355 (1997), eqs. 71 to 78):

    D_{κα,κ'β}(q) = Σ_α'β' Z*_{κ,α'α} T^{κκ'}_α'β'(q) Z*_{κ',β'β}    without its sum rule
    T(q) / (e²/4πε0) = 4π/Ω Σ_G K K / (K·ε·K) exp(-K·ε·K / 4Λ²) exp(i K·[τ_κ - τ_κ'])
                       - Λ³/√det ε Σ_R H(Λ [R + τ_κ' - τ_κ]) exp(i q·R),    K = q + G

whose value does not depend on Λ. Both sums are matrix products over all q at once, weights times
phases and phases times tensors. The tensors are symmetric, pairs of atoms and opposite R count
once: a G, or two R, cost some 5000 multiplications per q in a cell of 20 atoms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.ewald import EwaldLists
from fcinv_core.scattering.threads import BLOCK_BYTES
from fcinv_core.units import COULOMB_EV_ANGSTROM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

_ROWS, _COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
_OCCURRENCES = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)
"""Where the six components of a symmetric tensor stand in its upper half, and how often."""


class DipoleTerm:
    """Dipole-dipole part of the dynamical matrices of a polar crystal.

    Pure torch, on the device of its arguments; differentiable in Born charges and dielectric
    tensor, any number of times.

    Parameters
    ----------
    crystal
        Lattice, positions and supercell.
    dielectric
        (3, 3) the tensor that the lists of G and R are made for. `matrices` may be given
        others: larger ones truncate the sum over R earlier, smaller ones that over G.
    nac_factor
        e²/(4πε0) in eV·Å.
    ewald_parameter
        Λ in 1/Å. Default: the one with the shortest sums.
    """

    def __init__(
        self,
        crystal: Crystal,
        dielectric: np.ndarray,
        nac_factor: float = COULOMB_EV_ANGSTROM,
        ewald_parameter: float | None = None,
    ) -> None:
        self._crystal = crystal
        self._nac_factor = nac_factor
        self._n_atoms = crystal.n_primitive
        self._volume = abs(float(np.linalg.det(crystal.primitive_lattice)))
        self._lists = EwaldLists.from_crystal(crystal, dielectric, ewald_parameter)
        n_reciprocal, n_direct = self.n_terms
        size, n_pairs = 3 * self._n_atoms, len(self._lists.pairs)
        self._bytes_per_q = 8 * (16 * n_reciprocal + 3 * n_direct + 70 * n_pairs + 2 * size**2)

    @property
    def ewald_parameter(self) -> float:
        """Λ in 1/Å."""
        return self._lists.parameter

    @property
    def n_terms(self) -> tuple[int, int]:
        """Number of G, and of R and -R together, in the sums."""
        return len(self._lists.reciprocal_vectors), len(self._lists.half_lattice)

    def matrices(
        self, q_points: torch.Tensor, born_charges: torch.Tensor, dielectric: torch.Tensor
    ) -> torch.Tensor:
        """Dipole part of the dynamical matrices, not mass-weighted.

        A constant in the diagonal blocks makes rigid translations free of force. It is made
        symmetric, or matrices would not be Hermitian; where atoms have little symmetry this
        leaves a small force. The constant cancels in the total dynamical matrix, as
        `supercell_values` hold it too.

        Parameters
        ----------
        q_points
            (n_q, 3) in reciprocal coordinates of the primitive cell, float64. Exactly at
            reciprocal lattice vectors the term that depends on the direction of q is left out;
            next to them it is there, and splits longitudinal from transverse modes.
        born_charges
            (n_atoms, 3, 3) in e; the first index is that of the field, as in phonopy.
        dielectric
            (3, 3) high-frequency dielectric tensor, symmetric and positive.

        Returns
        -------
        torch.Tensor
            (n_q, 3 n_atoms, 3 n_atoms) complex in eV/Å², with the phases of lattice vectors:
            Σ_R Φ(κ0, κ'R) exp(i q·R), periodic in q.
        """
        sums = self.sums(born_charges, dielectric)
        step = max(1, BLOCK_BYTES // self._bytes_per_q)
        return torch.cat([sums.matrices(points) for points in q_points.split(step)])

    def sums(self, born_charges: torch.Tensor, dielectric: torch.Tensor) -> DipoleSums:
        """What `matrices` needs for any q: for callers that go through q in blocks of their own.

        Parameters
        ----------
        born_charges, dielectric
            As in `matrices`.
        """
        lists = self._lists.to(born_charges.device)
        n_atoms = self._n_atoms
        bare = DipoleSums(
            lists,
            dielectric,
            self._lattice_tensors(lists, dielectric),
            self._charge_products(lists, born_charges),
            born_charges.new_zeros(n_atoms, 3, 3),
            4 * math.pi / self._volume,
        )
        origin = bare.matrices(born_charges.new_zeros(1, 3)).real
        force = origin.reshape(n_atoms, 3, n_atoms, 3).sum(dim=2)
        return replace(bare, sum_rule=0.5 * (force + force.transpose(1, 2)))

    def supercell_values(
        self, born_charges: torch.Tensor, dielectric: torch.Tensor
    ) -> torch.Tensor:
        """Dipole part of the force constants that the crystal's supercell holds.

        The inverse Fourier transform of `matrices` over the q points commensurate with the
        supercell. Total force constants minus these are short ranged.

        Parameters
        ----------
        born_charges, dielectric
            As in `matrices`.

        Returns
        -------
        torch.Tensor
            (n_primitive, n_supercell, 3, 3) in eV/Å², ordered as `ForceConstants.values`.
        """
        q_points, translations = (
            torch.from_numpy(array).to(born_charges.device) for array in self._commensurate
        )
        n_q, n_atoms = len(q_points), self._n_atoms
        matrices = self.matrices(q_points, born_charges, dielectric)
        columns = torch.from_numpy(self._crystal.supercell_to_primitive).to(q_points.device)
        by_pair = matrices.reshape(n_q, n_atoms, 3, n_atoms, 3).permute(1, 3, 2, 4, 0)
        phases = _phases(-2 * math.pi * translations @ q_points.T)
        values = by_pair[:, columns].reshape(n_atoms, -1, 9, n_q) @ phases[..., None] / n_q
        return values.real.reshape(n_atoms, -1, 3, 3)

    @cached_property
    def _commensurate(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_q, 3) q points, and (n_primitive, n_supercell, 3) translations R from κ to κ'."""
        crystal = self._crystal
        supercell = crystal.supercell_lattice @ np.linalg.inv(crystal.primitive_lattice)
        positions = crystal.supercell_positions @ supercell
        cells = np.rint(positions - crystal.primitive_positions[crystal.supercell_to_primitive])
        return crystal.commensurate_points, cells[None] - cells[crystal.primitive_to_supercell][
            :, None
        ]

    def _charge_products(self, lists: EwaldLists, born_charges: torch.Tensor) -> torch.Tensor:
        """(n_pairs, 9, 6): from six components of T to nine of Z*ᵀ T Z*, in eV·Å."""
        left, right = born_charges[lists.pairs.T]
        full = torch.einsum("pia,pjb->pabij", left, right)
        symmetric = 0.5 * (full + full.transpose(3, 4))
        packed = symmetric[..., _ROWS, _COLUMNS] * full.new_tensor(_OCCURRENCES)
        return self._nac_factor * packed.reshape(-1, 9, 6)

    def _lattice_tensors(self, lists: EwaldLists, dielectric: torch.Tensor) -> torch.Tensor:
        """(2, 6 n_pairs, n_R) even and odd tensors of the sum over R, in 1/Å³."""
        inverse, parameter = torch.linalg.inv(dielectric), lists.parameter
        vectors = torch.stack([lists.half_lattice, -lists.half_lattice])
        separations = lists.separations[:, None] + vectors[:, None]
        screened = separations @ inverse
        squares = (screened * separations).sum(-1)
        home = squares == 0  # An atom does not act on itself.
        squares = torch.where(home, 1.0, squares)
        y = parameter * squares.sqrt()
        gauss = 2 / math.sqrt(math.pi) * torch.exp(-y * y)
        isotropic = torch.special.erfc(y) / y**3 + gauss / y**2
        along = (3 * isotropic + 2 * gauss) / squares
        along, isotropic = (torch.where(home, 0.0, part)[..., None] for part in (along, isotropic))
        dyads = screened[..., _ROWS] * screened[..., _COLUMNS]
        tensors = isotropic * inverse[_ROWS, _COLUMNS] - along * dyads
        tensors = parameter**3 / torch.linalg.det(dielectric).sqrt() * tensors
        there, back = tensors.transpose(2, 3).reshape(2, -1, len(lists.half_lattice))
        # Zero comes first, and is its own opposite.
        counts = torch.ones_like(there[0])
        counts[0] = 0.5
        return torch.stack([there + back, there - back]) * counts


@dataclass(frozen=True, eq=False)
class DipoleSums:
    """Both sums for given Born charges and dielectric tensor: `DipoleTerm.sums` makes it.

    Attributes
    ----------
    lists
        G, R and pairs of atoms.
    dielectric
        (3, 3).
    lattice_tensors
        (2, 6 n_pairs, n_R) in 1/Å³, even and odd under R → -R.
    charge_products
        (n_pairs, 9, 6) in eV·Å: from six components of T to nine of Z*ᵀ T Z*.
    sum_rule
        (n_atoms, 3, 3) in eV/Å²: taken from the diagonal blocks.
    density
        4π/Ω in 1/Å³.
    """

    lists: EwaldLists
    dielectric: torch.Tensor
    lattice_tensors: torch.Tensor
    charge_products: torch.Tensor
    sum_rule: torch.Tensor
    density: float

    def matrices(self, q_points: torch.Tensor) -> torch.Tensor:
        """As `DipoleTerm.matrices`, all q at once. Arrays run over q last until the end."""
        lists = self.lists
        reduced = q_points @ lists.to_reduced
        q = ((reduced - reduced.round()) @ lists.reciprocal_lattice).T
        first, second = lists.pairs.T
        atoms = _phases(lists.positions @ q)
        to_cell = _phases(lists.cells @ q)[lists.nearest_cell]
        total = to_cell[:, None] * self._direct(q)
        total = total + (atoms[first] * atoms[second].conj())[:, None] * self._reciprocal(q)

        n_pairs, size, n_q = len(first), 3 * len(atoms), len(q_points)
        blocks = self.charge_products @ torch.view_as_real(total).reshape(n_pairs, 6, 2 * n_q)
        blocks = torch.view_as_complex(blocks.reshape(n_pairs, 9, n_q, 2))
        blocks[first == second] -= self.sum_rule.reshape(-1, 9, 1)
        upper = blocks.reshape(9 * n_pairs, n_q).T.contiguous()
        both = torch.cat([upper, upper.conj()], dim=1)
        return both.index_select(1, lists.elements).reshape(n_q, size, size)

    def _direct(self, q: torch.Tensor) -> torch.Tensor:
        """Sum over R for nearest images of each pair: (n_pairs, 6, n_q) in 1/Å³."""
        angles = self.lists.half_lattice @ q
        even, odd = self.lattice_tensors
        sums = torch.complex(even @ angles.cos(), odd @ angles.sin())
        return sums.reshape(len(self.lists.pairs), 6, q.shape[1])

    def _reciprocal(self, q: torch.Tensor) -> torch.Tensor:
        """Sum over G without the phases of q: (n_pairs, 6, n_q) in 1/Å³."""
        K = [vectors[:, None] + q[a] for a, vectors in enumerate(self.lists.reciprocal_vectors.T)]
        screened = [sum(self.dielectric[a, b] * K[b] for b in range(3)) for a in range(3)]
        squares = K[0] * screened[0] + K[1] * screened[1] + K[2] * screened[2]
        at_origin = squares == 0
        squares = torch.where(at_origin, 1.0, squares)
        weights = self.density * torch.exp(squares / (-4 * self.lists.parameter**2)) / squares
        weights = torch.where(at_origin, 0.0, weights)
        weighted = [weights * component for component in K]
        terms = torch.stack([weighted[a] * K[b] for a, b in zip(_ROWS, _COLUMNS, strict=True)], 1)
        n_pairs, n_q = len(self.lists.pairs), q.shape[1]
        sums = self.lists.pair_phases @ terms.reshape(len(terms), 6 * n_q)
        return torch.complex(*sums.reshape(2, n_pairs, 6, n_q))


def _phases(angles: torch.Tensor) -> torch.Tensor:
    """Complex exp(i angle)."""
    return torch.complex(angles.cos(), angles.sin())
