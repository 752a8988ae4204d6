"""The measured (or simulated) S(Q, E) on regular bins, as Mantid's MDHistoWorkspace has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import counting
from fcinv_core.histogram.axes import Axis
from fcinv_core.histogram.experiment import ExperimentInfo, lattice_from_ub
from fcinv_core.histogram.projection import Projection


@dataclass(frozen=True, eq=False)
class SQEHistogram:
    """Intensity on regular bins of momentum and energy transfer.

    Arrays have the axes in Mantid's dimension order, whatever that is. Axes are told apart
    by frame and name (`energy_axis`, `momentum_axes`).

    Attributes
    ----------
    axes
        One `Axis` per dimension.
    signal, variance
        Shape of the axes, float64. NaN: not measured. Infinite: counts where the
        normalisation is zero, which is not measured either.
    num_events
        As in the file; not a count to rely on.
    mask
        bool; True where Mantid has masked the bin.
    experiments
        One `ExperimentInfo` per run, possibly none.
    q_convention
        "Inelastic" (Q = ki - kf) or "Crystallography" (kf - ki): the convention in which
        the file is written. Nothing is flipped.
    coordinate_system, visual_normalization
        Mantid's numbers (0 none, 1 QLab, 2 QSample, 3 HKL; 0 none, 1 volume, 2 events).
    mantid_groups
        HDF5 image of everything else in the file (full experiment infos, history,
        transformations), written back by `save`.
    source
        Where it comes from, for messages.
    normalization
        MDNorm's, of the shape of the signal, or None where it is not known; see
        `with_normalization`. `save` does not keep it.

    Raises
    ------
    FcinvError
        Arrays that do not fit the axes.
    """

    axes: tuple[Axis, ...]
    signal: np.ndarray
    variance: np.ndarray
    num_events: np.ndarray
    mask: np.ndarray
    experiments: tuple[ExperimentInfo, ...] = ()
    q_convention: str = "Inelastic"
    coordinate_system: int = 0
    visual_normalization: int = 0
    mantid_groups: bytes | None = None
    source: str = ""
    normalization: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "experiments", tuple(self.experiments))
        for name in ("signal", "variance", "num_events", "mask"):
            dtype = bool if name == "mask" else np.float64
            values = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            if values.shape != self.shape:
                raise FcinvError(
                    f"{self.source or 'histogram'}: {name} has shape {values.shape} and the axes "
                    f"have {self.shape} bins; give arrays in the order of the axes"
                )
            object.__setattr__(self, name, values)

    @classmethod
    def load(cls, path: str | Path) -> SQEHistogram:
        """Read a file written by Mantid's SaveMD; see `fcinv_core.histogram.nexus.load`."""
        from fcinv_core.histogram import nexus

        return nexus.load(path)

    def save(self, path: str | Path) -> None:
        """Write a file for Mantid's LoadMD; see `fcinv_core.histogram.nexus.save`."""
        from fcinv_core.histogram import nexus

        nexus.save(self, path)

    @classmethod
    def from_workspace(cls, workspace: Any) -> SQEHistogram:
        """Copy Mantid's MDHistoWorkspace; see `fcinv_core.mantid_bridge`."""
        from fcinv_core import mantid_bridge

        return mantid_bridge.histogram_from_workspace(workspace)

    def to_workspace(self, like: Any = None) -> Any:
        """A new MDHistoWorkspace of Mantid; see `fcinv_core.mantid_bridge`.

        Parameters
        ----------
        like
            One with the same bins, whose instrument, logs and history are taken; otherwise it
            has lattice, orientation, temperature and incident energy only.
        """
        from fcinv_core import mantid_bridge

        if like is None:
            return mantid_bridge.new_workspace(self)
        return mantid_bridge.workspace_like(like, self)

    @classmethod
    def from_arrays(
        cls,
        axes: Sequence[Axis],
        signal: np.ndarray,
        variance: np.ndarray | None = None,
        *,
        ub: np.ndarray | None = None,
        temperature: float | None = None,
        incident_energy: float | None = None,
        w_matrix: np.ndarray | None = None,
        source: str = "histogram",
    ) -> SQEHistogram:
        """Histogram of arrays made in Python, in the order of ``axes``.

        Parameters
        ----------
        axes
            See `Axis.along` and `Axis.energy_transfer`.
        signal, variance
            Shape of the axes; variance 0 if left out. NaN marks bins that are not measured.
        ub
            (3, 3) UB in 1/Å without 2π.
        temperature, incident_energy
            K and meV.
        w_matrix
            (3, 3) exact directions of the momentum axes as columns, where their names are
            rounded.
        """
        signal = np.asarray(signal, dtype=np.float64)
        info = ExperimentInfo(
            ub=None if ub is None else np.asarray(ub, dtype=np.float64),
            lattice=None if ub is None else lattice_from_ub(np.asarray(ub, dtype=np.float64)),
            temperature=temperature,
            incident_energy=incident_energy,
            w_matrix=None if w_matrix is None else np.asarray(w_matrix, dtype=np.float64),
        )
        return cls(
            axes=tuple(axes),
            signal=signal,
            variance=_no_variance(signal) if variance is None else variance,
            num_events=np.isfinite(signal).astype(np.float64),
            mask=np.zeros(signal.shape, dtype=bool),
            experiments=(info,),
            source=source,
        )

    def with_values(self, signal: np.ndarray, variance: np.ndarray | None = None) -> SQEHistogram:
        """The same bins and metadata with other values; variance 0 if left out."""
        signal = np.asarray(signal, dtype=np.float64)
        variance = _no_variance(signal) if variance is None else variance
        return replace(self, signal=signal, variance=variance, normalization=None)

    def with_normalization(self, data: SQEHistogram, normalization: SQEHistogram) -> SQEHistogram:
        """The same with what MDNorm has divided: then bins without counts tell the most.

        Parameters
        ----------
        data, normalization
            MDNorm's OutputDataWorkspace and OutputNormalizationWorkspace.

        Raises
        ------
        FcinvError
            When they have other bins, or their ratio is not this signal.
        """
        for part, what in ((data, "data"), (normalization, "normalization")):
            fits = part.shape == self.shape and all(
                np.allclose(own.edges, other.edges, rtol=0, atol=1e-4 * own.width)
                for own, other in zip(self.axes, part.axes, strict=True)
            )
            if not fits:
                raise FcinvError(
                    f"the {what} workspace {part.source} has other bins than {self.source}; give "
                    "the three outputs of one call of MDNorm"
                )
        here = self.covered & (normalization.signal > 0)
        ratio = data.signal[here] / normalization.signal[here]
        if not np.allclose(ratio, self.signal[here], rtol=1e-5, atol=0):
            raise FcinvError(
                f"{data.source} over {normalization.source} is not {self.source}; give the three "
                "outputs of one call of MDNorm, before background is subtracted"
            )
        return replace(self, normalization=normalization.signal)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis."""
        return tuple(axis.n_bins for axis in self.axes)

    @property
    def energy_axis(self) -> int:
        """Index of the energy-transfer axis.

        Raises
        ------
        FcinvError
            There is none, or more than one.
        """
        found = [i for i, axis in enumerate(self.axes) if axis.is_energy]
        if len(found) != 1:
            how_many = "no energy-transfer dimension" if not found else "two energy dimensions"
            names = " ".join(axis.name for axis in self.axes)
            raise FcinvError(
                f"{how_many} in {self.source}: its axes are {names}; reduce the data to HKL and "
                "DeltaE with MDNorm"
            )
        return found[0]

    @property
    def momentum_axes(self) -> tuple[int, int, int]:
        """Indices of the three momentum axes, in the order of the axes.

        Raises
        ------
        FcinvError
            Not three of them, or a further axis (temperature, field) with several bins.
        """
        found = [i for i, axis in enumerate(self.axes) if axis.is_momentum]
        if len(found) != 3:
            names = " ".join(axis.name for axis in self.axes)
            raise FcinvError(
                f"{len(found)} momentum axes in {self.source} (axes {names}) where three are "
                "needed; reduce the data with MDNorm, which keeps integrated axes"
            )
        for i, axis in enumerate(self.axes):
            if i not in found and not axis.is_energy and axis.n_bins > 1:
                raise FcinvError(
                    f"axis {axis.name!r} in {self.source} has {axis.n_bins} bins and is neither "
                    "momentum nor energy; cut the data into one histogram per value"
                )
        return found[0], found[1], found[2]

    @cached_property
    def covered(self) -> np.ndarray:
        """Shape of the signal, bool: measured (finite signal and error) and not masked."""
        return np.isfinite(self.signal) & np.isfinite(self.variance) & ~self.mask

    @property
    def temperature(self) -> float | None:
        """Mean sample temperature of the runs in K, or None."""
        return _mean([info.temperature for info in self.experiments])

    @property
    def incident_energy(self) -> float | None:
        """Mean incident energy of the runs in meV, or None."""
        return _mean([info.incident_energy for info in self.experiments])

    @property
    def ub(self) -> np.ndarray | None:
        """(3, 3) UB of the first run in 1/Å without 2π, or None."""
        return self.experiments[0].ub if self.experiments else None

    @property
    def lattice(self) -> tuple[float, ...] | None:
        """a, b, c in Å and alpha, beta, gamma in degrees of the first run, or None."""
        return self.experiments[0].lattice if self.experiments else None

    @property
    def orientations(self) -> int:
        """Number of distinct goniometer settings."""
        return len({tuple(info.rotation.round(5).ravel() + 0.0) for info in self.experiments})

    @property
    def run_numbers(self) -> tuple[str, ...]:
        """Run numbers in the order of the runs; runs without one are left out."""
        return tuple(info.run_number for info in self.experiments if info.run_number)

    @cached_property
    def projection(self) -> Projection:
        """Map from the momentum axes to hkl; raises FcinvError if there is none."""
        first = self.experiments[0] if self.experiments else ExperimentInfo()
        axes = [self.axes[i] for i in self.momentum_axes]
        try:
            return Projection.from_axes(
                axes,
                w_matrix=first.w_matrix,
                ub=first.ub,
                rotation=first.rotation if self.orientations <= 1 else None,
            )
        except FcinvError as error:
            raise FcinvError(f"{self.source}: {error}") from error

    @property
    def hkl_matrix(self) -> np.ndarray:
        """(3, 3): hkl = hkl_matrix @ x, x along the momentum axes in the order of the axes."""
        return self.projection.matrix

    def spectra(self, array: np.ndarray) -> np.ndarray:
        """(n_q, n_energy) view or copy of an array with the shape of the histogram.

        The energy axis goes last; all others are flattened in the order of the axes, the
        last varying fastest, as in `q_bin_centres`.
        """
        energy_last = np.moveaxis(array, self.energy_axis, -1)
        return energy_last.reshape(-1, energy_last.shape[-1])

    def from_spectra(self, array: np.ndarray) -> np.ndarray:
        """Array of the shape of the histogram from (n_q, n_energy): undoes `spectra`."""
        other = [n for i, n in enumerate(self.shape) if i != self.energy_axis]
        n_energy = self.shape[self.energy_axis]
        return np.moveaxis(array.reshape(*other, n_energy), -1, self.energy_axis)

    def along_energy(self, values: np.ndarray) -> np.ndarray:
        """(n_energy,) values in a shape that broadcasts to that of the histogram."""
        shape = [1] * len(self.axes)
        shape[self.energy_axis] = -1
        return values.reshape(shape)

    def q_bin_centres(self) -> np.ndarray:
        """(n_q, 3) hkl of the bin centres, in the order of the rows of `spectra`."""
        centres = [self.axes[i].centres for i in self.momentum_axes]
        grid = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 3)
        return grid @ self.hkl_matrix.T

    def q_bin_edges_matrix(self) -> np.ndarray:
        """(3, 3) whose columns are the three edge vectors of a bin in hkl."""
        return self.hkl_matrix * np.array([self.axes[i].width for i in self.momentum_axes])

    def effective_counts(self) -> np.ndarray:
        """Shape of the signal: counts behind each bin; see `counting.effective_counts`."""
        return counting.effective_counts(self.signal, self.variance, self.covered)

    def exposure(self) -> np.ndarray:
        """Shape of the signal: counts per unit of signal.

        See `counting.normalized_exposure`, and `counting.exposure` where the normalisation is not
        known.
        """
        if self.normalization is not None:
            return counting.normalized_exposure(
                self.signal, self.variance, self.covered, self.normalization
            )
        arrays = (self.spectra(array) for array in (self.signal, self.variance, self.covered))
        return np.ascontiguousarray(self.from_spectra(counting.exposure(*arrays)))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _no_variance(signal: np.ndarray) -> np.ndarray:
    """Zero where there is a value and NaN where there is none."""
    return np.where(np.isfinite(signal), 0.0, np.nan)
