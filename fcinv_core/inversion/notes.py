"""What speaks for or against a result beside the numbers of its fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior_position import PriorPosition
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.from_model import Disagreement
    from fcinv_core.inversion.problem import HistogramProblem
    from fcinv_core.inversion.stability import HeldStable
    from fcinv_core.inversion.verdict import Trust

NETWORK, FORCE_FIELD, GIVEN = "network", "force field", "given force constants"
"""Where the start of a refinement comes from."""

DISAGREEMENT = 4.0
"""Standard deviations between network and refinement that deserve a word."""

Note = tuple["Trust", str]
"""The trust that a finding leaves, and the finding."""


def notes(
    histograms: Sequence[SQEHistogram],
    problems: Sequence[HistogramProblem],
    origin: str,
    refine: bool,
    disagreement: Disagreement | None,
    position: PriorPosition | None,
    held: HeldStable | None,
) -> list[Note]:
    """Findings that no number of the fit shows.

    Parameters
    ----------
    problems
        Of the histograms.
    origin
        `NETWORK`, `FORCE_FIELD` or `GIVEN`.
    refine
        Whether there was a refinement.
    disagreement
        Between it and a network, if there was one.
    position
        Of the result among the force constants that the network was trained on.
    held
        What was given up for a stable crystal.
    """
    return [
        *_of_start(origin, refine),
        *_of_disagreement(disagreement),
        *_of_position(position),
        *_of_stability(held),
        *_of_shared_runs(histograms),
        *_of_selection(problems),
    ]


def _of_start(origin: str, refine: bool) -> list[Note]:
    if not refine:
        what = "the network's estimate" if origin == NETWORK else "the starting force constants"
        return [("caution", f"nothing was refined: these are {what}")]
    if origin != FORCE_FIELD:
        return []
    return [
        (
            "yes",
            "refined from the force field, no trained network: where the fit is not good it may "
            "have ended in a wrong valley",
        )
    ]


def _of_disagreement(disagreement: Disagreement | None) -> list[Note]:
    if disagreement is None or disagreement.sigmas <= DISAGREEMENT:
        return []
    return [
        (
            "caution",
            f"the network and the refinement disagree by {disagreement.sigmas:.1f} times their "
            f"stated errors ({disagreement.rms_mev:.2g} meV rms): either the data are unlike those "
            "that the network was trained on, or the refinement has ended in a wrong valley",
        )
    ]


def _of_position(position: PriorPosition | None) -> list[Note]:
    if position is None or position.is_inside:
        return []
    return [
        (
            "caution",
            f"the result is unlike what the network was trained on, {position.in_words()}",
        )
    ]


def _of_stability(held: HeldStable | None) -> list[Note]:
    if held is None:
        return []
    return [
        (
            "yes",
            f"the best fit has imaginary modes down to {held.imaginary_mev:.1f}i meV; given are "
            "the nearest force constants of a stable crystal, which fit as well (χ² larger by "
            f"{max(held.chi_squared, 0.0):.1f})",
        )
    ]


def _of_shared_runs(histograms: Sequence[SQEHistogram]) -> list[Note]:
    runs = Counter(run for histogram in histograms for run in set(histogram.run_numbers))
    shared = sum(count > 1 for count in runs.values())
    if not shared:
        return []
    return [
        (
            "caution",
            f"{shared} runs stand behind more than one workspace: where they share events the "
            "error bars are too small, up to a factor of √2 for two workspaces",
        )
    ]


def _of_selection(problems: Sequence[HistogramProblem]) -> list[Note]:
    fitted = sum(len(problem.bins) for problem in problems)
    measured = sum(int(problem.prepared.used.any(axis=1).sum()) for problem in problems)
    if fitted == measured:
        return []
    return [
        (
            "yes",
            f"{fitted} of {measured} Q bins were fitted, the most telling of their neighbours, as "
            "all of them would take too long: error bars are those of the fitted ones",
        )
    ]
