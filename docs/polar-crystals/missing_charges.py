"""What an inversion makes of MgO with and without its Born charges.

Run it in the folder of fcinv's sources: ``python docs/polar-crystals/missing_charges.py``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fcinv_core import Axis, Crystal, ForceConstants, SQEHistogram, invert
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measurement import simulate_measurement

DATA = Path("tests/data")
FWHM = 4.0  # meV
EXPOSURE = 5.0  # counts per mbarn/meV and primitive cell

crystal = Crystal.from_file(DATA / "structures/MgO.cif")
truth = ForceConstants.from_file(DATA / "force_constants/MgO_dft.yaml")
truth = carried_to(truth, crystal)

# A line through (h00), and a slice of the plane of (hh0) and (00l).
THIN = [-0.05, 0.05]
CUTS = (
    (((1, 0, 0), np.arange(2.0, 6.01, 0.05)), ((0, 1, 0), THIN), ((0, 0, 1), THIN)),
    (
        ((1, 1, 0), np.arange(2.0, 4.01, 0.05)),
        ((1, -1, 0), THIN),
        ((0, 0, 1), np.arange(0.0, 2.01, 0.1)),
    ),
)
measured = []
for seed, cut in enumerate(CUTS):
    axes = [Axis.along(direction, edges) for direction, edges in cut]
    axes.append(Axis.energy_transfer(np.arange(2.0, 105.0, 2.0)))
    bins = SQEHistogram.from_arrays(
        axes,
        np.zeros([axis.n_bins for axis in axes]),
        ub=np.linalg.inv(crystal.lattice),
        temperature=300.0,
        incident_energy=140.0,
    )
    exposure = np.full(bins.shape, EXPOSURE)
    background = Background(flat=0.01)
    measured.append(
        simulate_measurement(
            truth, bins, exposure, energy_fwhm=FWHM, background=background, seed=seed
        )
    )
print("counts:", sum(float(np.nansum(data.effective_counts())) for data in measured))

start = truth.scaled(0.95)
mesh = (np.indices((6, 6, 6)).reshape(3, -1).T + 0.5) / 6
quarter, border = np.array([[0.125, 0.0, 0.125], [0.5, 0.0, 0.5]])
for name, begin in (
    ("with charges", start),
    ("without", replace(start, born_charges=None, dielectric=None)),
):
    result = invert(measured, crystal, start=begin, energy_fwhm=FWHM)
    found = result.force_constants
    error = np.sqrt(np.mean((found.frequencies(mesh) - truth.frequencies(mesh)) ** 2))
    print(
        f"{name}: deviance {result.deviance_per_dof:.2f}, {result.verdict.trust}, {error:.2g} meV"
    )
    for q in (quarter, border):
        highest, true = (fc.frequencies(q[None])[0, -1] for fc in (found, truth))
        print(f"  highest energy at {q}: {highest:.1f} meV, in truth {true:.1f}")
    print(*result.verdict.reasons, sep="\n  - ")
