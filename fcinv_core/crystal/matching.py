"""From the lattice that data were indexed on to the primitive cell of a crystal.

The sample's UB and the structure file may use different cells of one crystal: primitive and
conventional, hexagonal and rhombohedral axes, permuted axes, other monoclinic settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcinv_core.crystal.crystal import Crystal
from fcinv_core.errors import FcinvError

LARGEST_CELL = 40
"""Primitive lattice vectors along an axis of a cell: far larger ones are searched in vain."""

EQUALLY_GOOD = 0.005
"""Strains that differ by less are no reason to prefer one setting: lattice parameters of a
sample alignment are no better."""


@dataclass(frozen=True, eq=False)
class LatticeMatch:
    """How the lattice of some data relates to a crystal.

    Attributes
    ----------
    to_primitive
        (3, 3): hkl in reciprocal coordinates of the crystal's primitive cell =
        to_primitive @ hkl of the data.
    strain
        Largest relative difference in length between the two lattices, over all directions.
    ambiguous
        True when settings that the crystal's Laue group does not relate match equally well
        (pyrite with a and b exchanged, rhombohedral crystals with obverse and reverse axes).
    setting
        The cell of the crystal that the data use, in words.
    """

    to_primitive: np.ndarray
    strain: float
    ambiguous: bool
    setting: str


def match_lattice(
    lattice_parameters: Sequence[float], crystal: Crystal, tolerance: float = 0.03
) -> LatticeMatch:
    """Find the crystal's lattice vectors that a lattice was indexed on.

    Parameters
    ----------
    lattice_parameters
        a, b, c in Å and α, β, γ in degrees of the data.
    crystal
        Its lattice must contain the vectors of that cell.
    tolerance
        Largest strain that thermal expansion, alignment and the error of calculated lattice
        constants may cause.

    Returns
    -------
    LatticeMatch
        The setting with the least strain. Among equally good ones the unit cell of the
        structure file comes first, then the conventional and the primitive cell, then the cell
        whose axes lie closest to those of the file.

    Raises
    ------
    FcinvError
        When no cell of the crystal fits.
    """
    metric = _metric(lattice_parameters)
    candidates = cells_like(metric, crystal.primitive_lattice, tolerance)
    strains = np.array(
        [strain_between(metric, cell @ crystal.primitive_lattice) for cell in candidates]
    )
    if len(candidates) == 0 or strains.min() > tolerance:
        raise FcinvError(_mismatch(lattice_parameters, crystal, tolerance))
    equally_good = candidates[strains <= strains.min() + EQUALLY_GOOD]
    cell, setting = _most_familiar(equally_good, crystal)
    same = {_key(cell @ rotation) for rotation in _laue_rotations(crystal)}
    return LatticeMatch(
        to_primitive=np.linalg.inv(cell),
        strain=strain_between(metric, cell @ crystal.primitive_lattice),
        ambiguous=any(_key(other) not in same for other in equally_good),
        setting=setting,
    )


def _metric(lattice_parameters: Sequence[float]) -> np.ndarray:
    """(3, 3) metric tensor in Å² of six lattice parameters."""
    lengths = np.array(lattice_parameters[:3], dtype=float)
    cosines = np.cos(np.radians(np.array(lattice_parameters[3:], dtype=float)))
    metric = np.ones((3, 3))
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines, strict=True):
        metric[i, j] = metric[j, i] = cosine
    with np.errstate(all="ignore"):  # lengths may be anything
        metric = metric * np.outer(lengths, lengths)
    sane = np.isfinite(metric).all() and np.all(lengths > 0)
    if not sane or not np.all(np.linalg.eigvalsh(metric) > 0):
        raise FcinvError(
            f"lattice parameters {_in_words(lattice_parameters)} describe no cell: correct the "
            f"UB matrix of the data"
        )
    return metric


def strain_between(metric: np.ndarray, lattice: np.ndarray) -> float:
    """Largest relative difference in length between a metric and a lattice (rows)."""
    inverse = np.linalg.inv(lattice)
    stretches = np.sqrt(np.linalg.eigvalsh(inverse @ metric @ inverse.T))
    return float(np.abs(stretches - 1).max())


def cells_like(metric: np.ndarray, primitive: np.ndarray, tolerance: float) -> np.ndarray:
    """(n, 3, 3) right-handed integer cells (rows, primitive coordinates) that may fit.

    Their lengths and angles fit within the tolerance; the strain is not checked.
    """
    lengths = np.sqrt(np.diag(metric))
    reach = lengths.max() * (1 + tolerance) * np.linalg.norm(np.linalg.inv(primitive), axis=0)
    if reach.max() > LARGEST_CELL:
        return np.zeros((0, 3, 3), dtype=int)
    ranges = [np.arange(-n, n + 1) for n in np.floor(reach + 1e-6).astype(int)]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    norms = np.linalg.norm(points @ primitive, axis=1)
    # A strain ε changes a length by ε and a scalar product a·b by about 2ε|a||b|.
    axes = [points[np.abs(norms / length - 1) <= 1.1 * tolerance] for length in lengths]
    products = metric / np.outer(lengths, lengths)

    def fits(i: int, first: np.ndarray, j: int, second: np.ndarray) -> np.ndarray:
        found = (first @ primitive) @ (second @ primitive).T / (lengths[i] * lengths[j])
        return np.abs(found - products[i, j]) <= 2.5 * tolerance

    ab, ac, bc = (fits(i, axes[i], j, axes[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    cells = [
        (axes[0][i], axes[1][j], axes[2][k])
        for i, j in np.argwhere(ab)
        for k in np.flatnonzero(ac[i] & bc[j])
    ]
    found = np.array(cells, dtype=int).reshape(-1, 3, 3)
    return found[np.linalg.det(found) > 0.5]


def difference_between(own: Crystal, other: Crystal, tolerance: float) -> str | None:
    """None, or why two descriptions cannot be of the same crystal, in words.

    Composition and size of the primitive cell, space group and lattice are compared; origin,
    setting and supercell may differ.

    Parameters
    ----------
    tolerance
        Largest strain between the lattices.
    """
    if sorted(own.primitive_symbols) != sorted(other.primitive_symbols):
        return (
            f"the primitive cells differ: {' '.join(own.primitive_symbols)} and "
            f"{' '.join(other.primitive_symbols)}"
        )
    if own.space_group != other.space_group:
        return f"the space groups differ: {own.space_group} and {other.space_group}"
    metric = other.primitive_lattice @ other.primitive_lattice.T
    cells = cells_like(metric, own.primitive_lattice, tolerance)
    same_volume = cells[np.rint(np.linalg.det(cells)) == 1]
    strains = [strain_between(metric, cell @ own.primitive_lattice) for cell in same_volume]
    if min(strains, default=np.inf) > tolerance:
        mine, theirs = (_parameters_of(crystal.conventional_lattice) for crystal in (own, other))
        return (
            f"the lattices differ by more than {tolerance:.0%}: {_in_words(mine)} and "
            f"{_in_words(theirs)}"
        )
    return None


def _most_familiar(cells: np.ndarray, crystal: Crystal) -> tuple[np.ndarray, str]:
    to_primitive = np.linalg.inv(crystal.primitive_lattice)
    known = {
        "the unit cell of the structure": crystal.lattice,
        "the conventional cell": crystal.conventional_lattice,
        "the primitive cell": crystal.primitive_lattice,
    }
    keys = [_key(cell) for cell in cells]
    for setting, lattice in known.items():
        key = _key(lattice @ to_primitive)
        if key in keys:
            return cells[keys.index(key)], setting
    axes = crystal.lattice / np.linalg.norm(crystal.lattice, axis=1)[:, None]

    def alignment(cell: np.ndarray) -> float:
        vectors = cell @ crystal.primitive_lattice
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        return round(float(np.sum(vectors * axes)), 6)

    best = max(range(len(cells)), key=lambda place: (alignment(cells[place]), keys[place]))
    in_unit_cell = cells[best] @ crystal.primitive_lattice @ np.linalg.inv(crystal.lattice)
    rows = "; ".join(" ".join(f"{x:g}" for x in np.round(row, 3) + 0.0) for row in in_unit_cell)
    return cells[best], f"another cell, with axes {rows} in those of the structure"


def _laue_rotations(crystal: Crystal) -> list[np.ndarray]:
    """Proper rotations of the Laue group, which turn lattice vectors as n' = n @ rotation.

    hkl' = R @ hkl leaves n·hkl unchanged for n' = n @ R⁻¹, and a group holds its inverses.
    """
    return [r if np.linalg.det(r) > 0 else -r for r in crystal.point_group_rotations]


def _key(cell: np.ndarray) -> tuple[int, ...]:
    return tuple(np.rint(cell).astype(int).ravel().tolist())


def _mismatch(lattice_parameters: Sequence[float], crystal: Crystal, tolerance: float) -> str:
    own = _in_words(_parameters_of(crystal.lattice))
    conventional = _in_words(_parameters_of(crystal.conventional_lattice))
    if conventional != own:
        own += f" (conventional {conventional})"
    return (
        f"the lattice of the data, {_in_words(lattice_parameters)}, is no cell of "
        f"{crystal.formula} with {own} within {tolerance:.0%}: give the structure that was "
        f"measured, or correct the UB matrix of the data"
    )


def _parameters_of(lattice: np.ndarray) -> list[float]:
    from ase.geometry import cell_to_cellpar

    return [float(x) for x in cell_to_cellpar(lattice)]


def _in_words(lattice_parameters: Sequence[float]) -> str:
    a, b, c, alpha, beta, gamma = lattice_parameters
    return f"a, b, c = {a:.4g}, {b:.4g}, {c:.4g} Å, α, β, γ = {alpha:.4g}, {beta:.4g}, {gamma:.4g}°"
