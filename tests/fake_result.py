"""A made-up inversion result of a silicon-like crystal, for the tests of what is shown
and written. No number in it means anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fcinv_core.crystal import ShellConstant
from fcinv_core.histogram import Axis, SQEHistogram
from fcinv_core.inversion.density_of_states import DensityOfStates
from fcinv_core.inversion.elasticity import ElasticConstants
from fcinv_core.inversion.result import (
    Dispersion,
    Estimate,
    HistogramFit,
    InversionResult,
    Verdict,
)


class FakeForceConstants:
    crystal = SimpleNamespace(formula="Si")
    born_charges = None

    def save(self, path):
        Path(path).write_text("phonopy:\n")


def axis(name, low, high, n_bins):
    energy = name == "DeltaE"
    return Axis(
        name=name,
        unit="DeltaE" if energy else "r.l.u.",
        frame="DeltaE" if energy else "HKL",
        edges=np.linspace(low, high, n_bins + 1),
    )


def histogram(axes, signal):
    return SQEHistogram.from_arrays(
        axes, signal, np.abs(signal), temperature=300.0, incident_energy=80.0
    )


def fit(axes, seed=0, source="si_slice.nxs"):
    """Sine-shaped branches along the first momentum axis, with Poisson noise and a hole."""
    random = np.random.default_rng(seed)
    grids = np.meshgrid(*[a.centres for a in axes], indexing="ij")
    momentum = next(g for g, a in zip(grids, axes, strict=True) if a.is_momentum)
    energies = [g for g, a in zip(grids, axes, strict=True) if a.is_energy]
    energy = energies[0] if energies else np.full(momentum.shape, 20.0)
    expected = 0.3 + 12 * np.exp(-((energy / 1.5) ** 2))
    for top in (20.0, 50.0):
        branch = top * np.abs(np.sin(np.pi * momentum / 2))
        expected = expected + 6 * np.exp(-(((energy - branch) / 2) ** 2))
    signal = random.poisson(expected).astype(float)
    signal[(energy > 45) & (momentum > 0.3)] = np.nan
    simulated = np.where(np.isnan(signal), np.nan, expected)
    used = np.isfinite(signal) & (energy > 5)
    residual = np.where(used, (signal - expected) / np.sqrt(expected), np.nan)
    nuisance = {
        "scale": Estimate(1.234e-4, 2.1e-6),
        "background": Estimate(0.30, 0.02, "signal"),
        "background_slope": Estimate(0.0, float("nan"), "1/meV"),
        "resolution_scale": Estimate(1.08, 0.011),
        "q_spread_scale": Estimate(0.97, 0.02),
        "multiphonon_scale": Estimate(1.1, 0.4),
        "elastic_tail": Estimate(0.05, 0.04, "signal"),
        "elastic_decay": Estimate(1.4, 0.6, "meV"),
    }
    return HistogramFit(
        measured=histogram(axes, signal),
        simulate=lambda: histogram(axes, simulated),
        used=used,
        residual=residual,
        nuisance=nuisance,
        deviance_per_dof=1.03,
        pearson_per_dof=0.99,
        temperature=300.0,
        energy_fwhm=2.4,
        q_points=120,
        orientations=61,
        source=source,
    )


def dispersion(offset=0.0):
    distance = np.concatenate([np.linspace(0, 1, 40), np.linspace(1, 1.6, 25)])
    shape = np.abs(np.sin(np.pi * distance))[:, None]
    energy = shape * np.array([18.0, 18.0, 45.0]) + np.array([0.0, 0.0, 8.0]) + offset
    return Dispersion(
        path_labels=((0, "GAMMA"), (39, "U"), (40, "K"), (64, "GAMMA")),
        q=np.column_stack([distance, distance, np.zeros_like(distance)]),
        distance=distance,
        energy_mev=energy,
        sigma_mev=np.full_like(energy, 0.4),
    )


def density_of_states():
    energy = np.linspace(0.0, 56.0, 50)
    density = 6 * (energy / 56) ** 2 / 19
    return DensityOfStates(energy, density, 0.1 * density, 1.2)


def elastic():
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = 64.0
    cubic[np.arange(6), np.arange(6)] = [166.0] * 3 + [80.0] * 3
    return ElasticConstants(
        stiffness=cubic,
        sigma=0.01 * cubic,
        covariance=np.diag((0.01 * cubic[np.triu_indices(6)]) ** 2),
        independent=("C11", "C12", "C44"),
        density=2.33,
    )


def fake_result(trust="caution", fits=None, **changes):
    fits = fits or (fit([axis("[H,H,0]", -2, 2, 80), axis("DeltaE", -5, 70, 75)]),)
    shells = tuple(
        ShellConstant(("Si", "Si"), d, n, k, s, k / 5, s * 2, f"{o} neighbours Si-Si {d:.2f} Å")
        for o, d, n, k, s in [("1st", 2.352, 4, 12.34, 0.05), ("2nd", 3.84, 12, 0.512, 0.021)]
    )
    values = dict(
        force_constants=FakeForceConstants(),
        start=FakeForceConstants(),
        basis=SimpleNamespace(names=["a", "b"], elements=np.array([[0, 0, 0, 0], [0, 1, 0, 1]])),
        parameters=np.array([12.0, -3.0]),
        covariance=np.array([[0.04, 0.01], [0.01, 0.09]]),
        shells=shells,
        start_shells=tuple(
            replace(
                shell,
                longitudinal=0.8 * shell.longitudinal,
                longitudinal_sigma=0.0,
                transverse=0.7 * shell.transverse,
                transverse_sigma=0.0,
            )
            for shell in shells
        ),
        fits=tuple(fits),
        dispersion=dispersion(),
        start_dispersion=dispersion(-3.0),
        density_of_states=density_of_states(),
        elastic=elastic(),
        verdict=Verdict(trust, ("The deviance is 1.03 per degree of freedom.", "One reason <b>.")),
        deviance_per_dof=1.03,
        undetermined=("The 4th shell's transverse constant.",),
        timing_s={"load": 0.3, "refine": 41.2},
        settings={
            "cutoff": None,
            "supercell": [4, 4, 4],
            "matrix": [[1, 0], [0, 1]],
            "refine": True,
        },
        inputs=({"path": "si_slice.nxs", "sha256": "ab" * 32},),
        seed=3,
    )
    return InversionResult(**(values | changes))
