"""Symmetry-reduced force constants with parameters that are force constants themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fcinv_core.crystal.crystal import Crystal
from fcinv_core.crystal.force_constants import ForceConstants
from fcinv_core.crystal.neighbours import Neighbours
from fcinv_core.errors import FcinvError

_CARTESIAN = ("x", "y", "z")
_ELEMENT_ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1))
_INDEPENDENCE = (0.3, 0.03, 1e-3)
"""An element becomes a parameter when the part of it that the parameters chosen so far do not
determine is at least this fraction of it; smaller fractions serve only what is still free."""

_FOUND: dict[tuple[str, float, float | None], tuple[np.ndarray, np.ndarray]] = {}
"""Maps and elements of `ForceConstantBasis` by contents of the crystal, its tolerance and the
cutoff: finding them takes seconds, and inversions of many measurements ask for the same again."""

_MOST_FOUND = 8


@dataclass(frozen=True, eq=False)
class ForceConstantBasis:
    """Linear map from independent force constants to all force constants of a supercell.

    The space is symfc's: space group, permutation symmetry and acoustic sum rule hold exactly
    (A. Seko and A. Togo, Phys. Rev. B 110, 214302 (2024)). symfc's own basis vectors are
    neither local nor reproducible, so the space is described by as many independent elements
    Φ(iα, jβ) as it has dimensions, taken from the nearest shells outwards.

    Attributes
    ----------
    crystal
        The crystal and its supercell.
    cutoff
        Å: force constants beyond are zero; None for all in the supercell.
    map
        (n_primitive · n_supercell · 9, n_parameters), dimensionless: flattened compact force
        constants in eV/Å² = map @ parameters in eV/Å².
    elements
        (n_parameters, 4) integers: primitive atom i, supercell atom j, α, β of the element
        that is the parameter.
    names
        Unique labels such as "Si-Si 1st shell 2.37 Å xy".
    distances
        (n_parameters,) in Å.
    shell_index
        (n_parameters,) index into ``neighbours.shells``; -1 for on-site elements.
    """

    crystal: Crystal
    cutoff: float | None
    map: np.ndarray
    elements: np.ndarray
    names: tuple[str, ...]
    distances: np.ndarray
    shell_index: np.ndarray

    @classmethod
    def from_crystal(cls, crystal: Crystal, cutoff: float | None = None) -> ForceConstantBasis:
        """Find the basis of a crystal's force constants.

        Parameters
        ----------
        crystal
            With its supercell.
        cutoff
            Å: range of the force constants. Default: whatever the supercell holds.

        Raises
        ------
        FcinvError
            When the cutoff is not positive, or it or the supercell leaves no force constants.
        """
        if cutoff is not None and not cutoff > 0:
            raise FcinvError(f"cutoff {cutoff} Å is not positive")
        key = (crystal.content_hash, crystal.symprec, cutoff)
        neighbours = Neighbours(crystal)
        if key in _FOUND:
            return cls._named(neighbours, cutoff, *_FOUND[key])
        if not neighbours.shells:
            raise FcinvError(
                f"a supercell of one atom has no force constants of {crystal.formula}: take a "
                "larger one"
            )
        nearest = min(shell.distance for shell in neighbours.shells)
        if cutoff is not None and cutoff < nearest:
            raise FcinvError(
                f"a cutoff of {cutoff} Å leaves no force constants of {crystal.formula}: raise "
                f"it beyond the nearest-neighbour distance of {nearest:.2f} Å"
            )
        space = _invariant_space(crystal, cutoff)
        rows = _independent_rows(space, neighbours)
        elements = np.array(
            np.unravel_index(rows, (crystal.n_primitive, crystal.n_supercell, 3, 3))
        ).T
        linear_map = np.linalg.solve(space[rows].T, space.T).T
        linear_map[np.abs(linear_map) < 1e-12] = 0.0
        if len(_FOUND) >= _MOST_FOUND:
            _FOUND.pop(next(iter(_FOUND)))
        _FOUND[key] = linear_map, elements
        return cls._named(neighbours, cutoff, linear_map, elements)

    @classmethod
    def _named(
        cls,
        neighbours: Neighbours,
        cutoff: float | None,
        linear_map: np.ndarray,
        elements: np.ndarray,
    ) -> ForceConstantBasis:
        pairs = elements[:, 0], elements[:, 1]
        return cls(
            crystal=neighbours.crystal,
            cutoff=cutoff,
            map=linear_map,
            elements=elements,
            names=_names(elements, neighbours),
            distances=neighbours.distances[pairs],
            shell_index=neighbours.shell_index[pairs],
        )

    @classmethod
    def from_arrays(
        cls, crystal: Crystal, cutoff: float | None, arrays: Mapping[str, np.ndarray]
    ) -> ForceConstantBasis:
        """A basis that was stored: the inverse of `to_arrays`.

        Another version of symfc may find other parameters for the same crystal, so numbers that
        refer to parameters are stored with their basis.

        Raises
        ------
        FcinvError
            When the arrays do not belong to the crystal.
        """
        linear_map, elements = arrays["map"], arrays["elements"]
        rows = 9 * crystal.n_primitive * crystal.n_supercell
        fits = linear_map.ndim == 2 and len(linear_map) == rows
        if not fits or elements.shape != (linear_map.shape[1], 4):
            raise FcinvError(
                f"a stored basis of {linear_map.shape} force constants does not fit "
                f"{crystal.formula} in a supercell of {crystal.n_supercell} atoms: it is damaged"
            )
        return cls._named(Neighbours(crystal), cutoff, linear_map, elements)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What to store with parameters, besides crystal and cutoff."""
        return {"map": self.map, "elements": self.elements}

    @property
    def n_parameters(self) -> int:
        """Number of independent force constants."""
        return self.map.shape[1]

    @cached_property
    def neighbours(self) -> Neighbours:
        """The pairs and shells of the crystal."""
        return Neighbours(self.crystal)

    def parameters_of(self, force_constants: ForceConstants) -> np.ndarray:
        """(n_parameters,) of the closest force constants in the space, eV/Å².

        Closest in the sense of least squares over all elements; `residual_of` says how close.

        Raises
        ------
        FcinvError
            When the force constants are of another supercell.
        """
        if force_constants.values.size != len(self.map):
            raise FcinvError(
                f"force constants of {force_constants.crystal.formula} in supercell "
                f"{force_constants.crystal.supercell_matrix.tolist()} do not fit the basis of "
                f"{self.crystal.formula} in {self.crystal.supercell_matrix.tolist()}"
            )
        orthonormal, triangle = self._orthonormal
        return np.linalg.solve(triangle, orthonormal.T @ force_constants.values.ravel())

    def residual_of(self, force_constants: ForceConstants) -> float:
        """Norm of what the space misses of some force constants, relative to their norm."""
        rebuilt = self.map @ self.parameters_of(force_constants)
        missed = np.linalg.norm(force_constants.values.ravel() - rebuilt)
        return float(missed / np.linalg.norm(force_constants.values))

    def force_constants(self, parameters: np.ndarray) -> ForceConstants:
        """Force constants of the basis's crystal from (n_parameters,) in eV/Å².

        They carry no Born charges; to keep those of other force constants, use
        ``others.with_values(basis.map @ parameters)``.
        """
        shape = (self.crystal.n_primitive, self.crystal.n_supercell, 3, 3)
        return ForceConstants(self.crystal, (self.map @ parameters).reshape(shape))

    @cached_property
    def _orthonormal(self) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.qr(self.map)


