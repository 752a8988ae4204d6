"""The vectors that the Ewald sums of a crystal's dipoles run over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

TRUNCATION = 1e-12
"""Size of the first Gaussian left out of either sum, relative to one at its centre."""


@dataclass(frozen=True, eq=False)
class EwaldLists:
    """Reciprocal and direct lattice vectors, and pairs of atoms; Cartesian, Å and 1/Å with 2π.

    Attributes
    ----------
    parameter
        Λ in 1/Å.
    to_reduced
        (3, 3) integers: q in reciprocal coordinates of the primitive cell times these is q in
        coordinates of ``reciprocal_lattice``.
    reciprocal_lattice
        (3, 3) rows: as short as they can be, so that rounding leads to q of small length.
    reciprocal_vectors
        (n_G, 3).
    half_lattice
        (n_R, 3) lattice vectors: zero, and one of every two opposite ones.
    pairs
        (n_pairs, 2) atoms κ ≤ κ'.
    positions
        (n_atoms, 3) τ.
    cells, nearest_cell
        (n_cells, 3), (n_pairs,): the lattice vector to add to τ' - τ for the shortest
        separation of a pair is ``cells[nearest_cell]``.
    pair_phases
        (2 n_pairs, n_G): cosines, then sines, of G·(τ - τ').
    elements
        ((3 n_atoms)²,): where each element of a matrix stands among the 9 n_pairs of the blocks
        of ``pairs`` or, counting on, among their complex conjugates.
    """

    parameter: float
    to_reduced: torch.Tensor
    reciprocal_lattice: torch.Tensor
    reciprocal_vectors: torch.Tensor
    half_lattice: torch.Tensor
    pairs: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    nearest_cell: torch.Tensor
    pair_phases: torch.Tensor
    elements: torch.Tensor

    @property
    def separations(self) -> torch.Tensor:
        """(n_pairs, 3) shortest vectors from κ to an image of κ'."""
        first, second = self.positions[self.pairs.T]
        return second - first + self.cells[self.nearest_cell]

    def to(self, device: torch.device) -> EwaldLists:
        """The same on another device."""
        if self.pairs.device == device:
            return self
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return EwaldLists(parameter=self.parameter, **tensors)

    @classmethod
    def from_crystal(
        cls, crystal: Crystal, dielectric: np.ndarray, parameter: float | None = None
    ) -> EwaldLists:
        """Every vector that matters with this dielectric tensor.

        Without ``parameter``, the Λ is taken that makes the sums short.
        """
        # Both Gaussians are spherical in units where ε is one: K @ stretch, r @ squeeze.
        stretch = np.linalg.cholesky(np.asarray(dielectric, float))
        squeeze = np.linalg.inv(stretch).T
        lattice = crystal.primitive_lattice
        direct, _ = _reduced(lattice, squeeze)
        reciprocal, operation = _reduced(2 * np.pi * np.linalg.inv(lattice).T, stretch)

        first, second = np.triu_indices(crystal.n_primitive)
        positions = crystal.primitive_positions @ lattice
        differences = positions[second] - positions[first]
        offsets = -np.rint(differences @ np.linalg.inv(direct))
        cells, nearest_cell = np.unique(offsets, axis=0, return_inverse=True)
        separations = (differences + offsets @ direct) @ squeeze

        reach = math.sqrt(-math.log(TRUNCATION))
        corners = np.stack(np.meshgrid(*3 * [[-0.5, 0.5]]), axis=-1).reshape(-1, 3)
        longest_q = np.linalg.norm(corners @ reciprocal @ stretch, axis=1).max()
        lengths = np.linalg.norm(separations, axis=1)
        if parameter is None:
            volume = abs(np.linalg.det(lattice @ squeeze))
            parameter = _cheapest_parameter(volume, reach, longest_q, lengths.mean())
        reciprocal_vectors = _within(2 * parameter * reach + longest_q, reciprocal, stretch)
        lattice_vectors = _within(reach / parameter + lengths.max(), direct, squeeze)
        # They come in an order that reversal turns into that of their negatives.
        half = lattice_vectors[len(lattice_vectors) // 2 :]
        both_ways = np.concatenate([separations, -separations])
        nearest = [np.linalg.norm(both_ways + v, axis=1).min() for v in half @ squeeze]
        half = half[np.array(nearest) < reach / parameter]
        n_atoms, blocks = crystal.n_primitive, np.arange(9 * len(first)).reshape(-1, 3, 3)
        elements = np.empty((n_atoms, 3, n_atoms, 3), int)
        elements[second, :, first] = blocks.transpose(0, 2, 1) + blocks.size
        elements[first, :, second] = blocks
        angles = -differences @ reciprocal_vectors.T
        arrays = {
            "to_reduced": np.linalg.inv(operation).round(),
            "reciprocal_lattice": reciprocal,
            "reciprocal_vectors": reciprocal_vectors,
            "half_lattice": half,
            "pairs": np.stack([first, second], axis=1),
            "positions": positions,
            "cells": cells @ direct,
            "nearest_cell": nearest_cell.ravel(),
            "pair_phases": np.concatenate([np.cos(angles), np.sin(angles)]),
            "elements": elements.ravel(),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(parameter=parameter, **tensors)


def _reduced(lattice: np.ndarray, metric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest vectors of a lattice in a metric; they are ``operation @ lattice``."""
    from ase.geometry.minkowski_reduction import minkowski_reduce

    _, operation = minkowski_reduce(lattice @ metric)
    return operation @ lattice, operation


def _within(radius: float, lattice: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Vectors of a lattice shorter than ``radius`` in a metric, Cartesian."""
    duals = np.linalg.inv(lattice @ metric)
    limits = np.floor(radius * np.linalg.norm(duals, axis=0)).astype(int)
    ranges = [np.arange(-limit, limit + 1) for limit in limits]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = indices @ lattice
    return vectors[np.linalg.norm(vectors @ metric, axis=1) <= radius]


def _cheapest_parameter(
    volume: float, reach: float, longest_q: float, mean_separation: float
) -> float:
    """Λ with the smallest number of G and half R together, which cost the same.

    Numbers are those of lattice points in the spheres that `EwaldLists.from_crystal` fills.
    """
    candidates = math.sqrt(math.pi) / volume ** (1 / 3) * np.geomspace(0.3, 3.0, 200)
    n_reciprocal = volume * (2 * candidates * reach + longest_q) ** 3 / (6 * math.pi**2)
    n_direct = 4 * math.pi / 3 * (reach / candidates + mean_separation) ** 3 / volume
    return float(candidates[np.argmin(n_reciprocal + n_direct / 2)])
