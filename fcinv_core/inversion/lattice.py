"""Parameters <-> total force constants, and the modes that they give.

The parameters p are force constants of the part that a supercell can hold: all of it in a
non-polar crystal; in a polar one what is left after the dipole part, known in closed form from
Born charges and dielectric tensor, has been taken out at the commensurate q points,

    Φ = map @ p + Φ_dipole.

So a cutoff bounds the short-ranged part only, and errors of p leave the long-ranged part alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstantBasis, ForceConstants
    from fcinv_core.scattering.dynamical import Modes


class Lattice:
    """Force-constant basis and what its crystal's spectra need, shared by all histograms.

    Parameters
    ----------
    basis
        Of the parameters.
    start
        Force constants of the same crystal and supercell. Their Born charges and dielectric
        tensor, if they have any, hold for all parameters.

    Attributes
    ----------
    dynamics
        D(q) and displacements.
    polar
        Dipole part of D(q), None without Born charges.
    directions
        The force constants of one unit of each parameter.
    """

    def __init__(self, basis: ForceConstantBasis, start: ForceConstants) -> None:
        self.basis = basis
        self.dynamics = LatticeDynamics(basis.crystal)
        self.polar = self.dynamics.polar_part_of(start)
        self._start = start
        self._last: tuple[np.ndarray, LatticeState] | None = None
        units = torch.from_numpy(np.ascontiguousarray(basis.map.T))
        self.directions = self.dynamics.real_space(units.reshape(-1, *start.values.shape))
        self._dipole_values = np.zeros(start.values.shape)
        if self.polar is not None:
            nothing = torch.zeros(start.values.shape, dtype=torch.float64)
            dipoles = -self.polar.short_ranged(nothing).numpy()
            self._dipole_values = dipoles + _restoring_sum_rule(basis, dipoles)
        self._dipole_parameters = self._closest(self._dipole_values)

    @property
    def is_polar(self) -> bool:
        """Whether the parameters are those of the short-ranged part only."""
        return self.polar is not None

    def force_constants(self, parameters: np.ndarray) -> ForceConstants:
        """Total force constants of parameters (n_par,) in eV/Å², with the start's Born charges."""
        return self._start.with_values(self.force_constant_values(parameters).numpy())

    def force_constant_values(self, parameters: np.ndarray) -> torch.Tensor:
        """Total compact force constants (n_primitive, n_supercell, 3, 3) in eV/Å²."""
        values = (self.basis.map @ parameters).reshape(self._dipole_values.shape)
        return torch.from_numpy(values + self._dipole_values)

    def parameters_of(self, force_constants: ForceConstants) -> np.ndarray:
        """(n_par,) in eV/Å² of the closest that the basis holds to total force constants."""
        return self._closest(force_constants.values - self._dipole_values)

    def stiffness(self, parameters: np.ndarray) -> np.ndarray:
        """Change of the parameters (n_par,) per relative change of all total force constants."""
        return parameters + self._dipole_parameters

    def scaled(self, parameters: np.ndarray, factor: float) -> np.ndarray:
        """Parameters of ``factor`` times the total force constants, Born charges as they are.

        Not of the short-ranged part alone, which would be factor * parameters: repulsion at
        short range and attraction of the dipoles nearly cancel in many modes, and with only one of
        the two scaled quartz is unstable (to 50i meV) at half as well as at 2.6 times the
        stiffness, Al2O3 at half, NaCl at 3.2 times. With the total scaled, energies at
        commensurate q scale, so that stable crystals stay stable (quartz to 3i meV); only the
        splitting next to Γ keeps its size, which belongs to the charges. A force field that is
        too soft is so in the total, too.
        """
        return parameters + (factor - 1) * self.stiffness(parameters)

    def state(self, parameters: np.ndarray) -> LatticeState:
        """Displacements for ``parameters`` (n_par,) in eV/Å²; the last one is remembered."""
        if self._last is None or not np.array_equal(self._last[0], parameters):
            self._last = parameters.copy(), LatticeState(parameters, self)
        return self._last[1]

    def modes(self, parameters: np.ndarray, q_points: np.ndarray) -> Modes:
        """Modes at (n_q, 3) in reciprocal coordinates of the primitive cell."""
        values = self.force_constant_values(parameters)[None]
        real_space = self.dynamics.real_space(values, self.polar)
        return self.dynamics.modes(real_space, q_points, self.polar)

    def energies(self, parameters: np.ndarray, q_points: np.ndarray) -> np.ndarray:
        """(n_q, n_modes) in meV."""
        return self.modes(parameters, q_points).energies[0].numpy()

    def _closest(self, values: np.ndarray) -> np.ndarray:
        return self.basis.parameters_of(self._start.with_values(values))


class LatticeState:
    """Force constants and displacements of one parameter set, shared by all histograms.

    Attributes
    ----------
    real_space
        Force constants by lattice translation, without their dipole part.
    """

    def __init__(self, parameters: np.ndarray, lattice: Lattice) -> None:
        self._lattice = lattice
        values = lattice.force_constant_values(parameters)
        self.real_space = lattice.dynamics.real_space(values[None], lattice.polar)
        self._tensors: dict[float, torch.Tensor] = {}
        self._slopes: dict[float, torch.Tensor] = {}

    def tensors(self, temperature: float) -> torch.Tensor:
        """⟨u u⟩, (1, n_atoms, 3, 3) in Å²."""
        if temperature not in self._tensors:
            lattice = self._lattice
            self._tensors[temperature] = lattice.dynamics.tensors(
                self.real_space, temperature, lattice.polar
            )
        return self._tensors[temperature]

    def slopes(self, temperature: float) -> torch.Tensor:
        """∂⟨u u⟩/∂p, (n_atoms, 3, 3, n_par) in Å² per eV/Å²."""
        if temperature not in self._slopes:
            lattice, polar = self._lattice, self._lattice.polar
            displacements = lattice.dynamics.displacements
            dipoles = None if polar is None else polar.stored(displacements.q_points)
            self._slopes[temperature] = displacements.slopes(
                self.real_space, lattice.directions, temperature, dipoles
            )
        return self._slopes[temperature]


def _restoring_sum_rule(basis: ForceConstantBasis, dipoles: np.ndarray) -> np.ndarray:
    """What to add to dipole force constants so that rigid translations cost no force.

    Where atoms have little symmetry, Σ_j Φ_ij of the dipoles is an antisymmetric tensor A_i for
    each atom (9 eV/Å² in quartz), which the short-ranged part of real force constants makes up
    for. The basis obeys the sum rule, so the parameters cannot. Antisymmetric tensors
    φ_i - φ_j between all pairs in the range of the basis, which keep the symmetries, do so when
    Σ_j (φ_i - φ_j) = -A_i: the equations of a resistor network.

    Parameters
    ----------
    dipoles
        (n_primitive, n_supercell, 3, 3) in eV/Å².
    """
    crystal = basis.crystal
    reach = np.inf if basis.cutoff is None else basis.cutoff
    joined = basis.neighbours.distances <= reach
    to_primitive = np.eye(crystal.n_primitive)[crystal.supercell_to_primitive]
    laplacian = np.diag(joined.sum(axis=1)) - joined @ to_primitive
    force = dipoles.sum(axis=1).reshape(crystal.n_primitive, 9)
    potential = -(np.linalg.pinv(laplacian, rcond=1e-10, hermitian=True) @ force).reshape(-1, 3, 3)
    flow = potential[:, None] - potential[crystal.supercell_to_primitive]
    return joined[..., None, None] * flow
