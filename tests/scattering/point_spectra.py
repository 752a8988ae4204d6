"""Spectra at single Q points of any force constants, and the crystals that tests go through."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from born_von_karman import born_von_karman

from fcinv_core import Axis, SQEHistogram
from fcinv_core.crystal import ForceConstants
from fcinv_core.scattering import EnergyResolution
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.spectra import spectra

FOLDER = Path(__file__).parents[1] / "data/force_constants"
POLAR = ("MgO", "NaCl", "ZnO", "Al2O3", "SiO2")
METALS = {"Al": 80, "Cu": 296}


@cache
def complete(name: str) -> ForceConstants:
    """Force constants with their Born charges: DFT, or measured ones of fcc metals."""
    if name in METALS:
        return born_von_karman(name, METALS[name])
    return ForceConstants.from_file(FOLDER / f"{name}_dft.yaml")


@cache
def bare(name: str) -> ForceConstants:
    """The same without Born charges."""
    return replace(complete(name), born_charges=None, dielectric=None)


def charges_of(force_constants: ForceConstants) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Born charges and dielectric tensor, or None."""
    if force_constants.born_charges is None:
        return None
    return torch.tensor(force_constants.born_charges), torch.tensor(force_constants.dielectric)


def random_change(values: torch.Tensor, seed: int = 0, relative: float = 0.03) -> torch.Tensor:
    """A change of force constants without symmetry that leaves translations free of force."""
    random = np.random.default_rng(seed).normal(size=tuple(values.shape))
    change = relative * values * torch.from_numpy(random)
    change[:, 0] -= change.sum(dim=1)
    return change


HKL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def histogram_of(crystal, edges_by_axis, energy_edges, directions=HKL, **keywords):
    """Bins along ``directions`` (hkl of the unit cell), energy last, 300 K unless said."""
    axes = [Axis.along(d, e) for d, e in zip(directions, edges_by_axis, strict=True)]
    axes.append(Axis.energy_transfer(energy_edges))
    keywords = {"ub": np.linalg.inv(crystal.lattice), "temperature": 300.0, **keywords}
    return SQEHistogram.from_arrays(axes, np.ones([a.n_bins for a in axes]), **keywords)


class PointSpectra:
    """S(Q,E) exactly at given Q, reciprocal coordinates of the primitive cell."""

    def __init__(
        self,
        crystal,
        points,
        edges,
        *,
        temperature=300.0,
        resolution=None,
        dtype=torch.float64,
        rotations=None,
    ):
        self.dynamics = LatticeDynamics(crystal, dtype=dtype)
        self.temperature = temperature
        reciprocal = 2 * np.pi * np.linalg.inv(crystal.primitive_lattice).T
        sampling = BinSampling.from_bins(
            np.array(points, dtype=float),
            1e-3 * np.eye(3),
            (1, 1, 1),
            crystal.point_group_rotations if rotations is None else rotations,
            reciprocal=reciprocal,
        )
        kernel = ModeKernel(
            torch.as_tensor(edges), temperature, resolution or EnergyResolution.constant(2.0)
        )
        self.plan = SpectraPlan(crystal, sampling, self.dynamics.fourier, kernel)

    def tensors(self, values, charges=None):
        polar = None if charges is None else self.dynamics.polar_part(*charges)
        real_space = self.dynamics.real_space(values[None], polar)
        return self.dynamics.tensors(real_space, self.temperature, polar)

    def __call__(self, values, charges=None, scale=1.0, tensors=None):
        """(n_rows, n_energy)."""
        polar = None if charges is None else self.dynamics.polar_part(*charges)
        real_space = self.dynamics.real_space(values[None], polar)
        if tensors is None:
            tensors = self.dynamics.tensors(real_space, self.temperature, polar)
        stored = None if polar is None else polar.stored(self.plan.q_points)
        return spectra(self.plan, real_space, tensors, scale, stored)[0]


def central_difference(function, step):
    """Derivative of a function of one number at 0, to fourth order."""
    near = (function(step) - function(-step)) / (2 * step)
    far = (function(2 * step) - function(-2 * step)) / (4 * step)
    return (4 * near - far) / 3
