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
from fcinv_core.inversion.quality import deviance_per_dof, expected_counts
from fcinv_core.inversion.refinement import RELIABLE, Evaluation, Monitor, Point, Refinement
from fcinv_core.inversion.stages import STAGES, Counts

COARSE_ROWS, COARSE_BINS = 150, 1000
"""Q bins of each histogram, and bins of Q and energy, that are enough to find the right valley: a
map at one energy needs more Q bins than spectra do."""

STIFFNESS_SCAN = (0.5, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.6, 3.2)
"""Factors on the starting force constants. Universal force fields are too soft."""

ATTEMPTS = 4
"""Of a network's draws and of stiffnesses, those that are refined: whose cumulative spectra fit
best as they are."""

GOOD_START = 1.8
"""Deviance per degree of freedom on the coarse problem that ends the search."""

CERTAIN_START, FEW_BINS = 1.05, 3000
"""With so few bins wrong valleys fit nearly as well: only the first deviance ends the search
then, or that another attempt ends at the same good one, or finds none better near by."""

GRANTED = 0.1
"""Relative error of the expected counts that is granted: few samples stand for a bin."""

SAME_START = 0.03
"""Relative difference of deviances with which two attempts end at the same place. That attempts
agree where the fit is bad ends the scan of a shape's stiffnesses, but not the search."""

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
        A network's estimate and draws from its spread, or force constants that were given: they
        should be near. Those after the first are taken only if they are needed. May be empty.
    monitor
        Called at each iteration.
    """
    search = _Search(prepared, lattice, initial, monitor)
    first = next(candidates, None)
    if first is not None:
        search.try_all([first], are_near=True)
    if not search.is_settled:
        search.try_all(search.likeliest(candidates), are_near=True)
    for name, shape in shapes:
        if not search.is_good:
            # What was tried would agree with itself.
            was_tried = first is not None and np.allclose(shape, first[1])
            guesses = [
                (f"stiffness {factor:g} of {name}", lattice.scaled(shape, factor))
                for factor in STIFFNESS_SCAN
                if factor != 1.0 or not was_tried
            ]
            search.try_all(search.likeliest(guesses), are_near=False)
    assert search.best is not None
    return search.best


class _Search:
    def __init__(
        self,
        prepared: Sequence[PreparedHistogram],
        lattice: Lattice,
        initial: np.ndarray,
        monitor: Monitor,
    ) -> None:
        self._lattice, self._monitor = lattice, monitor
        self.best: Start | None = None
        self.is_settled = False
        self._problems = [
            HistogramProblem(
                item,
                lattice,
                initial,
                max(COARSE_ROWS, COARSE_BINS // item.counts.shape[1]),
            )
            for item in prepared
        ]
        n_bins = sum(p.prepared.used[p.bins].sum() for p in self._problems)
        self._few_bins = n_bins < FEW_BINS

    @property
    def is_good(self) -> bool:
        """Whether the best describes the rows."""
        return self.best is not None and self.best.deviance < GOOD_START

    def try_all(self, guesses: Iterable[Guess], are_near: bool) -> None:
        """Refine each on a few rows until the search is settled."""
        for origin, guess in guesses:
            for start in self._refined(origin, guess, are_near):
                change = 1.0 if self.best is None else start.deviance / self.best.deviance - 1
                agrees = self.best is not None and abs(change) < SAME_START
                if self.best is None or change < 0:
                    self.best = start
                certain = self.best.deviance < (CERTAIN_START if self._few_bins else GOOD_START)
                confirmed = agrees or (are_near and self.best is not start)
                self.is_settled = certain or (self.is_good and confirmed)
                if self.is_settled or (agrees and not are_near):
                    return

    def _refined(self, origin: str, guess: np.ndarray, is_near: bool) -> Iterator[Start]:
        """Straight on the counts if the guess is near, then led."""
        prior = ForceConstantPrior.around(self._lattice, guess, GUIDING)
        refinement = Refinement(self._lattice, self._problems, prior, self._monitor)
        begin = refinement.starting_point(guess)

        def fitted(point: Point) -> Start:
            end = refinement.descended(point, Counts(), _COARSE_ITERATIONS, tolerance=RELIABLE)
            return Start(guess, end.point.parameters, self._deviance(end), origin)

        if is_near:
            yield fitted(begin)
        yield fitted(refinement.led(begin, STAGES, _LEADING_ITERATIONS))

    def _deviance(self, end: Evaluation) -> float:
        """Per degree of freedom, of bins with many counts no more than their errors allow."""
        parts = []
        for problem, expectation in zip(self._problems, end.expectations, strict=True):
            used = problem.prepared.used[problem.bins]
            means = expected_counts(problem, expectation)[used]
            parts.append((problem.prepared.counts[problem.bins][used], means))
        counts, means = (np.concatenate(part) for part in zip(*parts, strict=True))
        share = 1 / (1 + GRANTED**2 * 0.5 * (counts + means))
        return deviance_per_dof(counts, means, share, len(end.equations.gradient))

    def likeliest(self, guesses: Iterable[Guess]) -> list[Guess]:
        """The `ATTEMPTS` that fit best with only scale and background adjusted, in order."""
        refinement = Refinement(self._lattice, self._problems, None, self._monitor)
        has_spectra = any(problem.prepared.has_spectra for problem in self._problems)
        stage = STAGES[0] if has_spectra else Counts()

        def misfit(guess: Guess) -> float:
            begin = refinement.starting_point(guess[1])
            end = refinement.descended(begin, stage, _ADJUSTING_ITERATIONS, begin, RELIABLE)
            return end.equations.cost

        return sorted(guesses, key=misfit)[:ATTEMPTS]
