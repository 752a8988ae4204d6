"""phonopy's BORN, for magnesium oxide."""

from __future__ import annotations

from hostile.case import STRUCTURES, Case, Expected, content, damaged

READER = "BORN"
SANE = Expected.SANE
GOOD = (STRUCTURES / "MgO.BORN").read_text()


def edited(name: str, old: str, new: str, expected: Expected = Expected.REFUSED) -> Case:
    """The good file with ``new`` for the first ``old``."""
    assert old in GOOD
    return content(READER, name, "BORN", GOOD.replace(old, new, 1), expected)


def cases() -> list[Case]:
    """All of them."""
    factor, epsilon, charge = "14.400", "3.38121106", "1.97183500"
    numbers = {
        "NaN": "nan",
        "infinite": "inf",
        "1e308": "1e308",
        "words": "x",
        "hexadecimal": "0x3",
    }
    return [
        *damaged(READER, "BORN", GOOD.encode(), truncated_at=(0, 0.1, 0.4, 0.7), flipped_bits=15),
        *(
            edited(f"factor: {label}", factor, value)
            for label, value in numbers.items()
            if label not in ("words", "hexadecimal")
        ),
        *(
            edited(f"dielectric tensor: {label}", epsilon, value)
            for label, value in numbers.items()
        ),
        *(edited(f"charge: {label}", charge, value) for label, value in numbers.items()),
        edited("factor in words", factor, "default", SANE),
        edited("factor of zero", factor, "0.0", SANE),
        edited("negative factor", factor, "-14.4"),
        edited("factor of 1e9", factor, "1e9"),
        content(READER, "negative dielectric tensor", "BORN", GOOD.replace(epsilon, "-3.38")),
        edited("dielectric tensor of 1e-300", epsilon, "1e-300"),
        edited("charges that do not add up", charge, "900.0"),
        edited("eight numbers", f"{epsilon} 0 0", f"{epsilon} 0"),
        edited("ten numbers", f"{epsilon} 0 0", f"{epsilon} 0 0 0"),
        content(READER, "one atom too many", "BORN", GOOD + GOOD.splitlines()[-1] + "\n", SANE),
        content(READER, "one atom too few", "BORN", "\n".join(GOOD.splitlines()[:-1])),
        content(READER, "no first line", "BORN", "\n" + GOOD),
        content(
            READER,
            "numbers of Fortran",
            "BORN",
            GOOD.replace("e", "d").replace("3.38121106", "3.38D0"),
        ),
        content(READER, "NUL", "BORN", GOOD.replace(" ", "\0")),
        content(READER, "in UTF-16", "BORN", GOOD.encode("utf-16")),
        content(READER, "10 MB of numbers", "BORN", "14.4\n" + "1.0 " * 2_500_000),
    ]
