"""Supervised regression from spectra to force constants.

First the overall stiffness (`StiffnessScan`), then a few steps. Each looks at the data in windows
around the modes as believed so far, says for each mode by how much its energy is wrong and how
sure that is, and solves for the force constants that these energies belong to
(`normal_equations`). Windows become narrower from step to step, and in the end the
spectra themselves are fitted (`SpectraFit`). What is learned is local, what
force constants do to energies is exact, and the normal equations give the spread.
"""

from __future__ import annotations

import torch

from fcinv_core.networks.cell_network import CellNetwork
from fcinv_core.networks.spectra import CellSpectra


class DirectNetwork(CellNetwork):
    """Stiffness scan, steps and fits; see the module."""

    architecture = "direct"

    def _losses_of(self, spectra: CellSpectra, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.taught(spectra, truth)[-1]

    def _answer(
        self, found: torch.Tensor, matrix: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return found, torch.linalg.inv(matrix.double())
