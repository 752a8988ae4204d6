"""Supervised regression from spectra to force constants.

First the overall stiffness (`StiffnessScan`), then a few steps. Each looks at the data in windows
around the modes as believed so far, says for each mode by how much its energy is wrong and how
sure that is, and solves for the force constants that these energies belong to
(`normal_equations`). Windows become narrower from step to step. What is learned is local, what
force constants do to energies is exact, and the normal equations give the spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fcinv_core.networks.cell_network import CellNetwork
from fcinv_core.networks.network import Settings
from fcinv_core.networks.spectra import CellSpectra

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior

HALF_WIDTHS = (0.55, 0.35, 0.2)

SPREADS = (0.15, 0.06, 0.03)


class DirectNetwork(CellNetwork):
    """Stiffness scan and three steps; see the module."""

    architecture = "direct"

    def __init__(self, prior: Prior, settings: Settings | None = None) -> None:
        super().__init__(prior, settings, HALF_WIDTHS, SPREADS)

    def _losses_of(self, spectra: CellSpectra, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.taught(spectra, truth)[-1]

    def _estimate_of(self, spectra: CellSpectra) -> tuple[torch.Tensor, torch.Tensor]:
        present, matrix, _ = self.evidence(spectra)
        to_parameters = self.modes.to_parameters
        covariance = to_parameters @ torch.linalg.inv(matrix.double()) @ to_parameters.T
        return self.modes.parameters_of(present), covariance
