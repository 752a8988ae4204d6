"""Crystals are stable: imaginary modes that the data do not ask for are made real.

Of modes that were hardly measured the best fit may have imaginary energies, by chance or because
they were imaginary at the start. Then a stable crystal fits about as well: the nearest one, as
the curvature of the misfit measures distance. Where data do ask for an imaginary mode it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.ensemble.stability import probe_points
from fcinv_core.inversion.dispersion import energy_slopes, high_symmetry_path
from fcinv_core.inversion.uncertainty import inverse

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice

MOST_MISFIT = 4.5
"""Half a deviance that is given up for a stable crystal: three standard deviations."""

LIFTED, FAR_FROM_GAMMA = 0.03, 0.25
"""Energy over the highest one that imaginary modes are given: much softer ones would move atoms
by so much that nothing else scatters. It falls as those of sound waves do, nearer to Γ than this
share of the shortest reciprocal-lattice vector."""

SOFT = 0.1
"""The same of modes that are watched meanwhile."""

_REAL_MEV = 0.05
_ROUNDS = 10


@dataclass(frozen=True)
class HeldStable:
    """What was given up for a stable crystal.

    Attributes
    ----------
    imaginary_mev
        Largest imaginary energy of the free fit.
    chi_squared
        By how much the free fit is better.
    """

    imaginary_mev: float
    chi_squared: float


def watched_points(lattice: Lattice) -> np.ndarray:
    """(n, 3) wave vectors without Γ: on a mesh, of the supercell, and along the dispersion."""
    crystal = lattice.basis.crystal
    points = np.vstack([probe_points(crystal), high_symmetry_path(crystal)[1]])
    return np.ascontiguousarray(points[np.abs(points - np.rint(points)).max(axis=1) > 1e-6])


def step_to_stability(
    lattice: Lattice, parameters: np.ndarray, curvature: np.ndarray, q_points: np.ndarray
) -> np.ndarray | None:
    """Step of all parameters, nuisances included, to the nearest stable crystal.

    Squared energies are linear in force constants as long as modes keep their shapes: a few
    rounds of least distance under linear inequalities.

    Parameters
    ----------
    parameters
        (n_par,) eV/Å² at the optimum.
    curvature
        (n, n) of half a deviance there, force constants first.
    q_points
        Those of `watched_points`.

    Returns
    -------
    (n,), or None where the crystal is stable or no stable one is found.
    """
    n_par = len(parameters)
    reciprocal = lattice.basis.crystal.reciprocal_lattice
    from_gamma = np.linalg.norm((q_points - np.rint(q_points)) @ reciprocal, axis=1)
    far = FAR_FROM_GAMMA * np.linalg.norm(reciprocal, axis=1).min()
    lifted = LIFTED * np.minimum(from_gamma / far, 1.0)[:, None]
    covariance = inverse(curvature)
    widths = np.linalg.cholesky(covariance[:n_par, :n_par])
    offset, units = np.zeros(n_par), np.zeros(n_par)
    for _ in range(_ROUNDS):
        modes = lattice.modes(parameters + offset, q_points)
        energies = modes.energies[0].numpy()
        if energies.min() > -_REAL_MEV:
            # Nuisances follow as they are correlated with force constants.
            followed = covariance[:, :n_par] @ np.linalg.solve(widths.T, units)
            return followed if units.any() else None
        squares = energies * np.abs(energies)
        soft = energies < SOFT * energies.max()
        real = (lifted * energies.max()) ** 2
        # Soft modes that are real may stay as soft, but become no softer.
        wanted = np.where(squares < 0, real, np.minimum(squares, real))
        slopes = energy_slopes(lattice, modes.eigenvectors[0], q_points)[soft]
        found = least_distance(slopes @ widths, (wanted - squares)[soft] + slopes @ offset)
        if found is None:
            return None
        units, offset = found, widths @ found
    return None


def least_distance(matrix: np.ndarray, bounds: np.ndarray) -> np.ndarray | None:
    """The shortest x (n,) with ``matrix`` @ x >= ``bounds``; None if there is none.

    Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    from scipy.optimize import nnls

    size = np.maximum(np.linalg.norm(matrix, axis=1), 1e-300)
    rows, limits = matrix / size[:, None], bounds / size
    unit = max(float(np.abs(limits).max()), 1e-300)
    stacked = np.vstack([rows.T, limits / unit])
    goal = np.zeros(len(stacked))
    goal[-1] = 1.0
    weights, distance = nnls(stacked, goal, maxiter=30 * stacked.shape[1])
    if distance < 1e-8:
        return None
    residual = stacked @ weights - goal
    return np.asarray(-unit * residual[:-1] / residual[-1])
