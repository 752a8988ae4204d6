"""A virtual measurement of a polar crystal, from Euphonic's modes and intensities alone."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import euphonic
import numpy as np
from euphonic import ureg
from scipy.special import erf

from fcinv_core import Axis, SQEHistogram
from fcinv_core.units import FWHM_PER_SIGMA

DIRECTIONS = np.array([[1, 1, 0], [0, 0, 1], [1, -1, 0]])
"""Rows: hkl along the three Q axes."""

TEMPERATURE, ENERGY_FWHM = 300.0, 3.0

POINTS_PER_BLOCK = 5000


def euphonic_force_constants(force_constants, folder):
    """The same in Euphonic, which contracts Born charges with the field by the other index."""
    turned = replace(
        force_constants, born_charges=force_constants.born_charges.transpose(0, 2, 1).copy()
    )
    turned.save(folder / "phonopy.yaml")
    return euphonic.ForceConstants.from_phonopy(path=folder, summary_name="phonopy.yaml")


def bin_averages(loaded, crystal, axes, samples, temperature, fwhm):
    """S(Q,E) in mbarn/meV per primitive cell, averaged over bins of `DIRECTIONS` and energy.

    Parameters
    ----------
    samples
        Gauss points along each edge of a Q bin.
    """
    rules = [np.polynomial.legendre.leggauss(n) for n in samples]
    points = [
        axis.centres[:, None] + 0.5 * np.diff(axis.edges)[:, None] * nodes
        for axis, (nodes, _) in zip(axes, rules, strict=False)
    ]
    # samples of each bin next to each other
    grid = np.stack(np.meshgrid(*[part.ravel() for part in points], indexing="ij"), axis=-1)
    to_primitive = crystal.primitive_lattice @ np.linalg.inv(crystal.lattice)
    q_points = grid.reshape(-1, 3) @ DIRECTIONS @ to_primitive.T
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")
        mesh = (np.indices((12, 12, 12)).reshape(3, -1).T + 0.5) / 12
        debye_waller = loaded.calculate_qpoint_phonon_modes(mesh, asr=None).calculate_debye_waller(
            temperature * ureg("K")
        )
        lengths = zip(crystal.primitive_symbols, crystal.primitive_scattering_lengths, strict=True)
        lengths = {symbol: b * ureg("fm") for symbol, b in lengths}
        blocks = []
        for block in np.array_split(q_points, len(q_points) // POINTS_PER_BLOCK + 1):
            modes = loaded.calculate_qpoint_phonon_modes(block, asr=None)
            factor = modes.calculate_structure_factor(scattering_lengths=lengths, dw=debye_waller)
            blocks.append(
                lines(
                    factor.frequencies.to("meV").magnitude,
                    # Euphonic's are per atom
                    factor.structure_factors.to("mbarn").magnitude * crystal.n_primitive,
                    axes[3].edges,
                    temperature,
                    fwhm,
                )
            )
    signal = np.concatenate(blocks)
    shape = itertools.chain.from_iterable(part.shape for part in points)
    weights = [0.5 * weight for _, weight in rules]
    return np.einsum("aibjckE,i,j,k->abcE", signal.reshape(*shape, -1), *weights)


def lines(energies, strengths, edges, temperature, fwhm):
    """(n_q, n_energy) Gaussian lines of energy loss, averaged over the bins."""
    occupation = 1 / np.expm1(np.maximum(energies, 0.1) / (0.08617333262 * temperature))
    reach = (edges - energies[..., None]) * FWHM_PER_SIGMA / (fwhm * np.sqrt(2))
    shape = np.diff(0.5 * erf(reach), axis=-1) / np.diff(edges)
    return ((strengths * (occupation + 1))[..., None] * shape).sum(axis=1)


def histogram(crystal, signal, variance):
    return SQEHistogram.from_arrays(
        slice_axes(),
        signal,
        variance,
        ub=np.linalg.inv(crystal.lattice),
        temperature=TEMPERATURE,
        incident_energy=120.0,
    )


def expected_signal(force_constants, folder):
    """S(Q,E) on the bins of `histogram`, mbarn/meV per primitive cell."""
    loaded = euphonic_force_constants(force_constants, folder)
    return bin_averages(
        loaded, force_constants.crystal, slice_axes(), (6, 6, 4), TEMPERATURE, ENERGY_FWHM
    )


def slice_axes():
    """300 Q bins of the plane with Γ, X, K and L in it."""
    edges = [np.linspace(1.0, 2.5, 16), np.linspace(0.0, 2.0, 21), np.array([-0.07, 0.07])]
    axes = [Axis.along(vector, e) for vector, e in zip(DIRECTIONS, edges, strict=True)]
    return [*axes, Axis.energy_transfer(np.linspace(5.0, 91.0, 44))]