def _invariant_space(crystal: Crystal, cutoff: float | None) -> np.ndarray:
    """(n_primitive · n_supercell · 9, n) orthogonal columns that span symfc's space.

    symfc keeps rows for its own choice of one atom per lattice-translation orbit; here they
    are carried to phonopy's, which may be other atoms of the same orbits.
    """
    from symfc import Symfc
    from symfc.utils.utils import SymfcAtoms

    symfc = Symfc(
        SymfcAtoms(
            cell=crystal.supercell_lattice,
            scaled_positions=crystal.supercell_positions,
            numbers=crystal.supercell_numbers,
        ),
        cutoff=None if cutoff is None else {2: cutoff},
        symprec=crystal.symprec,
    )
    basis_set = symfc.compute_basis_set(2).basis_set[2]
    space = np.asarray(basis_set.compact_compression_matrix @ basis_set.basis_set)
    n_columns = space.shape[1]
    space = space.reshape(crystal.n_primitive, crystal.n_supercell, 9, n_columns)
    translations = basis_set.translation_permutations
    carried = np.empty_like(space)
    for row, atom in zip(space, symfc.p2s_map, strict=True):
        i = crystal.supercell_to_primitive[atom]
        target = crystal.primitive_to_supercell[i]
        translation = translations[np.flatnonzero(translations[:, atom] == target)[0]]
        carried[i, translation] = row
    # symfc's columns have norm 1/sqrt(number of lattice points).
    return carried.reshape(-1, n_columns) * np.sqrt(len(translations))


