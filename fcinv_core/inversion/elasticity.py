"""Elastic constants and velocities of sound, the limit of long waves, with error bars.

Acoustic motions of wave vector q obey the dynamical matrix with all other motions following
along (Born & Huang, Dynamical Theory of Crystal Lattices, 1954, chapter V),

    A(q) = D_tt - D_to D_oo⁻¹ D_ot,    A_ij(q) / q² → Γ_ij(n) / ρ,    Γ_ij(n) = C_iajb n_a n_b,

t translations of all atoms alike, o what is orthogonal to them. A(q) does not change to first
order with the motions, so that its derivatives by force constants are those of D(q) between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.result import Estimate
from fcinv_core.scattering.hermitian import full, packed_dyads
from fcinv_core.units import ATOMIC_MASS_KG, ELEMENTARY_CHARGE_C, HBAR_J_S

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal
    from fcinv_core.inversion.lattice import Lattice

WAVE_NUMBER = 2e-3
"""1/Å of the waves: long, and no smaller, for A(q) is a small difference of large numbers."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

LABELS = tuple(f"C{i + 1}{j + 1}" for i in range(6) for j in range(i, 6))

_UPPER = np.triu_indices(6)

_WAVES = np.array(
    [n for n in np.ndindex(3, 3, 3) if n > (1, 1, 1)], dtype=float
) - 1.0  # fmt: skip
"""The 13 edges, face and space diagonals of a cube: more than a quadratic form needs."""


