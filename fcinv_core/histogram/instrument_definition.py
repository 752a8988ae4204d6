"""Mantid's instrument definition files: where the detectors are and how large they look.

An instrument is a tree: a ``type`` is made of components, each a further type at one location or
more, relative to its parent. Types with ``is="detector"`` are the leaves. Rotations and facing
follow Mantid's InstrumentDefinitionParser; all instances of a type are placed at once.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.detector_shapes import DetectorShape, local_name, vector
from fcinv_core.histogram.experiment import GoniometerAxis

_MOST_PLACES = 10_000_000
"""More components than any instrument has: a damaged or hostile definition."""

_DEEPEST = 50
"""Levels of components, for the same reason."""

_MOVING = {"x", "y", "z", "r-position", "t-position", "p-position", "rotx", "roty", "rotz"}
"""Parameters by which Mantid moves a component, mostly to the value of a log."""

_FRAME = {"along-beam": "z", "pointing-up": "y", "handedness": "right"}


@dataclass(frozen=True, eq=False)
class InstrumentDefinition:
    """The detectors of an instrument, monitors left out.

    Attributes
    ----------
    name
        Of the instrument.
    positions
        (n, 3) of the detectors from the sample in m: z along the beam, y up, x = y × z.
    areas
        (n,) of each detector as the sample sees it, m²; see `DetectorShape`.
    """

    name: str
    positions: np.ndarray
    areas: np.ndarray

    @property
    def solid_angles(self) -> np.ndarray:
        """(n,) sr, of detectors that are small against their distance."""
        return self.areas / (self.positions**2).sum(axis=1)

    @classmethod
    def from_xml(cls, text: str, source: str = "instrument definition") -> InstrumentDefinition:
        """Read the XML text of a definition; ``source`` is where it comes from, for messages.

        Detectors without a shape, which Mantid has for dead ones, are left out.

        Raises
        ------
        FcinvError
            Damaged XML, no detectors, no sample position, or what is not read: a document type,
            another frame than z along the beam and y up, rectangular detectors, shapes other
            than one cylinder, cuboid or sphere, detectors whose place depends on a log.
        """
        # The parser expands entities, and a few of them can fill the memory.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise FcinvError(f"{source} has a document type, which is not read; remove the DOCTYPE")
        try:
            root = ElementTree.fromstring(text.strip())
            tree = _Tree(root)
            tree.place(root, _Places(np.zeros((1, 3)), np.eye(3)[None]), 0)
        except ElementTree.ParseError as error:
            raise FcinvError(
                f"{source} is not valid XML ({error}); take the definition from Mantid"
            ) from error
        except ValueError as error:
            raise FcinvError(
                f"{source} cannot be read: {error}; give detector pixels instead"
            ) from error
        if not tree.samples:
            raise FcinvError(f"{source} has no sample position; take a complete definition")
        if not tree.detectors:
            raise FcinvError(
                f"{source} has no detectors; reduce data with their full instrument, or give "
                "detector pixels"
            )
        positions, areas = [], []
        for shape, places in tree.detectors:
            positions.append(places.positions - tree.samples[0])
            areas.append(shape.area_seen_along(positions[-1], places.rotations))
        return cls(root.get("name", ""), np.concatenate(positions), np.concatenate(areas))


@dataclass(frozen=True, eq=False)
class _Places:
    """Positions (n, 3) and rotations (n, 3, 3) in the laboratory."""

    positions: np.ndarray
    rotations: np.ndarray

    def facing(self, point: np.ndarray) -> _Places:
        """Turned the shortest way so that z points away from ``point``; those there stay."""
        away = self.positions - point
        distance = np.linalg.norm(away, axis=1)
        apart = distance > 0
        away[apart] /= distance[apart, None]
        away = np.einsum("nji,nj->ni", self.rotations, away)
        turn = np.tile(np.eye(3), (len(away), 1, 1))
        # From z to unit vector a: 1 + [v]x + [v]x² / (1 + a_z) with v = z × a.
        regular = apart & (away[:, 2] > -1 + 1e-12)
        cross = np.zeros((int(regular.sum()), 3, 3))
        cross[:, 0, 2], cross[:, 2, 0] = away[regular, 0], -away[regular, 0]
        cross[:, 1, 2], cross[:, 2, 1] = away[regular, 1], -away[regular, 1]
        turn[regular] += cross + cross @ cross / (1 + away[regular, 2])[:, None, None]
        turn[apart & ~regular] = np.diag([-1.0, 1.0, -1.0])
        return _Places(self.positions, self.rotations @ turn)


@dataclass(frozen=True, eq=False)
class _Locations:
    """Offsets (n, 3) and rotations (n, 3, 3) relative to a parent, what all of them face, and
    the parameters that would move them."""

    offsets: np.ndarray
    rotations: np.ndarray
    facing: ElementTree.Element | None
    moving: set[str]


class _Tree:
    """The types of a definition, and what was found when placing them."""

    def __init__(self, root: ElementTree.Element) -> None:
        self.types = {
            element.get("name", ""): element for element in root if local_name(element) == "type"
        }
        defaults = _child(root, "defaults")
        angle = _child(defaults, "angle")
        self.degrees = 180 / np.pi if angle is not None and angle.get("unit") == "radian" else 1.0
        frame = _child(defaults, "reference-frame")
        for name, wanted in _FRAME.items():
            element = _child(frame, name)
            if element is not None and (element.get("axis") or element.get("val")) != wanted:
                raise ValueError(f"its reference frame has not {name} {wanted}")
        offsets = _child(defaults, "offsets")
        if offsets is not None and offsets.get("spherical") == "delta":
            raise ValueError("its spherical coordinates are offsets, which are not read")
        self.default_facing = _child(defaults, "components-are-facing")
        self.samples: list[np.ndarray] = []
        self.detectors: list[tuple[DetectorShape, _Places]] = []
        self._groups: dict[ElementTree.Element, list[_Locations]] = {}

    def place(self, parent: ElementTree.Element, places: _Places, depth: int) -> None:
        """Find the leaves below ``parent``, an instance of which is at each place."""
        if depth > _DEEPEST:
            raise ValueError("its types contain each other")
        for component in (child for child in parent if local_name(child) == "component"):
            kind = self.types.get(component.get("type", ""))
            if kind is None:
                raise ValueError(f"there is no type {component.get('type')!r}")
            if kind.get("is", "").lower() in ("source", "monitor"):
                continue
            if component not in self._groups:
                self._groups[component] = self._grouped_locations(component)
            for group in self._groups[component]:
                n_detectors = len(self.detectors)
                self._place_type(kind, self._located(group, places), depth)
                if group.moving and len(self.detectors) > n_detectors:
                    raise ValueError(
                        f"the place of {kind.get('name')!r} depends on its parameters "
                        f"{', '.join(sorted(group.moving))}"
                    )

    def _place_type(self, kind: ElementTree.Element, places: _Places, depth: int) -> None:
        category = kind.get("is", "").lower()
        if category == "samplepos":
            self.samples.extend(places.positions)
        elif category == "detector":
            shape = DetectorShape.from_type(kind)
            if shape is not None:
                self.detectors.append((shape, places))
        elif "detector" in category:
            raise ValueError(f"type {kind.get('name')!r} is a {category}, which is not read")
        else:
            self.place(kind, places, depth + 1)

    def _grouped_locations(self, component: ElementTree.Element) -> list[_Locations]:
        """The locations of a component, those that face alike together."""
        alike: dict[tuple[object, ...], list[ElementTree.Element]] = {}
        for location in component:
            if local_name(location) in ("location", "locations"):
                facing = _child(location, "facing")
                what = None if facing is None else tuple(facing.items())
                alike.setdefault((what, *sorted(_moving(location))), []).append(location)
        groups = []
        for locations in alike.values():
            relative = [self._relative(x) for location in locations for x in _spelt_out(location)]
            offsets, rotations = (np.array(values) for values in zip(*relative, strict=True))
            facing = _child(locations[0], "facing")
            groups.append(_Locations(offsets, rotations, facing, _moving(locations[0])))
        return groups

    def _located(self, locations: _Locations, parents: _Places) -> _Places:
        if len(parents.positions) * len(locations.offsets) > _MOST_PLACES:
            raise ValueError(f"it has more than {_MOST_PLACES} components")
        moved = np.einsum("nij,lj->nli", parents.rotations, locations.offsets)
        turned = np.einsum("nij,ljk->nlik", parents.rotations, locations.rotations)
        places = _Places(
            (parents.positions[:, None] + moved).reshape(-1, 3), turned.reshape(-1, 3, 3)
        )
        facing = locations.facing
        if facing is None:
            facing = self.default_facing
        elif facing.get("rot"):
            angle = float(facing.get("rot", "0")) * self.degrees
            about_z = GoniometerAxis("", angle, (0.0, 0.0, 1.0)).rotation
            places = _Places(places.positions, places.rotations @ about_z)
        if facing is None or facing.get("val"):
            return places
        return places.facing(vector(facing, self.degrees))

    def _relative(self, location: ElementTree.Element) -> tuple[np.ndarray, np.ndarray]:
        """Offset (3,) from the parent, and rotation (3, 3) relative to it."""
        offset, rotation = vector(location, self.degrees), np.eye(3)
        if location.get("rot"):
            rotation = _rotation(float(location.get("rot", "0")) * self.degrees, location)
        # <trans> and <rot> are nested, each relative to what is around it.
        inner: ElementTree.Element | None = location
        while inner is not None:
            moved, turned = _child(inner, "trans"), _child(inner, "rot")
            if moved is not None:
                offset = offset + rotation @ vector(moved, self.degrees)
            elif turned is not None:
                rotation = rotation @ _rotation(
                    float(turned.get("val", "0")) * self.degrees, turned
                )
            inner = moved if moved is not None else turned
        return offset, rotation


def _moving(location: ElementTree.Element) -> set[str]:
    return _MOVING & {child.get("name", "") for child in location}


def _spelt_out(location: ElementTree.Element) -> list[ElementTree.Element]:
    """The single locations that a ``locations`` element stands for."""
    if local_name(location) == "location":
        return [location]
    count = int(location.get("n-elements", "0"))
    if not 0 < count <= _MOST_PLACES:
        raise ValueError(f"locations with n-elements={count}")
    ranges = {
        name: np.linspace(float(location.get(name, "0")), float(end), count)
        for name in ("x", "y", "z", "r", "t", "p", "rot")
        if (end := location.get(f"{name}-end")) is not None
    }
    single = []
    for i in range(count):
        values = {name: repr(float(numbers[i])) for name, numbers in ranges.items()}
        element = ElementTree.Element("location", {**location.attrib, **values})
        element.extend(location)
        single.append(element)
    return single


def _rotation(angle: float, element: ElementTree.Element) -> np.ndarray:
    """(3, 3) by ``angle`` in degrees about axis-x, axis-y, axis-z, each with Mantid's default."""
    x, y, z = (float(element.get(f"axis-{name}", name == "z")) for name in "xyz")
    return GoniometerAxis("", angle, (x, y, z)).rotation


def _child(element: ElementTree.Element | None, name: str) -> ElementTree.Element | None:
    """The first child of that name without namespace."""
    for child in () if element is None else element:
        if local_name(child) == name:
            return child
    return None
