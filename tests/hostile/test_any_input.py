"""Files with anything in any place: refused in one line, or read as something consistent."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fcinv_core.crystal import Crystal
from fcinv_core.errors import FcinvError
from fcinv_core.histogram import SQEHistogram
from hostile.nexus_files import GOOD

LATTICE = "experiment0/sample/oriented_lattice"
DATASETS = (
    "data/DeltaE",
    "data/[H,H,0]",
    "data/[0,0,L]",
    "data/signal",
    "data/errors_squared",
    "data/mask",
    f"{LATTICE}/orientation_matrix",
    f"{LATTICE}/unit_cell_a",
    f"{LATTICE}/unit_cell_gamma",
    "experiment0/logs/goniometer/num_axes",
    "coordinate_system",
)
TYPES = ("f8", "f4", "i4", "u1", "S5", "c16", ">f8", "b1")

anything = hypothesis.settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
numbers = st.one_of(
    st.floats(), st.sampled_from([0.0, -1.0, 1e308, -1e308, 5e-324, np.nan, np.inf, 5.43])
)
shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def one_line(error: FcinvError) -> bool:
    """Whether a user can read it."""
    return str(error).isprintable() and 20 < len(str(error)) < 1000


@anything
@hypothesis.given(
    name=st.sampled_from(DATASETS),
    own_shape=st.booleans(),
    shape=shapes,
    dtype=st.sampled_from(TYPES),
    values=st.lists(numbers, min_size=1, max_size=4),
)
def test_any_values_in_a_histogram(name, own_shape, shape, dtype, values):
    stream = io.BytesIO(GOOD())
    with h5py.File(stream, "r+") as file, np.errstate(all="ignore"):
        entry = file["MDHistoWorkspace"]
        attributes, shape = dict(entry[name].attrs), entry[name].shape if own_shape else shape
        del entry[name]
        filled = np.resize(np.array(values), shape)
        entry[name] = filled.astype(str).astype("S5") if dtype == "S5" else filled.astype(dtype)
        entry[name].attrs.update(attributes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reduced.nxs"
        path.write_bytes(stream.getvalue())
        try:
            histogram = SQEHistogram.load(path)
        except FcinvError as error:
            assert one_line(error) and path.name in str(error)
            return
    assert histogram.signal.shape == tuple(axis.n_bins for axis in histogram.axes)
    for axis in histogram.axes:
        assert np.isfinite(axis.edges).all() and (np.diff(axis.edges) > 0).all()
    if histogram.ub is not None:
        assert np.isfinite(np.linalg.inv(histogram.ub)).all()
    counts = histogram.effective_counts()
    assert (counts[np.isfinite(counts)] >= 0).all()
    assert not np.isinf(counts).any()


@anything
@hypothesis.given(
    scale=st.one_of(st.just(1.0), numbers),
    lattice=st.lists(
        st.one_of(st.floats(-10, 10), st.floats(2, 10), numbers), min_size=9, max_size=9
    ),
    cubic=st.booleans(),
    symbols=st.lists(st.sampled_from(["Si", "O", "H", "Xx", "Po", "U"]), min_size=1, max_size=3),
    positions=st.lists(
        st.tuples(*[st.one_of(st.floats(0, 1), st.floats(0, 1), numbers)] * 3), max_size=6
    ),
)
def test_any_numbers_in_a_poscar(scale, lattice, cubic, symbols, positions):
    if cubic:
        lattice = np.diag(lattice[:3]).ravel()
    rows = [" ".join(repr(float(x)) for x in row) for row in np.reshape(lattice, (3, 3))]
    each = max(len(positions) // len(symbols), 1)
    text = "\n".join(
        [
            "any",
            repr(scale),
            *rows,
            " ".join(symbols),
            " ".join([str(each)] * len(symbols)),
            "Direct",
            *(" ".join(map(repr, position)) for position in positions),
            "",
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "POSCAR"
        path.write_text(text)
        try:
            crystal = Crystal.from_file(path)
        except FcinvError as error:
            assert one_line(error) and path.name in str(error)
            return
    n_cells = np.linalg.det(crystal.supercell_matrix)
    assert len(crystal.positions) == each * len(symbols)
    assert crystal.n_supercell == round(abs(n_cells)) * len(crystal.positions)
    volumes = [abs(np.linalg.det(x)) for x in (crystal.supercell_lattice, crystal.lattice)]
    assert volumes[0] == pytest.approx(volumes[1] * abs(n_cells))
