"""Where a refinement begins: the valley of the best fit, found on a few rows of the data.

A network's estimate and draws from its spread come first. Where there is no network, or none of
those leads to a good fit, overall stiffnesses are tried: universal force fields are off by a
factor most of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.inversion.evaluation import Evaluation, Point
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import GUIDING, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.quality import deviance_per_dof, expected_counts, qualities_of
from fcinv_core.inversion.refinement import RELIABLE, Monitor, Refinement
from fcinv_core.inversion.stages import STAGES, Counts

COARSE_ROWS, COARSE_BINS = 150, 1000
"""Q bins of each histogram, and bins of Q and energy, that are enough to find the right valley: a
map at one energy, or one setting of the crystal, needs more Q bins than whole spectra do."""

STIFFNESS_SCAN = (0.5, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.6, 3.2)
"""Factors on the starting force constants. Universal force fields are too soft."""

ATTEMPTS = 4
"""Of a network's draws and of stiffnesses, those that are refined: whose cumulative spectra fit
best as they are."""

GOOD_START = 1.8
"""Deviance per degree of freedom on the coarse problem that ends the search."""

CERTAIN_START, FEW_BINS = 1.05, 3000
"""With so few bins wrong valleys fit nearly as well: only the first deviance ends the search
then, or that another attempt ends at the same good one."""

MUCH_BETTER = 0.03
"""Relative difference of deviances with which a start is worth another refinement: a wrong valley
may fit a few thousand bins nearly as well."""

GRANTED = 0.1
"""Relative error of the expected counts that is granted: few samples stand for a bin."""

NEGLIGIBLE = 1e-3
"""Share of the misfit that is not worth another step: which valley it is shows earlier."""

SAME_START = 0.03
"""Relative difference of deviances with which two attempts end at the same place. Where guesses
agree on a bad fit, data scatter by more than counting or the crystal is another: then two more
attempts, one softer and one stiffer than the first guess, are enough. Draws from one spread agree
in wrong valleys, too."""

_NEITHER = 1e-3
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
    nuisances
        (n_histograms, 8) there, see `NUISANCES`; None to guess them.
    deviance
        Per degree of freedom, of those rows.
    scatter
        Of each histogram's rows there, see `FitQuality.scatter`, where it is clearly beyond that
        of counting, else 1; 1 for all if empty.
    origin
        What was tried, in words.
    """

    centre: np.ndarray
    parameters: np.ndarray
    nuisances: np.ndarray | None = None
    deviance: float = np.inf
    scatter: tuple[float, ...] = ()
    origin: str = ""


Guess = tuple[str, np.ndarray]
"""What it is in words, and parameters (n_par,) in eV/Å²."""


