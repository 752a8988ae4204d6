"""Inversions that start from a network whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from toy_network import toy_model

from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.samples import ForceFieldSample
from fcinv_core.errors import FcinvError
from fcinv_core.inversion import invert
from fcinv_core.inversion.from_model import NetworkStart
from fcinv_core.inversion.output import result_document

ENERGY_FWHM = 2.4
MESH = np.indices((8, 8, 8)).reshape(3, -1).T / 8


@pytest.fixture(scope="module")
def prior(truth):
    """Of silicon, in the cell of the truth: too soft by far."""
    crystal = truth.crystal
    sample = ForceFieldSample(truth.scaled(0.6), "none", "scaled", crystal.lattice, 0.0, True)
    return Prior.from_samples(ForceConstantBasis.from_crystal(crystal), [sample])


@pytest.fixture(scope="module")
def nearly_true(prior, truth):
    """One draw from the spread of the toy network around the truth."""
    drawn = prior.basis.parameters_of(truth)
    return drawn + 0.1 * prior.factor @ np.random.default_rng(1).normal(size=prior.factor.shape[1])


@pytest.fixture(scope="module")
def data(load):
    return load("five_orientations_HHL0_slice_clean")


@pytest.fixture
def no_force_field(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the force field was asked")

    monkeypatch.setattr("fcinv_core.ensemble.potentials.force_field_constants", refuse)


def test_a_good_estimate_is_refined_at_once(
    few_samples, no_force_field, data, silicon, prior, nearly_true
):
    model = toy_model(prior, nearly_true)
    result = invert([data], silicon, model=model, energy_fwhm=ENERGY_FWHM)
    assert result.deviance_per_dof < 1.3
    settings = json.loads(json.dumps(result_document(result)))["settings"]
    assert settings["start"] == settings["first_guess"] == "network"
    assert settings["model"] == {"name": "", "architecture": "toy", "sha256": model.sha256}
    found = settings["network_and_refinement"]
    assert found["sigmas"] == pytest.approx(1, abs=0.5)
    by_phonopy = result.force_constants.frequencies(MESH) - result.start.frequencies(MESH)
    assert found["rms_mev"] == pytest.approx(np.sqrt((by_phonopy**2).mean()), rel=0.1)
    assert not any("wrong valley" in reason for reason in result.verdict.reasons)
    assert 0 < settings["rank_in_prior"] < 0.99
    assert not any("unlike" in reason for reason in result.verdict.reasons)


@pytest.mark.slow
def test_a_result_outside_of_what_the_network_knows_is_named(
    no_force_field, data, silicon, truth, nearly_true
):
    """A prior of crystals that are twenty times as soft."""
    crystal = truth.crystal
    samples = [
        ForceFieldSample(truth.scaled(factor), "none", "scaled", crystal.lattice, 0.0, True)
        for factor in (0.04, 0.05)
    ]
    soft = Prior.from_samples(ForceConstantBasis.from_crystal(crystal), samples)
    model = toy_model(soft, nearly_true)
    result = invert([data], silicon, model=model, energy_fwhm=ENERGY_FWHM)
    assert result.deviance_per_dof < 1.3
    assert result.verdict.trust != "yes"
    assert any("unlike what the network was trained on" in r for r in result.verdict.reasons)


@pytest.mark.slow
def test_a_bad_estimate_is_left_behind_and_named(
    no_force_field, data, silicon, truth, prior, rms_error
):
    """At a third of the stiffness, and sure of it."""
    model = toy_model(prior, prior.basis.parameters_of(truth) / 3, spread=0.01)
    result = invert([data], silicon, model=model, energy_fwhm=ENERGY_FWHM)
    assert result.deviance_per_dof < 1.3
    assert rms_error(result.start) > 10 > 5 * rms_error(result.force_constants)
    assert result.settings["network_and_refinement"]["sigmas"] > 4
    assert result.verdict.trust != "yes"
    assert any("network and the refinement disagree" in why for why in result.verdict.reasons)


def test_not_refined_the_estimate_itself_is_the_result(
    few_samples, no_force_field, data, truth, prior, nearly_true
):
    model = toy_model(prior, nearly_true)
    result = invert([data], truth.crystal, model=model, energy_fwhm=ENERGY_FWHM, refine=False)
    np.testing.assert_allclose(result.parameters, model.network.answer.detach(), atol=1e-6)
    spread = model.network.estimate_from([]).covariance[0]
    np.testing.assert_allclose(result.covariance, spread.detach(), atol=1e-9)
    assert result.undetermined == ()
    assert result.settings["network_and_refinement"] is None
    assert any("network's estimate" in reason for reason in result.verdict.reasons)


def test_the_network_sees_the_data_in_its_own_cell(data, silicon, truth, prior, prepared):
    """From the file's cell and setting to those of the model, and the same points in 1/Å."""
    from fcinv_core.inversion.preparation import PreparedHistogram

    model = toy_model(prior)
    own = PreparedHistogram.from_histogram(data, silicon, energy_fwhm=ENERGY_FWHM)
    NetworkStart.of(model, [own], silicon)
    ((asked,),) = model.network.asked
    assert asked.counts is own.counts
    assert asked.histogram is own.histogram
    # The cells differ by 0.6 % in length, and their axes by a rotation of the crystal.
    lengths, expected = (
        np.linalg.norm(item.centres @ crystal.reciprocal_lattice, axis=1) * crystal.lattice[0, 0]
        for item, crystal in ((asked, truth.crystal), (own, silicon))
    )
    np.testing.assert_allclose(lengths, expected, rtol=1e-6)
    np.testing.assert_allclose(
        abs(np.linalg.det(asked.bin_vectors)), abs(np.linalg.det(prepared.bin_vectors)), rtol=1e-9
    )


def test_maps_alone_start_from_the_prior(no_force_field, load, silicon, prior):
    data = load("HK0_map_30meV_clean")
    model = toy_model(prior)
    result = invert([data], silicon, model=model, energy_fwhm=ENERGY_FWHM, refine=False)
    assert model.network.asked == []
    assert any("only constant-energy maps" in reason for reason in result.verdict.reasons)


def test_a_start_and_a_model_exclude_each_other(data, silicon, truth, prior):
    with pytest.raises(FcinvError, match="leave one of them out"):
        invert([data], silicon, model=toy_model(prior), start=truth)


def test_a_model_of_another_crystal_is_refused(data, silicon, germanium_prior):
    with pytest.raises(FcinvError, match="Ge"):
        invert([data], silicon, model=toy_model(germanium_prior), energy_fwhm=ENERGY_FWHM)
