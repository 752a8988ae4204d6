"""Lines of many modes, interpolated between those at a grid of energies.

The shape of a line in the energy bins depends on its centre alone, so that lines at some thousand
centres tell those of any number of modes. Intensities of modes are not interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fcinv_core.scattering.kernel import Lines, ModeKernel, Sources

STEPS_PER_SIGMA = 16.0
"""Grid steps over the smallest standard deviation of the resolution: with six points the error of
a Gaussian is below 1e-8 of its maximum (that of its slope 1e-6 where a tabulated width has a kink
in its own)."""

_NODES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)

_REACH_SLACK = 1.1


@dataclass(frozen=True)
class LineTable:
    """Lines of unit area on all energy bins of a kernel, by their centre.

    Attributes
    ----------
    kernel
        Energy bins, temperature, resolution.
    scale
        Factor on the width of lines.
    origin, step
        meV: centre of the first line, and distance to the next.
    shapes
        (n_centres, n_bins) each: averages over bins and, if asked for, their derivatives by the
        centre and by the logarithm of the scale. They vanish at both ends.
    """

    kernel: ModeKernel
    scale: torch.Tensor
    origin: float
    step: float
    shapes: tuple[torch.Tensor, ...]

    @classmethod
    def worthwhile(
        cls, kernel: ModeKernel, scale: torch.Tensor, n_modes: int, *, derivatives: bool = False
    ) -> LineTable | None:
        """For about ``n_modes`` modes; None if these are fewer than the centres of a table."""
        lowest, highest = _reached(kernel, scale)
        sigma, _ = kernel.resolution.sigma(kernel.edges)
        step = float(sigma.min() * scale) / STEPS_PER_SIGMA
        n_centres = int((highest - lowest) / step) + len(_NODES)
        if n_centres > n_modes:
            return None
        grid = torch.arange(n_centres, dtype=torch.float64, device=kernel.edges.device)
        centre = (lowest + step * grid).to(kernel.edges.dtype)
        first, windows = kernel.shapes(centre, scale, derivatives=derivatives)
        n_bins = len(kernel.edges) - 1
        lines = Lines(first[:, None], windows[0][:, None], None, None, n_bins)
        shapes = tuple(lines.dense(window[:, None]) for window in windows)
        return cls(kernel, scale, lowest, step, shapes)

    def values(self, squared_energies: torch.Tensor) -> torch.Tensor:
        """`Lines.value` of modes of λ (n_sets, n_q, n_modes) on all bins: (..., n_bins)."""
        sources = self.kernel.sources(squared_energies, self.scale)
        places, weights = self._nodes(sources)
        return self._sums(places, weights, sources.strength, self.shapes[0])

    def derivatives(
        self, squared_energies: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`Lines.value`, `Lines.slope` and `Lines.by_width` on all bins, as `values`."""
        sources = self.kernel.sources(squared_energies, self.scale)
        places, weights = self._nodes(sources)
        average, by_centre, by_width = self.shapes
        moved = sources.strength * sources.centre_slope
        return (
            self._sums(places, weights, sources.strength, average),
            self._sums(places, weights, sources.strength_slope, average)
            + self._sums(places, weights, moved, by_centre),
            self._sums(places, weights, sources.strength, by_width),
        )

    def _nodes(self, sources: Sources) -> tuple[torch.Tensor, torch.Tensor]:
        """Places in the table and Lagrange weights around each centre, (..., n_lines, 6).

        Centres beyond the table are as good as at its ends.
        """
        place = (sources.centre - self.origin) / self.step
        last = len(self.shapes[0]) - len(_NODES)
        left = place.floor().clamp(2.0, last + 2.0)
        t = (place - left).clamp(0.0, 1.0)
        distances = [t - node for node in _NODES]
        weights = []
        for own in _NODES:
            weight = torch.ones_like(t)
            for other, distance in zip(_NODES, distances, strict=True):
                if other != own:
                    weight = weight * distance / (own - other)
            weights.append(weight)
        steps = torch.arange(len(_NODES), device=t.device)
        return (left.to(torch.int64) - 2)[..., None] + steps, torch.stack(weights, dim=-1)

    def _sums(
        self,
        places: torch.Tensor,
        weights: torch.Tensor,
        factors: torch.Tensor,
        shapes: torch.Tensor,
    ) -> torch.Tensor:
        """Interpolated ``shapes`` times ``factors`` (..., n_lines), both lines of a mode added."""
        values = weights * factors[..., None]
        n_modes, per_mode = values.shape[:-2].numel(), values.shape[-2:].numel()
        starts = torch.arange(n_modes + 1, device=values.device) * per_mode
        matrix = torch.sparse_csr_tensor(
            starts, places.reshape(-1), values.reshape(-1), (n_modes, len(shapes))
        )
        return (matrix @ shapes).reshape(*values.shape[:-2], -1)


def _reached(kernel: ModeKernel, scale: torch.Tensor) -> tuple[float, float]:
    """Lowest and highest centre in meV of lines that reach any energy bin, with some slack."""
    lower, upper = kernel.line.reach
    ends = []
    for edge, reach in ((kernel.edges[:1], upper), (kernel.edges[-1:], lower)):
        end = edge
        # The width at the end is not that at the edge.
        for _ in range(3):
            end = edge - _REACH_SLACK * reach * scale * kernel.resolution.sigma(end)[0]
        ends.append(float(end))
    return ends[0], ends[1]
