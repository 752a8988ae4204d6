"""``python -m benchmarks.experiment FOLDER``: what a measurement of silicon can tell at best.

The Cramér-Rao bound on phonon energies against the number of goniometer settings, the incident
energy and the counts, from the Fisher information at known force constants. No counts are drawn and
nothing is inverted, so it says nothing about finding the right valley.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.networks.valley import ZONE
from benchmarks.pages import markdown_table
from prior_truths import DATA

from fcinv_core import Axis, Crystal, ForceConstantBasis, ForceConstants, SQEHistogram
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.orientation import orientation
from fcinv_core.histogram.experiment import GoniometerAxis
from fcinv_core.inversion.dispersion import energy_slopes
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.nuisances import BACKGROUND, NUISANCE_SIGMA, NUISANCES
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.problem import FINE_SAMPLES, HistogramProblem
from fcinv_core.inversion.stages import Counts
from fcinv_core.inversion.uncertainty import Uncertainty
from fcinv_core.scattering.coverage import exposure
from fcinv_core.scattering.spectrometer import Spectrometer

SPECTROMETER = Spectrometer.load("ARCS")
TEMPERATURE = 300.0
HIGHEST_ENERGY = 70.0
"""meV: above the bands of silicon."""

ORIENTATIONS = (1, 3, 10, 30, 90)
USUAL_ORIENTATIONS = 30
ENERGIES = (75.0, 100.0, 150.0, 250.0)
USUAL_INCIDENT_ENERGY = 100.0
COUNTS = (1e4, 1e5, 1e6)
USUAL_COUNTS = 1e5
"""Of `USUAL_ORIENTATIONS` at `USUAL_INCIDENT_ENERGY`: the others take as long."""

SCAN = 90.0
"""Degrees that the settings are spread over."""

FIRST_ANGLE = -40.0
"""Degrees: u is along the beam at 0."""

REACH, HEIGHT = 10.0, 2.875
"""r.l.u.: Q in the horizontal plane, and above and below it, that is kept."""

BACKGROUND_LEVEL = 0.02
"""mbarn/meV per primitive cell, as in the demo."""

TYPICAL_SIGNAL = 0.2
"""mbarn/meV per primitive cell, which samples in bins are chosen by."""

PEAK_COUNTS = 100.0
"""The same: counts of `TYPICAL_SIGNAL` in a bin."""

_SPACING = 1.0
_Q_BINS = 3000


@dataclass(frozen=True)
class Plan:
    """A measurement that fcinv would be given.

    Attributes
    ----------
    n_orientations
        Goniometer settings, spread over `SCAN`.
    incident_energy
        meV.
    is_slice
        Only the horizontal plane is kept, instead of the whole volume.
    """

    n_orientations: int = USUAL_ORIENTATIONS
    incident_energy: float = USUAL_INCIDENT_ENERGY
    is_slice: bool = False


@dataclass(frozen=True, eq=False)
class Information:
    """What a measurement of unit length tells.

    Attributes
    ----------
    fisher
        (n_par + n_nuisances,) squared.
    counts
        Expected in the bins that take part.
    """

    fisher: np.ndarray
    counts: float


class Silicon:
    """Force constants of silicon from density functional theory, as those of the demo."""

    def __init__(self) -> None:
        crystal = Crystal.from_file(DATA / "structures/Si.cif")
        file = DATA / "force_constants/Si_dft.yaml"
        truth = carried_to(ForceConstants.from_file(file), crystal)
        self.crystal = crystal
        self.basis = ForceConstantBasis.from_crystal(crystal, None)
        self.lattice = Lattice(self.basis, truth)
        self.parameters = self.lattice.parameters_of(truth)
        self.prior = ForceConstantPrior.around(self.lattice, self.parameters, FINAL)
        modes = self.lattice.modes(self.parameters, ZONE)
        slopes = energy_slopes(self.lattice, modes.eigenvectors[0], ZONE)
        self._slopes = slopes / (2 * modes.energies[0].numpy()[..., None])

    def bound(self, information: Information, duration: float) -> tuple[float, int]:
        """Error of energies (rms over zone and branches, meV), and combinations left open."""
        n_par = len(self.parameters)
        curvature = duration * information.fisher
        curvature[:n_par, :n_par] += self.prior.precision
        curvature[n_par:, n_par:] += np.diag(NUISANCE_SIGMA**-2.0)
        uncertainty = Uncertainty.at_optimum(curvature, self.prior, self.basis, 1)
        variance = np.einsum(
            "qmi,ij,qmj->qm", self._slopes, uncertainty.covariance, self._slopes, optimize=True
        )
        return float(np.sqrt(variance.mean())), uncertainty.n_undetermined


def information(silicon: Silicon, plan: Plan, n_q: int = _Q_BINS) -> Information:
    """Of a random part of the Q bins that are seen, times what is left out."""
    histogram, seen = _measured(silicon.crystal, plan)
    spectra = histogram.spectra(seen)
    at = np.flatnonzero(np.isfinite(spectra).any(axis=1))
    chosen = np.random.default_rng(0).choice(at, min(n_q, len(at)), replace=False)
    left = np.full(spectra.shape, np.nan)
    unit = PEAK_COUNTS / TYPICAL_SIGNAL / np.nanmedian(spectra)
    left[chosen] = unit * spectra[chosen]
    level = histogram.from_spectra(np.where(np.isfinite(left), TYPICAL_SIGNAL, np.nan))
    prepared = PreparedHistogram.from_histogram(
        histogram.with_values(level, level / histogram.from_spectra(left)),
        silicon.crystal,
        None,
        SPECTROMETER.resolution(plan.incident_energy),
    )
    problem = HistogramProblem(prepared, silicon.lattice, silicon.parameters)
    nuisance = np.zeros(len(NUISANCES))
    nuisance[BACKGROUND] = BACKGROUND_LEVEL / problem.typical_signal
    state = silicon.lattice.state(silicon.parameters)
    values = problem.values(state, 1.0)
    around = problem.vicinity(state, nuisance, values, FINE_SAMPLES)
    expected = problem.expectation(values, nuisance, around)
    share = len(at) / len(chosen) / unit
    counts = share * float((problem.exposure * expected.signal).sum())
    return Information(share * Counts().compare(problem, expected).curvature, counts)


def _measured(crystal: Crystal, plan: Plan) -> tuple[SQEHistogram, np.ndarray]:
    """Bins, and MDNorm's normalisation times k_f/k_i for runs that last 1 together."""
    incident = plan.incident_energy
    resolution = SPECTROMETER.resolution(incident)
    width = 0.5 * resolution.elastic_fwhm
    edges = np.arange(width, HIGHEST_ENERGY + width, width)
    edges = edges[edges < SPECTROMETER.energy_range(incident)[1]]
    flat = np.linspace(-REACH, REACH, round(20 * REACH) + 1)
    height = 0.125 if plan.is_slice else HEIGHT
    upright = np.linspace(-height, height, round(8 * height) + 1)
    axes = (
        Axis.along((1, 0, 0), flat),
        Axis.along((0, 1, 0), flat),
        Axis.along((0, 0, 1), upright),
        Axis.energy_transfer(edges),
    )
    shape = tuple(axis.n_bins for axis in axes)
    ub = orientation(crystal.conventional_lattice, np.array([1, 0, 0]), np.array([0, 1, 0]))
    histogram = SQEHistogram.from_arrays(
        axes, np.zeros(shape), ub=ub, temperature=TEMPERATURE, incident_energy=incident
    )
    angles = FIRST_ANGLE + SCAN / plan.n_orientations * np.arange(plan.n_orientations)
    rotations = [GoniometerAxis("psi", float(a), (0.0, 1.0, 0.0)).rotation for a in angles]
    seen = exposure(
        histogram,
        SPECTROMETER.pixels(_SPACING),
        incident,
        np.array(rotations),
        SPECTROMETER.energy_range(incident),
        charges=np.full(len(angles), 1 / len(angles)),
    )
    centres = histogram.axes[histogram.energy_axis].centres
    return histogram, seen * histogram.along_energy(np.sqrt(1 - centres / incident))


