"""What is measured: spectra of a crystal at scattered Q, by fcinv and as a request to others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from benchmarks.peers import EuphonicRun, Request
from polar_cell import FOLDER, corundum_of_20_atoms

from fcinv_core.crystal import ForceConstants
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics
from fcinv_core.scattering.plan import SpectraPlan
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectra import spectra
from fcinv_core.scattering.threads import BLOCK_BYTES, block_slices, run_blocks
from fcinv_core.units import FWHM_PER_SIGMA

TEMPERATURE = 300.0
HIGHEST_ENERGY = {"Ge": 45.0, "ZnO": 90.0, "SiO2": 170.0, "Al2O3": 130.0, "Al2O3 x 2": 130.0}
"""meV, of the energy bins; all but Ge are polar. The last one is a doubled cell."""


@cache
def crystal_of(name: str) -> ForceConstants:
    if name == "Al2O3 x 2":
        return corundum_of_20_atoms()
    return ForceConstants.from_file(FOLDER / f"{name}_{'standin' if name == 'Ge' else 'dft'}.yaml")


@dataclass(frozen=True, eq=False)
class Workload:
    """S(Q,E) at scattered Q.

    Attributes
    ----------
    force_constants
        The crystal and its force constants.
    q_points
        (n_q, 3) reciprocal coordinates of the primitive cell.
    edges
        Energy bins, meV.
    fwhm
        Resolution, meV.
    """

    force_constants: ForceConstants
    q_points: np.ndarray
    edges: np.ndarray
    fwhm: float

    @classmethod
    def scattered(cls, name: str, n_q: int, n_bins: int) -> Workload:
        """Random Q in 512 Brillouin zones around the origin."""
        points = np.random.default_rng(0).uniform(-4, 4, (n_q, 3))
        edges = np.linspace(0, HIGHEST_ENERGY[name], n_bins + 1)
        return cls(crystal_of(name), points, edges, 1.0 if name == "Ge" else 2.0)

    def first(self, n_q: int) -> Workload:
        """The same with fewer Q."""
        return replace(self, q_points=self.q_points[:n_q])

    def plan(
        self,
        dynamics: LatticeDynamics,
        counts: tuple[int, int, int] = (1, 1, 1),
        bin_width: float = 1e-3,
    ) -> SpectraPlan:
        """Reduction by symmetry; ``counts`` samples along the edges of each bin."""
        crystal = self.force_constants.crystal
        sampling = BinSampling.from_bins(
            self.q_points, bin_width * np.eye(3), counts, crystal.point_group_rotations
        )
        kernel = ModeKernel(
            torch.from_numpy(self.edges), TEMPERATURE, EnergyResolution.constant(self.fwhm)
        )
        return SpectraPlan(crystal, sampling, dynamics.fourier, kernel)

    @property
    def values(self) -> torch.Tensor:
        """(1, n_primitive, n_supercell, 3, 3) eV/Å²."""
        return torch.from_numpy(self.force_constants.values)[None]

    def spectra(
        self,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        polar: PolarPart | None = None,
    ) -> np.ndarray:
        """(n_q, n_bins) mbarn/meV per primitive cell, everything done afresh."""
        dynamics = LatticeDynamics(self.force_constants.crystal, device, dtype)
        plan = self.plan(dynamics)
        real_space = dynamics.real_space(self.values, polar)
        tensors = dynamics.tensors(real_space, TEMPERATURE, polar)
        dipoles = None if polar is None else polar.components(plan.q_points)
        rows = spectra(plan, real_space, tensors, 1.0, dipoles)[0]
        return rows[torch.from_numpy(plan.row).to(rows.device)].cpu().numpy()

    def polar_part(self) -> PolarPart | None:
        """Ewald sums prepared for this crystal; None without Born charges."""
        return LatticeDynamics(self.force_constants.crystal).polar_part_of(self.force_constants)

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Energies (n_q, n_modes) in meV and eigenvectors (n_q, n_modes, n_modes)."""
        dynamics = LatticeDynamics(self.force_constants.crystal)
        real_space = dynamics.real_space(self.values)
        n_q, n_modes = len(self.q_points), dynamics.fourier.n_modes
        energies = np.empty((n_q, n_modes))
        vectors = np.empty((n_q, n_modes, n_modes), complex)

        def diagonalise(block: slice) -> None:
            modes = dynamics.modes(real_space, self.q_points[block])
            energies[block] = modes.energies[0].numpy()
            vectors[block] = modes.eigenvectors[0].numpy()

        per_q = 8 * (4 * n_modes**2 + 3 * dynamics.fourier.n_translations)
        run_blocks(diagonalise, block_slices(n_q, per_q, BLOCK_BYTES), dynamics.fourier.device)
        return energies, vectors

    @cached_property
    def displacements(self) -> np.ndarray:
        """(n_atoms, 3, 3) ⟨u u⟩ in Å²."""
        dynamics = LatticeDynamics(self.force_constants.crystal)
        polar = self.polar_part()
        real_space = dynamics.real_space(self.values, polar)
        return dynamics.tensors(real_space, TEMPERATURE, polar)[0].numpy()

    def request(self, folder: Path) -> Request:
        """For other codes, which read the force constants from a file in ``folder``."""
        crystal, given = self.force_constants.crystal, self.force_constants
        folder = folder / f"{crystal.formula}_{crystal.n_primitive}"
        if not folder.exists():
            folder.mkdir()
            if given.born_charges is not None:
                # Euphonic 2.1 contracts the field with the second index of phonopy's charges.
                given = replace(given, born_charges=given.born_charges.transpose(0, 2, 1))
            given.save(folder / "phonopy.yaml")
        lengths = zip(
            crystal.primitive_symbols, crystal.primitive_scattering_lengths.tolist(), strict=True
        )
        return Request(
            folder,
            self.q_points,
            self.edges,
            TEMPERATURE,
            self.fwhm,
            self.displacements,
            dict(lengths),
        )

    def intensity_deviation(self, signal: np.ndarray, run: EuphonicRun) -> float:
        """Largest relative difference between intensities integrated over energy.

        Where all lines end inside the energy bins: Euphonic moves each to the middle of its bin
        before it broadens it, and has no energy gain that reaches across zero.
        """
        reach = 4.5 * self.fwhm / FWHM_PER_SIGMA + np.diff(self.edges).max()
        lowest, highest = run.energies.min(axis=1), run.energies.max(axis=1)
        inside = (lowest > self.edges[0] + reach) & (highest < self.edges[-1] - reach)
        integrated = (signal[: len(inside)] @ np.diff(self.edges))[inside]
        return float(np.abs(integrated / run.intensities[inside] - 1).max())
