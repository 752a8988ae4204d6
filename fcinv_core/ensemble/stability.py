"""Whether force constants hold a crystal together."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from fcinv_core.crystal import Crystal
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

MESH = 4
"""Points along each reciprocal axis, half a step off Γ."""


def lowest_energies(crystal: Crystal, values: np.ndarray) -> np.ndarray:
    """Lowest phonon energy of each of several sets of force constants, meV.

    All modes at the wave vectors of the supercell, where no interpolation enters, and on a mesh
    around Γ are asked, but not the acoustic ones at Γ itself.

    Parameters
    ----------
    crystal
        Cells, masses and supercell.
    values
        (n_sets, n_primitive, n_supercell, 3, 3) compact force constants in eV/Å².

    Returns
    -------
    ndarray
        (n_sets,), negative for unstable ones.
    """
    dynamics = LatticeDynamics(crystal)
    real_space = dynamics.real_space(torch.from_numpy(np.ascontiguousarray(values)))
    at_gamma = dynamics.modes(real_space, np.zeros((1, 3))).energies[:, 0]
    # Translations have zero energy, whatever is unstable does not.
    acoustic = at_gamma.abs().argsort(dim=-1)[:, :3]
    optic = at_gamma.scatter(-1, acoustic, torch.inf).amin(dim=-1)
    elsewhere = dynamics.modes(real_space, _q_points(crystal)).energies.amin(dim=(-2, -1))
    return torch.minimum(optic, elsewhere).numpy()


def _q_points(crystal: Crystal) -> np.ndarray:
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    cells = crystal.supercell_lattice @ np.linalg.inv(crystal.primitive_lattice)
    commensurate = np.array(get_commensurate_points(np.rint(cells).astype(int).T))
    away = np.abs(commensurate - np.rint(commensurate)).max(axis=1) > 1e-6
    steps = (np.arange(MESH) + 0.5) / MESH - 0.5
    return np.vstack([commensurate[away], np.array(list(product(steps, repeat=3)))])