def orientations_table(silicon: Silicon, n_q: int = _Q_BINS) -> str:
    """Bounds against the number of settings, of the volume and of a slice of it."""
    usual = information(silicon, Plan(), n_q).counts
    rows = []
    for n in ORIENTATIONS:
        volume, plane = (information(silicon, Plan(n, is_slice=s), n_q) for s in (False, True))
        bounds = (_bound(silicon, kind, c / usual) for kind in (volume, plane) for c in COUNTS)
        rows.append((str(n), *bounds))
    kept = f"{plane.counts / volume.counts:.0%}"
    heads = (f"{kind}, {_power(c)}" for kind in ("volume", f"slice ({kept})") for c in COUNTS)
    return markdown_table(("settings", *heads), rows) + "\n"


def incident_energies_table(silicon: Silicon, n_q: int = _Q_BINS) -> str:
    """Bounds against the incident energy, for the same number of neutrons on the sample."""
    rows = []
    plans = {energy: information(silicon, Plan(incident_energy=energy), n_q) for energy in ENERGIES}
    usual = plans[USUAL_INCIDENT_ENERGY].counts
    for energy, found in plans.items():
        width = SPECTROMETER.resolution(energy).elastic_fwhm
        duration = USUAL_COUNTS / usual
        counts, error = found.counts / usual, _bound(silicon, found, duration)
        rows.append((f"{energy:g}", f"{width:.1f}", f"{counts:.2f}", error))
    heads = ("incident energy / meV", "elastic width / meV", "counts, relative", "error / meV")
    return markdown_table(heads, rows) + "\n"


def _bound(silicon: Silicon, found: Information, duration: float) -> str:
    error, n_open = silicon.bound(found, duration)
    return f"{error:.2g}" + (f" ({n_open} open)" if n_open else "")


def _power(counts: float) -> str:
    return f"10{str(round(np.log10(counts))).translate(str.maketrans('3456789', '³⁴⁵⁶⁷⁸⁹'))}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.experiment", description=__doc__)
    parser.add_argument("output", type=Path, help="folder for orientations.md and energies.md")
    parser.add_argument("--q-bins", type=int, default=_Q_BINS, help="that information is taken of")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    silicon = Silicon()
    for name, table in (
        ("orientations", orientations_table),
        ("energies", incident_energies_table),
    ):
        text = table(silicon, options.q_bins)
        print(text, flush=True)
        (options.output / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
