"""Fewest q points: S(Q,E) has the point-group symmetry of the crystal.

S(RQ, E) = S(Q, E) for every rotation R of the point group, and S(-Q, E) = S(Q, E) because
force constants are real. Each Q is therefore replaced by an equivalent Q' = q + G whose q lies
in a fixed set, and only those q need a diagonalisation. Q' keeps its own G, so structure
factors are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fcinv_core.scattering.threads import BLOCK_BYTES, block_slices, run_blocks

GRID = 720_720
"""q points that agree to about 1e-6 reciprocal-lattice units are the same. Usual fractions are
multiples of 1/720720, so that rounding does not tear equal points apart."""

GENERIC = (0.61803398875, 0.41421356237, 0.30277563773)
"""Of all images of a point the one with the smallest product with this vector stands for it. Its
components are rationally independent: images with the same product are the same."""

_LARGEST_KEY = 2**62

TOWARDS_GAMMA = 1e-5
"""Length in 1/Å of the q that stands for the limit q → 0 along a direction."""


@dataclass(frozen=True)
class IrreducibleQ:
    """Q points reduced by lattice translations, rotations and time reversal.

    Attributes
    ----------
    q_points
        (n_q, 3) distinct reduced wave vectors, reciprocal coordinates in [0, 1).
    equivalent
        (n, 3) for each input Q the equivalent Q' = q_points[index] + G that stands for it.
    index
        (n,) into ``q_points``.
    """

    q_points: np.ndarray
    equivalent: np.ndarray
    index: np.ndarray

    @classmethod
    def from_points(cls, points: np.ndarray, rotations: np.ndarray) -> IrreducibleQ:
        """Reduce ``points`` (n, 3) with ``rotations`` (n_ops, 3, 3) on reciprocal coordinates."""
        operations = with_time_reversal(rotations)
        # Grids hold the same q many times: translations first, rotations of what is left.
        shifted = points - np.floor(points + 0.5 / GRID)
        first, which = first_of_each(shifted)
        chosen = best_operations(shifted[first], operations, modulo_lattice=True)
        images = turned(shifted[first], operations, chosen)
        images -= np.floor(images + 0.5 / GRID)
        first_image, image = first_of_each(images)
        q_points, index = images[first_image], image[which]
        equivalent = turned(points, operations, chosen[which])
        q_of_each = q_points[index]
        return cls(q_points, q_of_each + np.rint(equivalent - q_of_each), index)

    def with_directions_at_gamma(self, reciprocal: np.ndarray) -> IrreducibleQ:
        """q = 0 taken as the limit along Q, different for each reciprocal-lattice vector.

        The long-range field of polar crystals makes D(q → 0) depend on the direction.

        Parameters
        ----------
        reciprocal
            (3, 3) rows are reciprocal-lattice vectors in 1/Å.
        """
        zero = np.flatnonzero(np.abs(self.q_points).max(axis=1) < 1 / GRID)
        at_gamma = np.flatnonzero(np.isin(self.index, zero))
        lattice_vectors, which = np.unique(
            np.rint(self.equivalent[at_gamma]), axis=0, return_inverse=True
        )
        length = np.linalg.norm(lattice_vectors @ reciprocal, axis=1, keepdims=True)
        limits = lattice_vectors * TOWARDS_GAMMA / np.where(length > 0, length, 1.0)
        index = self.index.copy()
        index[at_gamma] = len(self.q_points) + which.reshape(-1)
        return IrreducibleQ(np.vstack([self.q_points, limits]), self.equivalent, index)


def with_time_reversal(rotations: np.ndarray) -> np.ndarray:
    """Distinct operations R and -R, (n, 3, 3)."""
    return np.unique(np.concatenate([rotations, -rotations]), axis=0).astype(float)


def best_operations(
    points: np.ndarray, operations: np.ndarray, *, modulo_lattice: bool
) -> np.ndarray:
    """The operation that takes each point to the image that stands for all its images.

    Parameters
    ----------
    points
        (n, 3) in reciprocal coordinates.
    operations
        (n_ops, 3, 3) that map equivalent points onto each other.
    modulo_lattice
        Whether points that differ by a reciprocal-lattice vector are equivalent, too.

    Returns
    -------
    (n,) into ``operations``. Equivalent points on a boundary between domains may end at
    different images: they are then treated as if they were not equivalent.
    """
    result = np.empty(len(points), np.int64)
    given, best = (torch.from_numpy(array) for array in (np.ascontiguousarray(points), result))
    generic = torch.tensor(GENERIC, dtype=torch.float64)
    turns = torch.from_numpy(operations)
    flat = turns.reshape(-1, 3).T.contiguous()
    products = torch.einsum("i,nij->jn", generic, turns)

    def choose(rows: slice) -> None:
        part = given[rows]
        if modulo_lattice:
            images = part @ flat
            images -= torch.floor(images + 0.5 / GRID)
            score = images.reshape(len(part), -1, 3) @ generic
        else:
            score = part @ products
        best[rows] = score.argmin(dim=1)

    run_blocks(choose, block_slices(len(points), 40 * len(operations), BLOCK_BYTES), given.device)
    return result


def turned(points: np.ndarray, operations: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Each point (n, 3) turned by the operation ``which`` (n,) of ``operations``."""
    result = np.empty((len(points), 3))
    given, images = torch.from_numpy(np.ascontiguousarray(points)), torch.from_numpy(result)
    turns, chosen = torch.from_numpy(operations), torch.from_numpy(which)

    def turn(rows: slice) -> None:
        torch.bmm(turns[chosen[rows]], given[rows, :, None], out=images[rows, :, None])

    run_blocks(turn, block_slices(len(points), 200, BLOCK_BYTES), given.device)
    return result


def first_of_each(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of one of each set of equal points (n, 3), and the set that each belongs to."""
    if len(points) == 0:
        return np.empty(0, int), np.empty(0, int)
    grid = torch.from_numpy(np.rint(points * GRID).astype(np.int64))
    key = torch.zeros(len(grid), dtype=torch.int64)
    extent = 1
    for column in grid.T:
        place = column - column.min()
        n_places = int(place.max()) + 1
        if extent * n_places > _LARGEST_KEY:
            values, place = torch.unique(place, return_inverse=True)
            n_places = len(values)
        if extent * n_places > _LARGEST_KEY:
            values, key = torch.unique(key, return_inverse=True)
            extent = len(values)
        key = key * n_places + place
        extent *= n_places
    _, index = torch.unique(key, return_inverse=True)
    n_sets = int(index.max()) + 1
    order = torch.arange(len(points))
    first = torch.full((n_sets,), len(points)).scatter_reduce_(0, index, order, "amin")
    return first.numpy(), index.numpy()
