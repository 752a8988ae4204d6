"""Exact derivatives against central differences, at degenerate points above all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.jacobian import spectra_with_jacobian
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.spectra import spectra

TEMPERATURE = 300.0
RESOLUTION = EnergyResolution.polynomial((2.4, -0.01))
EDGES = torch.linspace(-40, 80, 61, dtype=torch.float64)
POINTS = {
    "general": np.random.default_rng(5).uniform(-4, 4, (6, 3)),
    "Γ": np.array([[2.0, 1, 1], [3, 0, -1]]),
    "X": np.array([[0.5, 0.5, 0], [2.5, 1, 1.5]]),
    "L": np.array([[0.5, 0.5, 0.5], [1.5, -0.5, 2.5]]),
    "W": np.array([[0.5, 0.25, 0.75], [1.5, 2.25, 0.75]]),
    # Splittings on both sides of where a derivative replaces the divided difference.
    "near X": np.array([[0.5, 0.5, offset] for offset in (1e-6, 1e-4, 1e-3, 3e-3, 1e-2)]),
    "near Γ": np.array([[2.0, 1, 1 + offset] for offset in (1e-5, 1e-3, 3e-3, 1e-2)]),
}


@pytest.fixture(autouse=True)
def coarse_mesh(monkeypatch):
    """A derivative is exact on any mesh: one of 4 to 6 points along each axis will do."""
    monkeypatch.setattr("fcinv_core.scattering.displacements.MESH_LENGTH", 15.0)


class Calculation:
    """Spectra of a basis at given Q, or averaged over bins around them."""

    def __init__(self, basis, points, bin_width=1e-3, counts=(1, 1, 1), temperature=TEMPERATURE):
        crystal = basis.crystal
        self.basis = basis
        self.dynamics = LatticeDynamics(crystal)
        units = np.ascontiguousarray(basis.map.T).reshape(
            -1, crystal.n_primitive, crystal.n_supercell, 3, 3
        )
        self.directions = self.dynamics.real_space(torch.from_numpy(units))
        sampling = BinSampling.from_bins(
            points, bin_width * np.eye(3), counts, crystal.point_group_rotations
        )
        self.temperature = temperature
        kernel = ModeKernel(EDGES, temperature, RESOLUTION)
        self.plan = SpectraPlan(crystal, sampling, self.dynamics.fourier, kernel)

    def real_space(self, parameters):
        crystal = self.basis.crystal
        values = torch.from_numpy(self.basis.map) @ parameters
        shape = (1, crystal.n_primitive, crystal.n_supercell, 3, 3)
        return self.dynamics.real_space(values.reshape(shape))

    def tensors(self, parameters):
        return self.dynamics.tensors(self.real_space(parameters), self.temperature)

    def tensor_slopes(self, parameters):
        return self.dynamics.displacements.slopes(
            self.real_space(parameters), self.directions, self.temperature
        )

    def spectra(self, parameters, scale=1.0):
        real_space = self.real_space(parameters)
        return spectra(self.plan, real_space, self.tensors(parameters), scale)[0]

    def with_jacobian(self, parameters):
        return spectra_with_jacobian(
            self.plan,
            self.real_space(parameters),
            self.directions,
            self.tensors(parameters),
            self.tensor_slopes(parameters),
        )


def central_difference(function, step):
    """Derivative of a function of one number at 0, to fourth order."""
    near = (function(step) - function(-step)) / (2 * step)
    far = (function(2 * step) - function(-2 * step)) / (4 * step)
    return (4 * near - far) / 3


def relative_deviation(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def parameters(force_constants, basis):
    def get(name):
        return torch.from_numpy(basis(name).parameters_of(force_constants(name)))

    return get


def directions(values, n=2):
    """Random changes of all parameters that shift squared energies by about their size."""
    random = np.random.default_rng(11).normal(size=(n, len(values)))
    return torch.from_numpy(random) * values.abs().max() * 0.05


@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_parameters(name, where, basis, parameters):
    calculation = Calculation(basis(name), POINTS[where])
    values = parameters(name)
    result = calculation.with_jacobian(values)
    assert relative_deviation(result.spectra, calculation.spectra(values)) < 1e-12
    # Bragg intensity, 100 times the changes, is good to 1e-12: long steps, or its noise shows.
    step = 2e-3 if where == "Γ" else 2e-4
    for direction in directions(values):
        expected = central_difference(lambda t: calculation.spectra(values + t * direction), step)  # noqa: B023
        found = result.parameters @ direction
        assert relative_deviation(found, expected) < 1e-6


@pytest.mark.parametrize("name", ["Si", "ZnO"])
def test_every_parameter_of_averaged_bins(name, basis, parameters):
    """Parameter by parameter, with bins of several samples that share q points."""
    calculation = Calculation(basis(name), POINTS["general"][:3], 0.1, (2, 1, 2))
    values = parameters(name)
    found = calculation.with_jacobian(values).parameters
    random = np.random.default_rng(1).choice(len(values), 6, replace=False)
    for k in random:
        unit = torch.zeros_like(values)
        unit[k] = 1.0
        expected = central_difference(lambda t: calculation.spectra(values + t * unit), 1e-3)  # noqa: B023
        assert relative_deviation(found[..., k], expected) < 1e-5, basis(name).names[k]


def test_jacobian_at_zero_temperature(basis, parameters):
    calculation = Calculation(basis("Si"), POINTS["X"], temperature=0.0)
    values = parameters("Si")
    direction = directions(values)[0]
    expected = central_difference(lambda t: calculation.spectra(values + t * direction), 2e-4)
    found = calculation.with_jacobian(values).parameters @ direction
    assert relative_deviation(found, expected) < 1e-6


@pytest.mark.parametrize("name", ["Si", "MgO", "ZnO"])
def test_displacements(name, basis, parameters):
    calculation = Calculation(basis(name), POINTS["general"][:1])
    values = parameters(name)
    found = calculation.tensor_slopes(values)
    for direction in directions(values):
        expected = central_difference(
            lambda t: calculation.tensors(values + t * direction)[0],  # noqa: B023
            1e-4,
        )
        assert relative_deviation(found @ direction, expected) < 1e-5


def test_resolution_scale(basis, parameters):
    """The derivative is by the logarithm of the scale, widths that vary with energy included."""
    calculation = Calculation(basis("Si"), np.vstack([POINTS["general"], POINTS["L"]]))
    values = parameters("Si")
    expected = central_difference(lambda t: calculation.spectra(values, float(np.exp(t))), 1e-3)
    assert relative_deviation(calculation.with_jacobian(values).resolution, expected) < 1e-7


@pytest.mark.parametrize(
    ("name", "factor"), [("Si", -1.0), ("Si", 1e-4), ("Si", 0.0), ("ZnO", -1.0)]
)
def test_unstable_force_constants_stay_finite(name, factor, basis, parameters):
    """Turned round (all modes unstable), very soft, and none at all."""
    points = np.vstack([[0.0, 0, 0], *POINTS.values()])
    calculation = Calculation(basis(name), points)
    values = factor * parameters(name)
    result = calculation.with_jacobian(values)
    for array in (result.spectra, result.parameters, result.resolution):
        assert torch.isfinite(array).all()
    assert torch.isfinite(calculation.tensors(values)).all()
    assert torch.isfinite(calculation.tensor_slopes(values)).all()
    assert (result.spectra >= 0).all()
    assert result.spectra.max() > 0 or factor < 0


def test_derivative_of_unstable_modes(basis, parameters):
    """Some modes unstable, their energies continued: still the slope of what is computed."""
    values = parameters("Si")
    values = values - 6 * directions(values)[1]
    # At small Q and low temperature, or the Debye-Waller factor of such a crystal leaves nothing.
    calculation = Calculation(basis("Si"), 0.2 * POINTS["general"], temperature=5.0)
    unstable = (
        calculation.dynamics.modes(calculation.real_space(values), 0.2 * POINTS["general"]).energies
        < 0
    )
    assert unstable.any() and not unstable.all()
    direction = directions(values)[0]
    expected = central_difference(lambda t: calculation.spectra(values + t * direction), 2e-5)
    result = calculation.with_jacobian(values)
    assert result.spectra.max() > 0.01
    assert relative_deviation(result.parameters @ direction, expected) < 1e-5