class StartSearch:
    """The search for a valley, which can be taken up again.

    Parameters
    ----------
    initial
        (n_par,) eV/Å²: decides how finely bins are sampled.
    candidates
        A network's estimate and draws from its spread, or force constants that were given: they
        should be near. Those after the first are taken only if they are needed. May be empty.
    shapes
        Whose stiffnesses are scanned where no candidate leads to a good fit, one after the other.
    monitor
        Called at each iteration.
    """

    def __init__(
        self,
        prepared: Sequence[PreparedHistogram],
        lattice: Lattice,
        initial: np.ndarray,
        candidates: Iterator[Guess],
        shapes: Sequence[Guess],
        monitor: Monitor,
    ) -> None:
        self._lattice, self._initial, self._monitor = lattice, initial, monitor
        self._best: Start | None = None
        self._alike: set[str] = set()
        """Guesses that ended where the best did."""
        self._sides: set[int] = set()
        """Of the first guess, those that were scanned since the best was found: see `_side`."""
        self._is_settled = False
        self._problems = [
            HistogramProblem(
                item,
                lattice,
                initial,
                max(COARSE_ROWS, math.ceil(COARSE_BINS / _bins_per_row(item))),
            )
            for item in prepared
        ]
        self._has_spectra = any(item.has_spectra for item in prepared)
        n_bins = sum(p.prepared.used[p.bins].sum() for p in self._problems)
        self._few_bins = n_bins < FEW_BINS
        first = next(candidates, None)
        self._near = self._refinements(self._near_guesses(first, candidates), are_near=True)
        self._scans = [
            self._refinements(self._stiffnesses(*shape, first), are_near=False) for shape in shapes
        ]

    def find(self) -> Start:
        """The valley with the lowest deviance among those that were tried until one is good."""
        for start in self._near:
            self._consider(start, are_near=True)
            if self._is_settled or len(self._alike) > 1:
                break
        for scan in self._scans:
            if self._is_good or self.is_confirmed:
                break
            self._scan(scan)
        assert self._best is not None
        return self._best

    def widen(self) -> Start | None:
        """A much better one among those that have not been tried yet, or None.

        For when the fit that a good start has led to is not as good as counting allows. No more
        stiffnesses of a shape are tried once one ends where the best did; where that is confirmed,
        one more guess of each kind has to do.
        """
        known = self._best
        assert known is not None
        for attempts in (self._near, *self._scans):
            for start in attempts:
                change = start.deviance / known.deviance - 1
                if change < -MUCH_BETTER:
                    self._best = start
                    return start
                agrees = attempts is not self._near and abs(change) < SAME_START
                if agrees or self.is_confirmed:
                    break
        return None

    @property
    def is_confirmed(self) -> bool:
        """Whether several guesses ended where the best did, and no stiffness anywhere better."""
        return len(self._alike) > 1 and {-1, 1} <= self._sides

    def _scan(self, attempts: Iterator[Start]) -> None:
        """Try stiffnesses of a shape, until it is hopeless."""
        for start in attempts:
            self._consider(start, are_near=False)
            if self.is_confirmed or self._is_settled:
                return

    def _consider(self, start: Start, are_near: bool) -> None:
        """Keep the better one."""
        change = -1.0 if self._best is None else start.deviance / self._best.deviance - 1
        agrees = abs(change) < SAME_START
        if change <= -SAME_START:
            self._alike, self._sides = {start.origin}, set()
        elif agrees:
            self._alike.add(start.origin)
        if not are_near:
            self._sides.add(self._side(start.centre))
        if self._best is None or change < 0:
            self._best = start
        none_better = are_near and not self._few_bins and self._best is not start
        certain = self._best.deviance < (CERTAIN_START if self._few_bins else GOOD_START)
        self._is_settled = certain or (self._is_good and (agrees or none_better))

    @property
    def _is_good(self) -> bool:
        """Whether the best describes the rows."""
        return self._best is not None and self._best.deviance < GOOD_START

    def _near_guesses(self, first: Guess | None, others: Iterator[Guess]) -> Iterator[Guess]:
        if first is not None:
            yield first
        yield from self._ranked(others)[:ATTEMPTS]

    def _stiffnesses(self, name: str, shape: np.ndarray, tried: Guess | None) -> Iterator[Guess]:
        # What was tried would agree with itself.
        was_tried = tried is not None and np.allclose(shape, tried[1])
        ranked = self._ranked(
            (f"stiffness {factor:g} of {name}", self._lattice.scaled(shape, factor))
            for factor in STIFFNESS_SCAN
            if factor != 1.0 or not was_tried
        )
        # The likeliest of each side first.
        first: dict[int, Guess] = {}
        others: list[Guess] = []
        for guess in ranked:
            if first.setdefault(self._side(guess[1]), guess) is not guess:
                others.append(guess)
        yield from [*first.values(), *others][:ATTEMPTS]

    def _side(self, parameters: np.ndarray) -> int:
        """Of the initial ones: 1 if stiffer on the whole, -1 if softer, 0 if neither."""
        change = parameters @ self._initial / (self._initial @ self._initial) - 1
        return 0 if abs(change) < _NEITHER else int(np.sign(change))

    def _refinements(self, guesses: Iterable[Guess], are_near: bool) -> Iterator[Start]:
        """Each refined on a few rows, when it is asked for."""
        for origin, guess in guesses:
            yield from self._refined(origin, guess, are_near)

    def _refined(self, origin: str, guess: np.ndarray, is_near: bool) -> Iterator[Start]:
        """Straight on the counts if the guess is near, then led."""
        prior = ForceConstantPrior.around(self._lattice, guess, GUIDING)
        refinement = Refinement(self._lattice, self._problems, prior, self._monitor, NEGLIGIBLE)
        begin = refinement.starting_point(guess)

        def fitted(point: Point) -> Start:
            end = refinement.descended(point, Counts(), _COARSE_ITERATIONS, tolerance=RELIABLE)
            scatter = [quality.scatter for quality in qualities_of(self._problems, end)]
            clearly = tuple(each if each > GOOD_START else 1.0 for each in scatter)
            found = end.point
            return Start(
                guess, found.parameters, found.nuisances, self._deviance(end), clearly, origin
            )

        if is_near or not self._has_spectra:
            yield fitted(begin)
        if self._has_spectra:
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
        return deviance_per_dof(counts, means, share, float(end.informed.sum()))

    def _ranked(self, guesses: Iterable[Guess]) -> list[Guess]:
        """Those first that fit best with only scale and background adjusted."""
        refinement = Refinement(self._lattice, self._problems, None, self._monitor)
        stage = STAGES[0] if self._has_spectra else Counts()

        def misfit(guess: Guess) -> float:
            begin = refinement.starting_point(guess[1])
            end = refinement.descended(begin, stage, _ADJUSTING_ITERATIONS, begin, RELIABLE)
            return end.equations.cost

        return sorted(guesses, key=misfit)


def _bins_per_row(prepared: PreparedHistogram) -> float:
    """Energies that are used of a Q bin of which any is, on average."""
    used = prepared.used.sum(axis=1)
    return float(used[used > 0].mean())
