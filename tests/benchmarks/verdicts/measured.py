"""A silicon measurement as a spectrometer counts it, good or spoilt, with Poisson counts.

Bins, coverage and exposure are those of files that real Mantid wrote; intensities come from the
DFT force constants behind these files.
"""

from __future__ import annotations

import lzma
import tempfile
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from fcinv_core import Crystal, ForceConstants, SQEHistogram
from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measurement import counted, expected_signal

DATA = Path(__file__).parents[2] / "data"
FWHM = 2.4
SCALE = 10.0
BACKGROUND = Background(0.04, 0.0, 0.3, 1.5, True)


@dataclass(frozen=True)
class Measurement:
    """What a spectrometer sees: bins and exposure of a file, and how to count on them."""

    bins: SQEHistogram
    exposure: np.ndarray

    def expected(
        self,
        force_constants: ForceConstants,
        temperature: float = 300.0,
        fwhm: float = FWHM,
        background: Background = BACKGROUND,
        rotation: np.ndarray | None = None,
    ) -> np.ndarray:
        """Expected signal; ``rotation`` (3, 3) takes the hkl of the file to the true one."""
        bins = self.bins if rotation is None else _turned(self.bins, rotation)
        return expected_signal(
            force_constants,
            bins,
            self.exposure,
            temperature=temperature,
            energy_fwhm=fwhm,
            background=background,
            scale=SCALE,
            tolerance=0.01,
        ).signal

    def counted(self, signal: np.ndarray, seed: int) -> SQEHistogram:
        """With Poisson counts on an expected signal."""
        expected = self.bins.with_values(np.where(np.isfinite(signal), signal, np.nan))
        return counted(expected, self.exposure, seed)

    @property
    def energies(self) -> np.ndarray:
        """Of the bins, meV, in a shape that broadcasts to that of the signal."""
        return self.bins.along_energy(self.bins.axes[self.bins.energy_axis].centres)

    @property
    def momentum(self) -> np.ndarray:
        """|Q| of the bins, 1/Å, in the shape of the signal."""
        ub = self.bins.ub
        assert ub is not None
        q = 2 * np.pi * np.linalg.norm(self.bins.q_bin_centres() @ ub.T, axis=1)
        n_energy = self.bins.shape[self.bins.energy_axis]
        return self.bins.from_spectra(np.repeat(q[:, None], n_energy, axis=1))


def _turned(histogram: SQEHistogram, rotation: np.ndarray) -> SQEHistogram:
    """The same bins, which lie elsewhere in reciprocal space than they say."""

    class Turned(SQEHistogram):
        @property
        def hkl_matrix(self) -> np.ndarray:
            return rotation @ super().hkl_matrix

    return Turned(**{f.name: getattr(histogram, f.name) for f in fields(histogram)})


@cache
def truth() -> ForceConstants:
    """DFT force constants of silicon."""
    return ForceConstants.from_file(DATA / "force_constants/Si_dft.yaml")


@cache
def silicon() -> Crystal:
    """As a user has it."""
    return Crystal.from_file(DATA / "structures/Si.cif")


@cache
def measurement(name: str) -> Measurement:
    """Bins and exposure of one of the files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.nxs"
        path.write_bytes(lzma.open(DATA / f"mantid/si_300K_{name}.nxs.xz").read())
        histogram = SQEHistogram.load(path)
    return Measurement(histogram, np.nan_to_num(histogram.exposure() / SCALE))


@cache
def good_signal(name: str) -> np.ndarray:
    """Expected signal of the good measurement."""
    return measurement(name).expected(truth())
