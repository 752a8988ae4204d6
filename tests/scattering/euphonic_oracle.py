"""Modes, structure factors and Debye-Waller factors from Euphonic, an independent code.

Only the force constants cross over, through a phonopy.yaml.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import euphonic
import numpy as np
from euphonic import ureg

from fcinv_core.crystal import ForceConstants


@dataclass(frozen=True, eq=False)
class EuphonicOracle:
    """What Euphonic makes of some force constants; with their Born charges, if they have any."""

    force_constants: ForceConstants
    interpolation: euphonic.ForceConstants

    @classmethod
    def from_force_constants(cls, force_constants: ForceConstants, folder: Path) -> EuphonicOracle:
        handed_over = force_constants
        if force_constants.born_charges is not None:
            # Euphonic 2.1 contracts the field with the second index of phonopy's charges.
            turned = force_constants.born_charges.transpose(0, 2, 1)
            handed_over = replace(force_constants, born_charges=turned)
        handed_over.save(folder / "phonopy.yaml")
        loaded = euphonic.ForceConstants.from_phonopy(path=folder, summary_name="phonopy.yaml")
        np.testing.assert_allclose(
            loaded.crystal.atom_r, force_constants.crystal.primitive_positions, atol=1e-12
        )
        return cls(force_constants, loaded)

    def modes(self, q_points, weights=None):
        with warnings.catch_warnings():
            # torch brings an OpenMP of its own, so Euphonic runs on one thread and says so.
            warnings.simplefilter("ignore")
            return self.interpolation.calculate_qpoint_phonon_modes(
                np.array(q_points),
                weights=weights,
                asr=None,
                dipole=self.force_constants.born_charges is not None,
                splitting=False,
            )

    def displacements(self, q_points, weights, temperature):
        """(n_atoms, 3, 3) ⟨u u⟩ in Å²."""
        return tensors_of(self.debye_waller(q_points, weights, temperature))

    def debye_waller(self, q_points, weights, temperature):
        modes = self.modes(q_points, weights)
        return modes.calculate_debye_waller(temperature * ureg("K"), symmetrise=True)

    @cached_property
    def _two_meshes(self):
        return [self.modes(shifted_mesh(n)) for n in (16, 32)]

    def converged_debye_waller(self, temperature):
        """Extrapolated from two meshes: what a mesh of n³ points misses at Γ goes as 1/n."""
        coarse, fine = (
            modes.calculate_debye_waller(temperature * ureg("K")) for modes in self._two_meshes
        )
        extrapolated = 2 * fine.debye_waller - coarse.debye_waller
        return euphonic.DebyeWaller(fine.crystal, extrapolated, fine.temperature)

    def mode_strengths(self, q_points, debye_waller):
        """Energies (meV) and |F|² ħ²/2E (mbarn per primitive cell) of each mode at each Q."""
        crystal = self.force_constants.crystal
        lengths = dict(
            zip(crystal.primitive_symbols, crystal.primitive_scattering_lengths, strict=True)
        )
        with np.errstate(divide="ignore"):  # acoustic modes at Γ
            factor = self.modes(q_points).calculate_structure_factor(
                scattering_lengths={s: b * ureg("fm") for s, b in lengths.items()},
                dw=debye_waller,
            )
        return (
            factor.frequencies.to("meV").magnitude,
            # Euphonic's are per atom.
            factor.structure_factors.to("mbarn").magnitude * crystal.n_primitive,
        )


def tensors_of(debye_waller) -> np.ndarray:
    """⟨u u⟩ in Å² (n_atoms, 3, 3): Euphonic's exponent is half of it."""
    return 2 * np.array(debye_waller.debye_waller.to("angstrom**2").magnitude)


def shifted_mesh(n: int) -> np.ndarray:
    """n x n x n midpoints of the zone, n even so that Γ is none of them.

    Time reversal gives one half from the other, which is left out.
    """
    ticks = (np.arange(n) + 0.5) / n - 0.5
    grid = np.meshgrid(ticks, ticks, ticks[n // 2 :], indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)
