"""Kinds of input, good and bad: what an inversion is given, and what its verdict should say."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.verdicts.measured import (
    BACKGROUND,
    FWHM,
    Measurement,
    good_signal,
    silicon,
    truth,
)

from fcinv_core import Crystal, SQEHistogram

ALUMINIUM_PHOSPHIDE = """AlP
5.45
1 0 0
0 1 0
0 0 1
Al P
4 4
Direct
0 0 0
0 0.5 0.5
0.5 0 0.5
0.5 0.5 0
0.25 0.25 0.25
0.25 0.75 0.75
0.75 0.25 0.75
0.75 0.75 0.25
"""


ALUMINIUM_RINGS = (2.69, 3.10, 4.39, 5.15, 5.37, 6.21, 6.76, 6.94)
"""|Q| of its powder lines, 1/Å."""


@dataclass(frozen=True)
class Given:
    """Arguments of an inversion."""

    histograms: list[SQEHistogram]
    crystal: Crystal = field(default_factory=silicon)
    energy_fwhm: float = FWHM
    temperature: float | None = None


Make = Callable[[Measurement, str, int], Given]
"""From bins, the name of the file they come from, and a seed."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    make
        Makes it.
    wanted
        "bad": the verdict must not be "yes"; "good": it should be "yes" where the data determine
        the force constants; "hidden": no data of this sort can show it.
    words
        Of which a fitting reason has at least one.
    """

    make: Make
    wanted: str = "bad"
    words: tuple[str, ...] = ()


def _rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    vector = np.array(axis) / np.linalg.norm(axis)
    return Rotation.from_rotvec(np.radians(degrees) * vector).as_matrix()


def _good(m: Measurement, name: str, seed: int) -> Given:
    return Given([m.counted(good_signal(name), seed)])


def _from_signal(signal: Callable[[Measurement, str], np.ndarray], **given: Any) -> Make:
    return lambda m, name, seed: Given([m.counted(signal(m, name), seed)], **given)


def _turned(axis: tuple[float, float, float], degrees: float) -> Make:
    return _from_signal(lambda m, _: m.expected(truth(), rotation=_rotation(axis, degrees)))


def _two_grains(m: Measurement, name: str) -> np.ndarray:
    other = m.expected(truth(), rotation=_rotation((0, 0, 1), 20.0))
    return 0.5 * (good_signal(name) + other)


def _spin_waves(m: Measurement, name: str) -> np.ndarray:
    """A band of magnons beside the phonons: E = 45 meV sin(...) with a magnetic form factor."""
    hkl = m.bins.q_bin_centres()
    band = 45.0 * np.sqrt(np.clip(np.mean(np.sin(np.pi * hkl) ** 2, axis=1), 0, 1))
    n_energy = m.bins.shape[m.bins.energy_axis]
    energies = m.bins.axes[m.bins.energy_axis].centres
    line = np.exp(-0.5 * ((energies[None] - band[:, None]) / 2.0) ** 2)
    form = m.bins.spectra(np.exp(-((m.momentum / 3.0) ** 2)) * np.ones(m.bins.shape))
    assert line.shape[1] == n_energy
    return good_signal(name) + m.bins.from_spectra(25.0 * line * form)


def _crystal_field(m: Measurement, name: str) -> np.ndarray:
    lines = sum(np.exp(-0.5 * ((m.energies - e) / 1.5) ** 2) for e in (27.0, 41.0))
    return good_signal(name) + 6.0 * lines * np.exp(-((m.momentum / 5.0) ** 2))


def _aluminium_powder(m: Measurement, name: str) -> np.ndarray:
    """Phonons of aluminium in all directions: broad bumps that grow with Q²."""
    bumps = np.exp(-0.5 * ((m.energies - 20.0) / 4.5) ** 2)
    bumps = bumps + 0.8 * np.exp(-0.5 * ((m.energies - 36.0) / 3.0) ** 2)
    return good_signal(name) + 0.05 * bumps * m.momentum**2


def _powder_lines(m: Measurement, name: str) -> np.ndarray:
    """Debye-Scherrer rings of aluminium, elastic, seen far into the spectrum."""
    rings = sum(np.exp(-0.5 * ((m.momentum - q) / 0.12) ** 2) for q in ALUMINIUM_RINGS)
    return good_signal(name) + 400.0 * rings * np.exp(-0.5 * (m.energies / 4.0) ** 2)


def _elastic(m: Measurement, name: str) -> np.ndarray:
    return good_signal(name) + 3000.0 * np.exp(-m.energies / 2.0)


def _noise(m: Measurement, name: str) -> np.ndarray:
    return np.where(np.isfinite(good_signal(name)), np.nanmean(good_signal(name)), np.nan)


def _few_counts(m: Measurement, name: str, seed: int) -> Given:
    weak = replace(m, exposure=m.exposure / 3000)
    return Given([weak.counted(good_signal(name), seed)])


def _stripes(m: Measurement, name: str, seed: int) -> Given:
    """Good data with stripes that were not measured."""
    data = m.counted(good_signal(name), seed)
    signal = data.signal.copy()
    signal[::3] = np.nan
    return Given([replace(data, signal=signal)])


def _subtracted(m: Measurement, name: str, seed: int) -> Given:
    """Background measured for as long and subtracted: negative bins, no counting statistics."""
    data = m.counted(good_signal(name), seed)
    level = 0.4 * float(np.nanmean(good_signal(name)))
    empty = m.counted(np.where(np.isfinite(data.signal), level, np.nan), seed + 1)
    return Given([data.with_values(data.signal - empty.signal, data.variance + empty.variance)])


def _duplicated(m: Measurement, name: str, seed: int) -> Given:
    data = m.counted(good_signal(name), seed)
    return Given([data, data])


def _not_corrected(m: Measurement, name: str) -> np.ndarray:
    """Not divided by k_f/k_i."""
    incident = m.bins.incident_energy or 80.0
    return good_signal(name) * np.sqrt(np.clip(1 - m.energies / incident, 0, None))


def _other_compound(m: Measurement, name: str, seed: int) -> Given:
    """Measured: silicon. Structure: zinc-blende aluminium phosphide, whose cell is as large."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "POSCAR"
        path.write_text(ALUMINIUM_PHOSPHIDE)
        crystal = Crystal.from_file(path)
    return Given([m.counted(good_signal(name), seed)], crystal)


