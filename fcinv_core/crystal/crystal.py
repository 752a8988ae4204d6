"""A crystal: its cells, symmetry, masses and scattering lengths."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.crystal.elements import (
    coherent_scattering_lengths,
    incoherent_cross_sections,
    standard_masses,
)
from fcinv_core.crystal.plausible import problem_of, problem_of_cell
from fcinv_core.crystal.structure_files import StructureFile, read_structure
from fcinv_core.crystal.symmetry import (
    operations_on_atoms,
    primitive_and_conventional,
    rotations_of_supercell,
    symmetry_dataset,
)
from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.cells import Primitive, Supercell

SMALLEST_SUPERCELL = 10.0
"""Å: a default supercell is at least this long along each axis."""

_ARRAYS = (
    "lattice",
    "positions",
    "masses",
    "scattering_lengths",
    "supercell_matrix",
    "primitive_matrix",
)


@dataclass(frozen=True, eq=False)
class Crystal:
    """A periodic crystal with the supercell that its force constants live in.

    Build it with `from_file` or `from_cell`. Lattice vectors are rows. The Cartesian axes of
    ``lattice`` are those of force constants, Born charges and displacement tensors.

    Attributes
    ----------
    lattice
        (3, 3) lattice vectors of the unit cell as rows, Å.
    positions
        (n, 3) fractional positions in the unit cell.
    symbols
        Chemical symbol of each atom.
    masses
        (n,) in u.
    scattering_lengths
        (n,) bound coherent neutron scattering lengths b_c in fm.
    supercell_matrix
        (3, 3) integers: supercell lattice = supercell_matrix @ lattice (rows).
    primitive_matrix
        (3, 3): primitive lattice = primitive_matrix.T @ lattice (rows), as in phonopy.
    symprec
        Å: tolerance for finding symmetry.

    Raises
    ------
    FcinvError
        When the numbers can be those of no crystal; see `fcinv_core.crystal.plausible`.
    """

    lattice: np.ndarray
    positions: np.ndarray
    symbols: tuple[str, ...]
    masses: np.ndarray
    scattering_lengths: np.ndarray
    supercell_matrix: np.ndarray
    primitive_matrix: np.ndarray
    symprec: float = field(default=1e-5, kw_only=True)

    def __post_init__(self) -> None:
        if (problem := problem_of(self)) is not None:
            raise FcinvError(problem)

    @classmethod
    def from_file(
        cls, path: str | Path, supercell: Sequence[int] | np.ndarray | None = None
    ) -> Crystal:
        """Read a POSCAR/CONTCAR, CIF or phonopy.yaml.

        Parameters
        ----------
        path
            The file.
        supercell
            Three multiples or a (3, 3) integer matrix. Default: that of the phonopy.yaml,
            else the smallest that is at least `SMALLEST_SUPERCELL` long along each axis of
            the input cell, or of the conventional cell if the input cell is primitive.

        Raises
        ------
        FcinvError
            When the file is missing, unreadable, not an ordered structure, or holds an
            element without scattering length.
        """
        structure = read_structure(path)
        try:
            crystal = cls.from_cell(structure, supercell)
            if structure.primitive_matrix is not None:
                _ = crystal._cells  # refuses matrices that do not fit the cell
            return crystal
        except FcinvError as error:
            raise FcinvError(f"{path}: {error}") from error

    @classmethod
    def from_cell(
        cls, cell: StructureFile, supercell: Sequence[int] | np.ndarray | None = None
    ) -> Crystal:
        """Build a crystal from a cell, filling in what it does not say.

        Raises
        ------
        FcinvError
            When the cell is no crystal, or the supercell not an integer matrix with a
            positive determinant.
        """
        if (problem := problem_of_cell(cell.lattice, cell.positions)) is not None:
            raise FcinvError(problem)
        masses = cell.masses
        if masses is None:
            masses = standard_masses(cell.symbols)
        primitive_matrix, conventional = primitive_and_conventional(cell, masses)
        if cell.primitive_matrix is not None:
            primitive_matrix = cell.primitive_matrix
        if supercell is not None:
            supercell_matrix = _as_supercell_matrix(supercell)
        elif cell.supercell_matrix is not None:
            supercell_matrix = cell.supercell_matrix
        else:
            lengths = np.linalg.norm(conventional @ cell.lattice, axis=1)
            multiples = np.ceil(SMALLEST_SUPERCELL / lengths - 1e-9).astype(int)
            supercell_matrix = multiples[:, None] * conventional
        return cls(
            lattice=np.array(cell.lattice, dtype=float),
            positions=np.array(cell.positions, dtype=float),
            symbols=tuple(cell.symbols),
            # phonopy.yaml holds six decimals; so do we, or a round trip would shift energies.
            masses=np.round(np.array(masses, dtype=float), 6),
            scattering_lengths=coherent_scattering_lengths(cell.symbols, masses),
            supercell_matrix=np.array(supercell_matrix, dtype=int),
            primitive_matrix=np.array(primitive_matrix, dtype=float),
        )

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Crystal:
        """The inverse of `to_dict`.

        Raises
        ------
        FcinvError
            When the document is not one of `to_dict`.
        """
        try:
            arrays = {
                name: np.array(document[name], dtype=int if name == "supercell_matrix" else float)
                for name in _ARRAYS
            }
            return cls(symbols=tuple(document["symbols"]), symprec=document["symprec"], **arrays)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise FcinvError(
                f"no crystal in a document of {type(document).__name__} ({error}): it was made by "
                "another version, or is damaged"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, units as those of the attributes; nothing is rounded."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {"symbols": list(self.symbols), "symprec": self.symprec, **arrays}

    # -- other crystals ---------------------------------------------------------------------

    def with_lattice(self, lattice: np.ndarray) -> Crystal:
        """The same fractional coordinates on another lattice (rows, Å)."""
        return replace(self, lattice=np.array(lattice, dtype=float))

    def with_supercell(self, supercell: Sequence[int] | np.ndarray) -> Crystal:
        """The same crystal with another supercell (three multiples or a matrix)."""
        return replace(self, supercell_matrix=_as_supercell_matrix(supercell))

    # -- phonopy ----------------------------------------------------------------------------

    def phonopy(self) -> Phonopy:
        """A fresh phonopy.Phonopy of this unit cell, supercell and primitive cell.

        Raises
        ------
        FcinvError
            When the cells do not fit together.
        """
        return self._build_phonopy(find_symmetry=True)

    @cached_property
    def _cells(self) -> Phonopy:
        return self._build_phonopy(find_symmetry=False)

    def _build_phonopy(self, find_symmetry: bool) -> Phonopy:
        """phonopy's cells; the symmetry of a large supercell takes it seconds to find."""
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

        try:
            cell = PhonopyAtoms(
                symbols=list(self.symbols),
                cell=self.lattice,
                scaled_positions=self.positions,
                masses=self.masses,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Phonopy(
                    cell,
                    supercell_matrix=self.supercell_matrix,
                    primitive_matrix=self.primitive_matrix,
                    symprec=self.symprec,
                    is_symmetry=find_symmetry,
                )
        except Exception as error:  # phonopy raises RuntimeError, ValueError and others
            raise FcinvError(
                f"no supercell and primitive cell of {self.formula} could be built from "
                f"supercell matrix {self.supercell_matrix.tolist()} and primitive matrix "
                f"{np.round(self.primitive_matrix, 4).tolist()}: {error}"
            ) from error

    # -- primitive cell ---------------------------------------------------------------------

    @property
    def primitive(self) -> Primitive:
        """The primitive cell as phonopy's object."""
        return self._cells.primitive

    @property
    def supercell(self) -> Supercell:
        """Phonopy's supercell."""
        return self._cells.supercell

    @property
    def primitive_lattice(self) -> np.ndarray:
        """(3, 3) lattice vectors of the primitive cell as rows, Å."""
        return np.array(self._cells.primitive.cell)

    @property
    def reciprocal_lattice(self) -> np.ndarray:
        """(3, 3) reciprocal-lattice vectors of the primitive cell as rows, 1/Å, 2π included."""
        return 2 * np.pi * np.linalg.inv(self.primitive_lattice).T

    @property
    def commensurate_points(self) -> np.ndarray:
        """(n, 3) wave vectors of the supercell, reciprocal coordinates of the primitive cell."""
        from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

        cells = self.supercell_lattice @ np.linalg.inv(self.primitive_lattice)
        return np.array(get_commensurate_points(np.rint(cells).astype(int).T))

    @property
    def primitive_positions(self) -> np.ndarray:
        """(n_primitive, 3) fractional positions in the primitive cell."""
        return np.array(self._cells.primitive.scaled_positions)

    @property
    def primitive_masses(self) -> np.ndarray:
        """(n_primitive,) in u."""
        return np.array(self._cells.primitive.masses)

    @property
    def primitive_symbols(self) -> tuple[str, ...]:
        """Chemical symbol of each atom of the primitive cell."""
        return tuple(self._cells.primitive.symbols)

    @cached_property
    def primitive_scattering_lengths(self) -> np.ndarray:
        """(n_primitive,) in fm."""
        supercell = self._cells.supercell
        atoms = [supercell.u2u_map[supercell.s2u_map[i]] for i in self.primitive_to_supercell]
        return self.scattering_lengths[atoms]

    @cached_property
    def primitive_incoherent_cross_sections(self) -> np.ndarray:
        """(n_primitive,) bound incoherent neutron cross sections in barn, natural elements.

        Raises
        ------
        FcinvError
            When one is not tabulated.
        """
        return incoherent_cross_sections(self.primitive_symbols, self.primitive_masses)

    @property
    def n_primitive(self) -> int:
        """Number of atoms in the primitive cell."""
        return len(self._cells.primitive)

    # -- supercell --------------------------------------------------------------------------

    @property
    def n_supercell(self) -> int:
        """Number of atoms in the supercell."""
        return len(self._cells.supercell)

    @property
    def supercell_lattice(self) -> np.ndarray:
        """(3, 3) lattice vectors of the supercell as rows, Å."""
        return np.array(self._cells.supercell.cell)

    @property
    def supercell_positions(self) -> np.ndarray:
        """(n_supercell, 3) fractional positions in the supercell."""
        return np.array(self._cells.supercell.scaled_positions)

    @property
    def supercell_numbers(self) -> np.ndarray:
        """(n_supercell,) atomic numbers."""
        return np.array(self._cells.supercell.numbers)

    @property
    def shortest_vectors(self) -> np.ndarray:
        """(n_vectors, 3) from primitive to supercell atoms, primitive fractional coordinates.

        phonopy's dense array: the ``multiplicity[j, i, 0]`` equally short vectors from
        primitive atom i to supercell atom j start at index ``multiplicity[j, i, 1]``.
        """
        return self._cells.primitive.get_smallest_vectors()[0]

    @property
    def multiplicity(self) -> np.ndarray:
        """(n_supercell, n_primitive, 2): number and first index of the shortest vectors."""
        return self._cells.primitive.get_smallest_vectors()[1]

    @cached_property
    def supercell_to_primitive(self) -> np.ndarray:
        """(n_supercell,) index of the primitive atom that each supercell atom repeats."""
        primitive = self._cells.primitive
        return np.array([primitive.p2p_map[atom] for atom in primitive.s2p_map])

    @property
    def primitive_to_supercell(self) -> np.ndarray:
        """(n_primitive,) index of each primitive atom in the supercell."""
        return np.array(self._cells.primitive.p2s_map)

    # -- symmetry ---------------------------------------------------------------------------

    @cached_property
    def point_group_rotations(self) -> np.ndarray:
        """(n, 3, 3) integers R with hkl' = R @ hkl, fractional in the primitive cell.

        The point group of the crystal (no inversion added), without the operations that
        the supercell's lattice lacks: force constants in that supercell cannot have those.
        """
        supercell_in_primitive = self.supercell_lattice @ np.linalg.inv(self.primitive_lattice)
        return rotations_of_supercell(self._spglib_dataset, supercell_in_primitive)

    @cached_property
    def atom_operations(self) -> tuple[np.ndarray, np.ndarray]:
        """Operations of the primitive cell that `point_group_rotations` come from.

        Returns
        -------
        rotations (n, 3, 3) in Cartesian axes, and permutations (n, n_primitive): operation k
        moves primitive atom i onto atom ``permutations[k, i]``.
        """
        return operations_on_atoms(
            self._spglib_dataset,
            self.point_group_rotations,
            self.primitive_lattice,
            self.primitive_positions,
        )

    @property
    def space_group(self) -> str:
        """International symbol of the space group."""
        return str(self._spglib_dataset.international)

    @property
    def conventional_lattice(self) -> np.ndarray:
        """(3, 3) rows, Å: spglib's conventional cell, in this crystal's orientation."""
        dataset = self._spglib_dataset
        return np.linalg.inv(dataset.transformation_matrix).T @ self.primitive_lattice

    @cached_property
    def _spglib_dataset(self) -> Any:
        numbers = self._cells.primitive.numbers
        return symmetry_dataset(
            self.primitive_lattice, self.primitive_positions, numbers, self.symprec
        )

    # -- identity ---------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """Reduced chemical formula, elements in the order of the file."""
        counts = Counter(self.symbols)
        divisor = int(np.gcd.reduce(list(counts.values())))
        return "".join(
            f"{symbol}{count // divisor if count > divisor else ''}"
            for symbol, count in counts.items()
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of everything that this crystal says, insensitive to rounding below 1e-8."""
        digest = hashlib.sha256(" ".join(self.symbols).encode())
        for name in _ARRAYS:
            rounded = np.round(getattr(self, name), 8)
            # Adding 0.0 turns -0.0 into 0.0.
            digest.update(np.ascontiguousarray(rounded + 0.0, dtype=float).tobytes())
        return digest.hexdigest()


def _as_supercell_matrix(supercell: Sequence[int] | np.ndarray) -> np.ndarray:
    given = np.array(supercell, dtype=float)
    matrix = np.diag(given) if given.shape == (3,) else given
    if (
        matrix.shape != (3, 3)
        or not np.array_equal(matrix, np.rint(matrix))
        or np.linalg.det(matrix) < 0.5
    ):
        raise FcinvError(
            f"supercell {given.tolist()} is neither three positive integers nor a 3x3 integer "
            f"matrix with positive determinant"
        )
    return np.rint(matrix).astype(int)
