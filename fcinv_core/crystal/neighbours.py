"""Pairs of atoms in a supercell, grouped into neighbour shells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fcinv_core.crystal.crystal import Crystal

SHELL_TOLERANCE = 1e-3
"""Å: pairs whose distances differ by less belong to one shell."""


@dataclass(frozen=True)
class Shell:
    """Pairs of the same two species at the same distance.

    Attributes
    ----------
    pair
        The two species, in the order in which the primitive cell lists them.
    distance
        Å.
    order
        1 for the nearest neighbours of the crystal, 2 for the next distance, and so on.
    """

    pair: tuple[str, str]
    distance: float
    order: int

    @property
    def label(self) -> str:
        """For example "Si-Si 1st shell 2.37 Å"."""
        return f"{'-'.join(self.pair)} {ordinal(self.order)} shell {self.distance:.2f} Å"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """All pairs (primitive atom i, supercell atom j) of a crystal at their shortest distance."""

    crystal: Crystal

    def vectors(self, i: int, j: int) -> np.ndarray:
        """(multiplicity, 3) equally short Cartesian vectors from i to j, Å."""
        count, first = self.crystal.multiplicity[j, i]
        vectors = self.crystal.shortest_vectors[first : first + count]
        return vectors @ self.crystal.primitive_lattice

    @cached_property
    def distances(self) -> np.ndarray:
        """(n_primitive, n_supercell) shortest distances in Å."""
        first = self.crystal.multiplicity[:, :, 1].T
        vectors = self.crystal.shortest_vectors[first] @ self.crystal.primitive_lattice
        return np.linalg.norm(vectors, axis=-1)

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """Shells by increasing distance, then species; on-site pairs are in none."""
        return self._shells_and_index[0]

    @cached_property
    def shell_index(self) -> np.ndarray:
        """(n_primitive, n_supercell) index into `shells`, -1 on site."""
        return self._shells_and_index[1]

    @cached_property
    def _shells_and_index(self) -> tuple[tuple[Shell, ...], np.ndarray]:
        crystal = self.crystal
        symbols = crystal.primitive_symbols
        rank = {symbol: place for place, symbol in enumerate(dict.fromkeys(symbols))}
        order = np.zeros(self.distances.shape, dtype=int)
        by_distance = np.argsort(self.distances, axis=None, kind="stable")
        ascending = self.distances.ravel()[by_distance]
        steps = np.diff(ascending, prepend=ascending[0]) > SHELL_TOLERANCE
        order.ravel()[by_distance] = np.cumsum(steps)

        members: dict[tuple[int, tuple[str, str]], list[tuple[int, int]]] = {}
        for i, j in np.ndindex(order.shape):
            if order[i, j] == 0:
                continue
            ends = (symbols[i], symbols[crystal.supercell_to_primitive[j]])
            first, second = sorted(ends, key=rank.__getitem__)
            members.setdefault((int(order[i, j]), (first, second)), []).append((i, j))

        keys = sorted(members, key=lambda key: (key[0], [rank[symbol] for symbol in key[1]]))
        shells = []
        index = np.full(order.shape, -1)
        for number, (place, pair) in enumerate(keys):
            pairs = tuple(np.array(members[place, pair]).T)
            index[pairs] = number
            shells.append(Shell(pair, float(self.distances[pairs].mean()), place))
        return tuple(shells), index


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ... 11th, ..., 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
