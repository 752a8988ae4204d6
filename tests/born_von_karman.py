"""Born-von Karman force constants of fcc metals, as measured: a truth of other origin than DFT."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.structure_files import StructureFile
from fcinv_core.units import EV_PER_SQUARE_ANGSTROM_PER_N_PER_M

TABLE = Path(__file__).parent / "data/measured/bvk_fcc_metals.json"
_FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_AXES = "xyz"


def born_von_karman(element: str, temperature: float) -> ForceConstants:
    """Force constants of fcc Al or Cu from the tabulated fit at ``temperature`` (K).

    The supercell repeats the primitive cell 6 x 6 x 6 times: its Wigner-Seitz cell holds all
    neighbours up to (400) a/2 strictly inside, so every tensor belongs to one pair.
    """
    entry = next(
        row
        for row in json.loads(TABLE.read_text())
        if row["element"] == element and row["temperature_K"] == temperature
    )
    primitive = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    cell = StructureFile(entry["a_angstrom"] * np.eye(3), _FCC, (element,) * 4)
    crystal = Crystal.from_cell(cell, supercell=3 * primitive)
    tensors = {}
    for name, elements in entry["force_constants_N_per_m"].items():
        vector = np.array([int(digit) for digit in name])
        tensors |= _star(vector, _tensor(vector, elements))

    values = np.zeros((1, crystal.n_supercell, 3, 3))
    placed = 0
    for atom in range(crystal.n_supercell):
        count, first = crystal.multiplicity[atom, 0]
        separation = crystal.shortest_vectors[first] @ crystal.primitive_lattice
        key = tuple(np.rint(2 * separation / entry["a_angstrom"]).astype(int).tolist())
        if key in tensors:
            assert count == 1
            # The table lists what pulls a displaced atom along: the negative of ∂²E/∂u∂u'.
            values[0, atom] = -tensors[key] * EV_PER_SQUARE_ANGSTROM_PER_N_PER_M
            placed += 1
    assert placed == len(tensors)
    home = crystal.primitive_to_supercell[0]
    values[0, home] = -values[0].sum(axis=0)
    return ForceConstants(crystal, values)


def _cubic_operations() -> list[np.ndarray]:
    operations = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            operations.append(np.diag(signs)[:, list(order)])
    return operations


def _tensor(vector: np.ndarray, elements: dict[str, float]) -> np.ndarray:
    """The symmetric tensor with the tabulated elements that the site symmetry of a bond allows."""
    keep = [o for o in _cubic_operations() if np.array_equal(o @ vector, vector)]
    invariant = []
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        seed = np.zeros((3, 3))
        seed[i, j] = seed[j, i] = 1
        invariant.append(np.mean([o @ seed @ o.T for o in keep], axis=0))
    places = [(_AXES.index(name[0]), _AXES.index(name[1])) for name in elements]
    equations = np.array([[tensor[place] for tensor in invariant] for place in places])
    given = np.array(list(elements.values()))
    weights = np.linalg.lstsq(equations, given, rcond=None)[0]
    assert np.allclose(equations @ weights, given, atol=1e-9)
    return np.einsum("k,kij->ij", weights, invariant)


def _star(vector: np.ndarray, tensor: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
    return {
        tuple((operation @ vector).tolist()): operation @ tensor @ operation.T
        for operation in _cubic_operations()
    }
