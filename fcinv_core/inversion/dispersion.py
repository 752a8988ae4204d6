"""Phonon dispersion along high-symmetry lines, with error bars."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.result import Dispersion
from fcinv_core.scattering.hermitian import packed_gradient
from fcinv_core.scattering.irreducible import TOWARDS_GAMMA

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.inversion.lattice import Lattice

SPACING = 0.03
"""1/Å between points of the path."""

SMALLEST_ENERGY_MEV = 0.5
"""Error bars of energies are linear, so they are worked out no lower than at this energy."""


def dispersion(lattice: Lattice, parameters: np.ndarray, covariance: np.ndarray) -> Dispersion:
    """Energies and their standard deviations on the path of `high_symmetry_path`.

    In polar crystals energies at Γ are the limits along the path: where it goes through Γ, there
    are two points, one for each side.

    Parameters
    ----------
    parameters, covariance
        (n_par,) in eV/Å² and (n_par, n_par); σ(E²) = √(gᵀ C g), g = e†(∂D/∂p)e, and σ(E) is
        σ(E²)/2E, or √σ(E²) where that is less: of modes whose E² may be zero.
    """
    crystal = lattice.basis.crystal
    labels, q_points, distance = high_symmetry_path(crystal, lattice.is_polar)
    limits = _off_gamma(crystal, q_points, distance) if lattice.is_polar else q_points
    modes = lattice.modes(parameters, limits)
    slopes = energy_slopes(lattice, modes.eigenvectors[0], limits)
    energies = modes.energies[0].numpy()
    variance = np.einsum("qmi,ij,qmj->qm", slopes, covariance, slopes, optimize=True)
    of_squares = np.sqrt(np.maximum(variance, 0.0))
    linear = of_squares / (2 * np.maximum(np.abs(energies), SMALLEST_ENERGY_MEV))
    sigma = np.minimum(linear, np.sqrt(of_squares))
    return Dispersion(labels, q_points, distance, energies, sigma)


def energy_slopes(lattice: Lattice, eigenvectors: torch.Tensor, q_points: np.ndarray) -> np.ndarray:
    """e†(∂D/∂p)e of each mode, (n_q, n_modes, n_par) in meV² per eV/Å²."""
    waves = lattice.dynamics.fourier.waves(torch.from_numpy(q_points))
    changes = lattice.directions.matrices(waves)
    outer = eigenvectors.transpose(1, 2)[..., :, None] * eigenvectors.mH[..., None, :]
    return torch.einsum("qmc,pqc->qmp", packed_gradient(outer), changes).numpy()


def _off_gamma(crystal: Crystal, q_points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The path with Γ moved a little towards the point next to it on the same line."""
    reciprocal = crystal.reciprocal_lattice
    moved = q_points.copy()
    for point in map(int, np.flatnonzero(~q_points.any(axis=1))):
        first, last = max(point - 1, 0), min(point + 1, len(q_points) - 1)
        beside = first if distance[first] < distance[point] else last
        length = np.linalg.norm(q_points[beside] @ reciprocal)
        moved[point] = q_points[beside] * TOWARDS_GAMMA / length
    return moved


def high_symmetry_path(
    crystal: Crystal, is_split_at_gamma: bool = False
) -> tuple[tuple[tuple[int, str], ...], np.ndarray, np.ndarray]:
    """Path of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017), through seekpath.

    Parameters
    ----------
    crystal
        Its primitive cell is used as it is.
    is_split_at_gamma
        Have Γ twice where the path goes on through it.

    Returns
    -------
    labels ((index, name), ...), q_points (n, 3) in reciprocal coordinates of the primitive
    cell, distance (n,) in 1/Å.
    """
    import seekpath

    numbers = crystal.primitive.numbers
    cell = (crystal.primitive_lattice, crystal.primitive_positions, numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = seekpath.get_path_orig_cell(cell, symprec=crystal.symprec)
    reciprocal = crystal.reciprocal_lattice
    labels: list[tuple[int, str]] = []
    points: list[np.ndarray] = []
    distance: list[float] = []
    last, travelled = None, 0.0
    for first_name, second_name in found["path"]:
        first = np.array(found["point_coords"][first_name])
        second = np.array(found["point_coords"][second_name])
        length = float(np.linalg.norm((second - first) @ reciprocal))
        n_steps = max(2, int(np.ceil(length / SPACING)))
        if last != first_name:
            labels.append((len(points), _printed(first_name)))
        if last != first_name or (is_split_at_gamma and not first.any()):
            points.append(first)
            distance.append(travelled)
        for step in range(1, n_steps + 1):
            points.append(first + (second - first) * step / n_steps)
            distance.append(travelled + length * step / n_steps)
        travelled += length
        labels.append((len(points) - 1, _printed(second_name)))
        last = second_name
    return tuple(labels), np.array(points), np.array(distance)


def _printed(name: str) -> str:
    return "Γ" if name == "GAMMA" else name.replace("_", "")
