"""What the verdict makes of a fit's scatter."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_result import fake_result

from fcinv_core.inversion.quality import FitQuality
from fcinv_core.inversion.verdict import judge


def verdict_of(deviance, n_bins, explained=0.95, correlation=0.0, bands=None):
    quality = FitQuality(np.zeros((1, 1)), deviance, deviance, explained, correlation, n_bins, 9.0)
    bands = bands or fake_result("yes").dispersion
    return judge(
        [SimpleNamespace(has_spectra=True)],
        [quality],
        SimpleNamespace(undetermined=()),
        bands,
        np.ones(1),
        [],
    )


@pytest.mark.parametrize(
    ("deviance", "n_bins", "trust"),
    [
        # The standard deviation of a deviance per degree of freedom is sqrt(2/n).
        (1.0 + 3 * (2 / 800) ** 0.5, 800, "yes"),
        (1.0 + 5 * (2 / 800) ** 0.5, 800, "caution"),
        (1.04, 1_000_000, "yes"),
        (1.08, 7400, "caution"),
        (0.8, 7400, "yes"),
    ],
)
def test_a_little_more_scatter_than_chance_is_told(deviance, n_bins, trust):
    """A wrong valley fitted 7400 bins with 1.08."""
    found = verdict_of(deviance, n_bins)
    assert found.trust == trust
    assert any("more than chance" in reason for reason in found.reasons) == (trust != "yes")


def test_a_model_that_explains_little_is_wrong():
    found = verdict_of(3.0, 5000, explained=0.2)
    assert found.trust == "no" and "explains only 20%" in found.reasons[0]
    structured = verdict_of(9.0, 5000, explained=0.6, correlation=0.6)
    assert structured.trust == "no" and "structure" in structured.reasons[0]


@pytest.mark.parametrize(
    ("energy", "sigma", "trust"),
    [(-0.2, 0.01, "yes"), (-0.8, 0.1, "no"), (-0.8, 0.5, "caution"), (-3.0, 2.0, "no")],
)
def test_imaginary_modes_are_weighed_against_their_error_bars(energy, sigma, trust):
    """Of a crystal whose phonons end at 62 meV."""
    known = fake_result("yes").dispersion
    energies, sigmas = known.energy_mev.copy(), np.minimum(known.sigma_mev, 0.1)
    energies[0, 0], sigmas[0, 0], energies[-1, -1] = energy, sigma, 62.0
    bands = replace(known, energy_mev=energies, sigma_mev=sigmas)
    found = verdict_of(1.0, 5000, bands=bands)
    assert found.trust == trust
    assert any("imaginary" in reason for reason in found.reasons) == (trust != "yes")
