"""Direct-geometry spectrometers: where their detectors are, what energies they take.

Data files of the known ones are in ``fcinv_core/data/spectrometers``, each with its sources. A file
of one's own is loaded by its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.detectors import DetectorPixels

if TYPE_CHECKING:
    from fcinv_core.scattering.resolution import EnergyResolution

KNOWN = Path(__file__).parents[1] / "data/spectrometers"


@dataclass(frozen=True)
class DetectorBank:
    """Detectors at the same heights on a cylinder about the vertical through the sample.

    Attributes
    ----------
    horizontal
        Ranges of the horizontal angle, degrees: atan2(x, z) in Mantid's laboratory frame (z along
        the beam, y up, x = y × z), so positive to the left of somebody who looks along the beam.
        Between them are gaps.
    height
        Lowest and highest y of the detectors, m.
    radius
        Distance of the detectors from the vertical through the sample, m.
    """

    horizontal: tuple[tuple[float, float], ...]
    height: tuple[float, float]
    radius: float

    def __post_init__(self) -> None:
        numbers = [*self.height, self.radius, *(edge for pair in self.horizontal for edge in pair)]
        if not all(math.isfinite(number) for number in numbers) or self.radius <= 0:
            raise FcinvError(f"detector bank {self}: give finite numbers and a radius above 0 m")
        if not self.horizontal or self.height[0] >= self.height[1]:
            raise FcinvError(
                f"detector bank {self}: give horizontal ranges, and the lower height first"
            )
        for lowest, highest in self.horizontal:
            if not 0 < highest - lowest <= 360:
                raise FcinvError(
                    f"detector bank from {lowest} to {highest} degrees: give the lower angle "
                    "first, and no more than a full circle"
                )

    @property
    def vertical(self) -> tuple[float, float]:
        """Angles of the lower and the upper edge above the horizontal plane, degrees."""
        lower, upper = (math.degrees(math.atan2(y, self.radius)) for y in self.height)
        return lower, upper

    @property
    def solid_angle(self) -> float:
        """Solid angle of all ranges together, sr."""
        lower, upper = (math.sin(math.radians(angle)) for angle in self.vertical)
        return (upper - lower) * math.radians(sum(b - a for a, b in self.horizontal))

    def covers(self, directions: np.ndarray) -> np.ndarray:
        """Which of the directions (n, 3), of any length, meet the bank: (n,) bool."""
        x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
        angles = np.degrees(np.arctan2(x, z))
        height = np.hypot(x, z) * np.divide(self.height, self.radius)[:, None]
        at_angle = [(angles - a) % 360 <= b - a for a, b in self.horizontal]
        return np.any(at_angle, axis=0) & (height[0] <= y) & (y <= height[1])

    def cells(self, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Middles (n, 3) and solid angles (n,), sr, of cells of at most ``spacing`` degrees."""
        lower, upper = self.vertical
        edges = np.radians(np.linspace(lower, upper, math.ceil((upper - lower) / spacing) + 1))
        elevations, areas = (edges[1:] + edges[:-1]) / 2, np.diff(np.sin(edges))
        directions, solid_angles = [], []
        for lowest, highest in self.horizontal:
            count = math.ceil((highest - lowest) / spacing)
            step = (highest - lowest) / count
            angles = np.radians(lowest + step * (np.arange(count) + 0.5))
            elevation, angle = (grid.ravel() for grid in np.meshgrid(elevations, angles))
            directions.append(
                np.stack(
                    [
                        np.cos(elevation) * np.sin(angle),
                        np.sin(elevation),
                        np.cos(elevation) * np.cos(angle),
                    ],
                    axis=-1,
                )
            )
            solid_angles.append(np.tile(areas * math.radians(step), count))
        return np.concatenate(directions), np.concatenate(solid_angles)


@dataclass(frozen=True)
class ChopperSettings:
    """What ResINS takes for a range of incident energies.

    Attributes
    ----------
    highest_incident_energy
        meV; above it the next settings apply.
    instrument
        ResINS's name.
    settings
        As `fcinv_core.scattering.EnergyResolution.from_instrument` takes them.
    """

    highest_incident_energy: float
    instrument: str
    settings: Mapping[str, str | float]


