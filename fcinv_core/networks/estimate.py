"""Force constants that a network reads off measurements, with their spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.prior import Prior

DRAWS_FOR_EACH = 16
"""Draws from the spread for each that is asked for, of which some are stable."""

APART = 0.05
"""Relative difference of force constants below which two estimates are the same."""

PRIOR_DRAWS = 1000
"""Whose mean and covariance stand for a prior."""


@dataclass(frozen=True, eq=False)
class ForceConstantEstimate:
    """A Gaussian over the force constants of one crystal, in the cell and basis of a prior.

    Attributes
    ----------
    prior
        Of the network, with the crystal and basis.
    parameters
        (n_parameters,) mean, eV/Å².
    covariance
        (n_parameters, n_parameters) eV²/Å⁴.
    others
        (n_others, n_parameters) eV/Å²: what else explains the measurements about as well.
    """

    prior: Prior
    parameters: np.ndarray
    covariance: np.ndarray
    others: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def from_prior(cls, prior: Prior) -> ForceConstantEstimate:
        """Mean and covariance of a prior's draws: what is known without a measurement."""
        drawn = prior.sample(PRIOR_DRAWS).numpy()
        return cls(prior, drawn.mean(axis=0), np.cov(drawn, rowvar=False))

    @classmethod
    def of_several(
        cls, prior: Prior, parameters: np.ndarray, covariance: np.ndarray
    ) -> ForceConstantEstimate:
        """The first of n estimates (n, n_parameters), with those others that differ from it."""
        kept = parameters[:1]
        for candidate in parameters[1:]:
            apart = np.linalg.norm(kept - candidate, axis=1) / np.linalg.norm(candidate)
            if apart.min() > APART:
                kept = np.vstack([kept, candidate])
        return cls(prior, kept[0], covariance[0], kept[1:])

    @property
    def basis(self) -> ForceConstantBasis:
        """Of the parameters."""
        return self.prior.basis

    @cached_property
    def force_constants(self) -> ForceConstants:
        """Of the mean; total ones, with the Born charges of the prior."""
        return self.prior.force_constants(self.parameters)

    @property
    def alternatives(self) -> list[ForceConstants]:
        """Of `others`, as `force_constants`."""
        return [self.prior.force_constants(other) for other in self.others]

    def draws(self, n: int, seed: int = 0) -> list[ForceConstants]:
        """``n`` draws from the Gaussian that are stable; fewer where few are."""
        generator = np.random.default_rng(seed)
        variances, axes = np.linalg.eigh(0.5 * (self.covariance + self.covariance.T))
        widths = axes * np.sqrt(np.maximum(variances, 0.0))
        normal = generator.standard_normal((DRAWS_FOR_EACH * n, len(self.parameters)))
        drawn = self.parameters + normal @ widths.T
        lowest, _ = self.prior.extremes(torch.from_numpy(drawn))
        stable = drawn[(lowest > 0).cpu().numpy()]
        return [self.prior.force_constants(p) for p in stable[:n]]

    def covariance_in(self, basis: ForceConstantBasis) -> np.ndarray:
        """Covariance of the parameters of another basis of the crystal, (n, n) in eV²/Å⁴.

        The other crystal may have another cell, supercell or range of force constants; those
        that this estimate cannot tell of have no variance.
        """
        slopes = np.stack(
            [
                basis.parameters_of(_moved(direction, self.basis.crystal, basis.crystal))
                for direction in self.basis.map.T
            ],
            axis=1,
        )
        return slopes @ self.covariance @ slopes.T


def _moved(direction: np.ndarray, old: Crystal, new: Crystal) -> ForceConstants:
    shape = (old.n_primitive, old.n_supercell, 3, 3)
    change = ForceConstants(old, np.ascontiguousarray(direction).reshape(shape))
    # Not those of the dipoles, which no parameter changes.
    return change if old.content_hash == new.content_hash else carried_to(change, new)
