"""Points of a refinement, and what is known of the misfit there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.inversion.uncertainty import inverse

if TYPE_CHECKING:
    from fcinv_core.inversion.stages import NormalEquations


@dataclass(frozen=True)
class Vicinity:
    """What varies little from one set of force constants to the next, and costs much, on rows.

    All without scale.

    Attributes
    ----------
    parameters
        (n_rows, n_energy, n_free) derivatives of the spectra by force constants; n_free is 0
        where these are fixed.
    resolution
        (n_rows, n_energy) derivative by the logarithm of the resolution scale.
    q_spread
        (n_rows, n_energy) derivative by the relative spread of Q; 0 where it is not fitted.
    multiphonon
        (n_rows, n_energy) scattering by two and more phonons, mbarn/meV.
    displacements
        (1, n_atoms, 3, 3) mean squared ones in Å², where ``multiphonon`` was worked out.
    """

    parameters: np.ndarray
    resolution: np.ndarray
    q_spread: np.ndarray
    multiphonon: np.ndarray
    displacements: torch.Tensor


@dataclass(frozen=True)
class Expectation:
    """Expected signal on rows (n_rows, n_energy), and its derivatives (..., n_free + 8).

    The last columns belong to `NUISANCES`, those before to the force constants: n_free is n_par,
    or 0 where force constants are fixed.
    """

    signal: np.ndarray
    jacobian: np.ndarray


Values = tuple[np.ndarray | None, ...]
Vicinities = tuple[Vicinity | None, ...]
"""Of all histograms, None for those that do not take part."""


@dataclass(frozen=True)
class Point:
    """A place in parameter space.

    Attributes
    ----------
    parameters
        (n_par,) eV/Å².
    nuisances
        (n_histograms, 8), see `NUISANCES`.
    """

    parameters: np.ndarray
    nuisances: np.ndarray

    def moved(self, step: np.ndarray) -> Point:
        """The point after ``step`` (n_par + 8 n_histograms,)."""
        n_par = len(self.parameters)
        return Point(
            self.parameters + step[:n_par],
            self.nuisances + step[n_par:].reshape(self.nuisances.shape),
        )


@dataclass(frozen=True)
class Trial:
    """The cost at a point, with the spectra of all histograms."""

    point: Point
    cost: float
    values: Values


@dataclass(frozen=True)
class Evaluation:
    """Normal equations of all histograms and priors at a point.

    ``expectations`` belong to the histograms that took part, in order; ``held`` is the part of
    the curvature that comes from priors.
    """

    trial: Trial
    equations: NormalEquations
    expectations: tuple[Expectation, ...]
    vicinities: Vicinities
    held: np.ndarray

    @property
    def point(self) -> Point:
        """Where."""
        return self.trial.point

    @cached_property
    def informed(self) -> np.ndarray:
        """(n,) how far data decide each number: 1 where they do alone, 0 where its prior does.

        Their sum is the number of parameters that were effectively fitted: diag(H⁻¹(H - P)) of
        curvature H and its part P from priors; Spiegelhalter et al., J. R. Stat. Soc. B 64, 583
        (2002), section 2.
        """
        by_priors = np.einsum("ij,ji->i", inverse(self.equations.curvature), self.held)
        return np.clip(1.0 - by_priors, 0.0, 1.0)
