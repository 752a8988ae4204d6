"""Measured spectra as networks see them: gathered onto cells of the wedge, free of scale.

A token is what was measured near one irreducible wave vector q: counts, and the counts expected
of a phonon spectrum that is everywhere alike, on an energy grid that goes with the crystal. A
measured intensity is

    S(Q,E) = |V(Q)|² (n(E)+1)/(2E) Σ_ν |v·e_ν|² δ(E-ω_ν),   v = V/|V|,

with V_κ = b_κ/√m_κ Q exp(-iQ·r_κ) exp(-W_κ): everything in front of the sum is known well enough
beforehand and goes into the expectation. What is left adds up over all Q bins of a cell, of any
projection, binning and number of workspaces. Q bins that look at slow and at fast motions of the
same q are kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcinv_core.networks.cell_modes import CellMatrices, CellModes, trace_weights
from fcinv_core.networks.wedge import WedgeMesh
from fcinv_core.scattering.hermitian import packed
from fcinv_core.scattering.plan import momentum_squares
from fcinv_core.units import BOLTZMANN_MEV_PER_K

if TYPE_CHECKING:
    from fcinv_core.ensemble.measurement_group import MeasurementGroup
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.inversion.preparation import PreparedHistogram

N_ENERGIES = 160
"""Bins of the energy grid, up to `HIGHEST` times the highest energy that the prior allows."""

HIGHEST = 1.05

KINDS = 2
"""Q bins of a cell that see slow and fast motions, relative to the mean over all motions."""

_SHARPNESS = 4.0
"""How sharply these kinds are told apart."""

ELASTIC_CUTOFF = 0.7
"""Energies below this many elastic widths are left out."""

_CHUNK = 20_000


@dataclass(frozen=True, eq=False)
class CellSpectra:
    """Spectra of n measurements that share cells, or of one that several workspaces add up to.

    Attributes
    ----------
    cells
        (n_cells,) of the wedge that something was measured in.
    matrices
        Dynamical matrices at the mean q that was measured in each.
    centroids
        (n_cells, 3) that mean q, reciprocal coordinates of the primitive cell.
    counts, expected
        (n, KINDS, n_cells, N_ENERGIES + 1) running sums along energy from 0: counts, and those
        expected of a spectrum that is everywhere alike, which are as many in all.
    directions
        (KINDS, n_cells, (3 n_atoms)²) components of the mean v* v^T, trace 1.
    edges
        (N_ENERGIES + 1,) meV.
    temperature, energy_fwhm, incident_energy, lowest, highest
        K and meV; means over workspaces. The last two are the ends of the measured energies.
    """

    cells: torch.Tensor
    matrices: CellMatrices
    centroids: np.ndarray
    counts: torch.Tensor
    expected: torch.Tensor
    directions: torch.Tensor
    edges: torch.Tensor
    temperature: float
    energy_fwhm: float
    incident_energy: float
    lowest: float
    highest: float

    def __len__(self) -> int:
        return len(self.counts)

    def best(self, n_cells: int) -> CellSpectra:
        """Only those cells that hold the most expected counts."""
        if len(self.cells) <= n_cells:
            return self
        total = self.expected[..., -1].sum(dim=(0, 1))
        chosen = total.topk(n_cells).indices.sort().values
        return replace(
            self,
            cells=self.cells[chosen],
            matrices=self.matrices.some(chosen),
            centroids=self.centroids[chosen.cpu().numpy()],
            counts=self.counts[:, :, chosen],
            expected=self.expected[:, :, chosen],
            directions=self.directions[:, chosen],
        )

    def binned(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of the energies that were measured, in meV and counts.

        Returns
        -------
        Edges (m + 1,); counts and expected counts, (n, KINDS, n_cells, m) each.
        """
        last = int(torch.searchsorted(self.edges, self.highest))
        edges = self.edges[: max(last, 2) + 1]
        counts, expected = (
            running[..., : len(edges)].diff(dim=-1).clamp(min=0)
            for running in (self.counts, self.expected)
        )
        return edges, counts, expected

    def taken(self, owners: torch.Tensor) -> CellSpectra:
        """Of the measurements with the numbers ``owners`` (m,), any of them any number of times."""
        return replace(self, counts=self.counts[owners], expected=self.expected[owners])