@dataclass(frozen=True)
class Spectrometer:
    """A direct-geometry spectrometer.

    Attributes
    ----------
    name, facility
    banks
        Where the detectors are.
    incident_energy_range
        meV.
    energy_range_fractions
        Energy transfers that standard reduction keeps, over the incident energy.
    active_fraction
        Of the banks' area: diameter over distance of the tubes.
    smallest_two_theta
        Of the detectors that are not behind the beam stop, degrees.
    movable
        The banks turn about the vertical together, and where they stand has not been chosen.
    choppers
        In increasing order of the incident energy; empty where ResINS has no model.
    fwhm_over_incident_energy
        Energy resolution where ResINS has no model.
    source
        Where the numbers come from.

    Examples
    --------
    >>> arcs = Spectrometer.load("ARCS")
    >>> print(f"{arcs.pixels(spacing=1.0).solid_angles.sum():.2f} sr")
    2.20 sr
    """

    name: str
    facility: str
    banks: tuple[DetectorBank, ...]
    incident_energy_range: tuple[float, float]
    energy_range_fractions: tuple[float, float]
    active_fraction: float = 1.0
    smallest_two_theta: float = 0.0
    movable: bool = False
    choppers: tuple[ChopperSettings, ...] = ()
    fwhm_over_incident_energy: float | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lowest, highest = self.incident_energy_range
        gain, loss = self.energy_range_fractions
        width = self.fwhm_over_incident_energy
        limits = [entry.highest_incident_energy for entry in self.choppers]
        for right, message in [
            (self.banks, "it has no detector banks"),
            (0 < lowest < highest < math.inf, "incident energies are not above 0 and in order"),
            (-math.inf < gain < loss < 1, "energy transfers are not below 1 and in order"),
            (0 < self.active_fraction <= 1, "active_fraction is not above 0 and at most 1"),
            (0 <= self.smallest_two_theta < 180, "smallest_two_theta is not within 0 to 180"),
            (
                (width is None) == bool(limits),
                "give either choppers or fwhm_over_incident_energy",
            ),
            (width is None or 0 < width < math.inf, "fwhm_over_incident_energy is not above 0"),
            (limits == sorted(limits), "choppers are not in order of highest_incident_energy"),
            (not limits or limits[-1] >= highest, f"no choppers reach {highest:g} meV"),
        ]:
            if not right:
                raise FcinvError(f"spectrometer {self.name}: {message}; correct its description")

    @classmethod
    def names(cls) -> list[str]:
        """The known spectrometers."""
        return sorted(path.stem for path in KNOWN.glob("*.json"))

    @classmethod
    def load(cls, name: str | Path) -> Spectrometer:
        """A known spectrometer, in any case of letters, or a data file (``.json``).

        Raises
        ------
        FcinvError
            When there is no such spectrometer or file, or the file is not complete.
        """
        path = Path(name)
        if path.suffix != ".json":
            known = {known.upper(): known for known in cls.names()}
            if str(name).upper() not in known:
                raise FcinvError(
                    f"no spectrometer {str(name)!r}; known are {', '.join(known.values())}, or "
                    "give a .json file"
                )
            path = KNOWN / f"{known[str(name).upper()]}.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FcinvError(
                f"spectrometer file {path} cannot be read ({error.strerror}); check its path"
            ) from error
        except ValueError as error:
            raise FcinvError(f"spectrometer file {path} is not JSON: {error}") from error
        return cls.from_dict(document, str(path))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], origin: str = "dictionary") -> Spectrometer:
        """From the content of a data file; ``origin`` names it in errors.

        Raises
        ------
        FcinvError
            When something is missing, unknown or not possible.
        """
        try:
            values = dict(document)
            values["banks"] = tuple(
                DetectorBank(
                    horizontal=tuple(_pair(pair) for pair in bank["horizontal"]),
                    height=_pair(bank["height"]),
                    radius=float(bank["radius"]),
                )
                for bank in values["banks"]
            )
            values["choppers"] = tuple(
                ChopperSettings(
                    highest_incident_energy=float(choppers["highest_incident_energy"]),
                    instrument=choppers["instrument"],
                    settings=dict(choppers["settings"]),
                )
                for choppers in values.get("choppers", ())
            )
            for key in ("incident_energy_range", "energy_range_fractions"):
                values[key] = _pair(values[key])
            return cls(**values)
        except KeyError as error:
            raise FcinvError(f"spectrometer {origin} has no {error}: add it") from error
        except (TypeError, ValueError) as error:
            raise FcinvError(f"spectrometer {origin} is not understood: {error}") from error

    @property
    def solid_angle(self) -> float:
        """Solid angle of the tubes, sr, without the beam stop's share."""
        return self.active_fraction * sum(bank.solid_angle for bank in self.banks)

    def at(self, angle: float) -> Spectrometer:
        """The spectrometer with its movable banks turned to ``angle``.

        Parameters
        ----------
        angle
            Horizontal angle of the banks' middle, degrees; HYSPEC's log ``s2``.

        Raises
        ------
        FcinvError
            When the banks do not move, or stand already.
        """
        if not self.movable:
            raise FcinvError(f"the detectors of {self.name} do not move: leave out their angle")
        banks = tuple(
            replace(bank, horizontal=tuple((a + angle, b + angle) for a, b in bank.horizontal))
            for bank in self.banks
        )
        return replace(self, banks=banks, movable=False)

    def pixels(self, spacing: float = 1.0) -> DetectorPixels:
        """Virtual pixels on a regular grid over the banks.

        Parameters
        ----------
        spacing
            Degrees between neighbours, at most.

        Raises
        ------
        FcinvError
            When the spacing is not above 0, or movable banks have no place yet.
        """
        self._check_placed()
        if not 0 < spacing < math.inf:
            raise FcinvError(f"spacing {spacing} degrees of detector pixels: give one above 0")
        cells = [bank.cells(spacing) for bank in self.banks]
        directions = np.concatenate([middles for middles, _ in cells])
        solid_angles = self.active_fraction * np.concatenate([areas for _, areas in cells])
        return DetectorPixels(directions, solid_angles).masked(self._beside_beam_stop(directions))

    def covers(self, directions: np.ndarray) -> np.ndarray:
        """Which of the directions (n, 3), of any length, meet a detector: (n,) bool.

        Gaps between tubes do not count.

        Raises
        ------
        FcinvError
            When movable banks have no place yet.
        """
        self._check_placed()
        met = np.any([bank.covers(directions) for bank in self.banks], axis=0)
        return met & self._beside_beam_stop(np.asarray(directions, dtype=np.float64))

    def energy_range(self, incident_energy: float) -> tuple[float, float]:
        """Lowest and highest energy transfer (meV) that standard reduction keeps.

        Raises
        ------
        FcinvError
            When the spectrometer does not have this incident energy.
        """
        self._check_incident_energy(incident_energy)
        gain, loss = self.energy_range_fractions
        return gain * incident_energy, loss * incident_energy

    def resolution(self, incident_energy: float) -> EnergyResolution:
        """Energy resolution with the choppers usual at ``incident_energy`` (meV).

        From ResINS where it has a model of the spectrometer, else a constant width.

        Raises
        ------
        FcinvError
            When the spectrometer does not have this incident energy, or ResINS is needed and
            missing.
        """
        from fcinv_core.scattering.resolution import EnergyResolution

        self._check_incident_energy(incident_energy)
        if self.fwhm_over_incident_energy is not None:
            return EnergyResolution.constant(self.fwhm_over_incident_energy * incident_energy)
        choppers = next(
            entry for entry in self.choppers if incident_energy <= entry.highest_incident_energy
        )
        return EnergyResolution.from_instrument(
            choppers.instrument, incident_energy, **choppers.settings
        )

    def _check_placed(self) -> None:
        if self.movable:
            raise FcinvError(
                f"the detectors of {self.name} move: choose their horizontal angle with at(angle)"
            )

    def _check_incident_energy(self, incident_energy: float) -> None:
        lowest, highest = self.incident_energy_range
        if not lowest <= incident_energy <= highest:
            raise FcinvError(
                f"incident energy {incident_energy} meV: {self.name} has {lowest:g} to "
                f"{highest:g} meV"
            )

    def _beside_beam_stop(self, directions: np.ndarray) -> np.ndarray:
        sideways = np.hypot(directions[:, 0], directions[:, 1])
        two_theta = np.degrees(np.arctan2(sideways, directions[:, 2]))
        return two_theta >= self.smallest_two_theta


def _pair(values: Any) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)
