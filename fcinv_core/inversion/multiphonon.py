"""Scattering by two and more phonons below the bins of a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.incoherent import IncoherentScattering
from fcinv_core.scattering.kernel import ModeKernel

if TYPE_CHECKING:
    from fcinv_core.inversion.lattice import Lattice, LatticeState
    from fcinv_core.inversion.preparation import PreparedHistogram


N_MODES = 3000
"""Summed over: spectra then are within 0.7 % of those of 50 000 modes, as with 12 000 (Ge, Si, MgO
and Al at 10 and 300 K)."""


class Multiphonon:
    """Multiphonon scattering in the incoherent approximation on the energy bins of a measurement.

    It varies little inside a bin, whose centre stands for it, and little with the force constants
    unless a mode comes near zero energy.

    Parameters
    ----------
    prepared, lattice
        The measurement and the crystal.
    """

    def __init__(self, prepared: PreparedHistogram, lattice: Lattice) -> None:
        self._prepared, self._lattice = prepared, lattice
        kernel = ModeKernel(
            torch.from_numpy(prepared.edges), prepared.temperature, prepared.resolution
        )
        self._scattering: IncoherentScattering | None
        try:
            self._scattering = IncoherentScattering(
                lattice.dynamics, kernel, one_phonon=False, multiphonon=True, n_modes=N_MODES
            )
        except FcinvError:
            # Without the cross section of an element the background stands in, as for all else.
            self._scattering = None

    def spectra(
        self, state: LatticeState, centres: np.ndarray, resolution_scale: float
    ) -> np.ndarray:
        """(n, n_energy) in mbarn/meV per primitive cell.

        Parameters
        ----------
        centres
            (n, 3) of Q bins, reciprocal coordinates of the primitive cell.
        """
        if self._scattering is None:
            return np.zeros((len(centres), len(self._prepared.edges) - 1))
        momenta = torch.from_numpy(centres @ self._lattice.basis.crystal.reciprocal_lattice)
        with torch.no_grad():
            found = self._scattering.spectra(
                state.real_space,
                momenta,
                state.tensors(self._prepared.temperature),
                resolution_scale,
                self._lattice.polar,
            )
        return found[0].numpy()
