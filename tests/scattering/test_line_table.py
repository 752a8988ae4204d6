"""Lines that are interpolated in a table against those that are worked out one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.line_shape import GaussianLine, LineShape, SkewedLine
from fcinv_core.scattering.line_table import LineTable
from fcinv_core.scattering.resolution import EnergyResolution

SCALE = torch.tensor(1.2, dtype=torch.float64)


def kernel(line: LineShape, lowest: float) -> ModeKernel:
    edges = torch.from_numpy(np.linspace(lowest, 31.0, 50))
    resolution = EnergyResolution.tabulated([-40.0, 0.0, 20.0, 38.0], [2.4, 1.5, 0.8, 0.6])
    return ModeKernel(edges, 150.0, resolution, line, incident_energy=40.0)


def modes() -> torch.Tensor:
    """Squared energies of stable and unstable modes, near zero, in the bins and beyond them."""
    energies = np.random.default_rng(3).uniform(-5.0, 60.0, (1, 500, 6))
    energies[0, 0] = [0.0, 0.3, -0.2, 31.0, 200.0, -80.0]
    return torch.from_numpy(np.sign(energies) * energies**2)


@pytest.mark.parametrize("line", [GaussianLine(), SkewedLine(-0.8)])
@pytest.mark.parametrize("lowest", [-20.0, 2.0])
def test_interpolated_lines_are_those_worked_out_one_by_one(line: LineShape, lowest: float) -> None:
    lines = kernel(line, lowest).lines(modes(), SCALE, derivatives=True)
    exact = [lines.dense(part) for part in (lines.value, lines.slope, lines.by_width)]
    table = LineTable.worthwhile(kernel(line, lowest), SCALE, 10**6, derivatives=True)
    assert table is not None
    found = table.derivatives(modes())
    sources = kernel(line, lowest).sources(modes(), SCALE)
    strength = sources.strength.sum(dim=-1)
    change = sources.strength_slope.abs() + (sources.strength * sources.centre_slope).abs()
    # Lines of unit area are up to 1 per meV high. Slopes of a tabulated width have kinks.
    units = (1e-7 * strength, 1e-5 * change.sum(dim=-1), 1e-7 * strength)
    for one, other, tolerance in zip(found, exact, units, strict=True):
        assert ((one - other).abs() <= tolerance[..., None]).all()
    torch.testing.assert_close(table.values(modes()), found[0], rtol=1e-12, atol=0)


def test_no_table_for_few_modes() -> None:
    assert LineTable.worthwhile(kernel(GaussianLine(), 2.0), SCALE, 100) is None
