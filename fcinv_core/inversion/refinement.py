"""Levenberg-Marquardt refinement of force constants and nuisances, in stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fcinv_core.inversion.evaluation import (
    Evaluation,
    Expectation,
    Point,
    Trial,
    Values,
    Vicinities,
    Vicinity,
)
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.nuisances import (
    BACKGROUND,
    BACKGROUNDS,
    DECAY,
    MULTIPHONON,
    NO_MULTIPHONON,
    NUISANCES,
    RESOLUTION,
    SCALE,
    pull,
)
from fcinv_core.inversion.prior import ForceConstantPrior
from fcinv_core.inversion.problem import FINE_SAMPLES, ROUGH_SAMPLES, HistogramProblem
from fcinv_core.inversion.stages import NormalEquations, Stage

CONVERGED = 0.02
"""A step that would lower the cost (half a deviance) by less than this is not worth taking."""

NEARLY_CONVERGED = 0.5
"""The same before derivatives are worked out finely, with which what is left is a few steps."""

QUIET_SHARE = 0.2
"""Share of bins that are taken to hold nothing but background, to begin with."""

LARGEST_LOGARITHM_STEP = 0.7
"""Scale and resolution change by at most a factor of two in one step."""

RELIABLE = 0.1
"""Once lines overlap, derivatives from an earlier point serve as long as a step changes the cost
by what they promise, to this relative difference; they cost far more than the spectra alone."""

FAR = 0.03
"""Relative change of mean squared displacements from which scattering by several phonons is worked
out anew before a step is judged. Smaller steps wait for new derivatives."""

Monitor = Callable[[str], None]
"""Told the name of the stage at every iteration; may raise to cancel."""


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
    negligible
        Share of the cost: a step that promises to lower it by less is not worth taking either.
    """

    def __init__(
        self,
        lattice: Lattice,
        problems: Sequence[HistogramProblem],
        prior: ForceConstantPrior | None,
        monitor: Monitor,
        negligible: float = 0.0,
    ) -> None:
        self.lattice = lattice
        self.problems = problems
        self.prior = prior
        self._monitor = monitor
        self._negligible = negligible

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
                # Several phonons count for the scale: of soft crystals nothing else may be left.
                # They come in with the counts, as in soft crystals they would fit anything.
                simulated = problem.values(state, 1.0) + problem.multiphonon(state, 1.0)
                nuisances[number, [SCALE, BACKGROUND]] = _scale_and_background(problem, simulated)
                nuisances[number, MULTIPHONON] = NO_MULTIPHONON
        return Point(parameters, nuisances)

    def evaluate(self, point: Point, stage: Stage, guess: Point | None = None) -> Evaluation:
        """Normal equations at a point, with fine derivatives of the spectra.

        Nuisances are held near those of ``guess`` if given.
        """
        values = self._values(point, stage)
        fine = self._around(point, values, FINE_SAMPLES, stage)
        return self._evaluated(point, values, fine, stage, guess)

    def _values(self, point: Point, stage: Stage) -> Values:
        state = self.lattice.state(point.parameters)
        return tuple(
            problem.values(state, float(np.exp(nuisance[RESOLUTION])))
            if _takes_part(problem, stage)
            else None
            for problem, nuisance in zip(self.problems, point.nuisances, strict=True)
        )

    def _around(self, point: Point, values: Values, most_samples: int, stage: Stage) -> Vicinities:
        state = self.lattice.state(point.parameters)
        most = None if self.prior is None else most_samples
        return tuple(
            None
            if own is None
            else problem.vicinity(state, nuisance, own, most, not stage.only_leads)
            for problem, nuisance, own in zip(self.problems, point.nuisances, values, strict=True)
        )

    def _with_multiphonon(self, point: Point, vicinities: Vicinities, stage: Stage) -> Vicinities:
        """With scattering by several phonons as it is at a point, if that has come far.

        A mode on its way to zero energy takes all the scattering of one phonon away and gives it
        to several: a step that did not see that could lead anywhere.
        """
        if stage.only_leads:
            return vicinities
        state = self.lattice.state(point.parameters)

        def moved(
            problem: HistogramProblem, nuisance: np.ndarray, vicinity: Vicinity | None
        ) -> Vicinity | None:
            if vicinity is None:
                return None
            now, then = state.tensors(problem.prepared.temperature), vicinity.displacements
            if (now - then).abs().max() < FAR * then.abs().max():
                return vicinity
            several = problem.multiphonon(state, float(np.exp(nuisance[RESOLUTION])))
            return replace(vicinity, multiphonon=several, displacements=now)

        return tuple(map(moved, self.problems, point.nuisances, vicinities))

    def _cost(
        self,
        point: Point,
        values: Values,
        vicinities: Vicinities,
        stage: Stage,
        guess: Point | None,
    ) -> float:
        cost = 0.0 if self.prior is None else self.prior.penalty(point.parameters)[0]
        for number, problem, own, vicinity in self._taking_part(values, vicinities):
            nuisance = point.nuisances[number]
            signal = problem.signal(own, nuisance, vicinity)
            expected = Expectation(signal, np.empty((*signal.shape, 0)))
            cost += stage.compare(problem, expected).cost
            cost += pull(nuisance, _nuisance_of(guess, number), problem.prepared.background)[0]
        return cost

    def _taking_part(
        self, values: Values, vicinities: Vicinities
    ) -> Iterator[tuple[int, HistogramProblem, np.ndarray, Vicinity]]:
        """Number, problem, values and vicinity of those that do."""
        for number, (own, vicinity) in enumerate(zip(values, vicinities, strict=True)):
            if own is not None and vicinity is not None:
                yield number, self.problems[number], own, vicinity

    def _evaluated(
        self,
        point: Point,
        values: Values,
        vicinities: Vicinities,
        stage: Stage,
        guess: Point | None,
    ) -> Evaluation:
        fixed = self.prior is None
        n_par, n_nuisance = len(point.parameters), len(NUISANCES)
        size = n_par + point.nuisances.size
        gradient, curvature = np.zeros(size), np.zeros((size, size))
        cost = 0.0
        expectations = []
        # Nuisances of histograms that do not take part wait for the counts.
        held = np.zeros((size, size))
        waiting = np.repeat([float(own is None) for own in values], n_nuisance)
        held[np.arange(n_par, size), np.arange(n_par, size)] = waiting
        for number, problem, plain, vicinity in self._taking_part(values, vicinities):
            nuisance = point.nuisances[number]
            first = n_par + number * n_nuisance
            own = np.arange(first, first + n_nuisance)
            index = own if fixed else np.r_[0:n_par, own]
            expected = problem.expectation(plain, nuisance, vicinity)
            expectations.append(expected)
            part = stage.compare(problem, expected)
            gradient[index] += part.gradient
            curvature[np.ix_(index, index)] += part.curvature
            pulled, slope, weak = pull(
                nuisance, _nuisance_of(guess, number), problem.prepared.background
            )
            cost += part.cost + pulled
            gradient[own] += slope
            held[own, own] = weak
        if self.prior is None:
            held[np.arange(n_par), np.arange(n_par)] = 1.0
        else:
            penalty, by_parameters = self.prior.penalty(point.parameters)
            cost += penalty
            gradient[:n_par] += by_parameters
            held[:n_par, :n_par] = self.prior.precision
        equations = NormalEquations(cost, gradient, curvature + held)
        trial = Trial(point, cost, values)
        return Evaluation(trial, equations, tuple(expectations), vicinities, held)

    def minimise(
        self, start: Point, stage: Stage, max_iterations: int, guess: Point | None = None
    ) -> Evaluation:
        """The lowest cost nearby, with fine derivatives of the spectra there."""
        near = self.descended(start, stage, max_iterations, guess, RELIABLE, NEARLY_CONVERGED)
        trial = near.trial
        fine = self._around(trial.point, trial.values, FINE_SAMPLES, stage)
        return self.settled(trial, fine, stage, max_iterations, guess)

    def settled(
        self,
        start: Trial,
        vicinities: Vicinities,
        stage: Stage,
        max_iterations: int,
        guess: Point | None = None,
    ) -> Evaluation:
        """The same where the vicinity is known, and in it the lowest cost about.

        Histograms may have been weighed anew since the trial.
        """
        begin = self._evaluated(start.point, start.values, vicinities, stage, guess)
        return self._descended(begin, stage, max_iterations, guess, np.inf, CONVERGED)

    def descended(
        self,
        start: Point,
        stage: Stage,
        max_iterations: int,
        guess: Point | None = None,
        tolerance: float = 0.0,
        converged: float = CONVERGED,
    ) -> Evaluation:
        """The lowest cost nearby by rough derivatives, which are good enough to lead the way.

        They are calculated anew where a step does not change the cost by what they promise to
        this relative ``tolerance``.
        """
        begin = self._renewed(start, self._values(start, stage), stage, guess)
        return self._descended(begin, stage, max_iterations, guess, tolerance, converged)

    def _renewed(
        self, point: Point, values: Values, stage: Stage, guess: Point | None
    ) -> Evaluation:
        rough = self._around(point, values, ROUGH_SAMPLES, stage)
        return self._evaluated(point, values, rough, stage, guess)

    def _descended(
        self,
        start: Evaluation,
        stage: Stage,
        max_iterations: int,
        guess: Point | None,
        tolerance: float,
        converged: float,
    ) -> Evaluation:
        """Levenberg-Marquardt with damping in units of the curvature's diagonal.

        Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963).
        """
        current, damping, is_fresh = start, 1e-3, True
        for _ in range(max_iterations):
            self._monitor(stage.name)
            equations = current.equations
            step = self._step(current, damping)
            while self._largest_logarithm(step) > LARGEST_LOGARITHM_STEP:
                damping *= 10
                step = self._step(current, damping)
            predicted = -float(step @ equations.gradient) / 2
            if predicted < max(converged, self._negligible * equations.cost):
                break
            point = current.point.moved(step)
            values = self._values(point, stage)
            around = self._with_multiphonon(point, current.vicinities, stage)
            gain = equations.cost - self._cost(point, values, around, stage, guess)
            if np.isfinite(gain) and gain > 0:
                is_fresh = abs(gain / predicted - 1) > tolerance
                current = (
                    self._renewed(point, values, stage, guess)
                    if is_fresh
                    else self._evaluated(point, values, around, stage, guess)
                )
                damping = max(damping / 10, 1e-9)
            elif not is_fresh and np.isfinite(tolerance):
                current = self._renewed(current.point, current.trial.values, stage, guess)
                is_fresh = True
            else:
                damping = max(10 * damping, 1e-4)
                if damping > 1e8:
                    break
        return current

    def _step(self, current: Evaluation, damping: float) -> np.ndarray:
        """Damped, and ending where several phonons scatter nothing rather than beyond that."""
        step = _damped_step(current.equations, damping)
        own = np.arange(len(self.problems)) * len(NUISANCES) + MULTIPHONON
        places = len(current.point.parameters) + own
        least = NO_MULTIPHONON - current.point.nuisances[:, MULTIPHONON]
        beyond = step[places] < least
        if not beyond.any():
            return step
        return _damped_step(current.equations, damping, places[beyond], least[beyond])

    def _largest_logarithm(self, step: np.ndarray) -> float:
        """Largest change of a logarithm (scale, resolution, decay) in a step."""
        nuisances = step[-len(self.problems) * len(NUISANCES) :].reshape(-1, len(NUISANCES))
        return float(np.abs(nuisances[:, [SCALE, RESOLUTION, DECAY]]).max())

    def led(self, start: Point, stages: Sequence[Stage], iterations: int) -> Point:
        """Where one stage after the other leads to, scale and background as at first sight."""
        point = start
        for stage in stages:
            if any(problem.prepared.has_spectra for problem in self.problems):
                point = self.descended(point, stage, iterations, guess=start).point
        return self.starting_point(point.parameters, known=point)