@dataclass(frozen=True, eq=False)
class ElasticConstants:
    """Stiffness in the crystal's standard axes (spglib's: a along x; c along z where it may be).

    Those of piezoelectric crystals are at constant electric displacement, roughly: their stiffening
    depends on the direction.

    Attributes
    ----------
    stiffness, sigma
        (6, 6) in GPa, Voigt order xx, yy, zz, yz, xz, xy.
    covariance
        (21, 21) in GPa², of the upper triangle row by row (`LABELS`).
    independent
        Labels of those that the symmetry leaves free, for example C11, C12 and C44.
    density
        g/cm³.
    """

    stiffness: np.ndarray
    sigma: np.ndarray
    covariance: np.ndarray
    independent: tuple[str, ...]
    density: float

    @classmethod
    def of(
        cls, lattice: Lattice, parameters: np.ndarray, covariance: np.ndarray
    ) -> ElasticConstants:
        """Of parameters (n_par,) in eV/Å² with their covariance (n_par, n_par)."""
        crystal = lattice.basis.crystal
        rotation = _to_standard_axes(crystal)
        directions = _WAVES / np.linalg.norm(_WAVES, axis=1)[:, None]
        moduli, slopes = _christoffel(lattice, parameters, directions)
        # Directions and both indices of Γ in standard axes.
        turned = directions @ rotation.T
        moduli = rotation @ moduli @ rotation.T
        slopes = np.einsum("ia,qabp,jb->qijp", rotation, slopes, rotation, optimize=True)
        from_constants = _design(turned).reshape(-1, len(LABELS))
        solve = np.linalg.pinv(from_constants)
        constants = solve @ moduli.reshape(-1)
        by_parameters = solve @ slopes.reshape(-1, slopes.shape[-1])
        spread = by_parameters @ covariance @ by_parameters.T
        return cls(
            stiffness=_symmetric(constants),
            sigma=_symmetric(np.sqrt(np.maximum(np.diag(spread), 0.0))),
            covariance=spread,
            independent=_independent(crystal, rotation),
            density=_density(crystal) / 1e3,
        )

    def constant(self, label: str) -> tuple[float, float]:
        """One of `LABELS` in GPa, and its standard deviation."""
        place = int(label[1]) - 1, int(label[2]) - 1
        return float(self.stiffness[place]), float(self.sigma[place])

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Those that the symmetry leaves free, and the bulk modulus, by name."""
        found = {label: self.constant(label) for label in self.independent}
        found["bulk modulus"] = self.bulk_modulus
        return {name: Estimate(*numbers, "GPa") for name, numbers in found.items()}

    @property
    def bulk_modulus(self) -> tuple[float, float]:
        """Voigt's mean in GPa, and its standard deviation."""
        weights = np.zeros((6, 6))
        weights[:3, :3] = 1 / 9
        upper = weights[_UPPER] * np.where(_UPPER[0] == _UPPER[1], 1.0, 2.0)
        value = float((weights * self.stiffness).sum())
        return value, float(np.sqrt(max(upper @ self.covariance @ upper, 0.0)))

    def sound_velocities(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocities of the three sounds along a direction, and their standard deviations, km/s.

        Parameters
        ----------
        direction
            (3,) in the standard axes, of any length.
        """
        normal = np.asarray(direction, float)
        normal = normal / np.linalg.norm(normal)
        design = _design(normal[None])[0]
        constants = self.stiffness[_UPPER]
        moduli, motions = np.linalg.eigh(design @ constants)
        slopes = np.einsum("im,ijc,jm->mc", motions, design, motions)
        variances = np.einsum("mc,cd,md->m", slopes, self.covariance, slopes)
        # GPa over g/cm³ is (km/s)².
        velocities = np.sqrt(np.maximum(moduli, 0.0) / self.density)
        sigma = np.sqrt(np.maximum(variances, 0.0))
        return velocities, sigma / np.maximum(2 * velocities * self.density, 1e-12)


def _christoffel(
    lattice: Lattice, parameters: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Γ (n, 3, 3) in GPa and its derivatives (n, 3, 3, n_par), in the crystal's own axes."""
    crystal = lattice.basis.crystal
    q_points = WAVE_NUMBER / (2 * np.pi) * directions @ crystal.primitive_lattice.T
    points = torch.from_numpy(np.ascontiguousarray(q_points))
    waves = lattice.dynamics.fourier.waves(points)
    real_space = lattice.state(parameters).real_space
    components = real_space.matrices(waves)[0]
    if lattice.polar is not None:
        components = components + lattice.polar.components(points)
    matrices = full(components).numpy()
    changes = lattice.directions.matrices(waves)
    masses = np.asarray(crystal.primitive_masses, float)
    # D(q) has phases of lattice translations alone: those of the atoms' places are in the motions.
    phases = np.exp(2j * np.pi * q_points @ crystal.primitive_positions.T)
    alike = (phases * np.sqrt(masses / masses.sum()))[..., None, None] * np.eye(3)
    alike = alike.reshape(len(q_points), -1, 3)
    along = alike @ alike.conj().transpose(0, 2, 1)
    others = np.eye(along.shape[1]) - along
    level = np.trace(matrices, axis1=1, axis2=2).real / along.shape[1]
    apart = others @ matrices @ others + level[:, None, None] * along
    motions = alike - np.linalg.solve(apart, others @ matrices @ alike)
    acoustic = motions.conj().transpose(0, 2, 1) @ matrices @ motions
    column = torch.from_numpy(motions)
    slopes = _between(column, changes)
    scale = _density(crystal) * (ELEMENTARY_CHARGE_C * 1e-3 / HBAR_J_S) ** 2 * 1e-20 * 1e-9
    scale /= WAVE_NUMBER**2
    return acoustic.real * scale, slopes * scale


def _between(motions: torch.Tensor, changes: torch.Tensor) -> np.ndarray:
    """Re w_i† (∂D/∂p) w_j, (n_q, 3, 3, n_par), for motions (n_q, 3 n_atoms, 3)."""
    columns = motions.transpose(1, 2)
    dyads = 0.5 * packed_dyads(columns[:, :, None], columns.conj()[:, None])
    return torch.einsum("qijc,pqc->qijp", dyads, changes).numpy()


def _design(directions: np.ndarray) -> np.ndarray:
    """(n, 3, 3, 21): derivatives of Γ(n) by the upper triangle of the stiffness."""
    place = np.zeros((3, 3), int)
    for number, (i, j) in enumerate(VOIGT):
        place[i, j] = place[j, i] = number
    found = np.zeros((len(directions), 3, 3, 6, 6))
    for i, a, j, b in np.ndindex(3, 3, 3, 3):
        first, second = sorted((place[i, a], place[j, b]))
        found[:, i, j, first, second] += directions[:, a] * directions[:, b]
    return found[..., _UPPER[0], _UPPER[1]]


def _symmetric(upper: np.ndarray) -> np.ndarray:
    matrix = np.zeros((6, 6))
    matrix[_UPPER] = upper
    return np.triu(matrix) + np.triu(matrix, 1).T


def _density(crystal: Crystal) -> float:
    """kg/m³."""
    volume = abs(np.linalg.det(crystal.primitive_lattice)) * 1e-30
    return float(np.sum(crystal.primitive_masses)) * ATOMIC_MASS_KG / volume


def _to_standard_axes(crystal: Crystal) -> np.ndarray:
    """(3, 3): what turns Cartesian vectors of the crystal into the standard axes."""
    first, second, _ = crystal.conventional_lattice
    along, across = first / np.linalg.norm(first), np.cross(first, second)
    upwards = across / np.linalg.norm(across)
    return np.array([along, np.cross(upwards, along), upwards])


def _independent(crystal: Crystal, rotation: np.ndarray) -> tuple[str, ...]:
    """Labels of the first constants, in the usual order, from which all others follow."""
    to_cartesian = crystal.reciprocal_lattice.T
    from_cartesian = np.linalg.inv(to_cartesian)
    total = np.zeros((len(LABELS), len(LABELS)))
    for turn in crystal.point_group_rotations:
        cartesian = rotation @ to_cartesian @ turn @ from_cartesian @ rotation.T
        total += _turning(cartesian)
    invariant = total / len(crystal.point_group_rotations)
    order = sorted(range(len(LABELS)), key=lambda k: (_block(LABELS[k]), k))
    chosen: list[int] = []
    for number in order:
        rows = invariant[[*chosen, number]]
        if np.linalg.matrix_rank(rows, tol=1e-6) > len(chosen):
            chosen.append(number)
    return tuple(LABELS[number] for number in sorted(chosen))


def _block(label: str) -> int:
    """Stretches first, then the shears with themselves, then what couples them."""
    first, second = int(label[1]), int(label[2])
    return 0 if second <= 3 else (1 if first == second else 2)


def _turning(rotation: np.ndarray) -> np.ndarray:
    """(21, 21): the upper triangle of a stiffness in turned axes, from that in the old ones.

    C' = K C Kᵀ with the K that turns a stress (W. L. Bond, Bell Syst. Tech. J. 22, 1 (1943)).
    """
    turn = np.zeros((6, 6))
    for row, (i, j) in enumerate(VOIGT):
        for column, (a, b) in enumerate(VOIGT):
            turn[row, column] = rotation[i, a] * rotation[j, b]
            if a != b:
                turn[row, column] += rotation[i, b] * rotation[j, a]
    units = np.array([_symmetric(unit) for unit in np.eye(len(LABELS))])
    return (turn @ units @ turn.T)[:, _UPPER[0], _UPPER[1]].T
