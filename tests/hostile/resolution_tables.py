"""Tables of the energy resolution as text."""

from __future__ import annotations

from pathlib import Path

from hostile.case import Case, Expected, content, damaged

READER = "resolution"
FILE = "resolution.txt"
SANE = Expected.SANE
GOOD = "# energy transfer, FWHM in meV\n" + "".join(
    f"{energy:6.1f} {3 - 0.02 * energy:8.4f}\n" for energy in range(-20, 80, 5)
)


def table(name: str, text: str | bytes, expected: Expected = Expected.REFUSED) -> Case:
    """A table of that content."""
    return content(READER, name, FILE, text, expected)


def cases() -> list[Case]:
    """All of them."""
    return [
        *damaged(
            READER,
            FILE,
            GOOD.encode(),
            truncated_at=(0, 0.05),
            truncated_harmlessly_at=(0.3, 0.6, 0.99),
            flipped_bits=20,
        ),
        table("nothing but comments", "# energy\n# width\n"),
        table("one row", "0 2.4\n"),
        table("one column", "0\n1\n2\n"),
        table("three columns", "0 2 1\n1 2 1\n"),
        table("rows of different lengths", "0 2\n1\n2 2\n"),
        table("energies that fall", "5 2\n1 2\n0 2\n"),
        table("an energy twice", "0 2\n0 3\n"),
        table("energies of NaN", "nan 2\n1 2\n"),
        table("infinite energies", "-inf 2\ninf 2\n"),
        table("energies of 1e308", "-1e308 2\n1e308 2\n"),
        table("widths of zero", "0 0\n1 0\n"),
        table("negative widths", "0 -2\n1 -2\n"),
        table("widths of NaN", "0 nan\n1 2\n"),
        table("widths of 1e308", "0 1e308\n1 1e308\n"),
        table("widths in words", "0 narrow\n1 wide\n"),
        table("hexadecimal numbers", "0x0 0x2\n0x1 0x2\n"),
        table("numbers with underscores", "0 2_0\n1_0 2_0\n", SANE),
        table("decimal commas", "0,0 2,4\n1,0 2,4\n"),
        table("digits of another script", "٠ ٢\n١ ٢\n", SANE),
        table("in UTF-16", GOOD.encode("utf-16")),
        table("in Latin 1", b"# \xb5eV\n0 2\n1 2\n", SANE),
        table("NUL", "0 2\0\n1 2\n"),
        table("ends of lines of an old Macintosh", GOOD.replace("\n", "\r"), SANE),
        table("a million rows", "".join(f"{i} 2.0\n" for i in range(1_000_000)), SANE),
        table("a number of a million digits", f"0 {'2' * 1_000_000}\n1 2\n"),
        Case(READER, "3 GB of nothing", _large),
    ]


def _large(folder: Path) -> Path:
    path = folder / FILE
    with open(path, "wb") as file:
        file.truncate(3_000_000_000)
    return path
