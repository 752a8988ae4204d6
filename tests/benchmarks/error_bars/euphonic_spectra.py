"""Spectra on bins from Euphonic's modes and structure factors; none of our own forward model."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from euphonic import DebyeWaller, ureg
from scattering.euphonic_oracle import EuphonicOracle, shifted_mesh, tensors_of
from scipy.special import erf

from fcinv_core.crystal import ForceConstants
from fcinv_core.units import FWHM_PER_SIGMA

MESHES = (14, 28)
"""Points of the zone along each axis, for displacements, which both together extrapolate (what a
mesh of n³ points misses at Γ goes as 1/n), and for densities of states (the finer one)."""

GRID_STEP = 0.2
"""meV, of the energies that spectra of several phonons are folded on."""

ORDERS = 8
"""Phonons at once, at most."""

POINTS_PER_BLOCK = 4000

BOLTZMANN = 0.08617333262
"""meV/K."""

MBARN_PER_SQUARE_FM, SQUARE_FM_PER_BARN = 10.0, 100.0

INCOHERENT = {"Ge": 0.18, "Mg": 0.08, "O": 0.0008, "Al": 0.0082, "Si": 0.004, "Cu": 0.55}
"""Cross sections in barn: V. F. Sears, Neutron News 3 (3), 26 (1992)."""


class EuphonicSpectra:
    """S(Q,E) of a cubic crystal at one temperature, mbarn/meV per primitive cell.

    Parameters
    ----------
    force_constants
        Total ones.
    temperature
        K.
    """

    def __init__(self, force_constants: ForceConstants, temperature: float) -> None:
        self.crystal, self.temperature = force_constants.crystal, temperature
        self._oracle = _oracle(force_constants)
        coarse, mesh = (self._oracle.modes(shifted_mesh(n)) for n in MESHES)
        first, second = (
            modes.calculate_debye_waller(temperature * ureg("K"), symmetrise=True)
            for modes in (coarse, mesh)
        )
        ratio = MESHES[1] / MESHES[0]
        exponents = (ratio * second.debye_waller - first.debye_waller) / (ratio - 1)
        self._debye_waller = DebyeWaller(second.crystal, exponents, second.temperature)
        self._energies = mesh.frequencies.to("meV").magnitude
        vectors = np.abs(mesh.eigenvectors) ** 2
        # (n_q, n_modes, n_atoms): share of a mode's motion; a third of it along any direction
        self._shares = vectors.sum(axis=-1) / 3

    def averages(
        self, centres: np.ndarray, bin_vectors: np.ndarray, edges: np.ndarray, fwhm: float, n: int
    ) -> np.ndarray:
        """(n_q, n_energy) averages over bins of coherent scattering by one phonon.

        Parameters
        ----------
        centres, bin_vectors
            (n_q, 3), and (3, 3) columns: hkl of bins.
        edges
            (n_energy + 1,) meV.
        fwhm
            meV.
        n
            Gauss points along each edge of a Q bin.
        """
        nodes, weights = np.polynomial.legendre.leggauss(n)
        inside = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
        weight = np.prod(np.meshgrid(weights, weights, weights, indexing="ij"), axis=0).ravel() / 8
        to_primitive = self.crystal.primitive_lattice @ np.linalg.inv(self.crystal.lattice)
        found = np.empty((len(centres), len(edges) - 1))
        for block in np.array_split(
            np.arange(len(centres)), len(centres) * len(inside) // POINTS_PER_BLOCK + 1
        ):
            hkl = centres[block][:, None] + 0.5 * inside @ bin_vectors.T
            energies, strengths = self._oracle.mode_strengths(
                hkl.reshape(-1, 3) @ to_primitive.T, self._debye_waller
            )
            lines = self._lines(energies, strengths, edges, fwhm)
            found[block] = np.einsum(
                "g,qge->qe", weight, lines.reshape(len(block), len(inside), -1)
            )
        return found

    def _lines(
        self, energies: np.ndarray, strengths: np.ndarray, edges: np.ndarray, fwhm: float
    ) -> np.ndarray:
        """(n_q, n_energy) of energy loss and gain."""
        occupation = 1 / np.expm1(np.maximum(energies, 0.05) / (BOLTZMANN * self.temperature))
        loss = (strengths * (occupation + 1))[..., None] * _gaussian(energies, edges, fwhm)
        gain = (strengths * occupation)[..., None] * _gaussian(-energies, edges, fwhm)
        return (loss + gain).sum(axis=1)

    def multiphonon(self, momenta: np.ndarray, edges: np.ndarray, fwhm: float) -> np.ndarray:
        """(n_q, n_energy) of two and more phonons in the incoherent approximation.

        Parameters
        ----------
        momenta
            (n_q,) |Q| in 1/Å.
        """
        reach = 1.05 * self._energies.max()
        n_side = int(reach / GRID_STEP)
        grid = GRID_STEP * np.arange(-n_side, n_side + 1)
        grid_edges = np.append(grid - GRID_STEP / 2, grid[-1] + GRID_STEP / 2)
        occupation = 1 / np.expm1(self._energies / (BOLTZMANN * self.temperature))
        tensors = tensors_of(self._debye_waller)
        found = np.zeros((len(momenta), len(edges) - 1))
        for atom, symbol in enumerate(self.crystal.primitive_symbols):
            weight = self._shares[..., atom] / self._energies
            one = np.histogram(self._energies, grid_edges, weights=weight * (occupation + 1))[0]
            one = one + np.histogram(-self._energies, grid_edges, weights=weight * occupation)[0]
            one = one / one.sum()
            exponent = momenta**2 * np.trace(tensors[atom]) / 3
            length = self.crystal.primitive_scattering_lengths[atom]
            incoherent = INCOHERENT[symbol] * SQUARE_FM_PER_BARN
            strength = MBARN_PER_SQUARE_FM * (length**2 + incoherent / (4 * np.pi))
            folded = one
            for order in range(2, ORDERS + 1):
                folded = np.convolve(folded, one)
                places = GRID_STEP * np.arange(-order * n_side, order * n_side + 1)
                shape = folded @ _gaussian(places, edges, fwhm)
                share = np.exp(-exponent) * exponent**order / math.factorial(order)
                found += strength * share[:, None] * shape
        return found


_polar: dict[str, tuple[EuphonicOracle, EuphonicOracle]] = {}
"""For each polar crystal the first oracles that were asked for, with and without its charges."""


def _oracle(force_constants: ForceConstants) -> EuphonicOracle:
    """Euphonic's force constants; the dipole part of a crystal, which takes it a minute, once.

    The charges of a crystal are always the same, so that the dipole part is, too: what differs
    between total force constants is all short-ranged.
    """
    plain = _loaded(replace(force_constants, born_charges=None, dielectric=None))
    if force_constants.born_charges is None:
        return plain
    name = force_constants.crystal.content_hash
    if name not in _polar:
        _polar[name] = _loaded(force_constants), plain
    first, first_plain = _polar[name]
    interpolation = copy.copy(first.interpolation)
    interpolation.force_constants = (
        first.interpolation.force_constants
        + plain.interpolation.force_constants
        - first_plain.interpolation.force_constants
    )
    return EuphonicOracle(force_constants, interpolation)


def _loaded(force_constants: ForceConstants) -> EuphonicOracle:
    with TemporaryDirectory() as folder:
        return EuphonicOracle.from_force_constants(force_constants, Path(folder))


def _gaussian(energies: np.ndarray, edges: np.ndarray, fwhm: float) -> np.ndarray:
    """Lines of unit area at some energies (...), averaged over bins: (..., n_energy)."""
    reach = (edges - energies[..., None]) * FWHM_PER_SIGMA / (fwhm * np.sqrt(2))
    return np.asarray(np.diff(0.5 * erf(reach), axis=-1) / np.diff(edges))
