"""Model files and priors: safetensors with a JSON document."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from fcinv_core.ensemble import prior_file
from fcinv_core.networks.model import METADATA, Model
from hostile.case import MODEL, Case, Expected, content, damaged

SANE = Expected.SANE
KINDS = {"model": METADATA, "prior": "prior"}
FILES = {"model": "Si.safetensors", "prior": "prior.safetensors"}
Change = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


@cache
def good(reader: str) -> bytes:
    """A shipped model, or the prior in it."""
    if reader == "model":
        return MODEL.read_bytes()
    prior = Model.load(MODEL).prior
    document = {"schema": prior_file.SCHEMA, **prior_file.to_document(prior)}
    return save(prior_file.to_arrays(prior), {"prior": json.dumps(document)})


@cache
def _parts(reader: str) -> tuple[str, dict[str, np.ndarray]]:
    with safe_open(MODEL, "numpy") as file:
        document = file.metadata()[METADATA]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if reader == "model":
        return document, tensors
    prior = Model.load(MODEL).prior
    return (
        json.dumps({"schema": prior_file.SCHEMA, **prior_file.to_document(prior)}),
        prior_file.to_arrays(prior),
    )


def forged(reader: str, name: str, change: Change, expected: Expected = Expected.REFUSED) -> Case:
    """The good file after ``change(document, tensors)``, with a checksum that is right."""

    def make(folder: Path) -> Path:
        text, tensors = _parts(reader)
        document, tensors = json.loads(text), {k: v.copy() for k, v in tensors.items()}
        change(document, tensors)
        if reader == "model":
            document["sha256"] = _checksum(document, tensors)
        path = folder / FILES[reader]
        path.write_bytes(save(tensors, {KINDS[reader]: json.dumps(document)}))
        return path

    return Case(reader, name, make, expected)


def _checksum(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """As whoever forges a file would compute it."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _with_header(
    header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None
) -> bytes:
    """A safetensors file: length of the header, header, data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def cases() -> list[Case]:
    """All of them."""
    return [
        case for reader in KINDS for case in [*_files(reader), *_documents(reader), *_more(reader)]
    ]


def _files(reader: str) -> list[Case]:
    name, key = FILES[reader], KINDS[reader]
    document = json.loads(_parts(reader)[0])
    tensor = {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}

    def header(label: str, *parts: Any) -> Case:
        return content(reader, label, name, _with_header(*parts))

    def metadata(text: str) -> dict[str, Any]:
        return {"__metadata__": {key: text}}

    deep = "[" * 100_000 + "]" * 100_000
    return [
        *damaged(
            reader, name, good(reader), truncated_at=(0, 1e-5, 0.01, 0.5, 0.999), flipped_bits=12
        ),
        header("header of 2^63 bytes", {}, b"", 2**63 - 1),
        header("header of 90 MB that is not there", {}, b"", 90_000_000),
        header("tensor of 8 TB", {"prior.centre": tensor}),
        header("tensor with turned offsets", {"a": {**tensor, "data_offsets": [8, 0]}}, bytes(8)),
        header("tensor of negative size", {"a": {**tensor, "shape": [-1]}}, bytes(8)),
        header("tensor of an unknown type", {"a": {**tensor, "dtype": "F99"}}, bytes(8)),
        header("no metadata", {}),
        header("metadata that are a list", {"__metadata__": []}),
        header("document that is no JSON", metadata("{")),
        header("document 100000 deep", metadata(deep)),
        header("header 100000 deep", deep.encode()),
        header("document that is a list", metadata("[]")),
        header("document that is a number", metadata("7")),
        header("document of NaN", metadata("NaN")),
        header("document without schema", metadata("{}")),
        header("document of another schema", metadata(json.dumps({**document, "schema": 99}))),
        header("schema that is a list", metadata(json.dumps({**document, "schema": [1] * 9999}))),
        header(
            "schema of control characters", metadata(json.dumps({**document, "schema": "\x1b[2J"}))
        ),
        header("no tensors", metadata(json.dumps(document))),
        header("an integer of 5000 digits", metadata('{"schema": ' + "9" * 5000 + "}")),
        header("header that is no UTF-8", b'{"\xff": 1}'),
        content(reader, "60 MB more than it says", name, good(reader) + bytes(60_000_000)),
        Case(reader, "12 MB of a header", lambda folder: _long_header(folder / name, key)),
    ]


def _long_header(path: Path, key: str) -> Path:
    path.write_bytes(_with_header({"__metadata__": {key: "x" * 12_000_000}}))
    return path


def _at(reader: str, document: dict[str, Any]) -> dict[str, Any]:
    """The prior's part of a document."""
    return document["prior"] if reader == "model" else document


