"""One-phonon coherent spectra of sampled Q bins, and their exact Jacobian.

S(Q,E) = Σ_ν |F_ν(Q)|²/(2ω_ν) {(n+1) δ(E-ω) + n δ(E+ω)},
F_ν(Q) = Σ_κ b_κ/√m_κ (Q·e_κν(q)) exp(-iG·r_κ) exp(-W_κ(Q)),  G = Q - q

(Squires, eq. 3.120 with phonopy's phase convention for D(q)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.dynamical import BLOCK_BYTES, Modes
from fcinv_core.scattering.kernel import ModeKernel, pair_indices

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal


@dataclass(frozen=True)
class SpectraJacobian:
    """Spectra (n_rows, n_energy) in mbarn/meV per primitive cell, and their derivatives.

    Attributes
    ----------
    spectra
        Bin-averaged S(Q,E).
    parameters
        (n_rows, n_energy, n_par) per eV/Å².
    resolution
        (n_rows, n_energy) with respect to the logarithm of the resolution scale.
    """

    spectra: torch.Tensor
    parameters: torch.Tensor
    resolution: torch.Tensor


class StructureFactors:
    """Everything in F_ν(Q) that does not depend on force constants, for sampled bins."""

    def __init__(self, crystal: Crystal, sampling: BinSampling) -> None:
        self.n_rows, self.n_samples = sampling.q_index.shape
        self.n_atoms = crystal.n_primitive
        self.weights = torch.from_numpy(sampling.weights)
        self.q_index = torch.from_numpy(np.ascontiguousarray(sampling.q_index))
        reciprocal = 2 * np.pi * np.linalg.inv(crystal.primitive_lattice).T
        self._lattice_vectors = sampling.points - sampling.q_points[sampling.q_index]
        self._momentum = torch.from_numpy(sampling.points @ reciprocal)
        self._positions = np.asarray(crystal.primitive_positions, float)
        self._strength = torch.as_tensor(
            np.asarray(crystal.primitive_scattering_lengths, float)
            / np.sqrt(np.asarray(crystal.primitive_masses, float))
        )

    def momentum(self, rows: slice) -> torch.Tensor:
        """(n, 3) Q in 1/Å in the Cartesian axes of the force constants' cell."""
        return self._momentum[rows].reshape(-1, 3)

    def vectors(self, rows: slice, tensors: torch.Tensor) -> torch.Tensor:
        """(n, n_atoms, 3) with F_ν = Σ_κα vector·e; ``tensors`` are ⟨u u⟩ (n_atoms, 3, 3)."""
        momentum = self.momentum(rows)
        exponent = 0.5 * momentum_squares(momentum) @ tensors.reshape(self.n_atoms, 9).T
        phase = -2 * np.pi * (self._lattice_vectors[rows].reshape(-1, 3) @ self._positions.T)
        amplitude = self._strength * torch.exp(-exponent)
        return torch.polar(amplitude, torch.from_numpy(phase))[..., None] * momentum[:, None]

    def row_blocks(self, bytes_per_sample: int) -> list[slice]:
        """Slices of rows whose temporary arrays stay within bounds."""
        step = max(1, BLOCK_BYTES // (bytes_per_sample * self.n_samples))
        return [slice(start, start + step) for start in range(0, self.n_rows, step)]


def momentum_squares(momentum: torch.Tensor) -> torch.Tensor:
    """Q_α Q_β of each momentum (n, 3), as (n, 9)."""
    return (momentum[:, :, None] * momentum[:, None, :]).reshape(-1, 9)


def mode_amplitudes(vectors: torch.Tensor, eigenvectors: torch.Tensor) -> torch.Tensor:
    """Contribution of each atom to F_ν: (n, n_atoms, n_modes) in fm Å⁻¹ u^-½."""
    n, n_atoms = vectors.shape[:2]
    return torch.einsum(
        "nka,nkam->nkm", vectors, eigenvectors.reshape(n, n_atoms, 3, eigenvectors.shape[-1])
    )


def spectra(
    factors: StructureFactors, modes: Modes, kernel: ModeKernel, tensors: torch.Tensor
) -> torch.Tensor:
    """Bin-averaged S(Q,E): (n_rows, n_energy) in mbarn/meV per primitive cell.

    Parameters
    ----------
    factors, modes, kernel
        Of the same sampled bins and wave vectors.
    tensors
        ⟨u u⟩ (n_atoms, 3, 3) in Å².
    """
    value = kernel.value
    n_modes, n_energy = value.shape[1:]
    result = value.new_empty((factors.n_rows, n_energy))
    for rows in factors.row_blocks(8 * n_modes * (n_energy + 8 * factors.n_atoms)):
        index = factors.q_index[rows].reshape(-1)
        amplitudes = mode_amplitudes(factors.vectors(rows, tensors), modes.eigenvectors[index])
        strength = amplitudes.sum(dim=1).abs().square()
        n_rows = len(index) // factors.n_samples
        strength = strength.reshape(n_rows, factors.n_samples, n_modes) * factors.weights[:, None]
        result[rows] = (
            strength.reshape(n_rows, 1, -1) @ value[index].reshape(n_rows, -1, n_energy)
        )[:, 0]
    return result


def spectra_with_jacobian(
    factors: StructureFactors,
    modes: Modes,
    kernel: ModeKernel,
    tensors: torch.Tensor,
    tensor_slopes: torch.Tensor,
    couplings: torch.Tensor,
) -> SpectraJacobian:
    """Spectra and their derivatives by every force-constant parameter.

    With a_ν = F_ν and M = e_μ† (∂D/∂p) e_ν, dS = Σ_μν L_μν Re(a_μ* a_ν M_μν ...) runs over the
    divided differences L of the kernel; the Debye-Waller factor adds -2 k_ν Re(a_ν* Σ_κ W'_κ
    a_νκ).

    Parameters
    ----------
    tensor_slopes
        ∂⟨u u⟩/∂p, (n_atoms, 3, 3, n_par).
    couplings
        M, (n_q, n_modes, n_modes, n_par) from `DynamicalBasis.in_mode_basis`.
    """
    n_modes, n_energy = kernel.value.shape[1:]
    n_par = couplings.shape[-1]
    first, second = pair_indices(n_modes)
    double = torch.where(first == second, 1.0, 2.0).to(kernel.value.dtype)
    packed = couplings[:, first, second]
    kernels = torch.cat([kernel.pair_differences(), kernel.value], dim=1)
    n_terms = kernels.shape[1]
    flat_slopes = tensor_slopes.reshape(-1, 9, n_par).transpose(0, 1).reshape(9, -1)
    value = kernel.value.new_empty((factors.n_rows, n_energy))
    jacobian = value.new_empty((factors.n_rows, n_energy, n_par))
    width = torch.empty_like(value)
    for rows in factors.row_blocks(8 * n_terms * (n_energy + 4 * n_par)):
        index = factors.q_index[rows].reshape(-1)
        n_rows = len(index) // factors.n_samples
        by_atom = mode_amplitudes(factors.vectors(rows, tensors), modes.eigenvectors[index])
        amplitudes = by_atom.sum(dim=1)
        weights = factors.weights.repeat(n_rows)[:, None]
        products = amplitudes[:, first] * amplitudes[:, second].conj() * double * weights
        coupled = packed[index]
        terms = value.new_empty((len(index), n_terms, n_par))
        n_pairs = len(first)
        torch.mul(products.real[..., None], coupled.real, out=terms[:, :n_pairs])
        terms[:, :n_pairs].addcmul_(products.imag[..., None], coupled.imag, value=-1)
        momentum = factors.momentum(rows)
        squares = momentum_squares(momentum)
        exponent_slopes = 0.5 * (squares @ flat_slopes).reshape(len(index), -1, n_par)
        atom_share = (amplitudes.conj()[:, None] * by_atom).real * weights[..., None]
        torch.matmul(-2 * atom_share.transpose(1, 2), exponent_slopes, out=terms[:, n_pairs:])
        gathered = kernels[index].reshape(n_rows, -1, n_energy).transpose(1, 2)
        jacobian[rows] = gathered @ terms.reshape(n_rows, -1, n_par)
        strength = (amplitudes.abs().square() * weights).reshape(n_rows, 1, -1)
        value[rows] = (strength @ kernel.value[index].reshape(n_rows, -1, n_energy))[:, 0]
        width[rows] = (strength @ kernel.width_slope[index].reshape(n_rows, -1, n_energy))[:, 0]
    return SpectraJacobian(value, jacobian, width)
