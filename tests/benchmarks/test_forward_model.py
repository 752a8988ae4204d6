"""Time of S(Q,E) at scattered Q, as a ratio to Euphonic in the same run.

Printed, not asserted: ``make bench``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from fcinv_core.crystal import ForceConstants
from fcinv_core.scattering.bins import BinSampling
from fcinv_core.scattering.dynamical import FourierSum, Modes
from fcinv_core.scattering.kernel import ModeKernel
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectra import StructureFactors, spectra

DATA = Path(__file__).parents[1] / "data" / "force_constants"
N_Q, TEMPERATURE = 20_000, 300.0
EDGES = np.linspace(0, 90, 91)


# A process of its own: next to torch's threads Euphonic falls back to one thread.
PEER = """
import sys, time
import numpy as np
from euphonic import ForceConstants, ureg
peer = ForceConstants.from_phonopy(path=sys.argv[1], summary_name="phonopy.yaml")
points = np.random.default_rng(0).uniform(-4, 4, (int(sys.argv[2]), 3))
begin = time.perf_counter()
modes = peer.calculate_qpoint_phonon_modes(points, asr=None, use_c=True)
factors = modes.calculate_structure_factor(scattering_lengths={"Si": 4.1 * ureg("fm")})
edges = np.linspace(0, 90, 91) * ureg("meV")
binned = factors.calculate_sqw_map(edges, temperature=300 * ureg("K"))
binned.broaden(y_width=2.0 * ureg("meV"))
print(time.perf_counter() - begin)
"""


def peer_seconds(folder):
    """Modes, structure factors, binning and broadening with Euphonic."""
    command = [sys.executable, "-W", "ignore", "-c", PEER, str(folder), str(N_Q)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def seconds(task, repeats=3):
    """Shortest of a few runs."""
    best = np.inf
    for _ in range(repeats):
        begin = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - begin)
    return best


def test_scattered_q_against_euphonic(tmp_path, capsys):
    force_constants = ForceConstants.from_file(DATA / "Si_dft.yaml")
    force_constants.save(tmp_path / "phonopy.yaml")
    points = np.random.default_rng(0).uniform(-4, 4, (N_Q, 3))
    crystal = force_constants.crystal
    values = torch.from_numpy(force_constants.values)

    def ours():
        sampling = BinSampling.from_bins(
            points, 1e-3 * np.eye(3), (1, 1, 1), crystal.point_group_rotations
        )
        fourier = FourierSum(crystal, sampling.q_points)
        modes = Modes.from_dynamical_matrices(fourier.matrices(values))
        kernel = ModeKernel(
            modes.squared_energies,
            torch.from_numpy(EDGES),
            TEMPERATURE,
            EnergyResolution.constant(2.0),
        )
        tensors = torch.zeros(crystal.n_primitive, 3, 3, dtype=torch.float64)
        return spectra(StructureFactors(crystal, sampling), modes, kernel, tensors)

    own, other = seconds(ours), peer_seconds(tmp_path)
    with capsys.disabled():
        print(
            f"\n{N_Q} scattered Q of Si, {len(EDGES) - 1} energy bins, {os.cpu_count()} cores: "
            f"{own:.2f} s, Euphonic {other:.2f} s (with its binning and broadening): "
            f"{other / own:.1f} times as long"
        )
