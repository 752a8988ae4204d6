"""Where a refinement begins: the valley of the best fit, found on a few rows of the data.

A network's estimate and draws from its spread come first. Where there is no network, or none of
those leads to a good fit, overall stiffnesses are tried: universal force fields are off by a
factor most of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import GUIDING, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.quality import overall_deviance, qualities_of
from fcinv_core.inversion.refinement import RELIABLE, Monitor, Point, Refinement
from fcinv_core.inversion.stages import STAGES, Counts

COARSE_ROWS, COARSE_BINS = 150, 1000
"""Q bins of each histogram, and bins of Q and energy, that are enough to find the right valley: a
map at one energy needs more Q bins than spectra do."""

STIFFNESS_SCAN = (0.5, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.6, 3.2)
"""Factors on the starting force constants. Universal force fields are too soft."""

ATTEMPTS = 4
"""Of a network's draws and of stiffnesses, those that are refined: whose cumulative spectra fit
best as they are."""

GOOD_START = 1.6
"""Deviance per degree of freedom on the coarse problem that ends the search."""

SAME_START = 0.01
"""So does an attempt that ends at the deviance of the best, to this relative difference; but
agreement of a network's candidates among themselves does not spare the stiffnesses."""

_ADJUSTING_ITERATIONS = 3
_LEADING_ITERATIONS, _COARSE_ITERATIONS = 8, 10


@dataclass(frozen=True)
class Start:
    """Where a refinement begins.

    Attributes
    ----------
    centre
        (n_par,) eV/Å²: what was tried, the centre of the prior.
    parameters
        (n_par,) eV/Å²: where the fit to a few rows took it.
    deviance
        Per degree of freedom, of those rows.
    origin
        What was tried, in words.
    """

    centre: np.ndarray
    parameters: np.ndarray
    deviance: float
    origin: str


Guess = tuple[str, np.ndarray]
"""What it is in words, and parameters (n_par,) in eV/Å²."""


def find_start(
    prepared: Sequence[PreparedHistogram],
    lattice: Lattice,
    initial: np.ndarray,
    candidates: Iterator[Guess],
    shapes: Sequence[Guess],
    monitor: Monitor,
) -> Start:
    """The valley with the lowest deviance among those that were tried.

    Parameters
    ----------
    initial
        (n_par,) eV/Å²: decides how finely bins are sampled.
    shapes
        Whose stiffnesses are scanned where no candidate leads to a good fit, one after the other.
    candidates
        A network's: its estimate, which is ``initial``, and draws from its spread, which are
        taken only if they are needed. May be empty.
    monitor
        Called at each iteration.
    """
    search = _Search(prepared, lattice, initial, monitor)
    estimate = next(candidates, None)
    best = None if estimate is None else search.best_of([estimate], are_near=True)
    if best is not None and best.deviance >= GOOD_START:
        best = search.best_of(search.likeliest(candidates), are_near=True, best=best)
    for name, shape in shapes:
        if best is None or best.deviance >= GOOD_START:
            guesses = [
                (f"stiffness {factor:g} of {name}", lattice.scaled(shape, factor))
                for factor in STIFFNESS_SCAN
            ]
            best = search.best_of(search.likeliest(guesses), are_near=False, best=best)
    assert best is not None
    return best


class _Search:
    def __init__(
        self,
        prepared: Sequence[PreparedHistogram],
        lattice: Lattice,
        initial: np.ndarray,
        monitor: Monitor,
    ) -> None:
        self._lattice, self._monitor = lattice, monitor
        self._problems = [
            HistogramProblem(
                item,
                lattice,
                initial,
                max(COARSE_ROWS, COARSE_BINS // item.counts.shape[1]),
            )
            for item in prepared
        ]

    def best_of(
        self, guesses: Iterable[Guess], are_near: bool, best: Start | None = None
    ) -> Start | None:
        """Refine each on a few rows until one is good or ends where the best has ended."""
        for origin, guess in guesses:
            start = self._refined(origin, guess, are_near)
            agrees = best is not None and np.isclose(
                start.deviance, best.deviance, rtol=SAME_START, atol=0
            )
            if best is None or start.deviance < best.deviance:
                best = start
            if best.deviance < GOOD_START or agrees:
                break
        return best

    def _refined(self, origin: str, guess: np.ndarray, is_near: bool) -> Start:
        """Straight on the counts if the guess is near and that leads to a good fit, else led."""
        prior = ForceConstantPrior.around(self._lattice, guess, GUIDING)
        refinement = Refinement(self._lattice, self._problems, prior, self._monitor)
        begin = refinement.starting_point(guess)

        def fitted(point: Point) -> Start:
            end = refinement.descended(point, Counts(), _COARSE_ITERATIONS, tolerance=RELIABLE)
            deviance = overall_deviance(qualities_of(self._problems, end))
            return Start(guess, end.point.parameters, deviance, origin)

        if is_near and (start := fitted(begin)).deviance < GOOD_START:
            return start
        return fitted(refinement.led(begin, STAGES, _LEADING_ITERATIONS))

    def likeliest(self, guesses: Iterable[Guess]) -> list[Guess]:
        """The `ATTEMPTS` that fit best with only scale and background adjusted, in order."""
        refinement = Refinement(self._lattice, self._problems, None, self._monitor)
        has_spectra = any(problem.prepared.has_spectra for problem in self._problems)
        stage = STAGES[0] if has_spectra else Counts()

        def misfit(guess: Guess) -> float:
            begin = refinement.starting_point(guess[1])
            end = refinement.descended(begin, stage, _ADJUSTING_ITERATIONS, begin)
            return end.equations.cost

        return sorted(guesses, key=misfit)[:ATTEMPTS]
