"""The same work with Euphonic and with phonopy.

Each runs in a process of its own, where no other OpenMP than its own is loaded: beside that of
torch or phonopy Euphonic falls back to one thread. Hence nothing of fcinv is imported here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from benchmarks.measure import shortest


@dataclass(frozen=True)
class Request:
    """Spectra of scattered Q.

    Attributes
    ----------
    folder
        Holds ``phonopy.yaml``.
    q_points
        (n_q, 3) reciprocal coordinates of the primitive cell.
    edges
        Energy bins, meV.
    temperature, fwhm
        K; width of the resolution in meV.
    displacements
        (n_atoms, 3, 3) ⟨u u⟩ in Å².
    scattering_lengths
        fm, by element.
    """

    folder: Path
    q_points: np.ndarray
    edges: np.ndarray
    temperature: float
    fwhm: float
    displacements: np.ndarray
    scattering_lengths: dict[str, float]


@dataclass(frozen=True)
class EuphonicRun:
    """Seconds of each step, and what came out.

    Attributes
    ----------
    preparation
        First q point after loading: Ewald sums of polar crystals.
    modes, structure_factors, energy_bins
        The three steps; the last one includes the broadening, but no labels.
    labels
        What ``calculate_sqw_map`` spends on looking for labels of q points along the axis of its
        map, which scattered Q do not have; NaN unless asked for.
    energies
        (n_q, n_modes) meV.
    intensities
        (n_q,) integrated over all energy bins, mbarn per primitive cell.
    """

    preparation: float
    modes: float
    structure_factors: float
    energy_bins: float
    labels: float
    energies: np.ndarray
    intensities: np.ndarray

    @property
    def total(self) -> float:
        """Without labels."""
        return self.modes + self.structure_factors + self.energy_bins

    @property
    def as_called(self) -> float:
        """What a program that calls the three steps waits for."""
        return self.total + self.labels


def euphonic_spectra(request: Request, repeats: int, labels: bool = False) -> EuphonicRun:
    """Modes, structure factors, and a broadened map of S(Q,E).

    Parameters
    ----------
    labels
        Whether to find out what these take: they do not belong to the work that is compared.
    """
    from euphonic import DebyeWaller, ureg

    force_constants, preparation = _euphonic(request.folder)
    crystal, temperature = force_constants.crystal, request.temperature * ureg("K")
    lengths = {key: value * ureg("fm") for key, value in request.scattering_lengths.items()}
    # Euphonic's exponent is half of ⟨u u⟩.
    exponent = DebyeWaller(crystal, request.displacements / 2 * ureg("angstrom**2"), temperature)
    edges, width = request.edges * ureg("meV"), request.fwhm * ureg("meV")

    def binned() -> Any:
        return factors.calculate_sqw_map(edges, temperature=temperature).broaden(y_width=width)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="More than one OpenMP")
        modes_time, modes = shortest(
            lambda: force_constants.calculate_qpoint_phonon_modes(
                request.q_points, asr=None, use_c=True
            ),
            repeats,
        )
        factors_time, factors = shortest(
            lambda: modes.calculate_structure_factor(scattering_lengths=lengths, dw=exponent),
            repeats,
        )
        labels_time = shortest(binned, 1)[0] if labels else float("nan")
        axis = np.arange(len(request.q_points)) * ureg("1/angstrom")
        with mock.patch.object(type(factors), "_get_qpt_axis_and_labels", lambda _: (axis, None)):
            bins_time, spectrum = shortest(binned, repeats)
    signal = spectrum.z_data.to("mbarn/meV").magnitude * crystal.n_atoms  # Euphonic's is per atom.
    return EuphonicRun(
        preparation,
        modes_time,
        factors_time,
        bins_time,
        labels_time - bins_time,
        modes.frequencies.to("meV").magnitude,
        signal @ np.diff(request.edges),
    )


@cache
def _euphonic(folder: Path) -> tuple[Any, float]:
    from euphonic import ForceConstants

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = ForceConstants.from_phonopy(path=folder, summary_name="phonopy.yaml")
        seconds, _ = shortest(
            lambda: loaded.calculate_qpoint_phonon_modes(np.full((1, 3), 0.2), asr=None), 1
        )
    return loaded, seconds


def phonopy_modes(
    folder: Path, q_points: np.ndarray, repeats: int
) -> tuple[float, float, np.ndarray]:
    """Seconds with eigenvectors, without them, and (n_q, n_modes) frequencies in THz."""
    import phonopy

    phonon = phonopy.load(folder / "phonopy.yaml", log_level=0)
    phonon.run_qpoints(q_points[:10])
    vectors, _ = shortest(lambda: phonon.run_qpoints(q_points, with_eigenvectors=True), repeats)
    energies, result = shortest(lambda: phonon.run_qpoints(q_points), repeats)
    return vectors, energies, np.array(result.frequencies)
