"""Lines in windows of energy bins against whole lines from SciPy, and their derivatives."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scattering.point_spectra import central_difference
from scipy.stats import exponnorm, norm

from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.kernel import MINIMUM_ENERGY_MEV, ModeKernel
from fcinv_core.scattering.line_shape import GaussianLine, SkewedLine

BOLTZMANN = 0.08617333262
PREFACTOR = 4.180159 * 10 / 2


def cumulative(skew, z):
    """Of zero mean and unit standard deviation; a tail towards -z is a mirror image."""
    if skew == 0:
        return norm.cdf(z)
    tail = (abs(skew) / 2) ** (1 / 3)
    core = np.sqrt(1 - tail**2)
    shape = exponnorm(tail / core, loc=-tail, scale=core)
    return shape.cdf(z) if skew > 0 else shape.sf(-z)


@st.composite
def kernels(draw):
    start = draw(st.floats(-150, 60))
    widths = draw(st.lists(st.floats(0.05, 40), min_size=1, max_size=25))
    edges = start + np.concatenate([[0], np.cumsum(widths)])
    skew = draw(st.sampled_from([0.0, 0.7, -1.3]))
    width = (draw(st.floats(0.5, 6)), draw(st.floats(-0.02, 0.02)))
    incident = draw(st.sampled_from([None, 50.0, 200.0]))
    temperature = draw(st.sampled_from([0.0, 20.0, 300.0]))
    line = SkewedLine(skew) if skew else GaussianLine()
    kernel = ModeKernel(
        torch.from_numpy(edges), temperature, EnergyResolution.polynomial(width), line, incident
    )
    return kernel, skew


modes = st.lists(st.floats(1.0, 140.0), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(kernel_and_skew=kernels(), energies=modes, scale=st.floats(0.5, 2.0))
def test_windows_hold_whole_lines(kernel_and_skew, energies, scale):
    """Bins of any width, lines anywhere: what is beyond a window is below 1e-8 of the line."""
    kernel, skew = kernel_and_skew
    lines = kernel.lines(torch.tensor(energies, dtype=torch.float64) ** 2, scale)
    found = lines.dense(lines.value).numpy()
    edges = kernel.edges.numpy()
    for spectrum, energy in zip(found, energies, strict=True):
        thermal = BOLTZMANN * kernel.temperature
        occupation = 1 / np.expm1(energy / thermal) if thermal else 0.0
        expected = np.zeros(len(edges) - 1)
        for centre, population in ((energy, occupation + 1), (-energy, occupation)):
            strength = PREFACTOR / energy * population
            if kernel.incident_energy is not None:
                strength *= np.sqrt(max(0.0, 1 - centre / kernel.incident_energy))
            fwhm, _ = kernel.resolution.width.at(torch.tensor([centre], dtype=torch.float64))
            sigma = scale * float(fwhm) / np.sqrt(8 * np.log(2))
            expected += strength * np.diff(cumulative(skew, (edges - centre) / sigma))
        total = PREFACTOR / energy * (2 * occupation + 1)
        # Constants of SciPy and ours agree to 1e-7.
        np.testing.assert_allclose(
            spectrum * np.diff(edges), expected, rtol=2e-6, atol=1e-8 * total
        )


@settings(max_examples=40, deadline=None)
@given(
    kernel_and_skew=kernels(),
    energies=st.lists(
        st.one_of(st.floats(3.0, 45.0), st.floats(0.1, MINIMUM_ENERGY_MEV)), min_size=1, max_size=4
    ),
    scale=st.floats(0.5, 2.0),
)
def test_derivatives_of_lines(kernel_and_skew, energies, scale):
    """By squared energy and by the logarithm of the width, where energies are continued too."""
    kernel, _ = kernel_and_skew
    squares = torch.tensor(energies, dtype=torch.float64) ** 2

    def value(squares, scale=scale):
        lines = kernel.lines(squares, scale)
        return lines.dense(lines.value)

    lines = kernel.lines(squares, scale, derivatives=True)
    step = 1e-4 * squares
    by_square = central_difference(lambda t: value(squares + t * step), 1.0) / step[:, None]
    # Relative to the largest value, or to 5 % of a line if only tails lie in the bins: what lies
    # beyond six standard deviations is cut off, 1e-9 of a line.
    lowest = max(min(energies), MINIMUM_ENERGY_MEV / 2)
    thermal = max(BOLTZMANN * kernel.temperature, 1e-3)
    line = PREFACTOR / lowest / np.tanh(lowest / thermal / 2)
    size = value(squares).max() + 0.05 * line / float(torch.diff(kernel.edges).max())
    error = (lines.dense(lines.slope) - by_square).abs() * squares[:, None]
    assert float(error.max()) < 1e-4 * size
    by_width = central_difference(lambda t: value(squares, scale * float(np.exp(t))), 1e-3)
    assert float((lines.dense(lines.by_width) - by_width).abs().max()) < 1e-5 * size
