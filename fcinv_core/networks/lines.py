"""One-phonon spectra of cells, and their exact derivatives by the coordinates of the prior.

The spectrum of a cell is S(E) = Σ_ν e_ν† P e_ν L(E - ω_ν) with P = <v* v^T> and lines L of known
width. Its derivative by a coordinate β_k of the force constants holds at crossings of branches
and for degenerate modes, too, by divided differences of the lines (Daleckii & Krein, 1965):

    ∂S/∂β_k = Σ_νν' Re[(e_ν† P e_ν')* e_ν† D_k e_ν'] (L_ν - L_ν') / (ω_ν² - ω_ν'²).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fcinv_core.networks.mode_windows import relative_width
from fcinv_core.networks.spectra import CellSpectra
from fcinv_core.scattering.hermitian import full, packed_gradient, unpacked

LEAST_WIDTH = 0.015
"""Relative width of lines besides the resolution, in quadrature: cells are no points."""

ALIKE = 1e-3
"""Squared energies closer than this, relative to their sum, have the derivative of a line in
place of a difference."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of n crystals in the cells of some spectra.

    Attributes
    ----------
    shares
        (n, KINDS, n_cells, n_modes): share of each mode in the intensity.
    lines, slopes
        (n, n_cells, n_modes, n_energies): each mode's line in 1/meV, and its derivative by the
        squared energy.
    of_lines, of_slopes
        (n, KINDS, n_cells, n_coordinates, n_modes): derivatives of the spectrum by coordinates
        are sums of lines and slopes with these factors.
    """

    shares: torch.Tensor
    lines: torch.Tensor
    slopes: torch.Tensor
    of_lines: torch.Tensor
    of_slopes: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, spectra: CellSpectra, coordinates: torch.Tensor, edges: torch.Tensor) -> Lines:
        """Lines of force constants (n, n_coordinates) in energy bins with ``edges``."""
        matrices = spectra.matrices
        squares, vectors = torch.linalg.eigh(unpacked(matrices.dynamical(coordinates)))
        squares = squares.clamp(min=matrices.least_square)
        energies = squares.sqrt()
        relative = (relative_width(spectra, energies).square() + LEAST_WIDTH**2).sqrt()
        width = (relative * energies)[..., None]
        away = (edges - energies[..., None]) / width
        lines = 0.5 * torch.erf(away * 0.5**0.5).diff(dim=-1) / edges.diff()
        density = torch.exp(-0.5 * away.square()) / (width * (2 * torch.pi) ** 0.5)
        slopes = -density.diff(dim=-1) / edges.diff() / (2 * energies[..., None])

        adjoint = vectors.mH
        seen = (adjoint[:, None] @ full(spectra.directions).to(vectors.dtype)) @ vectors[:, None]
        gaps = squares[..., :, None] - squares[..., None, :]
        alike = gaps.abs() < ALIKE * (squares[..., :, None] + squares[..., None, :])
        inverse = torch.where(alike, 0.0, 1 / torch.where(alike, 1.0, gaps))

        def factors(of_pairs: torch.Tensor) -> torch.Tensor:
            """Σ_ν' of_pairs_νν' Re[(e_ν† P e_ν')* e_ν† D_k e_ν'] for each mode ν."""
            partners = (seen.conj() * of_pairs[:, None]) @ adjoint.conj()[:, None]
            outer = partners[..., :, None] * adjoint[:, None, :, :, None, :]
            outer = packed_gradient(0.5 * (outer + outer.mH))
            n, n_kinds, n_cells, n_modes, size = outer.shape
            rows = outer.permute(2, 0, 1, 3, 4).reshape(n_cells, -1, size)
            found = torch.bmm(rows, matrices.linear)
            return found.reshape(n_cells, n, n_kinds, n_modes, -1).permute(1, 2, 0, 4, 3)

        return cls(
            shares=seen.diagonal(dim1=-2, dim2=-1).real.clamp(min=0),
            lines=lines,
            slopes=slopes,
            # Pairs are symmetric and inverse gaps are antisymmetric.
            of_lines=2 * factors(inverse),
            of_slopes=factors(alike.to(inverse.dtype)),
        )

    @property
    def intensity(self) -> torch.Tensor:
        """(n, KINDS, n_cells, n_energies) in 1/meV."""
        return torch.einsum("nkcm,ncme->nkce", self.shares, self.lines)
