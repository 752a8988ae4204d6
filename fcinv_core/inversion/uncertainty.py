"""Error bars: covariance of the parameters, and what the data leave open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import shell_constants
from fcinv_core.inversion.prior import ForceConstantPrior

if TYPE_CHECKING:
    from fcinv_core.crystal import ForceConstantBasis

SILENT = 1.0
"""A combination whose Fisher information is below this times the prior's is not determined."""

UNSEEN = 0.5
"""A shell's constant is not seen if data leave more than this share of the prior's variance."""

_NAMED, _SHELLS_NAMED = 2, 4


@dataclass(frozen=True)
class Uncertainty:
    """Covariance at the optimum.

    Attributes
    ----------
    covariance
        (n_par, n_par) in (eV/Å²)², nuisances marginalised, prior included.
    nuisance_sigma
        (n_histograms, n_nuisances) standard deviations.
    n_undetermined
        Number of combinations that the data determine less well than the prior.
    undetermined
        Sentences that name them.
    """

    covariance: np.ndarray
    nuisance_sigma: np.ndarray
    n_undetermined: int
    undetermined: tuple[str, ...]

    @classmethod
    def at_optimum(
        cls,
        curvature: np.ndarray,
        prior: ForceConstantPrior,
        basis: ForceConstantBasis,
        n_histograms: int,
    ) -> Uncertainty:
        """From the curvature (Fisher information plus prior precision) of all parameters.

        Parameters
        ----------
        curvature
            (n_par + n_nuisances n_histograms,) squared, from `Refinement.evaluate` on counts.
        """
        n_par = len(prior.centre)
        covariance = inverse(curvature)
        sigma = np.sqrt(np.maximum(np.diag(covariance)[n_par:], 0.0))
        covariance = covariance[:n_par, :n_par]
        widths = np.linalg.cholesky(prior.covariance)
        # share of the prior's variance that is left, along the axes that the data single out
        left = np.linalg.inv(widths) @ covariance @ np.linalg.inv(widths).T
        shares, axes = np.linalg.eigh(0.5 * (left + left.T))
        silent = shares > 1 / (1 + SILENT)
        names = _names_of(basis, widths @ axes[:, silent])
        return cls(
            covariance,
            sigma.reshape(n_histograms, -1),
            int(silent.sum()),
            _sentences(int(silent.sum()), n_par, names)
            + _unseen(basis, covariance, prior.covariance),
        )

    def replaced_by(self, covariance: np.ndarray) -> Uncertainty:
        """With a covariance (n_par, n_par) of another origin than these data."""
        return replace(self, covariance=covariance, n_undetermined=0, undetermined=())


def inverse(curvature: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix whose diagonal spans many decades."""
    scale = 1 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    scaled = curvature * np.outer(scale, scale)
    inverse = np.linalg.pinv(0.5 * (scaled + scaled.T), rcond=1e-13, hermitian=True)
    return inverse * np.outer(scale, scale)


def _names_of(basis: ForceConstantBasis, directions: np.ndarray) -> list[str]:
    """Parameters that the directions (n_par, n) touch most, relative to their own scatter."""
    if directions.shape[1] == 0:
        return []
    share = (directions**2).sum(axis=1)
    order = np.argsort(-share)
    return [basis.names[k] for k in order[: _NAMED * directions.shape[1]]][:_NAMED]


def _sentences(n_silent: int, n_par: int, names: list[str]) -> tuple[str, ...]:
    if n_silent == 0:
        return ()
    what = "combination" if n_silent == 1 else "combinations"
    verb = "is" if n_silent == 1 else "are"
    return (
        f"{n_silent} {what} of the {n_par} force constants {verb} not determined by these data; "
        f"there the result is that of the start. Most concerned: {', '.join(names)}.",
    )


def _unseen(
    basis: ForceConstantBasis, covariance: np.ndarray, before: np.ndarray
) -> tuple[str, ...]:
    """A sentence that names the springs of neighbours which the data tell little of.

    Parameters
    ----------
    covariance, before
        (n_par, n_par) of the result and of the prior.
    """
    nothing = np.zeros(len(covariance))
    found = []
    for after, prior in zip(
        shell_constants(basis, nothing, covariance),
        shell_constants(basis, nothing, before),
        strict=True,
    ):
        kinds = [
            kind
            for kind in ("longitudinal", "transverse")
            if getattr(after, f"{kind}_sigma") ** 2 > UNSEEN * getattr(prior, f"{kind}_sigma") ** 2
        ]
        if kinds:
            what = "both constants" if len(kinds) == 2 else f"the {kinds[0]} constant"
            found.append(f"{what} of the {after.name}")
    if not found:
        return ()
    more = len(found) - _SHELLS_NAMED
    ending = f" and of {more} more shells" if more > 0 else ""
    return (f"The data hardly see {', '.join(found[:_SHELLS_NAMED])}{ending}.",)
