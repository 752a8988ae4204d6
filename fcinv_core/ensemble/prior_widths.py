"""How widely plausible force constants scatter about those of a force field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstantBasis


@dataclass(frozen=True)
class PriorWidths:
    """How far from a force field the truth may lie; dimensionless but for the lengths.

    The defaults are set by how far CHGNet is from force constants of density functional theory
    and of neutron experiments in Si, Ge, MgO, NaCl, Al and Cu; the documentation tells how they
    fare in crystals that had no part in it.

    Attributes
    ----------
    stiffness_median
        Factor on the force field's force constants: universal ones are too soft.
    stiffness_spread
        Standard deviation of its logarithm; 0.6 is 1.35 in frequencies.
    shell
        Relative standard deviation of a common factor on the force constants of a shell.
    scatter
        Standard deviation of a nearest-neighbour force constant, over the largest of them.
    decay
        Å over which the scatter falls by e.
    floor
        Scatter at long range, over the largest nearest-neighbour force constant.
    amplitude_spread
        Standard deviation τ of the logarithm of the common amplitude u.
    """

    stiffness_median: float = 1.6
    stiffness_spread: float = 0.6
    shell: float = 0.27
    scatter: float = 0.09
    decay: float = 2.0
    floor: float = 0.012
    amplitude_spread: float = 0.6


USUAL = PriorWidths()


def mean_square_energy(basis: ForceConstantBasis) -> np.ndarray:
    """(n_parameters,): its product with parameters is Σ_κ tr Φ(κ0, κ0) / m_κ in eV/Å²/u.

    That is the trace of D(q), the sum of the squared energies, averaged over all q.
    """
    crystal = basis.crystal
    blocks = basis.map.reshape(crystal.n_primitive, crystal.n_supercell, 3, 3, -1)
    total = np.zeros(basis.n_parameters)
    for atom, place in enumerate(crystal.primitive_to_supercell):
        on_site = np.trace(blocks[atom, place], axis1=0, axis2=1)
        total += on_site / crystal.primitive_masses[atom]
    return total


def shape_factor(
    basis: ForceConstantBasis, centre: np.ndarray, offsets: np.ndarray, widths: PriorWidths
) -> np.ndarray:
    """Factor of the covariance of shapes of equal stiffness.

    Parameters
    ----------
    basis
        Of the parameters.
    centre
        (n_parameters,) in eV/Å².
    offsets
        (n_samples, n_parameters) of samples from the centre.
    widths
        How far shapes scatter.

    Returns
    -------
    (n_parameters, n_parameters - 1) in eV/Å².
    """
    distances = basis.distances
    nearest = distances[distances > 0].min()
    largest = np.abs(centre[np.isclose(distances, nearest, rtol=1e-3)]).max()
    decay = np.exp(-np.maximum(distances - nearest, 0.0) / widths.decay)
    scatter = largest * (widths.scatter * decay + widths.floor)
    shells = [
        widths.shell * np.where(basis.shell_index == number, centre, 0.0)
        for number in np.unique(basis.shell_index[basis.shell_index >= 0])
    ]
    among_samples = offsets / math.sqrt(max(len(offsets) - 1, 1))
    columns = np.vstack([np.diag(scatter), *shells, among_samples]).T
    squares = mean_square_energy(basis)
    columns = columns - np.outer(centre, squares @ columns) / (squares @ centre)
    vectors, lengths, _ = np.linalg.svd(columns / scatter[:, None], full_matrices=False)
    return scatter[:, None] * (vectors * lengths)[:, : basis.n_parameters - 1]
