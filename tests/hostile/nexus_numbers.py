"""SaveMD files whose axes, lattices or logs no measurement can have."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostile.case import Case, Expected
from hostile.nexus_files import ENERGY, LATTICE, LOGS, SANE, UB, H, edited, replaced, with_value


def cases() -> list[Case]:
    """All of them."""
    return [*_axes(), *_lattices(), *_logs()]


def log(name: str, value: Any, label: str, expected: Expected = Expected.REFUSED) -> Case:
    """The log of that name says something else, and there is no other of its kind."""

    def change(entry: Any) -> None:
        logs = entry[LOGS]
        words = ("temp",) if "temp" in name.lower() else ("ei", "energy")
        for other in [log for log in logs if any(word in log.lower() for word in words)]:
            del logs[other]
        logs.create_group(name)["value"] = value

    return edited(f"log {name} {label}", change, expected)


# -- axes ---------------------------------------------------------------------------------------


def _edges(label: str, values: Any, expected: Expected = Expected.REFUSED) -> Case:
    return with_value(ENERGY, values, label, expected)


def _attribute(name: str, key: str, value: Any, expected: Expected = Expected.REFUSED) -> Case:
    return edited(
        f"{key} of {name.rpartition('/')[2]} is {value!r}"[:80],
        lambda entry: entry[name].attrs.__setitem__(key, value),
        expected,
    )


def _axes() -> list[Case]:
    good = np.linspace(0, 72, 73)
    broken = {
        "descending": good[::-1],
        "constant": np.ones(73),
        "with NaN": np.where(good == 5, np.nan, good),
        "from minus to plus infinity": np.where(
            good == 0, -np.inf, np.where(good == 72, np.inf, good)
        ),
        "up to 1e308": good * 1e306,
        "below rounding": good * 1e-320,
        "of different widths": good**2,
        "one edge": good[:1],
        "no edge": good[:0],
        "one edge too few": good[:-1],
        "two-dimensional": np.tile(good, (2, 1)),
        "text": np.array([b"x"] * 73),
        "numbers as text": np.array([str(edge).encode() for edge in good]),
        "true and false": good > 30,
    }
    return [
        *(_edges(label, values) for label, values in broken.items()),
        _attribute("data/signal", "axes", "DeltaE"),
        _attribute("data/signal", "axes", "DeltaE:DeltaE:DeltaE:[H,H,0]"),
        _attribute("data/signal", "axes", "DeltaE:[0,0,L]:[H,-H,0]:[K,K,0]"),
        _attribute("data/signal", "axes", ""),
        _attribute("data/signal", "axes", 7),
        _attribute("data/signal", "axes", ":" * 10_000),
        _attribute("data/signal", "axes", "../../../../etc/passwd"),
        _attribute("data/signal", "axes", "DeltaE:[0,0,L]:[H,-H,0]:signal"),
        edited("no axes attribute", lambda e: e["data/signal"].attrs.__delitem__("axes")),
        _attribute(H, "long_name", "[H,-H,0]"),
        _attribute(H, "long_name", "[0,0,0]"),
        _attribute(H, "long_name", "[1e308H,1e308H,0]"),
        _attribute(H, "long_name", "[1e999H,1e999H,0]"),
        _attribute(H, "long_name", "[" + "9" * 400 + "H,0,0]"),
        _attribute(H, "long_name", "[1e-5H,1e-5H,0]", SANE),
        _attribute(H, "long_name", "[H,H,0"),
        _attribute(H, "long_name", "\x1b[31m[H,H,0]\x07"),
        _attribute(H, "long_name", "Ηалл\u202e[0,H,H]"),
        _attribute(H, "long_name", "x" * 60_000),
        _attribute(H, "long_name", np.arange(5)),
        _attribute(H, "frame", "QSample"),
        _attribute(H, "frame", "DeltaE"),
        _attribute(H, "frame", "Temperature"),
        _attribute(ENERGY, "frame", "HKL", SANE),
        edited("energy axis with NUL in its name", _name_with_nul, SANE),
        edited("forty axes", _forty_axes),
    ]


def _name_with_nul(entry: Any) -> None:
    energy = entry[ENERGY]
    energy.attrs["long_name"] = np.bytes_(b"Delta\0E")
    energy.attrs["units"] = np.bytes_(b"\xff\xfe")


def _forty_axes(entry: Any) -> None:
    """More dimensions than NumPy and HDF5 arrays can have."""
    names = [f"D{number}" for number in range(40)]
    for name in names:
        entry["data"][name] = [0.0, 1.0]
    entry["data/signal"].attrs["axes"] = ":".join([*names, "DeltaE", "[H,H,0]"])


# -- lattices -----------------------------------------------------------------------------------


def _cell(label: str, **cell: float) -> Case:
    """Another cell, whose UB is left out, as some versions of Mantid leave it at the identity."""

    def change(entry: Any) -> None:
        for name, value in cell.items():
            replaced(entry, f"{LATTICE}/unit_cell_{name}", data=[value])

    return edited(f"cell {label}", change)


def _lattices() -> list[Case]:
    tiny = np.eye(3) * 1e-300
    matrices = {
        "zero": np.zeros((3, 3)),
        "singular": np.ones((3, 3)),
        "NaN": np.full((3, 3), np.nan),
        "infinite": np.full((3, 3), np.inf),
        "1e308": np.eye(3) * 1e308,
        "1e-300": tiny,
        "eight numbers": np.arange(8.0),
        "text": np.full((3, 3), b"x"),
    }
    w_matrices = {
        "zero": np.zeros(9),
        "singular": np.ones(9),
        "NaN": np.full(9, np.nan),
        "infinite": np.full(9, np.inf),
        "1e308": np.arange(9) * 1e307,
        "another": np.diag([2.0, 1, 1]).ravel(),
    }
    nan, inf = np.nan, np.inf
    return [
        *(with_value(UB, matrix, label) for label, matrix in matrices.items()),
        *(
            edited(
                f"W_MATRIX {label}",
                lambda e, w=w: (
                    e[LOGS].require_group("W_MATRIX").__setitem__("value", w)
                    if "W_MATRIX" not in e[LOGS]
                    else replaced(e, f"{LOGS}/W_MATRIX/value", data=w)
                ),
                Expected.REFUSED,
            )
            for label, w in w_matrices.items()
        ),
        _cell("of zero length", a=0.0, b=0.0, c=0.0),
        _cell("of negative length", a=-5.431),
        _cell("of NaN", a=nan),
        _cell("of infinite length", a=inf),
        _cell("of 1e308 Å", a=1e308, b=1e308, c=1e308),
        _cell("of 10^6 Å", a=1e6, b=1e6, c=1e6),
        _cell("of 1e-300 Å", a=1e-300, b=1e-300, c=1e-300),
        _cell("with flat angles", alpha=180.0, beta=0.0, gamma=0.0),
        _cell("with angles that do not close", alpha=170.0, beta=170.0, gamma=170.0),
    ]


# -- logs ---------------------------------------------------------------------------------------


def _logs() -> list[Case]:
    temperature, energy = "SampleTemperature", "Ei"
    impossible = {
        "is 1e308": [1e308],
        "is negative": [-5.0],
        "is infinite": [np.inf],
        "is NaN": [np.nan],
        "is empty": np.zeros(0),
        "is text": b"cold",
        "is 1e308 twice": [1e308, 1e308],
        "is zero": [0.0],
        "is -1e308 and 1e308": [-1e308, 1e308],
    }
    return [
        *(log(temperature, value, label) for label, value in impossible.items()),
        *(log(energy, value, label) for label, value in impossible.items()),
        log(temperature, b"300 K", "is text with a unit", SANE),
        log(temperature, 1e5, "is 1e5"),
        log(energy, 1e-300, "is 1e-300"),
        log(temperature, np.arange(1e6), "has a million entries"),
        with_value(
            f"{LOGS}/run_number/value", np.bytes_(b"../../etc/passwd\0\x1b[2J"), "a path", SANE
        ),
        with_value(f"{LOGS}/run_number/value", b"9" * 100_000, "long", SANE),
        with_value(f"{LOGS}/goniometer/num_axes", [-3], "negative", SANE),
        with_value(f"{LOGS}/goniometer/axis0/angle", [np.nan], "NaN", SANE),
        with_value(f"{LOGS}/goniometer/axis0/angle", [1e308], "1e308", SANE),
        with_value(f"{LOGS}/goniometer/axis0/rotationaxis", [0.0, 0, 0], "zero", SANE),
        with_value(f"{LOGS}/goniometer/axis0/rotationaxis", [np.inf, 0, 0], "infinite", SANE),
        with_value("coordinate_system", [2**31], "2^31", SANE),
        with_value("visual_normalization", b"x", "text"),
        with_value(
            "experiment0/instrument/name",
            np.bytes_(b"\x1b[31m\0x" * 9),
            "of control characters",
            SANE,
        ),
        edited("no logs", lambda e: e.__delitem__(LOGS)),
        edited("no experiment", lambda e: e.__delitem__("experiment0")),
        edited(
            "QConvention without end",
            lambda e: e.attrs.__setitem__("QConvention", "\x1b" * 60_000),
            SANE,
        ),
    ]