class SpectraGatherer:
    """Gathers measurements of one crystal.

    Parameters
    ----------
    prior
        Its median force constants tell displacements, and what slow and fast motions are.
    mesh, modes
        Of the same crystal.
    """

    def __init__(self, prior: Prior, mesh: WedgeMesh, modes: CellModes) -> None:
        self._crystal, self._mesh, self._modes = prior.crystal, mesh, modes
        median = prior.values(
            torch.from_numpy(prior.widths.stiffness_median * prior.centre)[None].double()
        )
        self._median = modes.dynamics.real_space(median, modes.polar)
        crystal = prior.crystal
        self._positions = torch.from_numpy(
            crystal.primitive_positions @ crystal.primitive_lattice
        ).double()
        self._strength = torch.from_numpy(
            crystal.primitive_scattering_lengths / np.sqrt(crystal.primitive_masses)
        ).double()
        median_coordinates = torch.zeros(1, modes.n_coordinates)
        median_coordinates[0, 0] = prior.widths.stiffness_median
        self._matrices = modes.at(mesh.q_points).dynamical(median_coordinates)[0]
        size = round(self._matrices.shape[1] ** 0.5)
        diagonal = torch.tensor([row * (row + 1) // 2 + row for row in range(size)])
        self._mean_squares = self._matrices[:, diagonal].mean(dim=1)
        self._pairs = trace_weights(self._matrices)
        self.edges = torch.linspace(0.0, HIGHEST * prior.energy_range[1], N_ENERGIES + 1)

    def of_group(self, group: MeasurementGroup) -> CellSpectra:
        """Measurements with common Q bins, as training has them."""
        return self._gather(
            group.counts,
            group.exposure,
            group.centres.cpu().numpy().astype(float),
            group.energy_edges.cpu().numpy().astype(float),
            group.temperature,
            group.stated_fwhm,
            group.incident_energy,
        )

    def of_prepared(self, prepared: Sequence[PreparedHistogram]) -> CellSpectra:
        """All histograms of one crystal together."""
        parts = []
        for item in prepared:
            incident = item.histogram.incident_energy
            parts.append(
                self._gather(
                    torch.from_numpy(item.counts).float()[None],
                    torch.from_numpy(item.exposure).float()[None],
                    item.centres,
                    item.edges,
                    item.temperature,
                    item.resolution.elastic_fwhm,
                    incident if incident is not None else 2 * float(item.edges[-1]),
                )
            )
        return self.joined(parts)

    def _gather(
        self,
        counts: torch.Tensor,
        exposure: torch.Tensor,
        centres: np.ndarray,
        edges: np.ndarray,
        temperature: float,
        fwhm: float,
        incident_energy: float,
    ) -> CellSpectra:
        device = counts.device
        dynamics, polar = self._modes.dynamics, self._modes.polar
        tensors = dynamics.tensors(self._median, temperature, polar)[0]
        middles = 0.5 * (edges[1:] + edges[:-1])
        kept = edges[:-1] >= ELASTIC_CUTOFF * fwhm
        thermal = np.zeros(len(middles))
        thermal[kept] = 1 / (
            middles[kept] * -np.expm1(-middles[kept] / (BOLTZMANN_MEV_PER_K * temperature))
        )
        known = torch.as_tensor(thermal, dtype=torch.float32, device=device)
        seen = (exposure > 0).any(dim=0).any(dim=-1).cpu().numpy() & kept.any()
        rows = np.flatnonzero(seen)
        cell, turned = self._mesh.place(centres[rows])
        cells, place = np.unique(cell, return_inverse=True)
        place = place.reshape(-1)
        n, n_cells, n_energy = len(counts), len(cells), len(middles)
        summed = torch.zeros(2, n, KINDS * n_cells, n_energy, device=device)
        size = self._matrices.shape[1]
        directions = torch.zeros(KINDS * n_cells, size)
        weights = torch.zeros(KINDS * n_cells)
        offsets = self._mesh.offsets(turned, cell)
        centroids, q_weights = np.zeros((n_cells, 3)), np.zeros(n_cells)
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            strength, pairs, kind = self._directions(turned[part], cell[part], tensors)
            into = torch.zeros(KINDS, n_cells, len(strength))
            number = torch.arange(len(strength))
            place_of = torch.from_numpy(place[part])
            into[0, place_of, number] = 1 - kind
            into[1, place_of, number] = kind
            into = into.flatten(0, 1)
            chosen = torch.from_numpy(rows[part]).to(device)
            expectation = exposure[:, chosen].float() * known
            expectation = expectation * strength.to(device)[:, None]
            counting = expectation.sum(dim=(0, 2)).cpu()
            on_device = into.to(device)
            summed[0] += on_device @ (counts[:, chosen].float() * (known > 0))
            summed[1] += on_device @ expectation
            share = into * counting
            directions += share @ pairs
            weights += share.sum(dim=1)
            by_row = counting.double().numpy()
            np.add.at(centroids, place[part], by_row[:, None] * offsets[part])
            np.add.at(q_weights, place[part], by_row)
        directions = directions / weights.clamp(min=1e-30)[:, None]
        centroids /= np.maximum(q_weights, 1e-30)[:, None]
        centroids += self._mesh.q_points[cells]
        gridded = on_grid(summed, edges, self.edges.to(device))
        totals = gridded[..., -1].sum(dim=2)
        scale = totals[0] / totals[1].clamp(min=1e-30)
        shape = (n, KINDS, n_cells, len(self.edges))
        return CellSpectra(
            cells=torch.from_numpy(cells).to(device),
            matrices=self._modes.at(centroids),
            centroids=centroids,
            counts=gridded[0].reshape(shape),
            expected=(gridded[1] * scale[:, None, None]).reshape(shape),
            directions=directions.reshape(KINDS, n_cells, size).to(device),
            edges=self.edges.to(device),
            temperature=float(temperature),
            energy_fwhm=float(fwhm),
            incident_energy=float(incident_energy),
            lowest=float(edges[:-1][kept][0]) if kept.any() else 0.0,
            highest=float(edges[-1]),
        )

    def joined(self, parts: Sequence[CellSpectra]) -> CellSpectra:
        """What several workspaces of one crystal add up to."""
        if len(parts) == 1:
            return parts[0]
        cells = torch.unique(torch.cat([part.cells for part in parts]))
        shape = (len(parts[0]), KINDS, len(cells), parts[0].counts.shape[-1])
        counts, expected = (torch.zeros(shape, device=cells.device) for _ in range(2))
        directions = torch.zeros(
            KINDS, len(cells), parts[0].directions.shape[-1], device=cells.device
        )
        weights = torch.zeros(KINDS, len(cells), 1, device=cells.device)
        shares = []
        centroids = np.zeros((len(cells), 3))
        for part in parts:
            place = torch.searchsorted(cells, part.cells)
            counts[:, :, place] += part.counts
            expected[:, :, place] += part.expected
            weight = part.expected[0, :, :, -1:]
            directions[:, place] += weight * part.directions
            centroids[place.cpu().numpy()] += weight.sum(dim=0).cpu().numpy() * part.centroids
            weights[:, place] += weight
            shares.append(float(part.counts[..., -1].sum()))

        def mean(name: str) -> float:
            values = [getattr(part, name) for part in parts]
            return float(np.average(values, weights=np.maximum(shares, 1e-30)))

        centroids /= np.maximum(weights.sum(dim=0).cpu().numpy(), 1e-30)
        return CellSpectra(
            cells=cells,
            matrices=self._modes.at(centroids),
            centroids=centroids,
            counts=counts,
            expected=expected,
            directions=directions / weights.clamp(min=1e-30),
            edges=parts[0].edges,
            temperature=mean("temperature"),
            energy_fwhm=mean("energy_fwhm"),
            incident_energy=mean("incident_energy"),
            lowest=min(part.lowest for part in parts),
            highest=max(part.highest for part in parts),
        )

    def _directions(
        self, turned: np.ndarray, cell: np.ndarray, tensors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """|V|², components of v* v^T, and how far each Q bin sees fast motions (0 to 1)."""
        momenta = torch.from_numpy(turned @ self._crystal.reciprocal_lattice)
        exponent = 0.5 * momentum_squares(momenta) @ tensors.double().flatten(1).T
        amplitude = self._strength * torch.exp(-exponent)
        phase = torch.exp(-1j * (momenta @ self._positions.T))
        vectors = ((phase * amplitude)[..., None] * momenta[:, None]).flatten(1)
        strength = vectors.abs().square().sum(dim=1)
        vectors = vectors / strength.clamp(min=1e-30).sqrt()[:, None]
        pairs = packed(vectors.conj()[:, :, None] * vectors[:, None, :]).float()
        index = torch.from_numpy(cell)
        squares = (pairs * self._pairs * self._matrices[index]).sum(dim=1)
        kind = torch.sigmoid(_SHARPNESS * (squares / self._mean_squares[index] - 1))
        return strength.float(), pairs, kind


def on_grid(sums: torch.Tensor, edges: np.ndarray, grid: torch.Tensor) -> torch.Tensor:
    """Running sums at ``grid`` of what bins (..., n_energy) with ``edges`` hold."""
    running = torch.nn.functional.pad(sums.cumsum(dim=-1), (1, 0))
    n_bins = sums.shape[-1]
    own = torch.as_tensor(edges, dtype=grid.dtype, device=grid.device)
    right = torch.searchsorted(own, grid, right=True).clamp(1, n_bins)
    width = own[right] - own[right - 1]
    along = ((grid - own[right - 1]) / width).clamp(0.0, 1.0)
    running = running[..., right - 1] * (1 - along) + running[..., right] * along
    return running - running[..., :1]
