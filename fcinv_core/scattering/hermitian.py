"""Hermitian matrices as real vectors.

An n x n Hermitian matrix has n² real components: the real parts of its lower triangle, diagonal
included, then the imaginary parts below the diagonal. Sums over lattice vectors, derivatives and
storage then need half the numbers, and no complex arithmetic.
"""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache(maxsize=64)
def _lower(size: int, offset: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = torch.tril_indices(size, size, offset, device=device)
    return rows, columns


def lower_triangles(even: torch.Tensor, odd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Components of symmetric and antisymmetric matrices (..., n, n)."""
    size = even.shape[-1]
    rows, columns = _lower(size, 0, even.device)
    below, left = _lower(size, -1, even.device)
    return even[..., rows, columns], odd[..., below, left]


def packed(matrices: torch.Tensor) -> torch.Tensor:
    """Components (..., n²) of Hermitian matrices (..., n, n)."""
    return torch.cat(lower_triangles(matrices.real, matrices.imag), dim=-1)


def unpacked(components: torch.Tensor) -> torch.Tensor:
    """Lower triangles (..., n, n), complex, of matrices with ``components`` (..., n²).

    Above the diagonal they are zero: eigensolvers do not look there.
    """
    size = round(components.shape[-1] ** 0.5)
    parts = components.new_zeros((*components.shape[:-1], size, size, 2))
    rows, columns = _lower(size, 0, components.device)
    below, left = _lower(size, -1, components.device)
    parts[..., rows, columns, 0] = components[..., : len(rows)]
    parts[..., below, left, 1] = components[..., len(rows) :]
    return torch.view_as_complex(parts)


def full(components: torch.Tensor) -> torch.Tensor:
    """Both triangles, (..., n, n), of Hermitian matrices with ``components`` (..., n²)."""
    lower = unpacked(components)
    return lower + torch.tril(lower, -1).mH


def packed_gradient(matrices: torch.Tensor) -> torch.Tensor:
    """Derivatives of Re tr(X D) by the components of D, for Hermitian X (..., n, n).

    Components off the diagonal stand for two elements of the matrix.
    """
    size = matrices.shape[-1]
    rows, columns = _lower(size, 0, matrices.device)
    double = torch.where(rows == columns, 1.0, 2.0).to(matrices.real.dtype)
    even, odd = lower_triangles(matrices.real, matrices.imag)
    return torch.cat([even * double, 2 * odd], dim=-1)


def packed_dyads(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`packed_gradient` of X = l rᵀ + (l rᵀ)† for vectors l and r (..., n)."""
    size = left.shape[-1]
    rows, columns = _lower(size, 0, left.device)
    below = rows != columns
    there = left.index_select(-1, rows) * right.index_select(-1, columns)
    back = left.index_select(-1, columns) * right.index_select(-1, rows)
    double = torch.where(below, 2.0, 1.0).to(there.real.dtype)
    even = (there.real + back.real) * double
    odd = 2 * (there.imag - back.imag)[..., below]
    return torch.cat([even, odd], dim=-1)
