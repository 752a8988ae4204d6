"""Levenberg-Marquardt refinement of force constants and nuisances, in stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.prior import ForceConstantPrior
from fcinv_core.inversion.problem import NUISANCES, Expectation, HistogramProblem
from fcinv_core.inversion.stages import Counts, NormalEquations, Stage

NUISANCE_SIGMA = np.array([np.inf, np.inf, 1.0, 0.2, 0.05])
"""Prior widths of `NUISANCES`: scale and background free, the slope no larger than the signal,
the resolution known to 20 %, the spread of Q inside bins to 5 %."""

LEADING_SIGMA = np.array([0.5, 0.3, 0.2, 0.1, 0.05])
"""The same around the first guess while the stages lead the way: else a model whose lines are
nowhere near those measured makes peace by becoming all background."""

CONVERGED = 0.02
"""A step that would lower the cost (half a deviance) by less than this is not worth taking."""

QUIET_SHARE = 0.2
"""Share of bins that are taken to hold nothing but background, to begin with."""

LARGEST_LOGARITHM_STEP = 0.7
"""Scale and resolution change by at most a factor of two in one step."""

Monitor = Callable[[str], None]
"""Told the name of the stage at every iteration; may raise to cancel."""


@dataclass(frozen=True)
class Point:
    """A place in parameter space.

    Attributes
    ----------
    parameters
        (n_par,) eV/Å².
    nuisances
        (n_histograms, 5), see `HistogramProblem.expectation`.
    """

    parameters: np.ndarray
    nuisances: np.ndarray

    def moved(self, step: np.ndarray) -> Point:
        """The point after ``step`` (n_par + 5 n_histograms,)."""
        n_par = len(self.parameters)
        return Point(
            self.parameters + step[:n_par],
            self.nuisances + step[n_par:].reshape(self.nuisances.shape),
        )


@dataclass(frozen=True)
class Evaluation:
    """Normal equations of all histograms and priors at a point.

    ``expectations`` belong to the histograms that took part, in order.
    """

    point: Point
    equations: NormalEquations
    expectations: tuple[Expectation, ...]


class Refinement:
    """Minimises the misfit of several histograms under a prior.

    Parameters
    ----------
    lattice, problems
        The crystal's basis and one problem for each histogram.
    prior
        Over the force-constant parameters; None keeps them fixed at the starting point.
    monitor
        Called at each iteration.
    """

    def __init__(
        self,
        lattice: Lattice,
        problems: Sequence[HistogramProblem],
        prior: ForceConstantPrior | None,
        monitor: Monitor,
    ) -> None:
        self.lattice = lattice
        self.problems = problems
        self.prior = prior
        self._monitor = monitor

    def starting_point(self, parameters: np.ndarray, known: Point | None = None) -> Point:
        """First guess of scale and background of each histogram.

        Those of histograms with spectra are taken from ``known`` if that is given.
        """
        state = self.lattice.state(parameters)
        nuisances = np.zeros((len(self.problems), len(NUISANCES)))
        for number, problem in enumerate(self.problems):
            if known is not None and problem.prepared.has_spectra:
                nuisances[number] = known.nuisances[number]
            else:
                simulated = problem.spectra(state, 1.0)
                nuisances[number, :2] = _scale_and_background(problem, simulated)
        return Point(parameters, nuisances)

    def evaluate(self, point: Point, stage: Stage, guess: Point | None = None) -> Evaluation:
        """Normal equations at a point; nuisances are held near those of ``guess`` if given."""
        fixed = self.prior is None
        n_par, n_nuisance = len(point.parameters), len(NUISANCES)
        size = n_par + point.nuisances.size
        gradient, curvature, cost = np.zeros(size), np.zeros((size, size)), 0.0
        state = self.lattice.state(point.parameters)
        expectations = []
        for number, problem in enumerate(self.problems):
            nuisance = point.nuisances[number]
            first = n_par + number * n_nuisance
            own = np.arange(first, first + n_nuisance)
            index = own if fixed else np.r_[0:n_par, own]
            if stage.needs_spectra and not problem.prepared.has_spectra:
                curvature[own, own] = 1.0  # waits for the counts
                continue
            expected = problem.expectation(state, nuisance, fixed=fixed)
            expectations.append(expected)
            part = stage.compare(problem, expected)
            cost += part.cost
            gradient[index] += part.gradient
            curvature[np.ix_(index, index)] += part.curvature
            weak = (NUISANCE_SIGMA if guess is None else LEADING_SIGMA) ** -2.0
            offset = nuisance if guess is None else nuisance - guess.nuisances[number]
            cost += 0.5 * float(offset @ (weak * offset))
            gradient[own] += weak * offset
            curvature[own, own] += weak
        if self.prior is None:
            curvature[np.arange(n_par), np.arange(n_par)] = 1.0
        else:
            penalty, slope = self.prior.penalty(point.parameters)
            cost += penalty
            gradient[:n_par] += slope
            curvature[:n_par, :n_par] += self.prior.precision
        return Evaluation(point, NormalEquations(cost, gradient, curvature), tuple(expectations))

    def minimise(
        self, start: Point, stage: Stage, max_iterations: int, guess: Point | None = None
    ) -> Evaluation:
        """Levenberg-Marquardt with damping in units of the curvature's diagonal.

        Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963).
        """
        current = self.evaluate(start, stage, guess)
        damping = 1e-3
        for _ in range(max_iterations):
            self._monitor(stage.name)
            equations = current.equations
            step = _damped_step(equations, damping)
            while self._largest_logarithm(step) > LARGEST_LOGARITHM_STEP:
                damping *= 10
                step = _damped_step(equations, damping)
            predicted = -float(step @ equations.gradient) / 2
            if predicted < CONVERGED:
                break
            trial = self.evaluate(current.point.moved(step), stage, guess)
            if np.isfinite(trial.equations.cost) and trial.equations.cost < equations.cost:
                current, damping = trial, max(damping / 10, 1e-9)
            else:
                damping = max(10 * damping, 1e-4)
                if damping > 1e8:
                    break
        return current

    def _largest_logarithm(self, step: np.ndarray) -> float:
        """Largest change of a logarithm (scale, resolution) in a step."""
        nuisances = step[-len(self.problems) * len(NUISANCES) :].reshape(-1, len(NUISANCES))
        return float(np.abs(nuisances[:, [0, 3]]).max())

    def through(
        self, start: Point, stages: Sequence[Stage], iterations: int, last_iterations: int
    ) -> Evaluation:
        """Run through leading ``stages`` and end on the counts."""
        point = start
        for stage in stages:
            if any(problem.prepared.has_spectra for problem in self.problems):
                point = self.minimise(point, stage, iterations, guess=start).point
        point = self.starting_point(point.parameters, known=point)
        return self.minimise(point, Counts(), last_iterations)


def _damped_step(equations: NormalEquations, damping: float) -> np.ndarray:
    """Solve (H + damping diag H) step = -gradient, symmetrically scaled."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(equations.curvature), 1e-30))
    scaled = equations.curvature * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += damping
    solution, *_ = np.linalg.lstsq(scaled, -equations.gradient * scale, rcond=1e-14)
    return solution * scale


def _scale_and_background(problem: HistogramProblem, simulated: np.ndarray) -> np.ndarray:
    """(log scale, background in typical signals) from a quiet level and the total intensity.

    Least squares would put everything into the background while lines do not overlap.
    """
    used = problem.exposure > 0
    exposure, typical = problem.exposure[used], problem.typical_signal
    background = float(np.quantile(problem.counts[used] / exposure, QUIET_SHARE))
    background = min(background, 0.9 * typical)
    mean = float((exposure * simulated[used]).sum() / exposure.sum())
    return np.array([np.log((typical - background) / max(mean, 1e-300)), background / typical])
