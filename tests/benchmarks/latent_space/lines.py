"""Straight lines through the latent space: do decoded crystals and spectra move smoothly?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.latent_space.cloud import Cloud

from fcinv_core.networks.cell_modes import CellMatrices
from fcinv_core.networks.latent import LatentNetwork
from fcinv_core.networks.validation import PhononEnergies

POINTS = 41
"""Along a line, ends included."""

LARGE = 0.05
"""Change in one step, over the highest energy, that may be a jump. Energies of modes that become
unstable are square roots of what passes zero, which is steep but no jump: steps `FINER` times as
fine tell."""

FINER = 16


@dataclass(frozen=True, eq=False)
class Straight:
    """What is decoded along lines between pairs of held-out cases.

    Attributes
    ----------
    jumps
        (n_lines,) largest change of any phonon energy between neighbouring points, over the
        highest energy on the line.
    finer
        (n_lines,) the same; in steps `FINER` times as fine where it was `LARGE`.
    roughness
        (n_lines,) the same change over the one of even steps, largest over the line (1: all
        steps alike).
    spectra
        (n_lines,) largest distance between decoded spectra of neighbouring points: half the sum
        of absolute differences of their shares, the mean over wave vectors.
    energies
        (POINTS, n_q, n_modes) meV of the line between the softest and the stiffest crystal.
    """

    jumps: np.ndarray
    finer: np.ndarray
    roughness: np.ndarray
    spectra: np.ndarray
    energies: np.ndarray


@torch.no_grad()
def straight_lines(network: LatentNetwork, cloud: Cloud, n: int) -> Straight:
    """Lines between ``n`` pairs of the cloud, the softest and the stiffest and random ones."""
    random = np.random.default_rng(1)
    stiffness = cloud.physics["stiffness (log)"]
    ends = [np.array([np.argmin(stiffness), np.argmax(stiffness)])]
    ends += [random.choice(len(cloud.mean), 2, replace=False) for _ in range(n - 1)]
    energies_of = PhononEnergies(network.prior)
    matrices, directions = _some_q(network)
    jumps, finer, roughness, spectra, lines = [], [], [], [], []
    for begin, end in torch.from_numpy(cloud.mean[np.array(ends)]):
        latent = between(begin, end, POINTS)
        energies = energies_of(network.modes.parameters_of(network.coordinates_of(latent))).numpy()
        steps = steps_of(energies)
        jumps.append(steps.max() / energies.max())
        roughness.append(steps.max() / steps.mean())
        finer.append(jumps[-1])
        if jumps[-1] > LARGE:
            dense = between(begin, end, FINER * (POINTS - 1) + 1)
            parameters = network.modes.parameters_of(network.coordinates_of(dense))
            finer[-1] = steps_of(energies_of(parameters).numpy()).max() / energies.max()
        shares = network.spectrum_of(latent, directions, matrices).exp()
        spectra.append(float(0.5 * shares.diff(dim=0).abs().sum(dim=-1).mean(dim=-1).max()))
        lines.append(energies)
    return Straight(
        np.array(jumps), np.array(finer), np.array(roughness), np.array(spectra), lines[0]
    )


def between(begin: torch.Tensor, end: torch.Tensor, n: int) -> torch.Tensor:
    """(n, size) points along a straight line, ends included."""
    along = torch.linspace(0, 1, n)[:, None]
    return (1 - along) * begin + along * end


def steps_of(energies: np.ndarray) -> np.ndarray:
    """(n - 1,) largest change of any energy (n, n_q, n_modes) from one point to the next."""
    return np.abs(np.diff(energies, axis=0)).max(axis=(1, 2))


def _some_q(network: LatentNetwork) -> tuple[CellMatrices, torch.Tensor]:
    """Dynamical matrices and directions v* v^T at some wave vectors."""
    random = np.random.default_rng(2)
    matrices = network.modes.at(random.uniform(-0.5, 0.5, (32, 3)))
    size = matrices.linear.shape[1]
    n = round(size**0.5)
    diagonal = [row * (row + 1) // 2 + row for row in range(n)]
    directions = torch.zeros(32, size)
    directions[:, diagonal] = 1 / n
    return matrices, directions
