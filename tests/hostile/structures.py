"""Structures as CIF and POSCAR, and under names that deceive."""

from __future__ import annotations

import gzip
from pathlib import Path

from hostile.case import STRUCTURES, Case, Expected, content, damaged

READER = "structure"
SANE = Expected.SANE
POSCAR = """silicon
5.431
1.0 0.0 0.0
0.0 1.0 0.0
0.0 0.0 1.0
Si
8
Direct
0.00 0.00 0.00
0.00 0.50 0.50
0.50 0.50 0.00
0.50 0.00 0.50
0.75 0.25 0.75
0.25 0.25 0.25
0.25 0.75 0.75
0.75 0.75 0.25
"""
CIF = (STRUCTURES / "Si.cif").read_text()


def poscar(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
    """The good POSCAR with ``new`` for the first ``old``."""
    assert old in POSCAR
    return content(READER, f"POSCAR {name}", "POSCAR", POSCAR.replace(old, new, 1), expected)


def cif(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
    """The good CIF with ``new`` for all ``old``."""
    assert old in CIF
    return content(READER, f"CIF {name}", "Si.cif", CIF.replace(old, new), expected)


def cases() -> list[Case]:
    """All of them."""
    return [
        *damaged(
            READER,
            "POSCAR",
            POSCAR.encode(),
            truncated_at=(0, 0.1, 0.3, 0.6),
            truncated_harmlessly_at=(0.97,),
            flipped_bits=15,
        ),
        *(
            Case(READER, f"CIF: {case.name}", case.make, case.expected)
            for case in damaged(
                READER,
                "Si.cif",
                CIF.encode(),
                truncated_at=(0, 0.1, 0.4),
                truncated_harmlessly_at=(0.7, 0.9, 0.99),
                flipped_bits=15,
            )
            if case.name not in ("a device", "a folder")
        ),
        *_poscars(),
        *_cifs(),
        *_names(),
    ]


def _poscars() -> list[Case]:
    row, many = "1.0 0.0 0.0", "\n".join(["0.1 0.2 0.3"] * 20_000)
    return [
        poscar("of 10^9 atoms", "\n8\n", "\n1000000000\n"),
        poscar("of 10^18 atoms", "\n8\n", f"\n{10**18}\n"),
        poscar("of 10^4 kinds of 10^5 atoms", "Si\n8\n", f"{'Si ' * 10**4}\n{'100000 ' * 10**4}\n"),
        poscar("of minus eight atoms", "\n8\n", "\n-8\n"),
        poscar("of no atoms", "\n8\n", "\n0\n"),
        poscar("of 1e3 atoms", "\n8\n", "\n1e3\n"),
        poscar("of 2.5 atoms", "\n8\n", "\n2.5\n"),
        content(
            READER,
            "POSCAR of 20000 atoms at one place",
            "POSCAR",
            POSCAR.split("Si\n8")[0] + f"Si\n20000\nDirect\n{many}\n",
        ),
        poscar("with a lattice of NaN", row, "nan 0.0 0.0"),
        poscar("with an infinite lattice", row, "inf 0.0 0.0"),
        poscar("with a lattice of zero", row, "0.0 0.0 0.0"),
        poscar("with a flat lattice", row, "0.0 1.0 0.0"),
        poscar("with a left-handed lattice", row, "-1.0 0.0 0.0", SANE),
        poscar("with a lattice of 1e308", row, "1e308 0.0 0.0"),
        poscar("with a lattice of 1e-300", row, "1e-300 0.0 0.0"),
        poscar("of scale zero", "5.431", "0.0"),
        poscar("of scale NaN", "5.431", "nan"),
        poscar("of scale 1e300", "5.431", "1e300"),
        poscar("of scale 1e5", "5.431", "1e5"),
        poscar("of scale 0.01", "5.431", "0.01"),
        poscar("of negative scale, a volume", "5.431", "-160.0", SANE),
        poscar("of a scale in words", "5.431", "five"),
        poscar("with an element Xx", "Si\n", "Xx\n"),
        poscar("with an element without name", "Si\n8\n", "8\n", SANE),
        poscar("with the element polonium", "Si\n", "Po\n"),
        poscar("with letters for a position", "0.00 0.50 0.50", "zero half half"),
        poscar("with a position of NaN", "0.00 0.50 0.50", "nan 0.5 0.5"),
        poscar("with an infinite position", "0.00 0.50 0.50", "inf 0.5 0.5"),
        poscar("with a position of 1e300", "0.00 0.50 0.50", "1e300 0.5 0.5"),
        poscar("with a position of two numbers", "0.00 0.50 0.50", "0.5 0.5"),
        poscar("with two atoms at one place", "0.00 0.50 0.50", "0.0 0.0 0.0"),
        poscar("with two atoms 0.05 Å apart", "0.00 0.50 0.50", "0.01 0.0 0.0"),
        poscar("with control characters", "silicon", "\x1b[31m\x07silicon\0", SANE),
        poscar("with a snowman", "silicon", "Silizium ☃", SANE),
        content(READER, "POSCAR in UTF-16", "POSCAR", POSCAR.encode("utf-16")),
        content(READER, "POSCAR with NUL", "POSCAR", POSCAR.replace("Direct", "Di\0rect"), SANE),
    ]


def _cifs() -> list[Case]:
    length, operation = "_cell_length_a       5.431", "  'x, y, z'"
    site = "Si  Si1       1.0  0.0  0.0  0.0  1.0000"
    return [
        cif("with a length of zero", length, "_cell_length_a 0"),
        cif("with a negative length", length, "_cell_length_a -5.431"),
        cif("with a length of NaN", length, "_cell_length_a nan"),
        cif("with an infinite length", length, "_cell_length_a inf"),
        cif("with a length of 1e308", length, "_cell_length_a 1e308"),
        cif("with a length in words", length, "_cell_length_a long"),
        cif("without a length", length, ""),
        cif("with an angle of zero", "_cell_angle_alpha    90.0", "_cell_angle_alpha 0.0"),
        cif("with an angle of 180°", "_cell_angle_alpha    90.0", "_cell_angle_alpha 180.0"),
        cif("with an angle of 400°", "_cell_angle_alpha    90.0", "_cell_angle_alpha 400.0"),
        cif("with code for an operation", operation, '  \'__import__("os").system("id"),y,z\''),
        cif("with a power tower for an operation", operation, "  '9**9**9**9,y,z'", SANE),
        cif("with an operation without end", operation, f"  '{'x+' * 100_000}x,y,z'", SANE),
        cif("with 20000 operations", operation, "\n".join([operation] * 20_000), SANE),
        cif("with space group 999", "number       1", "number       999", SANE),
        cif("with space group 0", "number       1", "number       0", SANE),
        cif("with a space group in Greek", '"P 1"', '"ΠΡ 1"', SANE),
        cif("with half an atom", site, site.replace("1.0000", "0.5000")),
        cif("with minus one atom", site, site.replace("1.0000", "-1.0")),
        cif("with NaN atoms", site, site.replace("1.0000", "nan")),
        cif("with an unknown place", site, "Si  Si1       1.0  ?  0.0  0.0  1.0000"),
        cif("with a place of NaN", site, "Si  Si1       1.0  nan  0.0  0.0  1.0000"),
        cif("with a place of 1e300", site, "Si  Si1       1.0  1e300  0.0  0.0  1.0000", SANE),
        cif("with an element Xx", site, "Xx  Xx1       1.0  0.0  0.0  0.0  1.0000"),
        cif("with a row too short", site, "Si  Si1       1.0  0.0"),
        cif("with a text without end", "data_image0", "data_image0\n;" + "x" * 10_000),
        cif("with loops without end", "loop_", "loop_\n" * 1000, SANE),
        cif("with two structures", "data_image0", f"data_other\n{CIF}\ndata_image0", SANE),
        cif("with control characters", "data_image0", "data_\x1b[2J\x07", SANE),
        content(READER, "CIF without atoms", "Si.cif", CIF[: CIF.index("loop_")]),
        content(READER, "CIF in Latin 1", "Si.cif", b"# \xe9\xe8\xff\n" + CIF.encode(), SANE),
        content(READER, "CIF of 5000 sites", "Si.cif", _many_sites(5000)),
    ]


def _many_sites(count: int) -> str:
    head = CIF[: CIF.index("  Si  Si1")]
    rows = (
        f"  Si Si{i} 1.0 {(i % 17) / 17:.6f} {(i % 289) / 289:.6f} {i / count:.6f} 1.0"
        for i in range(count)
    )
    return head + "\n".join(rows) + "\n"


def _names() -> list[Case]:
    return [
        content(READER, "a bomb called POSCAR.gz", "POSCAR.gz", _bomb),
        content(READER, "a bomb called Si.cif.gz", "Si.cif.gz", _bomb),
        content(READER, "a POSCAR called Si.cif", "Si.cif", POSCAR),
        content(READER, "a CIF called POSCAR", "POSCAR", CIF),
        content(READER, "a name with an index", "POSCAR@7", POSCAR, SANE),
        content(READER, "a name with a wrong index", "POSCAR@::x", POSCAR, SANE),
        content(READER, "control characters in the name", "PO\x1b[31mSCAR\n", "nothing"),
        content(READER, "an unknown ending", "structure.exe", b"MZ" + bytes(1000)),
        Case(READER, "200 MB of blanks", _large),
        Case(READER, "/proc/self/mem", lambda folder: Path("/proc/self/mem")),
        Case(READER, "a path out of the folder", lambda folder: folder / "../../../etc/passwd"),
    ]


def _bomb(megabytes: int = 2000) -> bytes:
    """That many megabytes of zeros in a gzip file a thousand times smaller."""
    piece = gzip.compress(bytes(20_000_000), 9)
    return piece * (megabytes // 20)


def _large(folder: Path) -> Path:
    path = folder / "POSCAR"
    with open(path, "wb") as file:
        file.write(b" \n" * 50)
        file.truncate(200_000_000)
    return path
