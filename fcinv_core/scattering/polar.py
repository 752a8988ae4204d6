"""The dipole part of D(q) as the other modules of this package need it."""

from __future__ import annotations

import torch
from torch.utils.weak import WeakIdKeyDictionary

from fcinv_core.scattering.dipole import DipoleTerm
from fcinv_core.scattering.dynamical import FourierSum
from fcinv_core.scattering.hermitian import packed
from fcinv_core.scattering.threads import map_blocks

STORED_BYTES = 2**29
"""Dipole parts of D(q) that take no more than this are kept, larger ones worked out each time."""

Q_POINTS_PER_BLOCK = 128
"""The Ewald sums are fastest with so many at once."""


class PolarPart:
    """What the long-range field of Born charges adds to dynamical matrices.

    Force constants in a supercell hold its value at the commensurate q points. That is taken out
    before they are interpolated (once: force constants are total ones everywhere else), and the
    exact D(q) of the dipoles is added.

    Parameters
    ----------
    fourier
        Of the same crystal.
    term
        The Ewald sums.
    born_charges, dielectric
        (n_atoms, 3, 3) in e and (3, 3), float64; differentiable.
    """

    def __init__(
        self,
        fourier: FourierSum,
        term: DipoleTerm,
        born_charges: torch.Tensor,
        dielectric: torch.Tensor,
    ) -> None:
        self._fourier = fourier
        charges = born_charges.to(fourier.device, torch.float64)
        tensor = dielectric.to(fourier.device, torch.float64)
        self._sums = term.sums(charges, tensor)
        self._supercell_values = term.supercell_values(charges, tensor)
        # Forgotten together with the q points: they take up to half a gigabyte each.
        self._stored = WeakIdKeyDictionary()

    @property
    def is_differentiable(self) -> bool:
        """Whether derivatives by Born charges or the dielectric tensor are wanted."""
        return self._supercell_values.requires_grad

    def short_ranged(self, values: torch.Tensor) -> torch.Tensor:
        """Total force constants (..., n_atoms, n_supercell, 3, 3) less their dipole part."""
        return values.to(self._fourier.device) - self._supercell_values

    def components(self, q_points: torch.Tensor) -> torch.Tensor:
        """Components of the dipole part of D(q): (n_q, (3 n_atoms)²) in meV²."""
        weights = self._fourier.mass_weights

        def work(points: torch.Tensor) -> torch.Tensor:
            return packed(self._sums.matrices(points) * weights)

        blocks = q_points.to(self._fourier.device, torch.float64).split(Q_POINTS_PER_BLOCK)
        return torch.cat(list(map_blocks(work, blocks, self._fourier.device)))

    def stored(self, q_points: torch.Tensor) -> torch.Tensor:
        """`components`, kept for as long as the very same q points come again."""
        if q_points not in self._stored:
            self._stored[q_points] = self.components(q_points)
        components: torch.Tensor = self._stored[q_points]
        return components

    def kept_if_small(self, q_points: torch.Tensor) -> torch.Tensor | PolarPart:
        """`stored`, or this itself if that would fill the memory: `spectra` takes either."""
        size = 8 * len(q_points) * self._fourier.n_modes**2
        return self.stored(q_points) if size <= STORED_BYTES else self
