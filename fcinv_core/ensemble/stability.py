"""Whether force constants hold a crystal together, and how high its energies reach."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from fcinv_core.crystal import Crystal
from fcinv_core.scattering.hermitian import unpacked
from fcinv_core.scattering.irreducible import IrreducibleQ
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.threads import block_bytes, block_slices, run_blocks

MESH_LENGTH = 16.0
"""Å: the mesh has at least this length over |a| points along each reciprocal axis."""

CLOSE_TO_GAMMA = 0.02
"""Reciprocal-lattice vectors: where sound waves are asked."""


class EnergyExtremes:
    """Lowest and highest phonon energy of many sets of force constants of one crystal.

    All modes are asked at the wave vectors of the supercell, where no interpolation enters, on a
    mesh, and as sound waves close to Γ. The latter only in crystals with inversion symmetry: in
    others force constants obey no rotational sum rule by symmetry alone, and those of density
    functional theory, too, often have a slightly imaginary branch there.

    Parameters
    ----------
    crystal
        Cells, masses and supercell.
    born_charges, dielectric
        (n_primitive, 3, 3) in e and (3, 3) of a polar crystal, or None.
    device
        Of the calculation.
    """

    def __init__(
        self,
        crystal: Crystal,
        born_charges: np.ndarray | None = None,
        dielectric: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._dynamics = LatticeDynamics(crystal, device)
        self._polar = self._dynamics.polar_part_with(born_charges, dielectric)
        fourier = self._dynamics.fourier
        points = torch.as_tensor(probe_points(crystal), device=fourier.device)
        # Dynamical matrices, those of force constants by translation, and a complex copy.
        n_matrices = 3 * len(points) + 3 * fourier.n_translations
        self._bytes_per_set = 8 * n_matrices * fourier.n_modes**2
        self._waves = fourier.waves(points, torch.float64)
        self._dipoles = None if self._polar is None else self._polar.components(points)

    def __call__(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Extremes over all modes.

        Parameters
        ----------
        values
            (n_sets, n_primitive, n_supercell, 3, 3) total compact force constants in eV/Å².

        Returns
        -------
        lowest and highest energy of each set, (n_sets,) in meV; unstable modes are negative.
        """
        device = self._dynamics.fourier.device
        found = torch.empty(2, len(values), device=device, dtype=torch.float64)

        def work(sets: slice) -> None:
            real_space = self._dynamics.real_space(values[sets], self._polar)
            matrices = real_space.matrices(self._waves)
            if self._dipoles is not None:
                matrices = matrices + self._dipoles
            squares = torch.linalg.eigvalsh(unpacked(matrices))
            found[0, sets], found[1, sets] = squares.amin(dim=(-2, -1)), squares.amax(dim=(-2, -1))

        blocks = block_slices(len(values), self._bytes_per_set, block_bytes(device))
        run_blocks(work, blocks, device)
        lowest, highest = found.sign() * found.abs().sqrt()
        return lowest, highest


def lowest_energies(crystal: Crystal, values: np.ndarray) -> np.ndarray:
    """Lowest phonon energy of each of several sets of force constants, meV.

    Parameters
    ----------
    crystal
        Cells, masses and supercell.
    values
        (n_sets, n_primitive, n_supercell, 3, 3) compact force constants in eV/Å².

    Returns
    -------
    ndarray
        (n_sets,), negative for unstable ones; see `EnergyExtremes`.
    """
    lowest, _ = EnergyExtremes(crystal)(torch.from_numpy(np.ascontiguousarray(values)))
    return lowest.numpy()


def probe_points(crystal: Crystal) -> np.ndarray:
    """(n, 3) wave vectors in reciprocal coordinates, one of each set of equivalent ones; not Γ."""
    lengths = np.linalg.norm(crystal.primitive_lattice, axis=1)
    sizes = np.maximum(np.ceil(MESH_LENGTH / lengths).astype(int), 2)
    mesh = np.array(list(product(*(range(size) for size in sizes)))) / sizes
    points = [crystal.commensurate_points, mesh]
    if any(np.array_equal(turn, -np.eye(3)) for turn in crystal.point_group_rotations):
        points.append(CLOSE_TO_GAMMA * np.array(list(product((-1, 0, 1), repeat=3))))
    distinct = IrreducibleQ.from_points(np.vstack(points), crystal.point_group_rotations).q_points
    nearest = distinct - np.rint(distinct)
    return nearest[np.abs(nearest).max(axis=1) > 1e-6]
