"""What a crystal's spectra need besides bins: D(q), displacements and the dipole part."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.scattering.dipole import DipoleTerm
from fcinv_core.scattering.displacements import Displacements
from fcinv_core.scattering.dynamical import FourierSum, Modes, RealSpace
from fcinv_core.scattering.polar import PolarPart
from fcinv_core.units import COULOMB_EV_ANGSTROM

if TYPE_CHECKING:
    from fcinv_core.crystal import Crystal, ForceConstants


class LatticeDynamics:
    """Dynamical matrices of one crystal on one device, for any force constants.

    Parameters
    ----------
    crystal
        Cells, masses and supercell.
    device, dtype
        Of the calculation.
    """

    def __init__(
        self,
        crystal: Crystal,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.crystal = crystal
        self.fourier = FourierSum(crystal, device, dtype)
        self._polar: tuple[tuple[bytes, bytes, float], PolarPart] | None = None

    @cached_property
    def displacements(self) -> Displacements:
        """Mean-square displacements on a mesh."""
        return Displacements(self.crystal, self.fourier)

    def polar_part(
        self,
        born_charges: torch.Tensor,
        dielectric: torch.Tensor,
        nac_factor: float = COULOMB_EV_ANGSTROM,
    ) -> PolarPart:
        """Dipole part of given charges; remembered unless they are to be differentiated."""
        fixed = tuple(part.detach().cpu().numpy() for part in (born_charges, dielectric))
        if born_charges.requires_grad or dielectric.requires_grad:
            term = DipoleTerm(self.crystal, fixed[1], nac_factor)
            return PolarPart(self.fourier, term, born_charges, dielectric)
        key = (fixed[0].tobytes(), fixed[1].tobytes(), nac_factor)
        if self._polar is None or self._polar[0] != key:
            term = DipoleTerm(self.crystal, fixed[1], nac_factor)
            self._polar = (key, PolarPart(self.fourier, term, born_charges, dielectric))
        return self._polar[1]

    def polar_part_of(self, force_constants: ForceConstants) -> PolarPart | None:
        """Dipole part of force constants that have Born charges, else None."""
        return self.polar_part_with(
            force_constants.born_charges, force_constants.dielectric, force_constants.nac_factor
        )

    def polar_part_with(
        self,
        born_charges: np.ndarray | None,
        dielectric: np.ndarray | None,
        nac_factor: float = COULOMB_EV_ANGSTROM,
    ) -> PolarPart | None:
        """Dipole part of fixed charges, None where there are none."""
        if born_charges is None or dielectric is None:
            return None
        return self.polar_part(
            torch.from_numpy(np.array(born_charges)),
            torch.from_numpy(np.array(dielectric)),
            nac_factor,
        )

    def real_space(self, values: torch.Tensor, polar: PolarPart | None = None) -> RealSpace:
        """Force constants by translation, less their dipole part.

        Parameters
        ----------
        values
            (n_sets, n_primitive, n_supercell, 3, 3) total compact force constants in eV/Å².
        """
        return self.fourier.real_space(values if polar is None else polar.short_ranged(values))

    def modes(
        self, real_space: RealSpace, q_points: np.ndarray, polar: PolarPart | None = None
    ) -> Modes:
        """Modes at q points (n_q, 3) in reciprocal coordinates of the primitive cell."""
        points = torch.from_numpy(np.ascontiguousarray(q_points, dtype=float))
        points = points.to(self.fourier.device)
        matrices = real_space.matrices(self.fourier.waves(points, torch.float64))
        if polar is not None:
            matrices = matrices + polar.components(points)
        return Modes.from_packed(matrices)

    def tensors(
        self, real_space: RealSpace, temperature: float, polar: PolarPart | None = None
    ) -> torch.Tensor:
        """⟨u u⟩ in Å², (n_sets, n_atoms, 3, 3), at ``temperature`` in K."""
        mesh = None if polar is None else polar.stored(self.displacements.q_points)
        return self.displacements.tensors(real_space, temperature, mesh)
