"""A model file: what comes back, and what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from toy_network import ToyNetwork, register, toy_model

from fcinv_core.errors import FcinvError
from fcinv_core.networks import model as model_module
from fcinv_core.networks.model import METADATA, Model, read_document


@pytest.fixture(autouse=True)
def known(monkeypatch):
    register(monkeypatch)


@pytest.fixture
def stored(germanium_prior, tmp_path):
    path = tmp_path / "Ge-toy.safetensors"
    model = toy_model(germanium_prior, germanium_prior.centre * 1.234)
    model.save(path)
    return model, path


def forged(path, change):
    """Rewrite a file with a right checksum after ``change(document, tensors)``."""
    with safe_open(path, "numpy") as file:
        document = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(document, tensors)
    document["sha256"] = model_module._digest(document, tensors)
    save_file(tensors, path, {METADATA: json.dumps(document)})


def refused(path):
    with pytest.raises(FcinvError) as caught:
        Model.load(path)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


def test_what_was_saved_comes_back(stored, germanium):
    model, path = stored
    again = Model.load(path)
    assert isinstance(again.network, ToyNetwork)
    assert torch.equal(again.network.answer, model.network.answer)
    assert again.network.settings() == model.network.settings()
    assert again.card == model.card
    assert again.sha256 == model.sha256 == read_document(path)["sha256"]
    prior = again.prior
    for name in ("centre", "factor", "distances"):
        assert np.array_equal(getattr(prior, name), getattr(model.prior, name))
    assert np.array_equal(prior.basis.map, model.prior.basis.map)
    assert prior.basis.names == model.prior.basis.names
    assert torch.equal(prior.sample(3, 5), model.prior.sample(3, 5))


def test_the_same_model_makes_the_same_file(stored, tmp_path):
    model, path = stored
    Model.load(path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_any_changed_byte_is_refused(stored):
    _, path = stored
    good = path.read_bytes()
    header = int.from_bytes(good[:8], "little") + 8
    rng = np.random.default_rng(0)
    places = [0, 7, 8, *rng.integers(0, header, 40), *rng.integers(header, len(good), 40), -1]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(bad)
        refused(path)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, -1])
def test_truncated_file_is_refused(stored, kept):
    _, path = stored
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "damaged" in refused(path)


def test_something_behind_the_end_is_refused(stored):
    _, path = stored
    path.write_bytes(path.read_bytes() + b"x")
    refused(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "no model at" in refused(tmp_path / "nothing.safetensors")
    assert "no model at" in refused(tmp_path)


def test_a_prior_is_no_model(germanium_prior, tmp_path):
    germanium_prior.save(tmp_path / "prior.safetensors")
    assert "no model" in refused(tmp_path / "prior.safetensors")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda document, tensors: document.update(schema=99), "schema 99"),
        (lambda document, tensors: document.update(architecture="perceptron"), "'perceptron'"),
        (
            lambda document, tensors: tensors.update(
                {"network.answer": tensors["network.answer"][:-1].copy()}
            ),
            "do not fit",
        ),
        (
            lambda document, tensors: tensors.update(
                {"prior.centre": tensors["prior.centre"][:-1].copy()}
            ),
            "do not fit",
        ),
        (lambda document, tensors: tensors.pop("network.answer"), "do not fit"),
        (lambda document, tensors: document["card"].pop("formula"), "do not fit"),
        (
            lambda document, tensors: tensors["network.answer"].__setitem__(0, np.nan),
            "not finite",
        ),
    ],
)
def test_what_this_version_cannot_use_is_refused(stored, change, told):
    _, path = stored
    forged(path, change)
    assert told in refused(path)


def test_a_network_that_went_astray_is_not_saved(germanium_prior, tmp_path):
    model = toy_model(germanium_prior, np.full(germanium_prior.basis.n_parameters, np.inf))
    with pytest.raises(FcinvError, match="not finite"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_too_large_is_not_written(germanium_prior, tmp_path, monkeypatch):
    monkeypatch.setattr(model_module, "LARGEST_FILE", 1000)
    with pytest.raises(FcinvError, match="MB"):
        toy_model(germanium_prior).save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_estimate_that_is_no_number_is_refused(germanium_prior):
    model = toy_model(germanium_prior, spread=float("nan"))
    with pytest.raises(FcinvError, match="--model none"):
        model.estimate([SimpleNamespace(has_spectra=True)])


def test_without_spectra_the_prior_speaks(germanium_prior):
    estimate = toy_model(germanium_prior).estimate([SimpleNamespace(has_spectra=False)])
    drawn = germanium_prior.sample(1000).numpy()
    np.testing.assert_allclose(estimate.parameters, drawn.mean(axis=0))
    np.testing.assert_allclose(np.diag(estimate.covariance), drawn.var(axis=0), rtol=0.01)
