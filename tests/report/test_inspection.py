"""What `fcinv inspect` says and draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, SQEHistogram
from fcinv_core.report import inspection


@pytest.fixture(scope="module")
def slice_(mantid_file):
    return SQEHistogram.load(mantid_file("si_300K_five_orientations_HHL0_slice.nxs"))


def ridge(order=(0, 1, 2, 3), mark=1.0):
    """Signal at E = H only; H below 0.2 is not measured. ``order`` permutes the axes."""
    axes = [
        Axis.along((1, 0, 0), np.linspace(0, 1, 21)),
        Axis.along((0, 1, 0), [-0.1, 0.1]),
        Axis.along((0, 0, 1), [-0.1, 0.0, 0.1]),
        Axis.energy_transfer(np.linspace(0, 10, 11)),
    ]
    h, energy = axes[0].centres[:, None], axes[3].centres[None, :]
    plane = np.where(np.abs(energy - 10 * h) < 0.6, mark, 0.0)
    plane[h[:, 0] < 0.2] = np.nan
    signal = np.repeat(plane[:, None, None, :], 2, axis=2)
    return SQEHistogram.from_arrays(
        [axes[i] for i in order], signal.transpose(order), ub=np.eye(3) / 5, temperature=5.0
    )


def test_a_real_file_is_described(slice_):
    """Numbers from Mantid's own report of this file."""
    text = inspection.describe(slice_)
    lines = {line.split(":")[0]: line for line in text.splitlines()}
    assert "[H,H,0]   r.l.u.  HKL" in text
    (energy,) = (line.split() for line in text.splitlines() if line.startswith("DeltaE"))
    assert energy == ["DeltaE", "meV", "DeltaE", "2", "74", "1", "72"]
    assert "5 settings, psi -62.5 to 12.5 degrees" in lines["Goniometer"]
    assert lines["Incident energy"].endswith("80 meV")
    assert lines["Temperature"].endswith("300 K")
    assert "Inelastic" in lines["Q convention"]
    assert "(1, 1, 0), (1, -1, 0), (0, 0, 1) in hkl, from axis names" in lines["Projection"]
    assert "a = 5.431, b = 5.431, c = 5.431 Å; alpha = 90" in lines["Lattice"]
    assert "u = (1, 0, 0) along the beam, v = (0, 1, 0)" in lines["Orientation"]
    shares = {
        line[:28].strip(): int(line[28:].split()[0])
        for line in text.splitlines()
        if line.startswith("  ") and "%" in line
    }
    assert shares == {
        "measured": 3240 - 2661 - 211,
        "of these without any count": 5,
        "not measured (NaN)": 2661,
        "infinite": 211,
    }
    assert "Warning: 211 bins are infinite" in text


def test_counts_of_a_clean_file_are_estimated(mantid_file):
    histogram = SQEHistogram.load(mantid_file("si_300K_five_orientations_HHL0_slice_clean.nxs"))
    assert "Estimated counts: 12742 " in inspection.describe(histogram)
    assert inspection.warnings(histogram) == []


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"experiments": ()}, "no lattice"),
        ({"experiments": ()}, "no sample temperature"),
        ({"q_convention": "Crystallography"}, "nothing is flipped"),
    ],
)
def test_what_is_missing_is_warned_of(slice_, change, warning):
    histogram = replace(slice_, **change)
    assert any(warning in line for line in inspection.warnings(histogram))
    assert f"{warning}" in inspection.describe(histogram)


def test_runs_at_different_temperatures_and_orientations_are_warned_of(slice_):
    first, *others = slice_.experiments
    hot = replace(slice_, experiments=(first, *(replace(x, temperature=400) for x in others)))
    assert any("300 to 400 K" in line for line in inspection.warnings(hot))
    turned = replace(slice_, experiments=(first, *(replace(x, ub=2 * x.ub) for x in others)))
    assert any("differ in their UB" in line for line in inspection.warnings(turned))


def test_unreadable_histograms_are_still_described(slice_):
    axes = [Axis(f"x{i}", "", "General Frame", a.edges) for i, a in enumerate(slice_.axes)]
    text = inspection.describe(replace(slice_, axes=tuple(axes)))
    assert "Projection:      none (see below)" in text
    assert "Warning: no energy-transfer dimension" in text
    nothing = slice_.with_values(np.full(slice_.shape, np.nan))
    assert "nothing is measured" in inspection.describe(nothing)
    assert inspection.draw_text(nothing).count("@") == 1  # in the legend only


def rows(text):
    return [line.split("|")[1] for line in text.splitlines() if line.count("|") == 2]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_text_map_is_the_right_way_round(order):
    """Energy goes up, H to the right: the ridge rises; blank below H = 0.2."""
    text = inspection.draw_text(ridge(order), width=30, height=20)
    drawn = rows(text)
    assert len(drawn) == 10 and {len(row) for row in drawn} == {20}
    for i, row in enumerate(drawn):
        energy = 9.5 - i
        assert row[:4] == "    "
        bright = [j for j, character in enumerate(row) if character == "@"]
        expected = [j for j in range(4, 20) if abs(energy - 10 * (j + 0.5) / 20) < 0.6]
        assert bright == expected
        assert set(row[4:]) <= {"@", "."}
    assert "Energy transfer (meV) against [H,0,0] (r.l.u.), averaged over [0,0,L]" in text
    assert text.splitlines()[1].startswith(" 10|") and text.splitlines()[10].startswith("  0|")
    assert text.splitlines()[12].split() == ["0", "1"]


@pytest.mark.parametrize("width", [12, 40, 78, 200])
def test_text_map_fits_the_terminal(slice_, width):
    text = inspection.draw_text(slice_, width=width, height=24)
    assert len(text.splitlines()) <= 24
    assert max(len(row) for row in rows(text)) <= width - 4
    assert text.isascii()


def test_average_is_all_counts_over_all_exposure():
    """Two bins along L: 8 counts in 4, and 1 count in 100, make 9 in 104."""
    axes = [
        Axis.along((1, 0, 0), np.linspace(0, 1, 4)),
        Axis.along((0, 1, 0), [-0.1, 0.1]),
        Axis.along((0, 0, 1), [-0.1, 0.0, 0.1]),
        Axis.energy_transfer(np.linspace(0, 4, 5)),
    ]
    counts, exposure = np.array([8, 1]), np.array([4, 100])
    ones = np.ones((3, 1, 2, 4))
    histogram = SQEHistogram.from_arrays(
        axes,
        ones * (counts / exposure)[:, None],
        ones * (counts / exposure**2)[:, None],
    )
    text = inspection.draw_text(histogram)
    assert f"{9 / 104:.3g}" in text.splitlines()[-1]


def test_picture(slice_, tmp_path):
    path = tmp_path / "slice.png"
    inspection.picture(slice_, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000
    with pytest.raises(FcinvError, match="cannot write"):
        inspection.picture(slice_, tmp_path / "nowhere" / "slice.png")


def test_signals_that_are_no_counts_are_warned_of(slice_):
    negative = np.where(slice_.covered, slice_.signal - 0.5, np.nan)
    subtracted = slice_.with_values(negative, slice_.variance)
    assert any("background has been subtracted" in x for x in inspection.warnings(subtracted))
    simulated = slice_.with_values(np.abs(negative))
    assert any("signal and no error" in x for x in inspection.warnings(simulated))
