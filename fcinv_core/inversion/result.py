"""What an inversion returns: force constants, error bars, a copy of the data, a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fcinv_core.crystal import ForceConstantBasis, ForceConstants, ShellConstant
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.inversion.density_of_states import DensityOfStates
    from fcinv_core.inversion.elasticity import ElasticConstants

SCHEMA = 1
"""Version of the layout of ``result.json``."""

FORCE_CONSTANT_UNIT = "eV/Å²"


@dataclass(frozen=True)
class Estimate:
    """A number with its standard deviation, in ``unit``."""

    value: float
    sigma: float
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether to believe the result, and why.

    ``trust`` is "yes", "caution" or "no"; ``reasons`` are sentences for a person.
    """

    trust: Literal["yes", "caution", "no"]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class HistogramFit:
    """How one measured histogram was fitted.

    Attributes
    ----------
    measured
        The input.
    simulate
        Makes what `simulated` keeps.
    used
        Shape of the signal, bool: bins that took part in the fit.
    residual
        Shape of the signal: (measured - simulated) / expected standard deviation,
        NaN in bins that were not used.
    nuisance
        ``scale`` (measured signal per mbarn/meV and primitive cell), ``background``
        (signal units, at the middle of the energy range), ``background_slope`` (signal
        units per meV), ``resolution_scale`` and ``q_spread_scale`` (dimensionless).
    deviance_per_dof
        Poisson deviance over its expectation under the fitted model, per degree of freedom.
    pearson_per_dof
        Pearson χ² per degree of freedom.
    temperature, energy_fwhm
        K and meV (full width at half maximum before ``resolution_scale``).
    q_points, orientations
        Number of Q bins used and of goniometer settings that the data come from.
    """

    measured: SQEHistogram
    simulate: Callable[[], SQEHistogram]
    used: np.ndarray
    residual: np.ndarray
    nuisance: dict[str, Estimate]
    deviance_per_dof: float
    pearson_per_dof: float
    temperature: float
    energy_fwhm: float
    q_points: int
    orientations: int
    source: str = ""

    @cached_property
    def simulated(self) -> SQEHistogram:
        """The fitted model on the bins of the input (NaN where the input is NaN).

        Worked out when it is first asked for: where bins are wide it may take longer than the fit.
        """
        return self.simulate()

    @property
    def residual_histogram(self) -> SQEHistogram:
        """`residual` on the bins of the input."""
        return self.measured.with_values(self.residual)


@dataclass(frozen=True)
class Dispersion:
    """Phonon energies along a path of high-symmetry lines, with their error bars.

    Attributes
    ----------
    path_labels
        One (index into ``q``, label) for each labelled point, in order.
    q
        (n, 3) points in reciprocal coordinates of the primitive cell.
    distance
        (n,) path length in 1/Å; it does not grow where the path jumps.
    energy_mev, sigma_mev
        (n, n_branches) in meV; imaginary modes have negative energies.
    """

    path_labels: tuple[tuple[int, str], ...]
    q: np.ndarray
    distance: np.ndarray
    energy_mev: np.ndarray
    sigma_mev: np.ndarray


@dataclass(frozen=True)
class InversionResult:
    """The outcome of `fcinv_core.invert`.

    Attributes
    ----------
    force_constants, start
        Fitted force constants, and those that the refinement started from.
    basis, parameters, covariance
        Symmetry-reduced basis, its fitted parameters (n,) and their covariance (n, n),
        in eV/Å² and its square; ``basis.names`` labels them. In polar crystals they are of the
        short-ranged part: the total less the dipole part in the supercell.
    shells, start_shells
        Longitudinal and transverse constants of each neighbour shell, with errors, and those of
        ``start`` (with zero sigma); of the same part as the parameters.
    fits
        One `HistogramFit` for each input histogram.
    dispersion, start_dispersion
        Of the result, and of ``start`` (with zero sigma).
    density_of_states
        Of the result.
    elastic
        Elastic constants and velocities of sound.
    undetermined
        Sentences that name what the data do not determine.
    timing_s
        Seconds spent in each step.
    settings
        Everything that was asked for or assumed, as plain JSON values.
    """

    force_constants: ForceConstants
    start: ForceConstants
    basis: ForceConstantBasis
    parameters: np.ndarray
    covariance: np.ndarray
    shells: tuple[ShellConstant, ...]
    start_shells: tuple[ShellConstant, ...]
    fits: tuple[HistogramFit, ...]
    dispersion: Dispersion
    start_dispersion: Dispersion
    density_of_states: DensityOfStates
    elastic: ElasticConstants
    verdict: Verdict
    deviance_per_dof: float
    undetermined: tuple[str, ...] = ()
    timing_s: dict[str, float] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    inputs: tuple[dict[str, str], ...] = ()
    seed: int = 0

    @property
    def is_short_ranged(self) -> bool:
        """Whether parameters and shells leave the dipole part of a polar crystal out."""
        return self.force_constants.born_charges is not None

    @property
    def parameter_estimates(self) -> dict[str, Estimate]:
        """Fitted parameters by name."""
        sigmas = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return {
            name: Estimate(float(value), float(sigma), FORCE_CONSTANT_UNIT)
            for name, value, sigma in zip(self.basis.names, self.parameters, sigmas, strict=True)
        }

    @property
    def simulated(self) -> tuple[SQEHistogram, ...]:
        """The fitted model on the bins of each input histogram."""
        return tuple(fit.simulated for fit in self.fits)

    def plot_spectra(
        self,
        number: int = 0,
        axes: tuple[str, str] | None = None,
        at: Mapping[str, float] | None = None,
    ) -> Figure:
        """Measured, simulated and residual of one input histogram on a plane, as in the report.

        Parameters
        ----------
        number
            Of the histogram, from 0.
        axes
            Names of the horizontal and the vertical axis; by default the plane is the one that
            shows most.
        at
            Places on other axes by name, in their units (r.l.u., meV); averaged over those that
            are not named.

        Returns
        -------
        matplotlib.figure.Figure
            Not known to pyplot; ``figure.savefig("spectra.pdf")`` writes it.

        Raises
        ------
        FcinvError
            When there is no such histogram, axis or place.
        """
        from fcinv_core.report.figures import histogram_figure
        from fcinv_core.report.planes import PlaneView, named_plane

        if not 0 <= number < len(self.fits):
            raise FcinvError(f"there is no histogram {number}: choose 0 to {len(self.fits) - 1}")
        if axes is None and at:
            raise FcinvError("places were given without a plane: give its axes, too")
        fit = self.fits[number]
        if axes is None:
            return histogram_figure(PlaneView.of(fit))
        plane = named_plane(fit.measured, *axes, at)
        return histogram_figure(PlaneView.on(plane, fit))

    def plot_dispersion(self) -> Figure:
        """Phonon energies (meV) along the path with their 68 % band, its half width, the start,
        and the density of states, as in the report."""
        from fcinv_core.report.figures import dispersion_figure

        return dispersion_figure(self.dispersion, self.start_dispersion, self.density_of_states)

    def plot_density_of_states(self) -> Figure:
        """Density of states (1/meV) of a primitive cell with its 68 % band."""
        from fcinv_core.report.figures import density_of_states_figure

        return density_of_states_figure(self.density_of_states)

    def plot_shells(self) -> Figure:
        """Force constants (eV/Å²) of neighbour shells with their errors, and those of the start,
        as in the report."""
        from fcinv_core.report.figures import shells_figure

        return shells_figure(self.shells, self.start_shells)
