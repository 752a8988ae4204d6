"""What is believed about force constants before looking at spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice


@dataclass(frozen=True)
class PriorWidth:
    """How far force constants may lie from those that a refinement starts from.

    Attributes
    ----------
    stiffness
        Relative standard deviation of a common factor on all force constants.
    scatter
        Standard deviation of a nearest-neighbour constant, over the largest of them.
    decay
        Å: the scatter falls with distance d as exp(-d/decay).
    """

    stiffness: float
    scatter: float
    decay: float


GUIDING = PriorWidth(stiffness=0.5, scatter=0.2, decay=1.6)
"""Holds the early stages near a plausible crystal; widths as errors of force fields have them."""

FINAL = PriorWidth(stiffness=1.0, scatter=0.5, decay=3.2)
"""Wide: it speaks only where the data are silent, and stands in the covariance."""


@dataclass(frozen=True)
class ForceConstantPrior:
    """Gaussian over the parameters of a lattice.

    Attributes
    ----------
    centre
        (n_par,) eV/Å².
    covariance, precision
        (n_par, n_par) and its inverse.
    """

    centre: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray

    @classmethod
    def around(cls, lattice: Lattice, centre: np.ndarray, width: PriorWidth) -> ForceConstantPrior:
        """Variance along the overall stiffness plus independent scatter in each parameter.

        In polar crystals the stiffness is that of the total force constants (`Lattice.scaled`
        says why), the scatter that of the short-ranged part, which alone decays with distance.
        """
        basis, stiffness = lattice.basis, lattice.stiffness(centre)
        nearest = basis.distances[basis.distances > 0].min()
        largest = np.abs(centre[np.isclose(basis.distances, nearest, rtol=1e-3)]).max()
        distance = np.maximum(basis.distances - nearest, 0.0)
        scatter = width.scatter * largest * np.exp(-distance / width.decay)
        covariance = np.diag(scatter**2) + width.stiffness**2 * np.outer(stiffness, stiffness)
        return cls(centre, covariance, np.linalg.inv(covariance))

    def penalty(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Half the squared distance from the centre, and its gradient."""
        offset = parameters - self.centre
        gradient = self.precision @ offset
        return 0.5 * float(offset @ gradient), gradient
