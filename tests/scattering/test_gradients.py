"""Vector-Jacobian products of spectra against central differences, at degenerate points too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scattering.point_spectra import (
    METALS,
    POLAR,
    PointSpectra,
    central_difference,
    charges_of,
    complete,
    histogram_of,
    random_change,
)

import fcinv_core.scattering.polar as polar_module
from fcinv_core import ForwardModel
from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.jacobian import spectra_with_jacobian

RESOLUTION = EnergyResolution.polynomial((2.4, -0.01))
EDGES = np.linspace(-40, 100, 71)
CUBIC = {
    "general": np.random.default_rng(5).uniform(-3, 3, (4, 3)),
    "optic Γ": [[2.0, 1, 1], [3, 0, -1], [1, 1, 1]],
    "X": [[0.5, 0.5, 0], [2.5, 1, 1.5]],
    "L": [[0.5, 0.5, 0.5], [1.5, -0.5, 2.5]],
    "W": [[0.5, 0.25, 0.75], [1.5, 2.25, 0.75]],
}
HEXAGONAL = {
    "general": np.random.default_rng(6).uniform(-3, 3, (4, 3)),
    "optic Γ": [[0.0, 0, 2], [1, 1, 0], [2, -1, 3]],
    "A": [[0.0, 0, 1.5], [1, 0, 2.5]],
    "K": [[1 / 3, 1 / 3, 2], [4 / 3, -2 / 3, 1]],
    "M": [[0.5, 0, 2], [1.5, 0.5, -1]],
}
MONATOMIC = {where: points for where, points in CUBIC.items() if where != "optic Γ"}
POINTS = {"Si": CUBIC, "MgO": CUBIC, "Al": MONATOMIC, "ZnO": HEXAGONAL}


@pytest.fixture(autouse=True)
def coarse_mesh(monkeypatch):
    """A derivative is exact on any mesh: one of 4 to 6 points along each axis will do."""
    monkeypatch.setattr("fcinv_core.scattering.displacements.MESH_LENGTH", 15.0)


def weights_like(tensor: torch.Tensor) -> torch.Tensor:
    random = np.random.default_rng(8).uniform(0.5, 1.5, tuple(tensor.shape))
    return torch.from_numpy(random)


def calculation(name, points, edges=EDGES):
    given = complete(name)
    crystal = given.crystal
    # Random changes have no symmetry: points must not stand for each other.
    spectra = PointSpectra(crystal, points, edges, resolution=RESOLUTION, rotations=np.eye(3)[None])
    return spectra, torch.tensor(given.values), charges_of(given)


def energies(where):
    """All, or above the acoustic modes of Γ: they are zero to rounding, which 1/E magnifies."""
    return EDGES[EDGES >= 14] if where == "optic Γ" else EDGES


@pytest.mark.parametrize(("name", "where"), [(n, w) for n in POINTS for w in POINTS[n]])
def test_force_constants(name, where):
    """Debye-Waller factors follow the force constants, or are kept: both to 1e-6."""
    spectra, values, charges = calculation(name, POINTS[name][where], energies(where))
    change = random_change(values)
    weights = weights_like(spectra(values, charges))
    fixed = spectra.tensors(values, charges)
    slopes = []
    for tensors in (None, fixed):
        leaf = values.clone().requires_grad_()
        (weights * spectra(leaf, charges, tensors=tensors)).sum().backward()
        found = float((leaf.grad * change).sum())
        expected = central_difference(
            lambda t: spectra(values + t * change, charges, tensors=tensors),  # noqa: B023
            2e-4,
        )
        scale = float((weights * expected).abs().sum())
        assert abs(found - float((weights * expected).sum())) < 1e-6 * scale
        slopes.append(found)
    assert abs(slopes[0] - slopes[1]) > 1e-4 * abs(slopes[0])


@pytest.mark.parametrize(("name", "where"), [(n, w) for n in ("MgO", "ZnO") for w in POINTS[n]])
def test_charges_dielectric_tensor_and_resolution(name, where):
    """The short-ranged rest, the dipole part and the displacements depend on charges."""
    spectra, values, charges = calculation(name, POINTS[name][where], energies(where))
    arguments = (*charges, torch.tensor(1.1, dtype=torch.float64))

    def evaluate(born, dielectric, scale):
        return spectra(values, (born, dielectric), scale)

    weights = weights_like(evaluate(*arguments))
    leaves = [argument.clone().requires_grad_() for argument in arguments]
    (weights * evaluate(*leaves)).sum().backward()
    random = np.random.default_rng(2)
    for place, leaf in enumerate(leaves):
        change = torch.from_numpy(np.array(random.normal(size=tuple(leaf.shape)))) * 0.05
        if place == 1:
            change = change + change.T

        def shifted(t, place=place, change=change):
            parts = list(arguments)
            parts[place] = parts[place] + t * change
            return evaluate(*parts)

        derivative = weights * central_difference(shifted, 1e-3)
        found = float((leaf.grad * change).sum())
        assert abs(found - float(derivative.sum())) < 1e-6 * float(derivative.abs().sum()), place


def small_model(name, reference=None, **keywords):
    """Eight bins, 20 energies."""
    crystal = complete(name).crystal
    edges = [np.array([1.9, 2.0, 2.1]), np.array([-0.1, 0.0, 0.1]), np.array([0.1, 0.2, 0.3])]
    histogram = histogram_of(crystal, edges, np.linspace(-20, 80, 21))
    return ForwardModel(crystal, histogram, energy_fwhm=3.0, reference=reference, **keywords)


@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_gradcheck_through_a_basis(name):
    """As a network learns: parameters -> force constants -> signal of bins."""
    given = complete(name)
    model = small_model(name, reference=given)
    basis = ForceConstantBasis.from_crystal(given.crystal)
    columns = torch.from_numpy(np.ascontiguousarray(basis.map))
    parameters = torch.from_numpy(basis.parameters_of(given)).requires_grad_()
    charges = charges_of(given) or ()
    shape = given.values.shape

    def signal(parameters, *charges):
        return model((columns @ parameters).reshape(shape), *charges)

    leaves = [charge.clone().requires_grad_() for charge in charges]
    # With NumPy's default tolerance; fast: one random direction each way.
    assert torch.autograd.gradcheck(
        signal, (parameters, *leaves), eps=1e-5, atol=1e-6, rtol=1e-5, fast_mode=True
    )


def test_charges_without_reference():
    """Samples are chosen from the force constants of the call, whatever is differentiated."""
    given = complete("MgO")
    born, dielectric = charges_of(given)
    values = torch.tensor(given.values)
    found = small_model("MgO")(values, born.clone().requires_grad_(), dielectric)
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), small_model("MgO")(values, born, dielectric))


def test_dipole_parts_too_large_to_keep_are_differentiated_too(monkeypatch):
    given = complete("MgO")
    gradients = []
    for limit in (polar_module.STORED_BYTES, 0):
        monkeypatch.setattr(polar_module, "STORED_BYTES", limit)
        leaves = [part.clone().requires_grad_() for part in charges_of(given)]
        signal = small_model("MgO", reference=given)(torch.tensor(given.values), *leaves)
        gradients.append(torch.autograd.grad((weights_like(signal) * signal).sum(), leaves))
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["Si", "MgO", "ZnO"])
def test_product_with_the_jacobian(name):
    given = complete(name)
    points = np.vstack(list(POINTS[name].values()))
    spectra, values, charges = calculation(name, points)
    basis = ForceConstantBasis.from_crystal(given.crystal)
    dynamics, plan = spectra.dynamics, spectra.plan
    units = torch.from_numpy(np.ascontiguousarray(basis.map.T)).reshape(-1, *values.shape)
    directions = dynamics.real_space(units)
    polar = None if charges is None else dynamics.polar_part(*charges)
    real_space = dynamics.real_space(values[None], polar)
    mesh = None if polar is None else polar.stored(dynamics.displacements.q_points)
    slopes = dynamics.displacements.slopes(real_space, directions, 300.0, mesh)
    jacobian = spectra_with_jacobian(
        plan,
        real_space,
        directions,
        dynamics.tensors(real_space, 300.0, polar),
        slopes,
        polar=None if polar is None else polar.stored(plan.q_points),
    )
    leaf = values.clone().requires_grad_()
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    signal = spectra(leaf, charges, scale)
    torch.testing.assert_close(jacobian.spectra, signal.detach(), rtol=1e-10, atol=1e-12)
    weights = weights_like(signal)
    (weights * signal).sum().backward()
    found = leaf.grad.reshape(-1).numpy() @ basis.map
    expected = torch.einsum("re,rep->p", weights, jacobian.parameters).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    expected = float((weights * jacobian.resolution).sum())
    assert float(scale.grad) == pytest.approx(expected, rel=1e-9)


SPECIAL = np.vstack(
    [
        [[0.0, 0, 0], [2, 0, 0], [1, 1, 1], [-1, 2, 0], [1e-7, 0, 0], [2, 0, 1e-4]],
        [[0.5, 0.5, 0], [0.5, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.5], [0.5, 0.25, 0.75]],
        [[1 / 3, 1 / 3, 0], [4 / 3, 1 / 3, 0.5], [0.3, 0.2, 0.1]],
    ]
)


@pytest.mark.parametrize("factor", [1.0, 0.0, -1.0, 1e-6, 1e4])
@pytest.mark.parametrize("name", ["Si", *METALS, *POLAR])
def test_everything_is_finite(name, factor):
    """On Bragg points and zone boundaries; unstable, absent, soft and hard force constants."""
    given = complete(name)
    leaves = [factor * torch.tensor(given.values), *(charges_of(given) or ())]
    leaves.append(torch.tensor(1.0, dtype=torch.float64))
    leaves = [leaf.requires_grad_() for leaf in leaves]
    values, *charges, scale = leaves
    spectra = PointSpectra(given.crystal, SPECIAL, np.linspace(-60, 60, 25))
    signal = spectra(values, charges or None, scale)
    assert torch.isfinite(signal).all() and (signal >= 0).all()
    for gradient in torch.autograd.grad((weights_like(signal) * signal).sum(), leaves):
        assert torch.isfinite(gradient).all()