def _documents(reader: str) -> list[Case]:
    def crystal(name: str, key: str, value: Any) -> Case:
        return forged(
            reader,
            f"crystal with {name}",
            lambda d, t: _at(reader, d)["crystal"].__setitem__(key, value),
        )

    def entry(key: str, value: Any, expected: Expected = Expected.REFUSED) -> Case:
        return forged(
            reader,
            f"{key} is {value!r}"[:60],
            lambda d, t: _at(reader, d).__setitem__(key, value),
            expected,
        )

    nan, huge = float("nan"), 10**6
    return [
        crystal(
            "a supercell of 10^18 cells",
            "supercell_matrix",
            [[huge, 0, 0], [0, huge, 0], [0, 0, huge]],
        ),
        crystal(
            "a supercell of 10^6 cells", "supercell_matrix", [[100, 0, 0], [0, 100, 0], [0, 0, 100]]
        ),
        crystal(
            "a supercell of 10^30 cells", "supercell_matrix", [[10**30, 0, 0], [0, 1, 0], [0, 0, 1]]
        ),
        crystal("a supercell of zero", "supercell_matrix", [[0, 0, 0]] * 3),
        crystal("a supercell of one cell", "supercell_matrix", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        crystal("a lattice of NaN", "lattice", [[nan, 0, 0], [0, 5, 0], [0, 0, 5]]),
        crystal("a lattice of zero", "lattice", [[0, 0, 0]] * 3),
        crystal("a lattice of 1e308", "lattice", [[1e308, 0, 0], [0, 1e308, 0], [0, 0, 1e308]]),
        crystal("a lattice of two vectors", "lattice", [[1, 0, 0], [0, 1, 0]]),
        crystal("no atoms", "symbols", []),
        crystal("unknown atoms", "symbols", ["Xx"] * 8),
        crystal("atoms in a mapping", "symbols", {"Si": 8}),
        crystal("places of NaN", "positions", [[nan, 0, 0]] * 8),
        crystal("atoms at one place", "positions", [[0, 0, 0]] * 8),
        crystal("masses of zero", "masses", [0.0] * 8),
        crystal("negative masses", "masses", [-28.0] * 8),
        crystal("masses of NaN", "masses", [nan] * 8),
        crystal("scattering lengths of NaN", "scattering_lengths", [nan] * 8),
        crystal("a tolerance in words", "symprec", "fine"),
        crystal("a tolerance of 1e308", "symprec", 1e308),
        crystal("a negative tolerance", "symprec", -1.0),
        crystal("a primitive matrix of zero", "primitive_matrix", [[0, 0, 0]] * 3),
        entry("crystal", None),
        entry("crystal", [1, 2]),
        entry("cutoff", "far", SANE),
        entry("energy_range", [1]),
        entry("energy_range", [nan, nan]),
        entry("energy_range", [70, 10]),
        entry("energy_range", ["a", "b"]),
        entry("widths", {}, SANE),
        entry("widths", {"__class__": "os"}),
        entry("sources", 7),
        entry("failures", None),
    ]


def _more(reader: str) -> list[Case]:
    part = "prior." if reader == "model" else ""

    def tensor(name: str, label: str, value: Callable[[np.ndarray], Any]) -> Case:
        def change(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
            key = f"{part}{name}"
            found = value(tensors[key])
            if found is None:
                del tensors[key]
            else:
                tensors[key] = np.ascontiguousarray(found)

        return forged(reader, f"{name} {label}", change)

    cases = [
        tensor("centre", "of NaN", lambda a: np.full_like(a, np.nan)),
        tensor("centre", "missing", lambda a: None),
        tensor("centre", "of another shape", lambda a: a[:-1]),
        tensor("centre", "of 1e308", lambda a: np.full_like(a, 1e308)),
        tensor("centre", "of complex numbers", lambda a: a.astype(np.complex64)),
        tensor("factor", "of another shape", lambda a: a[:, :1].repeat(9, axis=0)),
        tensor("factor", "of infinity", lambda a: np.full_like(a, np.inf)),
        tensor("distances", "of two dimensions", lambda a: a[:4].reshape(2, 2).astype("i8")),
        tensor("distances", "of NaN", lambda a: np.full_like(a, np.nan)),
        tensor("map.places", "outside", lambda a: a + 10**9),
        tensor("map.places", "negative", lambda a: a - 10**9),
        tensor("map.places", "of fractions", lambda a: a.astype("f8")),
        tensor("map.values", "of NaN", lambda a: np.full_like(a, np.nan)),
        tensor("map.values", "too few", lambda a: a[:-3]),
        tensor("basis.elements", "outside", lambda a: a + 10**6),
        tensor("basis.elements", "of fractions", lambda a: a.astype("f8") + 0.5),
        tensor("basis.elements", "a million", lambda a: np.resize(a, (10**6, *a.shape[1:]))),
    ]
    return cases if reader == "prior" else [*cases, *_networks()]


def _networks() -> list[Case]:
    def setting(key: str, value: Any) -> Case:
        return forged(
            "model",
            f"network with {key} {value!r}"[:60],
            lambda d, t: d["settings"].__setitem__(key, value),
        )

    def card(key: str, value: Any, expected: Expected = Expected.REFUSED) -> Case:
        return forged(
            "model",
            f"card with {key} {value!r}"[:60],
            lambda d, t: d["card"].__setitem__(key, value),
            expected,
        )

    document = json.loads(_parts("model")[0])
    number = next(key for key, value in document["settings"].items() if isinstance(value, int))
    return [
        *(setting(key, 10**9) for key, value in document["settings"].items() if type(value) is int),
        *(setting(key, -1) for key, value in document["settings"].items() if type(value) is int),
        setting(number, "many"),
        setting(number, None),
        forged("model", "settings that are a list", lambda d, t: d.__setitem__("settings", [1])),
        forged("model", "no settings", lambda d, t: d.__delitem__("settings")),
        forged(
            "model",
            "architecture os.system",
            lambda d, t: d.__setitem__("architecture", "os.system"),
        ),
        forged(
            "model", "architecture a list", lambda d, t: d.__setitem__("architecture", ["direct"])
        ),
        forged(
            "model",
            "no network",
            lambda d, t: [t.pop(k) for k in list(t) if k.startswith("network.")],
        ),
        forged("model", "one weight more", lambda d, t: t.__setitem__("network.more", np.ones(3))),
        forged(
            "model",
            "weights of NaN",
            lambda d, t: [
                t.__setitem__(k, v * np.nan)
                for k, v in t.items()
                if v.dtype.kind == "f" and k.startswith("network.")
            ],
        ),
        forged("model", "no card", lambda d, t: d.__delitem__("card")),
        card("formula", None),
        card("lattice", [1, 2]),
        card("lattice", "cubic"),
        card("energy_range", ["low", "high"]),
        card("n_parameters", "many"),
        card("scores", {"noisy": 7}),
        card(
            "scores",
            {"noisy": {"median_mev": "x", "mean_mev": 1, "median_percent": 1, "mean_percent": 1}},
        ),
        card("training", "deep"),
        card("supercell_matrix", 7),
        card("command", "\x1b[2J", SANE),
        card("unknown", 1),
    ]
