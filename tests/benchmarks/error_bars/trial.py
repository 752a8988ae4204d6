"""One inversion held against its truth: errors, the bound on them, and what was stated."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from benchmarks.error_bars.designs import VirtualMeasurement, drawn
from benchmarks.networks import materials
from benchmarks.networks.cases import Case
from benchmarks.networks.estimators import model_of
from benchmarks.networks.score import Errors, energies_of
from benchmarks.networks.valley import Valley
from benchmarks.records import Record

from fcinv_core import FcinvError, InversionResult, invert
from fcinv_core.crystal import ForceConstants, shell_constants
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.scattering.resolution import EnergyResolution

PATH_STEP = 7
"""Of the points along the high-symmetry path, every so manyth is looked at."""

SMALLEST_SIGMA = 1e-3
"""meV: modes that symmetry holds at zero have no error bar to speak of."""

MOST_PRIOR = 0.5
"""A constant is determined by the data where they leave less of the prior's variance."""

NETWORK, FORCE_FIELD = STARTS = ("network", "force field")


def trial(material: str, design: str, number: int, start: str = NETWORK) -> Record:
    """A record of one measurement, inverted from one of `STARTS`."""
    record: Record = {"material": material, "design": design, "number": number, "start": start}
    measured = drawn(material, design, number)
    record |= {
        "bins": int(np.isfinite(measured.histogram.signal).sum()),
        "counts": float(np.nansum(measured.histogram.effective_counts())),
        "empty": measured.share_of_empty_bins,
    }
    begin = time.perf_counter()
    try:
        result = invert(
            [measured.histogram],
            materials.crystal(material),
            model=model_of(material, "direct") if start == NETWORK else None,
            born_charges=materials.born_charges(material),
            energy_fwhm=measured.energy_fwhm,
        )
    except FcinvError as error:
        return record | {"failure": str(error)}
    record["seconds"] = time.perf_counter() - begin
    return record | _scored(result, measured, material, design, number)


def prepare_process() -> None:
    """One thread, and no words on standard error."""
    torch.set_num_threads(1)
    # torch brings an OpenMP of its own, so Euphonic runs on one thread and says so.
    warnings.simplefilter("ignore")


def _scored(
    result: InversionResult, measured: VirtualMeasurement, material: str, design: str, number: int
) -> Record:
    truth = carried_to(measured.truth, result.force_constants.crystal)
    valley = _valley(measured, truth, material, design, number)
    lattice = Lattice(result.basis, truth)
    true = lattice.parameters_of(truth)
    return {
        "trust": result.verdict.trust,
        "reasons": list(result.verdict.reasons),
        "deviance": result.deviance_per_dof,
        "error_mev": Errors.of(result.force_constants, truth).dispersion,
        "bound_mev": valley.width(valley.covariance),
        "stated_mev": valley.width(result.covariance),
        "pulls": {
            "shells": _pulls_of_shells(result, lattice, true),
            "energies": _pulls_of_energies(result, truth),
            "nuisances": {
                name: _pull(result.fits[0].nuisance[name].value, value, estimate.sigma)
                for name, value in measured.nuisance.items()
                for estimate in [result.fits[0].nuisance[name]]
            },
        },
    }


def _valley(
    measured: VirtualMeasurement, truth: ForceConstants, material: str, design: str, number: int
) -> Valley:
    resolution = EnergyResolution.constant(measured.energy_fwhm)
    prepared = PreparedHistogram.from_histogram(measured.histogram, truth.crystal, None, resolution)
    case = Case(
        material, design, materials.DRAWN, number, truth, measured.histogram, resolution, prepared
    )
    return Valley(case, materials.prior(material).basis)


def _pull(found: float, true: float, sigma: float) -> float:
    return (found - true) / sigma


def _pulls_of_shells(
    result: InversionResult, lattice: Lattice, true: np.ndarray
) -> dict[str, list[float]]:
    """Offsets over stated errors of longitudinal and transverse constants.

    Those that the data determine, and those that the prior holds.
    """
    prior = ForceConstantPrior.around(lattice, result.parameters, FINAL).covariance
    pulls: dict[str, list[float]] = {"seen": [], "unseen": []}
    for found, actual, before in zip(
        result.shells,
        shell_constants(result.basis, true, np.zeros_like(prior)),
        shell_constants(result.basis, true, prior),
        strict=True,
    ):
        for kind in ("longitudinal", "transverse"):
            sigma, width = (getattr(item, f"{kind}_sigma") for item in (found, before))
            offset = getattr(found, kind) - getattr(actual, kind)
            seen = sigma**2 < MOST_PRIOR * width**2
            pulls["seen" if seen else "unseen"].append(offset / sigma)
    return pulls


def _pulls_of_energies(result: InversionResult, truth: ForceConstants) -> list[float]:
    bands = result.dispersion
    points = slice(None, None, PATH_STEP)
    sigma = bands.sigma_mev[points]
    offset = bands.energy_mev[points] - energies_of(truth, bands.q[points])
    # At Γ energies of polar crystals depend on the direction that one comes from.
    told = (sigma > SMALLEST_SIGMA) & bands.q[points].any(axis=1)[:, None]
    return [float(pull) for pull in (offset[told] / sigma[told])]
