"""What a trained model contributes to an inversion: an estimate in the user's own cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal.transfer import carried_to
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.starts import Guess
from fcinv_core.scattering.displacements import brillouin_mesh

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.inversion.preparation import PreparedHistogram
    from fcinv_core.networks.estimate import ForceConstantEstimate
    from fcinv_core.networks.model import Model

DRAWS = 31
"""From the spread of an estimate, that a start is sought among."""

MESH_LENGTH = 20.0
"""Å: of the mesh of wave vectors on which phonon energies are compared."""


@dataclass(frozen=True, eq=False)
class NetworkStart:
    """A network's estimate, as an inversion starts from it.

    Attributes
    ----------
    model
        Whose network it was.
    estimate
        In the cell of the model.
    force_constants
        Of the mean, in the crystal and supercell of the user, Born charges of the model.
    """

    model: Model
    estimate: ForceConstantEstimate
    force_constants: ForceConstants

    @classmethod
    def of(
        cls, model: Model, prepared: Sequence[PreparedHistogram], crystal: Crystal
    ) -> NetworkStart:
        """Ask the network.

        Parameters
        ----------
        prepared
            With ``crystal``.

        Raises
        ------
        FcinvError
            When the model is one of another crystal, or makes nothing of the data.
        """
        own = model.prior.crystal
        estimate = model.estimate([item.in_crystal(crystal, own) for item in prepared])
        return cls(model, estimate, carried_to(estimate.force_constants, crystal))

    def candidates(self, lattice: Lattice, seed: int) -> Iterator[Guess]:
        """The estimate, what else the network thinks possible, then draws from its spread."""
        crystal = lattice.basis.crystal
        yield "network", lattice.parameters_of(self.force_constants)
        for origin, found in (
            ("other estimate {} of the network", self.estimate.alternatives),
            ("draw {} from the network's spread", self.estimate.draws(DRAWS, seed)),
        ):
            for number, guess in enumerate(found, 1):
                yield origin.format(number), lattice.parameters_of(carried_to(guess, crystal))

    def force_field(self, lattice: Lattice) -> Guess:
        """Middle of the prior that the network was trained on."""
        prior = self.model.prior
        centre = carried_to(prior.force_constants(prior.centre), lattice.basis.crystal)
        return "the force field", lattice.parameters_of(centre)

    def covariance(self, lattice: Lattice) -> np.ndarray:
        """(n_par, n_par) in eV²/Å⁴ of the estimate in the basis of a lattice."""
        return self.estimate.covariance_in(lattice.basis)

    def disagreement(
        self, lattice: Lattice, parameters: np.ndarray, covariance: np.ndarray
    ) -> Disagreement:
        """Between the estimate and refined parameters (n_par,) with their covariance."""
        estimated = lattice.parameters_of(self.force_constants)
        offset = parameters - estimated
        spread = self.covariance(lattice) + covariance
        chi_squared = float(offset @ np.linalg.solve(spread, offset))
        q_points, weights = brillouin_mesh(lattice.basis.crystal.primitive_lattice, MESH_LENGTH)
        difference = lattice.energies(parameters, q_points) - lattice.energies(estimated, q_points)
        mean_square = np.average((difference**2).mean(axis=1), weights=weights)
        sigmas = float(np.sqrt(chi_squared / len(offset)))
        return Disagreement(float(np.sqrt(mean_square)), sigmas)


@dataclass(frozen=True)
class Disagreement:
    """How far a refinement took force constants from what a network had estimated.

    Attributes
    ----------
    rms_mev
        Of phonon energies over the Brillouin zone.
    sigmas
        √(χ²/n) of the n parameters, by the covariances of both: 1 for an honest network.
    """

    rms_mev: float
    sigmas: float
