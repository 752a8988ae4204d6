"""From files that real Mantid wrote to force constants, against the DFT truth behind them.

The data were drawn from Euphonic's intensities at those force constants (tests/data/README.md).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.inversion import invert

TOGETHER = ("HHL0_slice_clean", "HK0_map_30meV_clean", "4d_clean")


def probability(result, truth):
    """Share of draws from the reported covariance that lie farther out than the truth."""
    basis = ForceConstantBasis.from_crystal(truth.crystal)
    assert [name.split(" Å ")[1] for name in basis.names] == [
        name.split(" Å ")[1] for name in result.basis.names
    ], "the same elements, whatever the origin of the cell"
    offset = result.parameters - basis.parameters_of(truth)
    distance = offset @ np.linalg.solve(result.covariance, offset)
    return chi2.sf(distance, len(offset))


@pytest.mark.slow
def test_slice_map_and_volume_from_nearly_true_force_constants(load, silicon, truth, rms_error):
    result = invert(
        [load(name) for name in TOGETHER], silicon, start=truth.scaled(0.9), energy_fwhm=2.4
    )
    assert rms_error(result.force_constants) < 0.15
    assert 0.005 < probability(result, truth) < 0.995
    assert result.deviance_per_dof == pytest.approx(1, abs=0.1)
    assert result.verdict.trust != "no"
    assert any("runs" in reason for reason in result.verdict.reasons)
    for fit in result.fits:
        measured = fit.measured.signal
        assert np.array_equal(np.isnan(fit.simulated.signal), ~np.isfinite(measured))
        scale = fit.nuisance["resolution_scale"]
        assert abs(scale.value - 1) < max(5 * scale.sigma, 0.03)


@pytest.mark.slow
def test_slice_map_and_volume_from_the_force_field_alone(load, silicon, rms_error):
    result = invert([load(name) for name in TOGETHER], silicon, energy_fwhm=2.4)
    assert rms_error(result.start) > 5
    assert rms_error(result.force_constants) < 0.3


@pytest.mark.slow
def test_pixel_aliasing_is_survived_and_named(load, silicon, truth, rms_error):
    result = invert([load("4d")], silicon, start=truth.scaled(0.9), energy_fwhm=2.4)
    assert rms_error(result.force_constants) < 0.5
    assert any("exceeds counting statistics" in reason for reason in result.verdict.reasons)


@pytest.mark.slow
def test_one_orientation_determines_everything(load, silicon, truth, rms_error):
    result = invert([load("one_orientation_4d_clean")], silicon, energy_fwhm=2.4)
    assert rms_error(result.force_constants) < 0.15
    assert probability(result, truth) > 0.005
    assert result.undetermined == ()


@pytest.mark.slow
def test_a_sparse_slice_from_half_the_stiffness(load, silicon, truth):
    """Optic lines start 18 meV from where they are measured, at a width of 2.4 meV."""
    data = load("five_orientations_HHL0_slice_clean")
    result = invert([data], silicon, start=truth.scaled(0.5), energy_fwhm=2.4)
    assert result.deviance_per_dof < 1.3
    assert result.verdict.trust == "caution", "a plane leaves force constants open"


def test_nothing_refined_is_said(few_samples, load, silicon, truth):
    data = load("five_orientations_HHL0_slice_clean")
    result = invert([data], silicon, start=truth, energy_fwhm=2.4, refine=False)
    assert np.allclose(result.force_constants.values, truth.values, atol=1e-10)
    assert any("nothing was refined" in reason for reason in result.verdict.reasons)
