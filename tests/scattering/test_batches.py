"""Several force constants at once, threads, and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scattering.point_spectra import charges_of, complete, histogram_of, random_change

import fcinv_core.scattering.sampler as sampler_module
import fcinv_core.scattering.threads as threads_module
from fcinv_core import ForwardModel
from fcinv_core.scattering import EnergyResolution

# Narrower towards higher energies, as of real spectrometers.
RESOLUTION = EnergyResolution.polynomial((3.0, -0.015))


def model_of(name, n_bins=(4, 2), resolution=RESOLUTION, **settings):
    """Q bins around (2.0, 0.1, 0.2), Bragg points kept out."""
    crystal = complete(name).crystal
    edges = [
        2.1 + 0.05 * np.arange(n_bins[0] + 1),
        0.1 + 0.05 * np.arange(n_bins[1] + 1),
        np.array([0.15, 0.25]),
    ]
    histogram = histogram_of(crystal, edges, np.linspace(-30, 110, 71))
    settings = {"reference": complete(name), "tolerance": 5e-3, **settings}
    return ForwardModel(crystal, histogram, energy_fwhm=resolution, **settings)


def loss_of(signal):
    random = np.random.default_rng(4).uniform(0.5, 1.5, tuple(signal.shape[-4:]))
    return (torch.as_tensor(random, dtype=signal.dtype) * signal).sum()


def value_and_gradients(model, values, charges=None):
    leaves = [part.clone().requires_grad_() for part in (values, *(charges or ()))]
    signal = model(*leaves)
    return signal.detach(), torch.autograd.grad(loss_of(signal), leaves)


def relative(found, expected):
    """Largest deviation over the largest number."""
    return float((found.double() - expected.double()).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ["Si", "MgO", "Al"])
def test_one_at_a_time(name):
    """Similar, soft, stiff and unstable ones together; windows of lines differ among them."""
    model = model_of(name)
    values = torch.tensor(complete(name).values)
    charges = charges_of(complete(name))
    change = random_change(values)
    batch = torch.stack([values, 0.5 * values, 1.3 * values + change, -0.2 * values])
    together, (by_values, *by_charges) = value_and_gradients(model, batch, charges)
    assert together.shape == (4, 4, 2, 1, 70)
    sums = [torch.zeros_like(gradient) for gradient in by_charges]
    for k, one in enumerate(batch):
        alone, (gradient, *others) = value_and_gradients(model, one, charges)
        assert relative(together[k], alone) < 1e-12
        assert relative(by_values[k], gradient) < 1e-12
        sums = [total + other for total, other in zip(sums, others, strict=True)]
    for found, expected in zip(by_charges, sums, strict=True):
        assert relative(found, expected) < 1e-12


def test_batch_of_one():
    model = model_of("Si")
    values = torch.tensor(complete("Si").values)
    assert torch.equal(model(values[None])[0], model(values))


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_results_can_be_repeated(name):
    """Bit by bit, with the same model and with a new one."""
    given = complete(name)
    arguments = torch.tensor(given.values), charges_of(given)
    model = model_of(name)
    runs = [value_and_gradients(m, *arguments) for m in (model, model, model_of(name))]
    for signal, gradients in runs[1:]:
        assert torch.equal(signal, runs[0][0])
        for found, expected in zip(gradients, runs[0][1], strict=True):
            assert torch.equal(found, expected)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    yield lambda: torch.set_num_threads(2)
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_threads_do_not_show(name, two_threads):
    """Blocks are cut otherwise, so that sums are rounded otherwise: 1e-13."""
    given = complete(name)
    arguments = torch.tensor(given.values), charges_of(given)
    torch.set_num_threads(1)
    expected = value_and_gradients(model_of(name), *arguments)
    two_threads()
    model = model_of(name)
    found = value_and_gradients(model, *arguments)
    assert relative(found[0], expected[0]) < 1e-13
    for one, other in zip(found[1], expected[1], strict=True):
        assert relative(one, other) < 1e-12
    again = value_and_gradients(model, *arguments)
    assert torch.equal(again[0], found[0])
    assert all(torch.equal(a, b) for a, b in zip(again[1], found[1], strict=True))


def test_threads_record_no_more_than_their_caller(two_threads, monkeypatch):
    """Blocks of a differentiable signal keep nothing for the way back; it works them out again."""
    recorded = []
    solve = torch.linalg.eigh

    def watch(matrices):
        recorded.append(matrices.requires_grad)
        return solve(matrices)

    two_threads()
    model = model_of("Si", n_bins=(12, 12))
    values = torch.tensor(complete("Si").values)
    expected = model(values)
    monkeypatch.setattr(torch.linalg, "eigh", watch)
    leaf = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(model(leaf)), leaf)
    assert len(recorded) > 4 and not any(recorded)
    assert not gradient.requires_grad
    with torch.inference_mode():
        assert torch.equal(model(values), expected)


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_parts_and_blocks_do_not_show(name, monkeypatch):
    """Measurements too large for one plan, and blocks of one row each."""
    given = complete(name)
    arguments = torch.tensor(given.values), charges_of(given)
    expected = value_and_gradients(model_of(name), *arguments)
    monkeypatch.setattr(threads_module, "BLOCK_BYTES", 2**12)
    found = value_and_gradients(model_of(name), *arguments)
    assert relative(found[0], expected[0]) < 1e-13
    assert relative(found[1][0], expected[1][0]) < 1e-12
    monkeypatch.setattr(sampler_module, "LARGEST_PLAN", 20)
    found = value_and_gradients(model_of(name), *arguments)
    assert relative(found[0], expected[0]) < 1e-13
    assert relative(found[1][0], expected[1][0]) < 1e-12


def test_parts_are_differentiated_by_charges(monkeypatch):
    given = complete("MgO")
    arguments = torch.tensor(given.values), charges_of(given)
    expected = value_and_gradients(model_of("MgO"), *arguments)
    monkeypatch.setattr(sampler_module, "LARGEST_PLAN", 20)
    found = value_and_gradients(model_of("MgO"), *arguments)
    for one, other in zip(found[1], expected[1], strict=True):
        assert relative(one, other) < 1e-12


@pytest.mark.parametrize("name", ["Si", "MgO", "Al2O3"])
def test_single_precision(name):
    """Relative to the largest number of each array.

    Measured for Si, MgO and Al2O3: signal 3e-6, 3e-6, 8e-7; gradient by force constants, charges
    and dielectric tensor below 6e-6. Displacements are in double precision always: soft modes
    around Γ feel the rounding of force constants.
    """
    given = complete(name)
    values, charges = torch.tensor(given.values), charges_of(given)
    exact = value_and_gradients(model_of(name), values, charges)
    found = value_and_gradients(model_of(name, dtype=torch.float32), values, charges)
    assert found[0].dtype == torch.float32
    assert 0 < relative(found[0], exact[0]) < 2e-5
    for one, other in zip(found[1], exact[1], strict=True):
        assert relative(one, other) < 2e-5
    moved = model_of(name)
    moved(values, *(charges or ()))
    moved = moved.to(torch.float32)
    assert torch.equal(value_and_gradients(moved, values, charges)[0], found[0])
    back = moved.to(torch.float64)
    assert torch.equal(value_and_gradients(back, values, charges)[0], exact[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_gpu(name):
    """The same signal and gradients as on the processor."""
    given = complete(name)
    values, charges = torch.tensor(given.values), charges_of(given)
    expected = value_and_gradients(model_of(name), values, charges)
    found = value_and_gradients(model_of(name, device="cuda"), values, charges)
    assert relative(found[0].cpu(), expected[0]) < 1e-10
    for one, other in zip(found[1], expected[1], strict=True):
        assert relative(one.cpu(), other) < 1e-9
