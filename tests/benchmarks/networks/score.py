"""How far an answer is from the truth, and whether it knew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.networks.estimators import Answer
from benchmarks.networks.valley import ZONE

from fcinv_core.crystal import ForceConstantBasis, ForceConstants, shell_constants
from fcinv_core.crystal.neighbours import Neighbours
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.prior_widths import mean_square_energy
from fcinv_core.inversion.dispersion import high_symmetry_path
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

FIRST_SHELLS = 3
"""Distances of neighbours whose force constants are compared."""

SPRING_SHELLS = 2
"""Distances of neighbours whose longitudinal constants have stated intervals."""

COVERAGE = 0.6827
"""Of an interval of one standard deviation on either side."""

DRAWS = 200
"""From a stated spread, for intervals of energies."""


@dataclass(frozen=True)
class Errors:
    """An answer against the truth.

    Attributes
    ----------
    dispersion
        meV, root mean square over modes and `ZONE`.
    force_constants
        eV/Å², root mean square over the elements for neighbours of the `FIRST_SHELLS`.
    relative
        The same over the root mean square of the truth's.
    """

    dispersion: float
    force_constants: float
    relative: float

    @classmethod
    def of(cls, found: ForceConstants, truth: ForceConstants) -> Errors:
        """Of force constants that may be in another supercell than the truth."""
        if found.crystal.content_hash != truth.crystal.content_hash:
            found = carried_to(found, truth.crystal)
        neighbours = Neighbours(truth.crystal)
        first = [
            number for number, shell in enumerate(neighbours.shells) if shell.order <= FIRST_SHELLS
        ]
        near = np.isin(neighbours.shell_index, first)
        difference = _rms((found.values - truth.values)[near])
        energies = energies_of(found, ZONE) - energies_of(truth, ZONE)
        return cls(_rms(energies), difference, difference / _rms(truth.values[near]))


def energies_of(
    force_constants: ForceConstants, q_points: np.ndarray, values: np.ndarray | None = None
) -> np.ndarray:
    """(n_q, n_modes) in meV, or (n, n_q, n_modes) of ``values`` with the same Born charges."""
    dynamics = LatticeDynamics(force_constants.crystal)
    polar = dynamics.polar_part_of(force_constants)
    several = force_constants.values[None] if values is None else values
    real_space = dynamics.real_space(torch.from_numpy(np.ascontiguousarray(several)), polar)
    energies = dynamics.modes(real_space, q_points, polar).energies.numpy()
    return energies[0] if values is None else energies


def share_inside(answer: Answer, truth: ForceConstants) -> dict[str, float]:
    """Share of true values inside the stated intervals of 68 %, by quantity.

    ``stiffness`` is the mean squared energy, ``springs`` are the longitudinal constants of the
    `SPRING_SHELLS` nearest shells, ``zone boundary`` are the energies of all modes at the
    high-symmetry points but Γ. The first two are linear in the force constants; the interval of
    an energy is that of draws from the stated spread.
    """
    basis, covariance = answer.basis, answer.covariance
    assert covariance is not None
    if truth.crystal.content_hash != basis.crystal.content_hash:
        truth = carried_to(truth, basis.crystal)
    parameters, true = basis.parameters_of(answer.force_constants), basis.parameters_of(truth)

    slope = mean_square_energy(basis)
    stiffness = abs(slope @ (parameters - true)) < np.sqrt(slope @ covariance @ slope)

    springs = [
        abs(one.longitudinal - other.longitudinal) < one.longitudinal_sigma
        for one, other in zip(
            shell_constants(basis, parameters, covariance),
            shell_constants(basis, true, np.zeros_like(covariance)),
            strict=True,
        )
        if one.distance in _nearest_distances(basis)
    ]

    corners = zone_boundary(truth)
    drawn = np.random.default_rng(0).multivariate_normal(
        parameters, covariance, DRAWS, method="eigh"
    )
    values = (drawn @ basis.map.T).reshape(DRAWS, *truth.values.shape)
    energies = energies_of(answer.force_constants, corners, values)
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(energies, [tail, 100 - tail], axis=0)
    actual = energies_of(truth, corners)
    return {
        "stiffness": float(stiffness),
        "springs": float(np.mean(springs)),
        "zone boundary": float(np.mean((actual > low) & (actual < high))),
    }


def zone_boundary(force_constants: ForceConstants) -> np.ndarray:
    """(n, 3) high-symmetry points other than Γ, each once."""
    labels, q_points, _ = high_symmetry_path(force_constants.crystal)
    points = {name: tuple(q_points[index]) for index, name in labels if name != "Γ"}
    return np.array(list(points.values()))


def _nearest_distances(basis: ForceConstantBasis) -> set[float]:
    return {shell.distance for shell in basis.neighbours.shells if shell.order <= SPRING_SHELLS}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
