"""Levenberg-Marquardt refinement of force constants and nuisances, in stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.prior import ForceConstantPrior
from fcinv_core.inversion.problem import (
    FINE_SLOPES,
    NUISANCES,
    ROUGH_SLOPES,
    Expectation,
    HistogramProblem,
    Slopes,
)
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

    ``expectations`` belong to the histograms that took part, in order; ``slopes`` to all
    histograms, None where force constants are fixed or for those that did not take part.
    """

    point: Point
    equations: NormalEquations
    expectations: tuple[Expectation, ...]
    slopes: tuple[Slopes | None, ...]


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

    def cost(self, point: Point, stage: Stage, guess: Point | None = None) -> float:
        """That of `evaluate`, for a fraction of its time."""
        state = self.lattice.state(point.parameters)
        cost = 0.0 if self.prior is None else self.prior.penalty(point.parameters)[0]
        for number, problem in enumerate(self.problems):
            if stage.needs_spectra and not problem.prepared.has_spectra:
                continue
            nuisance = point.nuisances[number]
            signal = problem.signal(state, nuisance)
            expected = Expectation(signal, np.empty((*signal.shape, 0)))
            cost += stage.compare(problem, expected).cost
            cost += _pull(nuisance, guess, number)[0]
        return cost

    def evaluate(
        self,
        point: Point,
        stage: Stage,
        guess: Point | None = None,
        slopes: Sequence[Slopes | None] | None = None,
    ) -> Evaluation:
        """Normal equations at a point; nuisances are held near those of ``guess`` if given.

        Derivatives of spectra are ``slopes`` if given, else fine ones at the point itself.
        """
        if slopes is None:
            slopes = self.slopes(point, stage, FINE_SLOPES)
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
            expected = problem.expectation(state, nuisance, slopes[number])
            expectations.append(expected)
            part = stage.compare(problem, expected)
            cost += part.cost
            gradient[index] += part.gradient
            curvature[np.ix_(index, index)] += part.curvature
            penalty, slope, weak = _pull(nuisance, guess, number)
            cost += penalty
            gradient[own] += slope
            curvature[own, own] += weak
        if self.prior is None:
            curvature[np.arange(n_par), np.arange(n_par)] = 1.0
        else:
            penalty, slope = self.prior.penalty(point.parameters)
            cost += penalty
            gradient[:n_par] += slope
            curvature[:n_par, :n_par] += self.prior.precision
        equations = NormalEquations(cost, gradient, curvature)
        return Evaluation(point, equations, tuple(expectations), tuple(slopes))

    def slopes(self, point: Point, stage: Stage, most_samples: int) -> tuple[Slopes | None, ...]:
        """Derivatives of the spectra of all histograms that take part."""
        if self.prior is None:
            return (None,) * len(self.problems)
        state = self.lattice.state(point.parameters)
        return tuple(
            None
            if stage.needs_spectra and not problem.prepared.has_spectra
            else problem.slopes(state, point.nuisances[number], most_samples)
            for number, problem in enumerate(self.problems)
        )

    def minimise(
        self,
        start: Point,
        stage: Stage,
        max_iterations: int,
        guess: Point | None = None,
        slopes: Sequence[Slopes | None] | None = None,
    ) -> Evaluation:
        """Levenberg-Marquardt with damping in units of the curvature's diagonal.

        Derivatives are rough ones at each new point; at the end they are fine ones, calculated
        once. Those given by ``slopes`` are kept from the beginning.
        Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963).
        """
        if slopes is None:
            found = self._descended(start, stage, max_iterations, guess, None)
            if self.prior is None or not any(each.has_rough_slopes for each in self.problems):
                return found
            start, slopes = found.point, self.slopes(found.point, stage, FINE_SLOPES)
        return self._descended(start, stage, max_iterations, guess, slopes)

    def _descended(
        self,
        start: Point,
        stage: Stage,
        max_iterations: int,
        guess: Point | None,
        kept: Sequence[Slopes | None] | None,
    ) -> Evaluation:
        def evaluated(point: Point) -> Evaluation:
            slopes = self.slopes(point, stage, ROUGH_SLOPES) if kept is None else kept
            return self.evaluate(point, stage, guess, slopes)

        current = evaluated(start)
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
            trial = current.point.moved(step)
            cost = self.cost(trial, stage, guess)
            if np.isfinite(cost) and cost < equations.cost:
                current, damping = evaluated(trial), max(damping / 10, 1e-9)
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


def _pull(
    nuisance: np.ndarray, guess: Point | None, number: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Cost, gradient and curvature of the prior of a histogram's nuisances."""
    weak = (NUISANCE_SIGMA if guess is None else LEADING_SIGMA) ** -2.0
    offset = nuisance if guess is None else nuisance - guess.nuisances[number]
    return 0.5 * float(offset @ (weak * offset)), weak * offset, weak


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
