"""One look at all modes: by how much are their energies wrong, and how sure is that?"""

from __future__ import annotations

import torch

from fcinv_core.networks.mode_windows import N_FEATURES
from fcinv_core.networks.stiffness_scan import N_CONDITIONS


class Step(torch.nn.Module):
    """Corrections of all modes, from what windows around them show."""

    def __init__(self, width: int) -> None:
        super().__init__()
        linear, gelu = torch.nn.Linear, torch.nn.GELU
        self.look = torch.nn.Sequential(
            linear(N_FEATURES, width), gelu(), linear(width, width), gelu()
        )
        self.whole = torch.nn.Sequential(linear(width + N_CONDITIONS, width), gelu())
        self.cell = linear(width, width // 2)
        self.answer = torch.nn.Sequential(
            linear(2 * width + width // 2, width), gelu(), linear(width, 2)
        )
        self.dependence = linear(width, 1)
        self.widening = linear(width, 2)

    def forward(
        self, features: torch.Tensor, usable: torch.Tensor, conditions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Change, logarithm of its inverse variance, and what share of it counts.

        Parameters
        ----------
        features
            (n, n_cells, n_modes, N_FEATURES).
        usable
            (n_cells, n_modes).
        conditions
            (N_CONDITIONS,).

        Returns
        -------
        Twice (n, n_cells, n_modes), and (n, 1, 1): errors of neighbouring modes are alike, so that
        all together count for less than the sum. Last (n, width): of the measurement as a whole.
        """
        seen = self.look(features) * usable[..., None]
        pooled = seen.sum(dim=(1, 2)) / usable.sum().clamp(min=1)
        whole = self.whole(torch.cat([pooled, conditions.expand(len(pooled), -1)], dim=-1))
        neighbours = self.cell(seen).mean(dim=2, keepdim=True)
        n, n_cells, n_modes, _ = seen.shape
        answer = self.answer(
            torch.cat(
                [
                    seen,
                    whole[:, None, None].expand(-1, n_cells, n_modes, -1),
                    neighbours.expand(-1, -1, n_modes, -1),
                ],
                dim=-1,
            )
        )
        counting = torch.sigmoid(self.dependence(whole) - 3)[..., None]
        return answer[..., 0], (answer[..., 1] + 2).clamp(-4.0, 9.0), counting, whole

    def widened(self, matrix: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """`widened` as this step has learned."""
        return widened(matrix, self.widening(whole))


def widened(matrix: torch.Tensor, logarithms: torch.Tensor) -> torch.Tensor:
    """The inverse of the covariance, made honest: factors for stiffness and for shapes.

    Parameters
    ----------
    matrix
        (n, n_coordinates, n_coordinates) of normal equations.
    logarithms
        (n, 2) of these factors.
    """
    by_kind = (-logarithms.clamp(-3.0, 3.0)).exp()
    factors = torch.cat([by_kind[:, :1], by_kind[:, 1:].expand(-1, matrix.shape[1] - 1)], dim=1)
    return matrix * factors[:, :, None] * factors[:, None, :]
