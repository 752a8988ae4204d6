"""Where a refinement ends that starts at the truth, and whether others end there, too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from benchmarks.networks.cases import Case

from fcinv_core.crystal import ForceConstantBasis, ForceConstants
from fcinv_core.inversion.dispersion import energy_slopes
from fcinv_core.inversion.evaluation import Evaluation
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.refinement import Refinement
from fcinv_core.inversion.stages import STAGES, Counts
from fcinv_core.inversion.uncertainty import Uncertainty

WIDTHS = 2.0
"""Distance from the truth's end, in standard deviations, within which two ends are the same."""

WORSE = 5.0
"""Half a deviance by which an end may fit worse than the truth's and still be as good."""

ZONE = (np.indices((5, 5, 5)).reshape(3, -1).T + 0.5) / 5
"""Wave vectors all over the zone, which root mean squares are taken over."""

_LEADING_ITERATIONS, _ITERATIONS, _NUISANCE_ITERATIONS = 8, 15, 12


@dataclass(frozen=True)
class Arrival:
    """Where a refinement ended, as seen from where that from the truth does.

    Attributes
    ----------
    is_right
        See `Valley.judge`.
    distance
        meV, root mean square over the zone.
    excess_misfit
        Half a deviance; None where the distance alone says that it is right.
    """

    is_right: bool
    distance: float
    excess_misfit: float | None = None


def zone_slopes(lattice: Lattice, parameters: np.ndarray) -> np.ndarray:
    """Derivatives of the energies on `ZONE`, (n_q, n_modes, n_par) in meV per eV/Å²."""
    modes = lattice.modes(parameters, ZONE)
    slopes = energy_slopes(lattice, modes.eigenvectors[0], ZONE)
    return slopes / (2 * modes.energies[0].numpy()[..., None])


def rms_width(slopes: np.ndarray, covariance: np.ndarray) -> float:
    """Root mean square standard deviation in meV of energies with such derivatives."""
    variance = np.einsum("qmi,ij,qmj->qm", slopes, covariance, slopes, optimize=True)
    return float(np.sqrt(variance.mean()))


class Valley:
    """The minimum of a measurement's misfit that belongs to the truth.

    Parameters
    ----------
    case
        The measurement.
    basis
        Of the force constants of its crystal.
    """

    def __init__(self, case: Case, basis: ForceConstantBasis) -> None:
        self.basis = basis
        self.lattice = Lattice(basis, case.truth)
        self.truth = self.lattice.parameters_of(case.truth)
        self._problem = HistogramProblem(case.prepared, self.lattice, self.truth)

    @cached_property
    def end(self) -> Evaluation:
        """Where a refinement from the truth ends, under the prior of the pipeline."""
        refinement = self._refinement(self._prior)
        return refinement.minimise(refinement.starting_point(self.truth), Counts(), _ITERATIONS)

    def refined_from(self, start: ForceConstants) -> ForceConstants:
        """Staged refinement, from smooth to sharp, under the pipeline's prior around the start."""
        parameters = self.lattice.parameters_of(start)
        prior = ForceConstantPrior.around(self.lattice, parameters, FINAL)
        refinement = self._refinement(prior)
        begin = refinement.starting_point(parameters)
        near = refinement.led(begin, STAGES, _LEADING_ITERATIONS)
        end = refinement.minimise(near, Counts(), _ITERATIONS)
        return self.lattice.force_constants(end.point.parameters)

    def judge(self, force_constants: ForceConstants) -> Arrival:
        """Whether an end of a refinement is the right one.

        It is if its dispersion differs from that of the truth's end by less than `WIDTHS` times
        the Cramér-Rao width (root mean squares over the zone), or if it fits the counts no worse
        than the truth's end by more than `WORSE` (half deviances, nuisances refitted, without
        any prior): other force constants that data cannot tell apart are no failure.
        """
        distance = self.distance(force_constants)
        if distance < WIDTHS * self.width(self.covariance):
            return Arrival(True, distance)
        misfit = self._misfit(self.lattice.parameters_of(force_constants)) - self._least_misfit
        return Arrival(misfit < WORSE, distance, misfit)

    def distance(self, force_constants: ForceConstants) -> float:
        """Root mean square difference of energies from the truth's end, meV."""
        own = self.lattice.energies(self.end.point.parameters, ZONE)
        others = self.lattice.energies(self.lattice.parameters_of(force_constants), ZONE)
        return float(np.sqrt(np.mean((others - own) ** 2)))

    @cached_property
    def covariance(self) -> np.ndarray:
        """(n_par, n_par) in eV²/Å⁴: the Cramér-Rao bound under the pipeline's prior."""
        return Uncertainty.at_optimum(
            self.end.equations.curvature, self._prior, self.basis, 1
        ).covariance

    def covariance_under(self, prior: np.ndarray) -> np.ndarray:
        """The same under another prior covariance (n_par, n_par)."""
        curvature = self.end.equations.curvature.copy()
        n_par = len(prior)
        curvature[:n_par, :n_par] += np.linalg.inv(prior) - self._prior.precision
        scale = 1 / np.sqrt(np.diag(curvature))
        inverse = np.linalg.inv(curvature * np.outer(scale, scale))
        return (inverse * np.outer(scale, scale))[:n_par, :n_par]

    def width(self, covariance: np.ndarray) -> float:
        """Root mean square standard deviation of energies over the zone, meV."""
        return rms_width(self._slopes, covariance)

    @cached_property
    def _slopes(self) -> np.ndarray:
        """(n_q, n_modes, n_par) in meV per eV/Å², at the truth."""
        return zone_slopes(self.lattice, self.truth)

    @cached_property
    def _prior(self) -> ForceConstantPrior:
        return ForceConstantPrior.around(self.lattice, self.truth, FINAL)

    @cached_property
    def _least_misfit(self) -> float:
        return self._misfit(self.end.point.parameters)

    def _misfit(self, parameters: np.ndarray) -> float:
        refinement = self._refinement(None)
        point = refinement.starting_point(parameters, known=self.end.point)
        return refinement.minimise(point, Counts(), _NUISANCE_ITERATIONS).equations.cost

    def _refinement(self, prior: ForceConstantPrior | None) -> Refinement:
        return Refinement(self.lattice, [self._problem], prior, lambda _: None)