def _independent_rows(space: np.ndarray, neighbours: Neighbours) -> np.ndarray:
    """Rows of ``space`` that form a well-conditioned square matrix, nearest shells first."""
    n = space.shape[1]
    chosen: list[int] = []
    span = np.zeros((0, n))
    candidates = list(_candidates_by_shell(neighbours))
    for threshold in _INDEPENDENCE:
        for shell_rows in candidates:
            if len(chosen) == n:
                break
            rows = space[shell_rows]
            norms = np.linalg.norm(rows, axis=1)
            # Elements that vanish by symmetry are no parameters.
            present = norms > 1e-6 * max(norms.max(), 1e-6)
            for row, vector, norm in zip(
                shell_rows[present], rows[present], norms[present], strict=True
            ):
                free = vector - span.T @ (span @ vector)
                free -= span.T @ (span @ free)
                length = np.linalg.norm(free)
                if length >= threshold * norm:
                    chosen.append(int(row))
                    span = np.vstack([span, free / length])
    if len(chosen) < n:
        raise FcinvError(
            f"{n} independent force constants were expected, {len(chosen)} found: check that "
            f"the structure is symmetric to {neighbours.crystal.symprec} Å"
        )
    return np.array(chosen)


def _candidates_by_shell(neighbours: Neighbours) -> Iterator[np.ndarray]:
    """Row numbers of the elements of each shell, most readable first; on-site ones last."""
    crystal = neighbours.crystal
    shape = (crystal.n_primitive, crystal.n_supercell, 3, 3)
    for number in [*range(len(neighbours.shells)), -1]:
        pairs = np.argwhere(neighbours.shell_index == number)
        ranked = sorted(pairs.tolist(), key=lambda pair: _awkwardness(neighbours, *pair))
        yield np.array(
            [
                np.ravel_multi_index((i, j, alpha, beta), shape)
                for i, j in ranked
                for alpha, beta in _ELEMENT_ORDER
            ]
        )


def _awkwardness(neighbours: Neighbours, i: int, j: int) -> tuple[object, ...]:
    """Sort key of a pair: first atom, one image, positive and descending components first."""
    images = np.round(neighbours.vectors(i, j), 3)
    vector = max(images.tolist(), key=lambda v: (sum(x >= 0 for x in v), v))
    descents = sum(later > earlier for earlier, later in zip(vector, vector[1:], strict=False))
    negatives = sum(component < 0 for component in vector)
    return (i, len(images), negatives, descents, [-component for component in vector], j)


def _names(elements: np.ndarray, neighbours: Neighbours) -> tuple[str, ...]:
    crystal = neighbours.crystal
    to_unit_cell = np.linalg.inv(crystal.lattice)
    stages: list[list[str]] = [[], [], []]
    for i, j, alpha, beta in elements:
        shell = neighbours.shell_index[i, j]
        symbol = crystal.primitive_symbols[i]
        label = f"{symbol} on site" if shell < 0 else neighbours.shells[shell].label
        component = _CARTESIAN[alpha] + _CARTESIAN[beta]
        # Zero is written without a sign.
        along = np.round(neighbours.vectors(i, j)[0] @ to_unit_cell, 3) + 0.0
        direction = " ".join(f"{x:g}" for x in along)
        stages[0].append(f"{label} {component}")
        stages[1].append(f"{label} [{direction}] {component}")
        stages[2].append(f"{label} [{direction}] from atom {i + 1} {component}")
    counts = [Counter(names) for names in stages]
    unique = []
    for alternatives in zip(*stages, strict=True):
        fitting = (
            name for name, count in zip(alternatives, counts, strict=True) if count[name] == 1
        )
        unique.append(next(fitting, alternatives[-1]))
    return tuple(unique)
