"""The inversion, start to end: prepare, find a start, refine, error bars, verdict."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import ForceConstantBasis, shell_constants
from fcinv_core.errors import FcinvError
from fcinv_core.inversion.counts_fit import CountsFit
from fcinv_core.inversion.density_of_states import DensityOfStates
from fcinv_core.inversion.dispersion import dispersion
from fcinv_core.inversion.elasticity import ElasticConstants
from fcinv_core.inversion.fitted import histogram_fit
from fcinv_core.inversion.from_model import NetworkStart
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.notes import FORCE_FIELD, GIVEN, NETWORK, notes
from fcinv_core.inversion.nuisances import RESOLUTION
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import FINAL
from fcinv_core.inversion.refinement import Refinement
from fcinv_core.inversion.result import InversionResult
from fcinv_core.inversion.stages import Counts
from fcinv_core.inversion.starts import Start, StartSearch
from fcinv_core.inversion.uncertainty import Uncertainty
from fcinv_core.inversion.verdict import judge
from fcinv_core.limits import MAX_ITERATIONS

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import Crystal, ForceConstants
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.born_charges import BornCharges
    from fcinv_core.networks.model import Model
    from fcinv_core.scattering.resolution import EnergyResolution


@dataclass
class _Clock:
    """Progress and timing of the steps."""

    progress: Report | None
    seconds: dict[str, float] = field(default_factory=dict)
    _fraction: float = 0.0
    _ceiling: float = 0.0
    _step: str = ""
    _since: float = field(default_factory=time.perf_counter)

    def start(self, step: str, ceiling: float) -> None:
        """Begin a step that ends at ``ceiling`` of the whole."""
        self.stop()
        self._step, self._fraction, self._ceiling = step, self._ceiling, ceiling
        self._since = time.perf_counter()
        self.tick(step)

    def stop(self) -> None:
        """End the current step."""
        if self._step:
            spent = self.seconds.get(self._step, 0.0) + time.perf_counter() - self._since
            self.seconds[self._step] = round(spent, 3)
            self._step = ""

    def tick(self, what: str) -> None:
        """One iteration: creep towards the end of the step."""
        self._fraction += 0.08 * (self._ceiling - self._fraction)
        if self.progress is not None:
            text = what if what == self._step else f"{self._step}: {what}"
            self.progress(text, self._fraction)


def invert(
    histograms: Sequence[SQEHistogram],
    crystal: Crystal,
    *,
    model: Model | None = None,
    start: ForceConstants | None = None,
    born_charges: BornCharges | None = None,
    temperature: float | None = None,
    energy_fwhm: float | EnergyResolution | None = None,
    energy_range: tuple[float, float] = (-np.inf, np.inf),
    background: str = "linear",
    cutoff: float | None = None,
    refine: bool = True,
    max_iterations: int = MAX_ITERATIONS,
    seed: int = 0,
    sources: Sequence[str | Path] = (),
    progress: Report | None = None,
) -> InversionResult:
    """Force constants of a crystal from one or several measured histograms.

    Parameters
    ----------
    histograms
        Measurements of the same crystal; fitted jointly.
    crystal
        What was measured.
    model
        Trained on this crystal; its network supplies the start
        (`fcinv_core.networks.library.find_model` finds one).
    start
        Force constants to refine from, whose own cell and supercell are then used. Without it and
        without a model those of a universal force field (CHGNet) at its own relaxed cell.
    born_charges
        Of a polar crystal, whose dipole-dipole term is then modelled; they are kept as they are.
        By default those of ``start`` or of the model, if it has any.
    temperature
        K, for all histograms; by default from each one's log.
    energy_fwhm
        meV, full width at half maximum, or an `EnergyResolution`; by default 3 % of the incident
        energy.
    energy_range
        meV: bins outside are not fitted.
    background
        What is fitted along with the phonons: "linear" in energy with the tail of the elastic
        line, "flat", or "none" where it has been subtracted.
    cutoff
        Å, range of the force constants; by default all that fit into the supercell.
    refine
        False compares the start with the data and fits scale and background only. With a model
        the result is then its estimate, with the covariance that the network states.
    max_iterations
        Of the refinement on all bins.
    seed
        Of the draws from a network's spread; nothing else is random.
    sources
        Files that the histograms came from, for the record.
    progress
        Called with a text and a fraction; an exception that it raises cancels.

    Raises
    ------
    FcinvError
        When the input cannot be inverted: see `PreparedHistogram.from_histogram`.
    """
    if not histograms:
        raise FcinvError("no histogram to invert: give at least one")
    clock = _Clock(progress)
    clock.start("Preparing", 0.05)
    if start is not None and model is not None:
        raise FcinvError("a start and a model are given: leave one of them out")
    if start is not None and (difference := start.describes_same_crystal(crystal)) is not None:
        raise FcinvError(f"the start does not belong to the structure: {difference}")
    # before the force field spends a minute, which answers on the crystal that it is asked about
    own_crystal = crystal if start is None else start.crystal
    prepared = [
        PreparedHistogram.from_histogram(
            histogram, own_crystal, temperature, energy_fwhm, energy_range, background
        )
        for histogram in histograms
    ]
    network, origin = None, GIVEN
    if model is not None:
        clock.start("Network", 0.15)
        network, origin = NetworkStart.of(model, prepared, crystal), NETWORK
        start = network.force_constants
    elif start is None:
        clock.start("Force field", 0.15)
        start, origin = _force_field_start(crystal, clock), FORCE_FIELD
    clock.start("Preparing", 0.2)
    if born_charges is not None:
        start = born_charges.given_to(start)
    basis = ForceConstantBasis.from_crystal(start.crystal, cutoff)
    lattice = Lattice(basis, start)
    initial = lattice.parameters_of(start)
    found = disagreement = position = None
    search: StartSearch | None = None
    if refine:
        clock.start("Finding a start", 0.5)
        candidates = iter([(origin, initial)] if origin == GIVEN else [])
        shapes = [(f"the {origin}", initial)]
        if network is not None:
            candidates = network.candidates(lattice, seed)
            shapes.append(network.force_field(lattice))
        search = StartSearch(prepared, lattice, initial, candidates, shapes, clock.tick)
        found = search.find()
    begin = Start(initial, initial) if found is None else found
    clock.start("Refining", 0.8)
    fit = CountsFit.from_start(begin, prepared, lattice, refine, max_iterations, clock.tick)
    if (
        search is not None
        and found is not None
        and not fit.leaves_nothing_to_explain
        and not (search.is_confirmed and fit.explains_most)
    ):
        clock.start("Finding a start", 0.85)
        # What was given is where somebody expects the end, whatever a few rows said of it.
        was_left = origin == GIVEN != found.origin
        others = [Start(initial, initial, origin=origin)] if was_left else []
        if (much_better := search.widen()) is not None:
            others.append(much_better)
        clock.start("Refining", 0.9)
        for other in others:
            again = CountsFit.from_start(
                other, prepared, lattice, refine, max_iterations, clock.tick
            )
            if again.deviance < fit.deviance:
                fit, found = again, other
    held = None
    if refine:
        fit, held = fit.held_stable(lattice, clock.tick)
    prior, problems, best, qualities = fit.prior, fit.problems, fit.best, fit.qualities
    clock.start("Uncertainty", 0.95)
    parameters = best.point.parameters
    if not refine and network is None:  # the fit has left force constants out
        best = Refinement(lattice, problems, prior, clock.tick).evaluate(best.point, Counts())
    uncertainty = Uncertainty.at_optimum(best.equations.curvature, prior, basis, len(problems))
    if network is not None and refine:
        disagreement = network.disagreement(lattice, parameters, uncertainty.covariance)
    elif network is not None:
        uncertainty = uncertainty.replaced_by(network.covariance(lattice))
    bands = dispersion(lattice, parameters, uncertainty.covariance)
    clock.start("Judging", 1.0)
    force_constants = lattice.force_constants(parameters)
    if model is not None:
        position = model.prior.where(force_constants)
    names = [str(source) for source in sources] or [h.source for h in histograms]
    fits = tuple(
        histogram_fit(item, problem, quality, lattice, best, uncertainty, number, name)
        for number, (item, problem, quality, name) in enumerate(
            zip(prepared, problems, qualities, names, strict=True)
        )
    )
    verdict = judge(
        prepared,
        qualities,
        uncertainty,
        bands,
        np.exp(best.point.nuisances[:, RESOLUTION]),
        notes(histograms, problems, origin, refine, disagreement, position, held),
    )
    exact = np.zeros_like(uncertainty.covariance)
    start_bands = dispersion(lattice, initial, exact)
    clock.stop()
    return InversionResult(
        force_constants=force_constants,
        start=start,
        basis=basis,
        parameters=parameters,
        covariance=uncertainty.covariance,
        shells=shell_constants(basis, parameters, uncertainty.covariance),
        start_shells=shell_constants(basis, initial, exact),
        fits=fits,
        dispersion=bands,
        start_dispersion=start_bands,
        density_of_states=DensityOfStates.of(lattice, parameters, uncertainty.covariance),
        elastic=ElasticConstants.of(lattice, parameters, uncertainty.covariance),
        verdict=verdict,
        deviance_per_dof=fit.deviance,
        undetermined=uncertainty.undetermined,
        timing_s=clock.seconds,
        settings={
            "refine": refine,
            "cutoff_angstrom": cutoff,
            "start": origin,
            "model": _model_record(model),
            "first_guess": None if found is None else found.origin,
            "network_and_refinement": None if disagreement is None else vars(disagreement),
            "rank_in_prior": None if position is None else position.rank,
            "held_stable": None if held is None else vars(held),
            "born_charges": _source_of_born_charges(start, born_charges, model),
            "supercell_matrix": start.crystal.supercell_matrix.tolist(),
            "temperature_k": [item.temperature for item in prepared],
            "energy_fwhm_mev": [item.resolution.elastic_fwhm for item in prepared],
            "energy_range_mev": energy_range,
            "background": background,
            "max_iterations": max_iterations,
            "prior": vars(FINAL),
        },
        inputs=tuple(_input_record(name) for name in names),
        seed=seed,
    )


def _force_field_start(crystal: Crystal, clock: _Clock) -> ForceConstants:
    from fcinv_core.ensemble.potentials import force_field_constants

    return force_field_constants(crystal, progress=lambda what, _: clock.tick(what))


def _source_of_born_charges(
    start: ForceConstants, given: BornCharges | None, model: Model | None
) -> str | None:
    """Where they come from, None for no Born charges."""
    if given is not None:
        return given.source
    if start.born_charges is None:
        return None
    return "starting force constants" if model is None else f"model {model.name}"


def _model_record(model: Model | None) -> dict[str, str] | None:
    if model is None:
        return None
    architecture = model.network.architecture
    return {"name": model.name, "architecture": architecture, "sha256": model.sha256}


def _input_record(name: str) -> dict[str, str]:
    """Path and SHA-256 of an input file; only the name if it is not a file."""
    path = Path(name)
    if not path.is_file():
        return {"name": name}
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"path": name, "sha256": digest.hexdigest()}
