"""Where given force constants lie in a prior: a prior that excludes a truth must be found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.crystal.transfer import carried_to
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstants
    from fcinv_core.ensemble.prior import Prior

INSIDE = 0.99
"""Rank below which force constants are inside."""

MOST_DEVIATIONS = 3.0
"""Of the overall stiffness, for force constants that are inside: distances over all parameters
have long tails, in which a wrong stiffness alone would be lost."""

NAMED = 3
"""Parameters that are named as farthest."""

FARTHEST_TOLD = 0.9995
"""Rank from which force constants are told to be farther out than all draws."""


@dataclass(frozen=True)
class PriorPosition:
    """How far force constants lie from a prior.

    Attributes
    ----------
    rank
        Share of the prior's own draws that lie closer to its centre, 0 to 1.
    distance
        From the centre in standard deviations (of a typical amplitude), over all parameters.
    stiffness
        Mean squared energy over that of the prior's centre.
    stiffness_deviations
        Standard deviations by which the logarithm of the stiffness is off.
    farthest
        Parameters that are off most, at equal stiffness: name and standard deviations.
    is_stable
        No imaginary mode.
    in_energy_range
        Whether the highest energy is one that the prior admits.
    remainder
        Norm of what the prior's basis does not hold of them, relative to their norm: not zero
        when they break a symmetry of the crystal, or reach beyond the cutoff.
    """

    rank: float
    distance: float
    stiffness: float
    stiffness_deviations: float
    farthest: tuple[tuple[str, float], ...]
    is_stable: bool
    in_energy_range: bool
    remainder: float

    @property
    def is_inside(self) -> bool:
        """Closer to the centre than 99 % of the prior's own draws are, and about as stiff."""
        return self.rank < INSIDE and abs(self.stiffness_deviations) < MOST_DEVIATIONS

    def in_words(self) -> str:
        """One sentence."""
        place = "inside" if self.is_inside else "outside"
        share = "all" if self.rank >= FARTHEST_TOLD else f"{self.rank:.1%}"
        words = (
            f"{place} the prior (farther from its centre than {share} of its draws): "
            f"{self.stiffness:.3g} times as stiff as its centre"
        )
        if abs(self.stiffness_deviations) > MOST_DEVIATIONS:
            words += f" ({self.stiffness_deviations:+.1f} standard deviations)"
        sentences = [words]
        if not self.is_inside:
            name, deviations = self.farthest[0]
            sentences.append(f"farthest off is {name} ({deviations:+.1f} sigma)")
        if not self.is_stable:
            sentences.append("they are unstable, which draws never are")
        if not self.in_energy_range:
            sentences.append("their highest energy is outside the range of the prior")
        return "; ".join(sentences)


def position(prior: Prior, force_constants: ForceConstants) -> PriorPosition:
    """See `Prior.where`."""
    carried = carried_to(force_constants, prior.crystal)
    parameters = prior.basis.parameters_of(carried)
    stiffness = float(prior.stiffness(parameters))
    if not stiffness > 0:
        raise FcinvError(
            f"the mean squared energy of these force constants of {prior.crystal.formula} is not "
            "above 0: they hold nothing together; check their sign"
        )
    by_stiffness, by_shape = prior.squared_distances(parameters[None])[0]
    offsets = parameters / stiffness - prior.centre
    deviations = offsets / np.linalg.norm(prior.factor, axis=1)
    order = np.argsort(-np.abs(deviations))[:NAMED]
    lowest, highest = prior.extremes(torch.from_numpy(parameters)[None])
    total = by_stiffness + by_shape
    low, high = prior.energy_range
    sign = 1.0 if stiffness > prior.widths.stiffness_median else -1.0
    return PriorPosition(
        rank=float(np.searchsorted(prior.distances, total) / len(prior.distances)),
        distance=float(np.sqrt(total)),
        stiffness=stiffness,
        stiffness_deviations=sign * float(np.sqrt(by_stiffness)),
        farthest=tuple((prior.basis.names[k], float(deviations[k])) for k in order),
        is_stable=bool(lowest[0] > 0),
        in_energy_range=bool(low <= highest[0] <= high),
        remainder=prior.basis.residual_of(carried),
    )