def _takes_part(problem: HistogramProblem, stage: Stage) -> bool:
    return problem.prepared.has_spectra or not stage.only_leads


def _nuisance_of(guess: Point | None, number: int) -> np.ndarray | None:
    return None if guess is None else guess.nuisances[number]


def _damped_step(
    equations: NormalEquations,
    damping: float,
    fixed: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Solve (H + damping diag H) step = -gradient, symmetrically scaled.

    The elements ``fixed`` of the step are ``known``.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diag(equations.curvature), 1e-30))
    scaled = equations.curvature * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += damping
    right = -equations.gradient * scale
    if fixed is not None and known is not None:
        right -= scaled[:, fixed] @ (known / scale[fixed])
        scaled[fixed], scaled[:, fixed] = 0.0, 0.0
        scaled[fixed, fixed], right[fixed] = 1.0, known / scale[fixed]
    solution, *_ = np.linalg.lstsq(scaled, right, rcond=1e-14)
    return solution * scale


def _scale_and_background(problem: HistogramProblem, simulated: np.ndarray) -> np.ndarray:
    """(log scale, background in typical signals) from a quiet level and the total intensity.

    Least squares would put everything into the background while lines do not overlap.
    """
    used = problem.exposure > 0
    exposure, typical = problem.exposure[used], problem.typical_signal
    background = float(np.quantile(problem.counts[used] / exposure, QUIET_SHARE))
    background = min(background, 0.9 * typical)
    if BACKGROUND in BACKGROUNDS[problem.prepared.background]:
        background = 0.0
    mean = float((exposure * simulated[used]).sum() / exposure.sum())
    return np.array([np.log((typical - background) / max(mean, 1e-300)), background / typical])
