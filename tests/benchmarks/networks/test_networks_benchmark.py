"""The table of networks: what it says of estimators whose quality is known.

Networks themselves are not looked at: ``make bench-networks`` does that.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.networks import materials
from benchmarks.networks.cases import KINDS, Kind, make_case
from benchmarks.networks.estimators import Answer, Estimator, baseline
from benchmarks.networks.run import Job, Results, scored
from benchmarks.networks.score import Errors, energies_of, share_inside, zone_boundary
from benchmarks.networks.table import page, share
from benchmarks.networks.valley import ZONE, Valley

MATERIAL, N_CASES, N_Q = "Al", 20, 40


class Quick(Kind):
    """On one spectrometer with wide lines, whose bins take few samples."""

    @property
    def ranges(self):
        return replace(super().ranges, spectrometers=("MAPS", "MERLIN"), n_orientations=(3, 8))


@pytest.fixture(scope="module")
def cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "quick", Quick(100, fewest_q=30))
        yield [make_case(MATERIAL, "quick", "prior", number, N_Q) for number in range(N_CASES)]


def stand_in(name, cases, error=0.02, stated=0.02, stiffness=1.0):
    """The truth times ``stiffness``, with errors of a share of the prior's widths."""
    basis, spread = materials.prior(MATERIAL).basis, None
    spread = np.cov(materials.prior(MATERIAL).sample(500, 3).numpy().T)

    def estimate(case):
        random = np.random.default_rng(case.number)
        wrong = random.multivariate_normal(np.zeros(len(spread)), error**2 * spread, method="eigh")
        parameters = stiffness * basis.parameters_of(case.truth) + wrong
        found = materials.prior(MATERIAL).force_constants(parameters)
        return Answer(found, basis, stated**2 * spread)

    def refine(case):
        return Valley(case, basis).refined_from(estimate(case).force_constants)

    return Estimator(name, estimate, refine)
