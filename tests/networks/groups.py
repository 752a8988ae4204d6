"""Measurements of one crystal, made by hand, as networks get them."""

from __future__ import annotations

import numpy as np
import torch

from fcinv_core.ensemble.measurement_group import MeasurementGroup
from fcinv_core.ensemble.prior import Prior
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectra import spectra


def group_of(
    prior: Prior,
    parameters: torch.Tensor,
    centres: np.ndarray,
    *,
    temperature: float = 50.0,
    fwhm: float = 1.0,
    incident_energy: float = 60.0,
    counts: float = 1e4,
) -> MeasurementGroup:
    """Noiseless spectra of points ``centres`` (n_q, 3), reciprocal coordinates; 64 energies."""
    crystal = prior.crystal
    edges = np.linspace(-2.0, 45.0, 65)
    kernel = ModeKernel(torch.from_numpy(edges), temperature, EnergyResolution.constant(fwhm))
    sampling = BinSampling.from_bins(
        centres, 1e-6 * np.eye(3), (1, 1, 1), crystal.point_group_rotations
    )
    dynamics = LatticeDynamics(crystal)
    plan = SpectraPlan(crystal, sampling, dynamics.fourier, kernel)
    real_space = dynamics.real_space(prior.values(parameters))
    tensors = dynamics.tensors(real_space, temperature)
    intensity = spectra(plan, real_space, tensors)[:, plan.row].float()
    scale = counts / intensity.amax(dim=(1, 2), keepdim=True)
    exposure = scale.expand_as(intensity)
    n = len(parameters)
    return MeasurementGroup(
        parameters=parameters,
        counts=intensity * exposure,
        exposure=exposure,
        centres=torch.from_numpy(centres),
        bin_vectors=torch.zeros(3, 3, dtype=torch.float64),
        q_points=torch.from_numpy(centres),
        hkl_bin_vectors=torch.zeros(3, 3, dtype=torch.float64),
        energy_edges=torch.from_numpy(edges).float(),
        temperature=temperature,
        energy_fwhm=fwhm,
        stated_fwhm=fwhm,
        incident_energy=incident_energy,
        scale=torch.ones(n),
        flat_background=torch.zeros(n),
        idealised=True,
    )