def _wrong_temperature(m: Measurement, name: str, seed: int) -> Given:
    data = m.counted(good_signal(name), seed)
    return Given([data], temperature=5.0)


def _background(**changes: Any) -> Make:
    return _from_signal(lambda m, _: m.expected(truth(), background=replace(BACKGROUND, **changes)))


def _masked_outliers(m: Measurement, name: str, seed: int) -> Given:
    """A few bins with a wild value: hot pixels."""
    rng = np.random.default_rng(seed)
    signal = good_signal(name).copy()
    hot = rng.random(signal.shape) < 0.01
    signal[hot & np.isfinite(signal)] += 40.0 * np.nanmean(good_signal(name))
    return Given([m.counted(signal, seed)])


def _scaled_signal(m: Measurement, name: str) -> np.ndarray:
    """Self-shielding that varies with direction by 30 %."""
    hkl = m.bins.q_bin_centres()
    factor = 1 + 0.3 * np.sin(np.arctan2(hkl[:, 1], hkl[:, 0] + 1e-9) * 2)
    return good_signal(name) * m.bins.from_spectra(
        np.repeat(factor[:, None], m.bins.shape[m.bins.energy_axis], axis=1)
    )


KINDS: dict[str, Kind] = {
    "good": Kind(_good, "good"),
    "good, stripes not measured": Kind(_stripes, "good"),
    "good, much flat background": Kind(_background(flat=1.0), "good"),
    "good, hardly any counts": Kind(_few_counts, "few"),
    "another compound with the same cell": Kind(_other_compound, "bad", ("explains", "scatter")),
    "UB off by 2 degrees": Kind(_turned((0, 0, 1), 2.0), "bad", ("explains", "scatter")),
    "UB off by 5 degrees": Kind(_turned((0, 0, 1), 5.0), "bad", ("explains", "scatter")),
    "UB off by 30 degrees": Kind(_turned((1, 1, 0), 30.0), "bad", ("explains", "scatter")),
    "two grains": Kind(_from_signal(_two_grains), "bad", ("explains", "scatter")),
    "spin waves": Kind(_from_signal(_spin_waves), "bad", ("explains", "scatter")),
    "crystal-field lines": Kind(_from_signal(_crystal_field), "bad", ("explains", "scatter")),
    "aluminium can, phonons": Kind(_from_signal(_aluminium_powder), "bad", ("scatter",)),
    "aluminium can, rings": Kind(_from_signal(_powder_lines), "bad", ("scatter", "explains")),
    "strong elastic leakage": Kind(_from_signal(_elastic), "absorbed", ("scatter", "explains")),
    "noise alone": Kind(_from_signal(_noise), "bad", ("explains", "open", "not determined")),
    "temperature 5 K for 300 K": Kind(_wrong_temperature, "bad", ("scatter", "explains")),
    "resolution half of what it is": Kind(
        _from_signal(lambda m, _: m.expected(truth(), fwhm=2 * FWHM)), "bad", ("resolution",)
    ),
    "resolution twice what it is": Kind(
        _from_signal(lambda m, _: m.expected(truth(), fwhm=FWHM / 2)), "bad", ("resolution",)
    ),
    "background subtracted": Kind(_subtracted, "bad", ("negative", "scatter", "subtract")),
    "the same data twice": Kind(_duplicated, "bad", ("runs", "same", "identical")),
    "not divided by kf/ki": Kind(_from_signal(_not_corrected), "absorbed", ("scatter",)),
    "hot pixels": Kind(_masked_outliers, "bad", ("scatter",)),
    "absorption by direction": Kind(_from_signal(_scaled_signal), "bad", ("scatter",)),
}
"""In the order of the table; "few" and "absorbed" may get any verdict that is right, see there."""
