"""Where a start leads to on all bins, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fcinv_core.inversion.evaluation import Evaluation, Point
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.quality import (
    FitQuality,
    believed_exposure,
    overall_deviance,
    qualities_of,
)
from fcinv_core.inversion.refinement import RELIABLE, Monitor, Refinement
from fcinv_core.inversion.stability import (
    MOST_MISFIT,
    HeldStable,
    step_to_stability,
    watched_points,
)
from fcinv_core.inversion.stages import Counts
from fcinv_core.inversion.starts import Start
from fcinv_core.inversion.verdict import EXPLAINED, GOOD_DEVIANCE, UNSTABLE_MEV

_LAST_ITERATIONS, _ROUNDS = 6, 3


@dataclass(frozen=True)
class CountsFit:
    """Where a start has led to on all bins."""

    prior: ForceConstantPrior
    problems: list[HistogramProblem]
    best: Evaluation
    qualities: list[FitQuality]

    @classmethod
    def from_start(
        cls,
        start: Start,
        prepared: Sequence[PreparedHistogram],
        lattice: Lattice,
        refine: bool,
        max_iterations: int,
        monitor: Monitor,
    ) -> CountsFit:
        """With force constants as they are unless ``refine``."""
        prior = ForceConstantPrior.around(lattice, start.centre, FINAL)
        scatter = start.scatter or (1.0,) * len(prepared)
        problems = [
            HistogramProblem(
                item, lattice, start.parameters, share=1 / len(prepared), scatter=factor
            )
            for item, factor in zip(prepared, scatter, strict=True)
        ]
        best = _refine_on_counts(
            lattice, problems, start, prior if refine else None, max_iterations, monitor
        )
        fit = cls(prior, problems, best, qualities_of(problems, best))
        found = tuple(quality.scatter for quality in fit.qualities)
        if all(now > before / 2 for now, before in zip(found, scatter, strict=True)):
            return fit
        # Samples were too few for data that scatter by less than a few rows had let expect.
        end = best.point
        better = replace(start, parameters=end.parameters, nuisances=end.nuisances, scatter=found)
        return cls.from_start(better, prepared, lattice, refine, max_iterations, monitor)

    def held_stable(
        self, lattice: Lattice, monitor: Monitor
    ) -> tuple[CountsFit, HeldStable | None]:
        """The same with the nearest stable crystal, if it is not and one fits about as well.

        What is not described to counting statistics stays: there instability tells of faults.
        """
        if max(quality.deviance_per_dof for quality in self.qualities) > GOOD_DEVIANCE:
            return self, None
        parameters = self.best.point.parameters
        q_points = watched_points(lattice)
        lowest = float(lattice.energies(parameters, q_points).min())
        if lowest > -UNSTABLE_MEV:
            return self, None
        step = step_to_stability(lattice, parameters, self.best.equations.curvature, q_points)
        if step is None:
            return self, None
        for best in self._near(self.best.point.moved(step), lattice, monitor):
            given_up = best.equations.cost - self.best.equations.cost
            now = lattice.energies(best.point.parameters, q_points).min()
            if now > -UNSTABLE_MEV and given_up < MOST_MISFIT:
                qualities = qualities_of(self.problems, best)
                held = HeldStable(-lowest, 2 * given_up)
                return replace(self, best=best, qualities=qualities), held
        return self, None

    def _near(self, stable: Point, lattice: Lattice, monitor: Monitor) -> Iterator[Evaluation]:
        """Where a descent from a stable crystal ends, then this crystal itself."""
        # Scale and backgrounds first: what was imaginary scatters now.
        fixed = Refinement(lattice, self.problems, None, monitor)
        lifted = fixed.descended(stable, Counts(), _LAST_ITERATIONS, tolerance=RELIABLE).point
        refinement = Refinement(lattice, self.problems, self.prior, monitor)
        # It stays among stable crystals mostly: modes on their way to zero energy scatter more
        # than any data allow.
        yield refinement.minimise(lifted, Counts(), _LAST_ITERATIONS)
        yield refinement.evaluate(lifted, Counts())

    @property
    def leaves_nothing_to_explain(self) -> bool:
        """Whether no histogram leaves anything that other force constants could explain."""
        return all(quality.leaves_nothing_to_find for quality in self.qualities)

    @property
    def explains_most(self) -> bool:
        """Whether little is left of all histograms but scatter."""
        return all(quality.explained > EXPLAINED for quality in self.qualities)

    @property
    def deviance(self) -> float:
        """Per degree of freedom, of all histograms."""
        return overall_deviance(self.qualities)


def _refine_on_counts(
    lattice: Lattice,
    problems: Sequence[HistogramProblem],
    start: Start,
    prior: ForceConstantPrior | None,
    max_iterations: int,
    monitor: Monitor,
) -> Evaluation:
    """Fit all bins, then again with empty bins and excess scatter seen for what they are.

    Without a prior force constants are not fitted.

    What empty bins are taken for depends on the fit, which they bend: hence `_ROUNDS`.
    """
    refinement = Refinement(lattice, problems, prior, monitor)
    known = None if start.nuisances is None else Point(start.parameters, start.nuisances)
    point = refinement.starting_point(start.parameters, known)
    result = refinement.minimise(point, Counts(), max_iterations)
    for _ in range(_ROUNDS):
        for problem, expected in zip(problems, result.expectations, strict=True):
            problem.weigh(believed_exposure(problem, expected), 1.0)
        scatter = [quality.scatter for quality in qualities_of(problems, result)]
        for problem, factor in zip(problems, scatter, strict=True):
            problem.weigh(problem.believed, factor)
        result = refinement.settled(result.trial, result.vicinities, Counts(), _LAST_ITERATIONS)
    return result
