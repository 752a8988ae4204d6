"""The study of error bars at a small size: its data are right, its tables say what is there."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from benchmarks.error_bars import designs, table
from benchmarks.error_bars.euphonic_spectra import EuphonicSpectra
from benchmarks.networks import materials

from fcinv_core import Axis, ForwardModel, SQEHistogram

N_CASES = 4000


def test_both_codes_simulate_the_same_spectra():
    """Phonons of one and of several at once, on bins of some width."""
    truth, temperature = materials.truth("Ge", materials.DRAWN, 3), 400.0
    edges = np.linspace(6.0, 42.0, 25)
    axes = [
        Axis.along(row, [first, first + 0.1, first + 0.2])
        for row, first in zip(np.eye(3), (4.2, 3.1, 2.4), strict=True)
    ]
    histogram = SQEHistogram.from_arrays(
        [*axes, Axis.energy_transfer(edges)],
        np.zeros((2, 2, 2, 24)),
        ub=np.linalg.inv(truth.crystal.lattice),
    )
    centres = histogram.q_bin_centres()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectra = EuphonicSpectra(truth, temperature)
        found = spectra.averages(centres, 0.1 * np.eye(3), edges, 2.5, 5)
    momenta = 2 * np.pi * np.linalg.norm(centres @ np.linalg.inv(truth.crystal.lattice).T, axis=1)
    several = spectra.multiphonon(momenta, edges, 2.5)
    own = [
        histogram.spectra(
            ForwardModel(
                truth.crystal, histogram, temperature, 2.5, tolerance=1e-3, multiphonon=multiphonon
            )(truth)
        )
        for multiphonon in (False, True)
    ]
    assert np.abs(own[0] - found).max() < 0.005 * found.max()
    # On a grid of 0.2 meV, and without what the mesh of wave vectors misses next to Γ.
    assert np.abs(own[1] - own[0] - several).max() < 0.04 * several.max()


@pytest.mark.slow
def test_a_measurement_is_the_same_each_time_and_sparse_where_one_orientation_sees_little():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, again = (designs.drawn("Al", "one orientation", 1) for _ in range(2))
    np.testing.assert_array_equal(one.histogram.signal, again.histogram.signal)
    seen = np.isfinite(one.histogram.spectra(one.histogram.signal))
    assert 0 < seen.sum(axis=1).max() < 0.5 * seen.shape[1]
    assert (seen.any(axis=1)).sum() == designs.DESIGNS["one orientation"].n_q
    assert one.nuisance["resolution_scale"] != 1.0


def test_tables_tell_honest_errors_from_small_ones():
    """Records with pulls of unit width, and with pulls twice as wide."""
    rng = np.random.default_rng(0)

    def records(width):
        return [
            {
                "start": "network",
                "material": "Ge",
                "design": "slice",
                "number": number,
                "empty": 0.1,
                "trust": "caution" if number % 2 else "yes",
                "bound_mev": 0.1,
                "error_mev": 0.1 * width * abs(rng.normal()),
                "pulls": {
                    "shells": {"seen": list(width * rng.normal(size=6)), "unseen": []},
                    "energies": list(width * rng.normal(size=9)),
                    "nuisances": dict(
                        zip(table.NUISANCES, width * rng.normal(size=3), strict=True)
                    ),
                },
            }
            for number in range(N_CASES)
        ]

    for width, inside in ((1.0, (0.68, 0.95)), (2.0, (math.erf(0.497 / 2**0.5), 0.673))):
        page = table.page(records(width), "command")
        lines = {
            line.split("|")[1].strip(): line.split("|")
            for line in page.splitlines()[4:]
            if "|" in line
        }
        for quantity in ("phonon energies", "resolution scale"):
            shares = [float(cell.split("(")[0]) / 100 for cell in lines[quantity][3:5]]
            np.testing.assert_allclose(shares, inside, atol=0.025)
        assert "constants of shells that the start holds" not in lines
    silent = [row for row in page.splitlines() if "| slice |" in row][0].split("|")
    assert int(silent[-2]) == pytest.approx(N_CASES / 2 * 0.0124, rel=0.5)
