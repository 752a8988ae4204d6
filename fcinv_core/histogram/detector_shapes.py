"""Shapes of detectors in Mantid's instrument definitions, as far as neutrons see them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

_CORNERS = (
    "left-front-bottom-point",
    "left-front-top-point",
    "left-back-bottom-point",
    "right-front-bottom-point",
)
_SHAPES = ("cylinder", "cuboid", "sphere")
_OTHER_SHAPES = (
    "hexahedron",
    "cone",
    "infinite-cylinder",
    "infinite-cone",
    "infinite-plane",
    "segmented-cylinder",
    "hollow-cylinder",
    "slice-of-cylinder-ring",
    "tapered-guide",
    "torus",
)


@dataclass(frozen=True, eq=False)
class DetectorShape:
    """The area of a shape, seen from afar.

    It is the sum of |face · direction| over faces with area vectors of their own, |edge ×
    direction| over edges with a length times a width, and an area that is the same from all
    sides. A cylinder is an edge, height along its axis times diameter: its ends are covered by
    the other pixels of a tube. A cuboid has three faces; a sphere looks alike from all sides.

    Attributes
    ----------
    faces
        (n, 3) m².
    edges
        (n, 3) m².
    round_area
        m².
    """

    faces: np.ndarray
    edges: np.ndarray
    round_area: float = 0.0

    @classmethod
    def from_type(cls, element: ElementTree.Element) -> DetectorShape | None:
        """The shape in a ``type`` element; None if it has none.

        Raises
        ------
        ValueError
            A shape that is not read, or one of several, or incomplete.
        """
        found = [child for child in element if local_name(child) in _SHAPES + _OTHER_SHAPES]
        if not found:
            return None
        names = [local_name(child) for child in found]
        if len(found) > 1 or names[0] in _OTHER_SHAPES:
            raise ValueError(
                f"detector {element.get('name')!r} has the shape {' and '.join(names)}, which is "
                f"not read (one of {', '.join(_SHAPES)} is)"
            )
        needed = {"sphere": ("radius",), "cylinder": ("axis", "radius", "height")}
        parts = {local_name(child): child for child in found[0]}
        for name in needed.get(names[0], _CORNERS):
            if name not in parts:
                raise ValueError(
                    f"the {names[0]} of detector {element.get('name')!r} has no {name}"
                )
        nothing = np.zeros((0, 3))
        if names[0] == "sphere":
            return cls(nothing, nothing, np.pi * _number(parts["radius"], "val") ** 2)
        if names[0] == "cylinder":
            axis = vector(parts["axis"])
            size = 2 * _number(parts["radius"], "val") * _number(parts["height"], "val")
            return cls(nothing, (size * axis / np.linalg.norm(axis))[None])
        corner, *others = (vector(parts[name]) for name in _CORNERS)
        first, second, third = (other - corner for other in others)
        faces = [np.cross(first, second), np.cross(second, third), np.cross(third, first)]
        return cls(np.array(faces), nothing)

    def area_seen_along(self, directions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """(n,) m² of detectors turned by ``rotations`` (n, 3, 3), seen along (n, 3)."""
        length = np.linalg.norm(directions, axis=1)
        with np.errstate(invalid="ignore"):
            seen = np.einsum("nji,nj->ni", rotations, directions / length[:, None])
        area = np.full(len(seen), self.round_area)
        for face in self.faces:
            area += np.abs(seen @ face)
        for edge in self.edges:
            area += np.linalg.norm(np.cross(edge, seen), axis=1)
        return area


def local_name(element: ElementTree.Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def vector(element: ElementTree.Element, degrees: float = 1.0) -> np.ndarray:
    """(3,) of the attributes x, y, z, or r, t, p (angles times ``degrees`` in degrees)."""
    names = ("r", "t", "p") if {"r", "t", "p"} & set(element.keys()) else ("R", "theta", "phi")
    if not set(names) & set(element.keys()):
        return np.array([_number(element, name) for name in "xyz"])
    radius, polar, azimuth = (_number(element, name) for name in names)
    polar, azimuth = np.radians([polar * degrees, azimuth * degrees])
    around = [np.cos(azimuth), np.sin(azimuth)]
    return radius * np.array([*(np.sin(polar) * np.array(around)), np.cos(polar)])


def _number(element: ElementTree.Element, name: str) -> float:
    value = float(element.get(name, "0"))
    if not np.isfinite(value):
        raise ValueError(f"{name}={element.get(name)!r} is not a number")
    return value
