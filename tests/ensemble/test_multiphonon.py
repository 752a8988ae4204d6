"""Gaussians in place of folded spectra, against the spectra folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fcinv_core import ForceConstants
from fcinv_core.ensemble.multiphonon import MultiphononGaussians
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.incoherent import IncoherentScattering
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

DATA = Path(__file__).parents[1] / "data" / "force_constants"
DIRECTION = np.array([0.5, 0.3, 0.81])


@pytest.mark.parametrize("temperature", [10.0, 300.0, 900.0])
@pytest.mark.parametrize("name", ["Si", "MgO"])
def test_area_and_shape(name, temperature):
    """Areas within 3 %; the structure of the folded spectra is not there.

    Measured: areas 0.5 % off (Si) and 2.5 % (MgO); largest differences 55 % of the maximum at 10 K,
    where two phonons dominate, and 25 to 45 % at 300 and 900 K; mean energies up to 9 % off.
    """
    force_constants = ForceConstants.from_file(DATA / f"{name}_dft.yaml")
    dynamics = LatticeDynamics(force_constants.crystal)
    polar = dynamics.polar_part_of(force_constants)
    values = torch.tensor(force_constants.values)[None]
    real_space = dynamics.real_space(values, polar)
    edges = torch.linspace(-60.0, 220.0, 141, dtype=torch.float64)
    kernel = ModeKernel(edges, temperature, EnergyResolution.constant(3.0))
    tensors = dynamics.tensors(real_space, temperature, polar)
    lengths = torch.tensor([2.0, 5.0, 9.0], dtype=torch.float64)
    momenta = lengths[:, None] * torch.from_numpy(DIRECTION / np.linalg.norm(DIRECTION))
    folded = IncoherentScattering(dynamics, kernel, one_phonon=False, multiphonon=True)
    expected = folded.spectra(real_space, momenta, tensors, 1.0, polar)[0]
    gaussians = MultiphononGaussians(
        force_constants.crystal, kernel, torch.device("cpu"), torch.float64
    )
    found = gaussians.spectra(values, tensors, lengths)[0]
    np.testing.assert_allclose(found.sum(dim=1), expected.sum(dim=1), rtol=0.03)
    assert ((found - expected).abs().amax(dim=1) / expected.amax(dim=1)).max() < 0.65
    centres = 0.5 * (edges[1:] + edges[:-1])
    means = [(rows @ centres) / rows.sum(dim=1) for rows in (found, expected)]
    np.testing.assert_allclose(means[0], means[1], rtol=0.12)
