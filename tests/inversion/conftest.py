"""Silicon, and a small problem that several test modules of this folder use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.problem import HistogramProblem

DATA = Path(__file__).parents[1] / "data"
ENERGY_FWHM = 2.4
MESH = np.indices((8, 8, 8)).reshape(3, -1).T / 8


@pytest.fixture(scope="session")
def truth():
    """DFT force constants: what stands behind the Mantid files."""
    return ForceConstants.from_file(DATA / "force_constants" / "Si_dft.yaml")


@pytest.fixture(scope="session")
def silicon():
    return Crystal.from_file(DATA / "structures" / "Si.cif")


@pytest.fixture(scope="session")
def lattice(truth):
    return Lattice(ForceConstantBasis.from_crystal(truth.crystal), truth)


@pytest.fixture(scope="session")
def true_parameters(lattice, truth):
    return lattice.parameters_of(truth)


@pytest.fixture(scope="session")
def load(mantid_file):
    return lambda name: SQEHistogram.load(mantid_file(f"si_300K_{name}.nxs"))


@pytest.fixture(scope="session")
def prepared(load, truth):
    """A sparse slice: five orientations, exactly Poisson."""
    return PreparedHistogram.from_histogram(
        load("five_orientations_HHL0_slice_clean"), truth.crystal, energy_fwhm=ENERGY_FWHM
    )


@pytest.fixture
def problem(prepared, lattice, true_parameters, monkeypatch):
    """Coarsely sampled: what is tested on it holds for any samples."""
    monkeypatch.setattr("fcinv_core.inversion.problem.SAMPLING_OVER_COUNTING", 1e6)
    return HistogramProblem(prepared, lattice, true_parameters)


@pytest.fixture(scope="session")
def rms_error(truth):
    """Root-mean-square error in meV of all branches on a mesh, against the truth."""
    expected = truth.frequencies(MESH)

    def error(force_constants):
        return float(np.sqrt(np.mean((force_constants.frequencies(MESH) - expected) ** 2)))

    return error
