"""Longitudinal and transverse spring constants of each neighbour shell, with error bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcinv_core.crystal.basis import ForceConstantBasis
from fcinv_core.crystal.neighbours import Neighbours, ordinal


@dataclass(frozen=True)
class ShellConstant:
    """Springs between an atom and its neighbours in one shell.

    Attributes
    ----------
    pair
        The two species.
    distance
        Å.
    multiplicity
        Number of neighbours in the shell around an atom of the first species (the mean, where
        sites differ).
    longitudinal, transverse
        eV/Å², along and across the bond; positive constants pull back.
    longitudinal_sigma, transverse_sigma
        Standard deviations, eV/Å².
    name
        For example "1st neighbours Si-Si 2.37 Å".
    """

    pair: tuple[str, str]
    distance: float
    multiplicity: float
    longitudinal: float
    longitudinal_sigma: float
    transverse: float
    transverse_sigma: float
    name: str


def shell_constants(
    basis: ForceConstantBasis, parameters: np.ndarray, covariance: np.ndarray
) -> tuple[ShellConstant, ...]:
    """Spring constants per shell, averaged over its pairs.

    A pair with the force-constant tensor Φ and bond direction r̂ has the longitudinal constant
    -r̂·Φ·r̂ and the transverse one -(tr Φ - r̂·Φ·r̂)/2. Where the supercell sees a neighbour in
    several equally near images, Φ is their sum, and both constants are those of equal springs
    to all images that reproduce it best.

    Parameters
    ----------
    basis
        The basis of the parameters.
    parameters
        (n_parameters,) in eV/Å².
    covariance
        (n_parameters, n_parameters) in (eV/Å²)²; propagated linearly.

    Returns
    -------
    tuple of ShellConstant
        By increasing distance; shells beyond the basis's cutoff are left out.
    """
    neighbours = basis.neighbours
    constants = []
    for number, shell in enumerate(neighbours.shells):
        pairs = np.argwhere(neighbours.shell_index == number)
        springs = _springs_from_parameters(basis, pairs)
        if not springs.any():
            continue
        longitudinal, transverse = springs @ parameters
        variances = np.einsum("ij,jk,ik->i", springs, covariance, springs)
        sigmas = np.sqrt(np.maximum(variances, 0.0))
        constants.append(
            ShellConstant(
                pair=shell.pair,
                distance=shell.distance,
                multiplicity=_multiplicity(neighbours, pairs, shell.pair[0]),
                longitudinal=float(longitudinal),
                longitudinal_sigma=float(sigmas[0]),
                transverse=float(transverse),
                transverse_sigma=float(sigmas[1]),
                name=f"{ordinal(shell.order)} neighbours {'-'.join(shell.pair)} "
                f"{shell.distance:.2f} Å",
            )
        )
    return tuple(constants)


def _springs_from_parameters(basis: ForceConstantBasis, pairs: np.ndarray) -> np.ndarray:
    """(2, n_parameters) map from parameters to the mean springs of some pairs."""
    crystal = basis.crystal
    blocks = basis.map.reshape(crystal.n_primitive, crystal.n_supercell, 9, -1)
    total = np.zeros((2, basis.n_parameters))
    images = 0
    for i, j in pairs:
        vectors = basis.neighbours.vectors(i, j)
        total += len(vectors) * _springs_of_pair(vectors) @ blocks[i, j]
        images += len(vectors)
    return total / images


def _springs_of_pair(vectors: np.ndarray) -> np.ndarray:
    """(2, 9) map from the tensor of a pair to its longitudinal and transverse constant.

    For one image the pseudo-inverse is the two projections of `shell_constants`.
    """
    directions = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    along = directions.T @ directions
    across = len(vectors) * np.eye(3) - along
    tensor_of_springs = -np.array([along.ravel(), across.ravel()]).T
    return np.linalg.pinv(tensor_of_springs, rcond=1e-6)


def _multiplicity(neighbours: Neighbours, pairs: np.ndarray, species: str) -> float:
    crystal = neighbours.crystal
    atoms = [i for i, symbol in enumerate(crystal.primitive_symbols) if symbol == species]
    counts = [crystal.multiplicity[j, i, 0] for i, j in pairs if i in atoms]
    return float(sum(counts) / len(atoms))
