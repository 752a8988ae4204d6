"""What is known of sampled bins before any force constants are: blocks, phases, momenta.

Work on spectra goes block by block: modes and lines of some q points, then all rows that they
belong to. Nothing but the result is ever kept for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.dynamical import FourierSum, Modes, RealSpace
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.threads import block_bytes, block_slices

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Block:
    """q points that are diagonalised together and the rows that need them.

    Attributes
    ----------
    q_points
        Slice of `SpectraPlan.q_points`.
    rows
        Slice of the plan's rows.
    """

    q_points: slice
    rows: slice


@dataclass(frozen=True)
class Samples:
    """The samples of some rows of a block.

    Attributes
    ----------
    rows
        Slice of the plan's rows.
    index
        (n_rows, n_samples) into the q points of the block.
    momentum
        (n, 3) in 1/Å, n = n_rows * n_samples.
    """

    rows: slice
    index: torch.Tensor
    momentum: torch.Tensor


class SpectraPlan:
    """Everything about sampled bins that does not depend on force constants.

    Parameters
    ----------
    crystal
        Positions, masses and scattering lengths.
    sampling
        Rows and their samples.
    fourier
        Of the same crystal; its device and precision are used.
    kernel
        Energy bins, temperature, resolution.

    Attributes
    ----------
    q_points
        (n_q, 3) reciprocal coordinates of the primitive cell, in the order in which they are
        needed; a few may occur twice.
    row
        (n_bins,) the row that holds the spectrum of each bin of the sampling.
    blocks
        Cover all q points and rows.
    weights
        (n_samples,) of each sample in the average over a bin.
    """

    def __init__(
        self,
        crystal: Crystal,
        sampling: BinSampling,
        fourier: FourierSum,
        kernel: ModeKernel,
    ) -> None:
        self.n_rows, self.n_samples = sampling.q_index.shape
        self.fourier = fourier
        self.kernel = kernel.to(fourier.device, fourier.dtype)
        self.n_energy = len(kernel.edges) - 1
        # Rows with q points in common next to each other.
        order = np.argsort(sampling.q_index.min(axis=1, initial=len(sampling.q_points)))
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        self.row = places[sampling.row]
        positions = crystal.primitive_positions @ crystal.primitive_lattice
        strength = crystal.primitive_scattering_lengths / np.sqrt(crystal.primitive_masses)
        size = fourier.n_modes
        per_q = 4 * size**2 + 2 * size * self.n_energy + 3 * fourier.n_translations
        self._bytes_per_q = 8 * per_q
        self._block_bytes = block_bytes(fourier.device)
        q_points, index, self.blocks = _cut(
            sampling.q_points, sampling.q_index[order], self._bytes_per_q, fourier.device
        )
        device, dtype = fourier.device, fourier.dtype
        self.weights = torch.as_tensor(sampling.weights, dtype=dtype, device=device)
        self.q_points = torch.as_tensor(q_points, dtype=torch.float64, device=device)
        self._index = torch.as_tensor(index, device=device)
        self._momentum = torch.as_tensor(
            sampling.points[order].reshape(-1, 3) @ crystal.reciprocal_lattice,
            dtype=torch.float64,
            device=device,
        )
        self._positions = torch.as_tensor(positions.T, dtype=torch.float64, device=device)
        self._strength = torch.as_tensor(strength, dtype=dtype, device=device)
        self._kept: tuple[object, Any] | None = None

    @property
    def n_modes(self) -> int:
        """Of all q points together."""
        return len(self.q_points) * self.fourier.n_modes

    def tasks(self, n_sets: int) -> list[tuple[Block, slice]]:
        """Blocks, each with as many of ``n_sets`` sets of force constants as fit a block."""
        return [
            (block, sets)
            for block in self.blocks
            for sets in block_slices(
                n_sets,
                self._bytes_per_q * (block.q_points.stop - block.q_points.start),
                self._block_bytes,
            )
        ]

    def kept_for(self, owner: object, make: Callable[[], Kept]) -> Kept:
        """What ``make`` made, for as long as the very same owner comes again."""
        if self._kept is None or self._kept[0] is not owner:
            self._kept = (owner, make())
        kept: Kept = self._kept[1]
        return kept

    def waves(self, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """cos(q·R) and sin(q·R) of a block, see `FourierSum.waves`."""
        return self.fourier.waves(self.q_points[block.q_points])

    def modes(
        self,
        block: Block,
        real_space: RealSpace,
        waves: tuple[torch.Tensor, torch.Tensor],
        polar: torch.Tensor | PolarPart | None,
    ) -> Modes:
        """Modes of the q points of a block; ``polar`` as for `spectra`."""
        matrices = real_space.matrices(waves)
        if isinstance(polar, torch.Tensor):
            matrices += polar[block.q_points].to(matrices.dtype)
        elif polar is not None:
            matrices += polar.components(self.q_points[block.q_points]).to(matrices.dtype)
        return Modes.from_packed(matrices)

    def samples(self, block: Block, bytes_per_sample: int) -> Iterator[Samples]:
        """Rows of a block, in parts whose temporary arrays stay within bounds."""
        n_rows = block.rows.stop - block.rows.start
        for part in block_slices(n_rows, bytes_per_sample * self.n_samples, self._block_bytes):
            rows = slice(block.rows.start + part.start, block.rows.start + part.stop)
            samples = slice(rows.start * self.n_samples, rows.stop * self.n_samples)
            yield Samples(rows, self._index[rows], self._momentum[samples])

    def vectors(self, samples: Samples, tensors: torch.Tensor) -> torch.Tensor:
        """(n_sets, n, 3 n_atoms) with F_ν = Σ vector·e_ν; ``tensors`` as for `spectra`."""
        dtype = self._strength.dtype
        phase = -(samples.momentum @ self._positions)
        momentum = samples.momentum.to(dtype)
        exponent = 0.5 * momentum_squares(momentum) @ tensors.flatten(2).transpose(1, 2)
        amplitude = self._strength * torch.exp(-exponent)
        parts = torch.stack([phase.cos().to(dtype), phase.sin().to(dtype)], dim=-1)
        factors = torch.view_as_complex(parts) * amplitude
        return (factors[..., None] * momentum[:, None]).flatten(2)


def momentum_squares(momentum: torch.Tensor) -> torch.Tensor:
    """Q_α Q_β of each momentum (n, 3), as (n, 9)."""
    return (momentum[:, :, None] * momentum[:, None, :]).reshape(-1, 9)


def _cut(
    q_points: np.ndarray, index: np.ndarray, bytes_per_q: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray, list[Block]]:
    """Cut rows into blocks with few distinct q points each.

    Returns
    -------
    q_points of all blocks one after the other; index (n_rows, n_samples) of each row into those
    of its block; the blocks.
    """
    n_rows, n_samples = index.shape
    if n_rows == 0:
        return q_points[:0], index, []
    flat = index.reshape(-1)
    is_new = np.zeros(len(flat), bool)
    is_new[np.unique(flat, return_index=True)[1]] = True
    distinct = np.cumsum(is_new)[n_samples - 1 :: n_samples]
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    largest = max(1, block_bytes(device) // bytes_per_q)
    step = max(min(largest, -(-int(distinct[-1]) // (2 * n_threads))), n_samples)
    cuts = np.flatnonzero(np.diff((distinct - 1) // step)) + 1
    bounds = [0, *cuts.tolist(), n_rows]
    points, local, blocks, n_before = [], np.empty_like(index), [], 0
    for start, stop in zip(bounds, bounds[1:], strict=False):
        needed, part = np.unique(index[start:stop], return_inverse=True)
        local[start:stop] = part.reshape(-1, n_samples)
        points.append(q_points[needed])
        blocks.append(Block(slice(n_before, n_before + len(needed)), slice(start, stop)))
        n_before += len(needed)
    return np.vstack(points), local, blocks
