"""phonopy.yaml: what YAML allows, and what no crystal can have."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from pathlib import Path

from hostile.case import FORCE_CONSTANTS, Case, Expected, content, damaged

READER = "phonopy.yaml"
FILE = "phonopy.yaml"
SANE = Expected.SANE
GOOD = (FORCE_CONSTANTS / "Si_dft.yaml").read_text()
POLAR = (FORCE_CONSTANTS / "MgO_dft.yaml").read_text()

COMMANDS = {
    "os.system": '!!python/object/apply:os.system ["touch executed"]',
    "subprocess": '!!python/object/apply:subprocess.check_output [["touch", "executed"]]',
    "exec": "!!python/object/apply:builtins.exec [\"open('executed', 'w')\"]",
    "eval": "!!python/object/apply:builtins.eval [\"open('executed', 'w')\"]",
    "new": "!!python/object/new:os.system [touch executed]",
    "a name": "!!python/name:os.system",
    "a module": "!!python/module:antigravity",
    "an object": "!!python/object:subprocess.Popen {args: [touch, executed]}",
}


def edited(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
    """The good file with ``new`` for the first match of the expression ``old``."""
    return content(READER, name, FILE, _replaced(GOOD, old, new), expected)


def _replaced(text: str, old: str, new: str) -> str:
    changed, count = re.subn(old, lambda match: new, text, count=1, flags=re.MULTILINE)
    assert count == 1, old
    return changed


def polar(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
    """The same with the file of a polar crystal."""
    return content(READER, name, FILE, _replaced(POLAR, old, new), expected)


def cases() -> list[Case]:
    """All of them."""
    return [
        *damaged(
            READER,
            FILE,
            GOOD.encode(),
            truncated_at=(0, 0.01, 0.2, 0.5, 0.9),
            truncated_harmlessly_at=(0.999,),
            flipped_bits=15,
        ),
        *_code(),
        *_bombs(),
        *_cells(),
        *_matrices(),
        *_values(),
        *_charges(),
    ]


def _code() -> list[Case]:
    return [
        *(
            edited(f"code by {name}", r"^phonopy:\n", f"harmless: {command}\nphonopy:\n", SANE)
            for name, command in COMMANDS.items()
        ),
        edited("code for a lattice", r"^  - \[.*# a$", f"  - {COMMANDS['os.system']}"),
        edited("code for a mass", r"mass: \S+", f"mass: {COMMANDS['eval']}"),
        content("structure", "phonopy.yaml with code", FILE, f"a: {COMMANDS['os.system']}\n"),
        content("structure", "phonopy.yaml of code", FILE, COMMANDS["exec"]),
    ]


def _bombs() -> list[Case]:
    laughs = "a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 11)
    )
    # Mappings that are merged instead of lists that are repeated.
    merged = "m0: &m0 {a: 1}\n" + "".join(
        f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
    )
    shape, elements = r"^  shape: .*$", r"^  elements:$"
    zeros = b"a: 0\n" * 5_000_000
    return [
        content(READER, "billion laughs before the rest", FILE, laughs + GOOD, SANE),
        content(READER, "merged laughs before the rest", FILE, merged + GOOD, SANE),
        content(
            READER,
            "billion laughs for force constants",
            FILE,
            laughs + _replaced(GOOD, elements, "  elements: *a10\n  others:"),
        ),
        content(
            READER,
            "billion laughs for a lattice",
            FILE,
            laughs + _replaced(GOOD, r"^  - \[.*# a$", "  - *a10"),
        ),
        content(READER, "a list that contains itself", FILE, "a: &a [*a]\n" + GOOD, SANE),
        content(
            READER,
            "force constants that contain themselves",
            FILE,
            _replaced(GOOD, elements, "  elements: &e [*e]\n  others:"),
        ),
        content(READER, "lists 100000 deep", FILE, "a: " + "[" * 100_000),
        content(READER, "mappings 100000 deep", FILE, "{a: " * 100_000),
        content(READER, "blocks 100000 deep", FILE, "- " * 100_000),
        content(READER, "keys 100000 deep", FILE, "? " * 100_000),
        content(READER, "lists in mappings 100000 deep", FILE, "[a: " * 100_000),
        content(READER, "lists after numbers 100000 deep", FILE, "[1, " * 100_000),
        content(READER, "indents 3000 deep", FILE, "".join(f"{' ' * i}a:\n" for i in range(3000))),
        edited("10^12 force constants", shape, "  shape: [ 1000000, 1000000 ]"),
        edited("negative shape", shape, "  shape: [ -2, -64 ]"),
        edited("shape in words", shape, "  shape: [ two, many ]"),
        content(READER, "xz bomb", FILE + ".xz", lambda: lzma.compress(zeros * 10, preset=0)),
        content(READER, "gzip bomb", FILE + ".gz", lambda: gzip.compress(zeros, 1) * 10),
        content(
            READER,
            "bzip2 bomb",
            FILE + ".bz2",
            lambda: bz2.compress(zeros[: len(zeros) // 10], 9) * 50,
        ),
        content(READER, "xz cut off", FILE + ".xz", lzma.compress(GOOD.encode())[:-50]),
        content(READER, "gzip cut off", FILE + ".gz", gzip.compress(GOOD.encode())[:-5]),
        content(READER, "gzip with a wrong sum", FILE + ".gz", _wrong_sum),
        content(READER, "text called gzip", FILE + ".gz", GOOD),
        content(READER, "tabs", FILE, GOOD.replace("  ", "\t")),
        content(READER, "two documents", FILE, f"{GOOD}\n---\n{GOOD}"),
        content(READER, "a number", FILE, "5\n"),
        content(READER, "a list", FILE, "- 1\n- 2\n"),
        content(READER, "nothing but a comment", FILE, "# nothing\n"),
        content(READER, "in UTF-16", FILE, GOOD.encode("utf-16"), SANE),
        content(
            READER, "an integer of 100000 digits", FILE, GOOD + "\nbig: " + "9" * 100_000, SANE
        ),
        content(READER, "sexagesimal without end", FILE, GOOD + "\nbig: 1" + ":59" * 100_000, SANE),
        content(READER, "a key twice", FILE, GOOD + "\nsupercell_matrix: [9, 9, 9]\n"),
        content(READER, "a control character", FILE, GOOD + "\na: \x07\n"),
    ]


def _wrong_sum() -> bytes:
    packed = bytearray(gzip.compress(GOOD.encode()))
    packed[-6] ^= 0xFF
    return bytes(packed)


def _cells() -> list[Case]:
    # The unit cell follows the primitive one; both have a first vector.
    head, unit = GOOD.split("\nunit_cell:\n")

    def unit_cell(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
        return content(
            READER, name, FILE, f"{head}\nunit_cell:\n{_replaced(unit, old, new)}", expected
        )

    row, place, mass = r"^  - \[.*# a$", r"coordinates: .*$", r"mass: .*$"
    return [
        unit_cell("lattice of NaN", row, "  - [ .nan, 0, 0 ]"),
        unit_cell("infinite lattice", row, "  - [ .inf, 0, 0 ]"),
        unit_cell("lattice of zero", row, "  - [ 0, 0, 0 ]"),
        unit_cell("negative lattice", row, "  - [ -5.466, 0, 0 ]", SANE),
        unit_cell("lattice of 1e308", row, "  - [ 1.0e+308, 0, 0 ]"),
        unit_cell("lattice of 1e-300", row, "  - [ 1.0e-300, 0, 0 ]"),
        unit_cell("lattice in words", row, "  - [ a, b, c ]"),
        unit_cell("lattice of dates", row, "  - [ 2020-01-01, 0, 0 ]"),
        unit_cell("lattice of two vectors", row, ""),
        unit_cell("coordinates of NaN", place, "coordinates: [ .nan, 0, 0 ]"),
        unit_cell("infinite coordinates", place, "coordinates: [ .inf, 0, 0 ]"),
        unit_cell("coordinates of 1e300", place, "coordinates: [ 1.0e+300, 0, 0 ]"),
        unit_cell("two coordinates", place, "coordinates: [ 0.1, 0.2 ]"),
        unit_cell("other coordinates", place, "coordinates: [ 0.1, 0.2, 0.3 ]"),
        unit_cell("atoms at one place", place, "coordinates: [ 0.875, 0.375, 0.375 ]"),
        unit_cell("mass of zero", mass, "mass: 0.0"),
        unit_cell("negative mass", mass, "mass: -28.0"),
        unit_cell("mass of NaN", mass, "mass: .nan"),
        unit_cell("mass of 1e308", mass, "mass: 1.0e+308"),
        unit_cell("element Xx", r"symbol: Si", "symbol: Xx"),
        unit_cell("element No, which YAML reads as false", r"symbol: Si", "symbol: No"),
        unit_cell("element of another kind", r"symbol: Si", "symbol: 14"),
        unit_cell("one atom another element", r"symbol: Si", "symbol: Ge"),
        content(READER, "no unit cell", FILE, head),
        content(
            READER, "no atoms", FILE, _replaced(GOOD, r"^unit_cell:\n  lattice", "unit_cell:\n  l")
        ),
    ]


def _matrices() -> list[Case]:
    first = r"^supercell_matrix:\n- .*$"
    huge = {10**3: "10^3", 10**6: "10^6", 10**18: "10^18", 10**30: "10^30"}
    values = {"zero": "0", "negative": "-2", "half": "2.5", "NaN": ".nan", "words": "two"}
    primitive = r"^primitive_matrix:\n- .*$"
    return [
        *(
            edited(f"supercell of {label} cells", first, f"supercell_matrix:\n- [ {n}, 0, 0 ]")
            for n, label in huge.items()
        ),
        *(
            edited(f"supercell: {label}", first, f"supercell_matrix:\n- [ {value}, 0, 0 ]")
            for label, value in values.items()
        ),
        *(
            content(
                "structure",
                f"phonopy.yaml with a supercell of {label} cells",
                FILE,
                _replaced(GOOD, first, f"supercell_matrix:\n- [ {n}, 0, 0 ]"),
            )
            for n, label in huge.items()
        ),
        edited("supercell of another size", first, "supercell_matrix:\n- [ 3, 0, 0 ]"),
        edited("supercell of two numbers", first, "supercell_matrix:\n- [ 2, 0 ]"),
        edited("primitive matrix of zero", primitive, "primitive_matrix:\n- [ 0.0, 0.0, 0.0 ]"),
        edited("primitive matrix of NaN", primitive, "primitive_matrix:\n- [ .nan, 0.5, 0.5 ]"),
        edited("primitive matrix of 1e300", primitive, "primitive_matrix:\n- [ 1e300, 0.5, 0.5 ]"),
        edited(
            "primitive matrix 1/1000", primitive, "primitive_matrix:\n- [ 0.0, 0.0005, 0.0005 ]"
        ),
        edited("another primitive matrix", primitive, "primitive_matrix:\n- [ 0.0, 0.3, 0.5 ]"),
        edited("units of another world", r'length: "angstrom"', 'length: "mile"'),
        edited("another calculator", r"^phonopy:\n", "phonopy:\n  calculator: qe\n", SANE),
        edited("an unknown calculator", r"^phonopy:\n", "calculator: abacus9\nphonopy:\n", SANE),
    ]


def _values() -> list[Case]:
    old = next(line for line in _elements(GOOD)[1].splitlines() if "[" in line)

    def element(label: str, value: str, expected: Expected = Expected.REFUSED) -> Case:
        new = re.sub(r"\[\s*[^,\]]+", f"[ {value}", old, count=1)
        return content(
            READER, f"a force constant {label}", FILE, GOOD.replace(old, new, 1), expected
        )

    return [
        element("of NaN", ".nan"),
        element("without end", ".inf"),
        element("of 1e308", "1.0e+308"),
        element("of 1e6", "1.0e+6"),
        element("in words", "strong"),
        element("that is nothing", "null"),
        element("that is a list", "[1, 2]"),
        content(READER, "force constants x 1e6", FILE, _scaled("e+06 ")),
        content(READER, "rows of another order", FILE, _other_order()),
        content(READER, "force constants of magnesium oxide", FILE, _of_another_crystal()),
        Case(READER, "a file of forces that are NaN", _forces_of_nan),
    ]


def _elements(text: str) -> tuple[str, str, str]:
    """What is before, in, and after the list of force constants."""
    found = re.search(r"^  elements:\n", text, re.MULTILINE)
    assert found is not None
    end = re.search(r"^\S", text[found.end() :], re.MULTILINE)
    stop = len(text) if end is None else found.end() + end.start()
    return text[: found.end()], text[found.end() : stop], text[stop:]


def _blocks(elements: str) -> list[str]:
    """One text a pair of atoms, three rows each."""
    return re.findall(r"^  - .*\n(?:    .*\n)*", elements, re.MULTILINE)


def _scaled(exponent: str) -> str:
    head, elements, tail = _elements(GOOD)
    return head + re.sub(r"(\d)(?=[,\s]*[,\]])", rf"\1{exponent}", elements) + tail


def _other_order() -> str:
    head, elements, tail = _elements(GOOD)
    blocks = _blocks(elements)
    half = len(blocks) // 2
    rows = [blocks[:half], blocks[half:]]
    return head + "".join(block for row in rows for block in reversed(row)) + tail


def _of_another_crystal() -> str:
    head, _, tail = _elements(GOOD)
    return head + _elements(POLAR)[1] + tail


def _forces_of_nan(folder: Path) -> Path:
    head = GOOD[: GOOD.index("\ndisplacements:") + 1]
    rows = "\n".join("  - [ .nan, .nan, .nan ]" for _ in range(64))
    path = folder / FILE
    path.write_text(
        f"{head}displacements:\n- atom: 1\n  displacement: [ 0.01, 0.0, 0.0 ]\n  forces:\n{rows}\n"
    )
    return path


def _charges() -> list[Case]:
    epsilon = r"^  dielectric_constant:\n    - .*$"
    charge = r"^  born_effective_charge:\n  - # 1 \(Mg\)\n    - .*$"
    begin = "  dielectric_constant:\n    - "
    first = "  born_effective_charge:\n  - # 1 (Mg)\n    - "
    return [
        polar("dielectric tensor of zero", epsilon, f"{begin}[ 0, 0, 0 ]"),
        polar("dielectric tensor of NaN", epsilon, f"{begin}[ .nan, 0, 0 ]"),
        polar("negative dielectric tensor", epsilon, f"{begin}[ -3, 0, 0 ]"),
        polar("dielectric tensor of 1e308", epsilon, f"{begin}[ 1.0e+308, 0, 0 ]"),
        polar("dielectric tensor in words", epsilon, f"{begin}[ some, 0, 0 ]"),
        polar("Born charge of NaN", charge, f"{first}[ .nan, 0, 0 ]"),
        polar("Born charge without end", charge, f"{first}[ .inf, 0, 0 ]"),
        polar("Born charge of 1e308", charge, f"{first}[ 1.0e+308, 0, 0 ]"),
        polar("Born charge in words", charge, f"{first}[ one, 0, 0 ]"),
        polar("Born charge of two numbers", charge, f"{first}[ 1, 0 ]"),
    ]
