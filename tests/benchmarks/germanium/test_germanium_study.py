"""The germanium study at its smallest: one slice with few wave vectors, all ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.error_bars.designs import DESIGNS
from benchmarks.germanium.__main__ import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:More than one OpenMP")
def test_page_and_picture_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(DESIGNS, "volume", replace(DESIGNS["volume"], n_q=60))
    main(["--seeds", "1", "--data", "volume", "--noise", "noisy", "--folder", str(tmp_path)])
    page = (tmp_path / "germanium.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| volume")]
    energies, agreement = ([float(cell) for cell in row[2:8]] for row in (rows[0], rows[-1]))
    force_field, direct, latent, *refined = energies
    # Germanium's highest phonon has 38 meV; CHGNet is known to be 11 meV off.
    assert force_field > 8 and direct < 2 and latent < 2
    assert all(error < 0.3 * min(direct, latent) for error in refined)
    assert agreement[0] == pytest.approx(direct, rel=0.3)
    published = next(line for line in page.splitlines() if line.startswith("| published"))
    assert "128.5" in published
    assert (tmp_path / "germanium.png").stat().st_size > 10_000
