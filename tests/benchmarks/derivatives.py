"""What derivatives and batches cost, in forward passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from benchmarks.measure import shortest
from benchmarks.table import Row, Section
from benchmarks.workload import TEMPERATURE, Workload

from fcinv_core.crystal import Crystal, ForceConstantBasis
from fcinv_core.scattering.dynamical import RealSpace
from fcinv_core.scattering.jacobian import SpectraJacobian, spectra_with_jacobian
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.spectra import spectra

N_PARAMETERS = 44
N_SETS = 32


class Derivatives:
    """Spectra of given bins as a function of force-constant parameters.

    Parameters
    ----------
    work
        Where; bins are 0.1 reciprocal-lattice units wide.
    counts
        Samples along the edges of a bin.
    n_parameters
        Random combinations of the directions that symmetry leaves.
    """

    def __init__(self, work: Workload, counts: tuple[int, int, int], n_parameters: int) -> None:
        self.dynamics = LatticeDynamics(work.force_constants.crystal)
        self.plan = work.plan(self.dynamics, counts, bin_width=0.1)
        self.real_space = self.dynamics.real_space(work.values)
        basis = _basis(work.force_constants.crystal)
        mixing = np.random.default_rng(0).normal(size=(n_parameters, basis.n_parameters))
        mixed = (mixing @ basis.map.T).reshape(-1, *work.force_constants.values.shape)
        self.directions = self.dynamics.real_space(torch.from_numpy(mixed))
        self.tensors = self.displacements()
        self.slopes = self.displacement_slopes()

    def displacements(self) -> torch.Tensor:
        """⟨u u⟩ in Å²."""
        return self.dynamics.tensors(self.real_space, TEMPERATURE)

    def displacement_slopes(self) -> torch.Tensor:
        """Derivatives of ⟨u u⟩ by all parameters."""
        return self.dynamics.displacements.slopes(self.real_space, self.directions, TEMPERATURE)

    def spectra(self) -> torch.Tensor:
        """(n_rows, n_energy)."""
        return spectra(self.plan, self.real_space, self.tensors)[0]

    def jacobian(self) -> SpectraJacobian:
        """Spectra and derivatives by all parameters."""
        return spectra_with_jacobian(
            self.plan, self.real_space, self.directions, self.tensors, self.slopes
        )

    def pulled_back(self, weights: torch.Tensor) -> torch.Tensor:
        """Gradient of Σ weights · spectra, projected on the parameters; spectra on the way."""
        even, odd, tensors = (
            part.clone().requires_grad_()
            for part in (self.real_space.even, self.real_space.odd, self.tensors)
        )
        spectra(self.plan, RealSpace(even, odd), tensors).backward(weights[None])
        return (
            self.directions.even.flatten(1) @ even.grad.flatten()
            + self.directions.odd.flatten(1) @ odd.grad.flatten()
            + tensors.grad.flatten() @ self.slopes.flatten(0, -2)
        )


@cache
def _basis(crystal: Crystal) -> ForceConstantBasis:
    return ForceConstantBasis.from_crystal(crystal)


def derivative_costs(sized: Callable[[int], int], repeats: int) -> Section:
    """Jacobian, vector-Jacobian product and batches, over forward passes."""
    rows: list[Row] = []
    for samples, n_bins in ((1, sized(10_000)), (3, sized(10_000) // 27)):
        work = Workload.scattered("Ge", n_bins, 90)
        model = Derivatives(work, (samples, samples, samples), N_PARAMETERS)
        forward, _ = shortest(model.spectra, repeats)
        jacobian_time, jacobian = shortest(model.jacobian, repeats)
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(jacobian.spectra.shape, generator=generator, dtype=torch.float64)
        gradient_time, gradient = shortest(lambda m=model, w=weights: m.pulled_back(w), repeats)
        expected = torch.tensordot(weights, jacobian.parameters, 2)
        deviation = float((gradient - expected).abs().max() / expected.abs().max())
        what = f"{n_bins} scattered Q" if samples == 1 else f"{n_bins} bins of {samples}³ samples"
        rows += [
            Row(f"Jacobian for {N_PARAMETERS} parameters, {what}", jacobian_time,
                "spectra", forward),
            Row(f"spectra and vector-Jacobian product, {what}", gradient_time, "spectra", forward,
                deviation=deviation),
        ]  # fmt: skip
        if samples == 1:
            of_mesh, _ = shortest(model.displacements, repeats)
            slopes, _ = shortest(model.displacement_slopes, repeats)
            what = f"⟨u u⟩ by {N_PARAMETERS} parameters, whatever the number of Q"
            mesh_row = Row(what, slopes, "⟨u u⟩", of_mesh)
    title = "Derivatives and batches, germanium, 90 energy bins"
    return Section(title, (*rows, mesh_row, _batch(repeats)), is_cost=True)


def _batch(repeats: int) -> Row:
    """Many sets of force constants at once and one after the other."""
    work = Workload.scattered("Ge", 200, 90)
    dynamics = LatticeDynamics(work.force_constants.crystal)
    plan = work.plan(dynamics)
    factors = torch.linspace(0.8, 1.2, N_SETS, dtype=torch.float64)
    values = factors[:, None, None, None, None] * work.values

    def evaluate(values: torch.Tensor) -> torch.Tensor:
        real_space = dynamics.real_space(values)
        return spectra(plan, real_space, dynamics.tensors(real_space, TEMPERATURE))

    together, batch = shortest(lambda: evaluate(values), repeats)
    singly, separate = shortest(
        lambda: torch.cat([evaluate(values[k : k + 1]) for k in range(N_SETS)]), repeats
    )
    deviation = float((batch - separate).abs().max() / separate.max())
    what = f"batch of {N_SETS} sets of force constants on 200 Q"
    return Row(what, together, f"{N_SETS} single calls", singly, deviation=deviation)
