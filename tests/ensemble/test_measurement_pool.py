"""Pools of planned measurements, and their files."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from fcinv_core.ensemble.batches import MeasurementBatches
from fcinv_core.ensemble.measurement_pool import load_pool, measurement_pool, save_pool
from fcinv_core.errors import FcinvError


def same(first, second):
    return all(
        np.array_equal(getattr(first, each.name), getattr(second, each.name))
        for each in fields(first)
    )


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def pool(germanium_prior, quick_ranges, told):
    return measurement_pool(
        germanium_prior,
        4,
        quick_ranges,
        seed=2,
        progress=lambda text, fraction: told.append(fraction),
        energy_bins=20,
    )


def test_soft_and_stiff_crystals_are_measured(pool, told, germanium_prior):
    """Windows end about as far apart as the tops of soft and stiff crystals do."""
    assert len(pool) == 4 and told == [0.25, 0.5, 0.75, 1.0]
    tops = np.array([rows.edges[-1] for rows in pool])
    spread = germanium_prior.widths.stiffness_spread
    assert tops.max() / tops.min() > np.exp(spread)
    assert {len(rows.edges) for rows in pool} == {21}


def test_seeds(pool, germanium_prior, quick_ranges):
    (again,) = measurement_pool(germanium_prior, 1, quick_ranges, seed=2, energy_bins=20)
    (other,) = measurement_pool(germanium_prior, 1, quick_ranges, seed=3, energy_bins=20)
    assert same(again, pool[0]) and not same(other, pool[0])


def test_some_of_them(pool, germanium_prior, quick_ranges):
    """The same as among all."""
    fractions = []
    some = measurement_pool(
        germanium_prior,
        4,
        quick_ranges,
        seed=2,
        progress=lambda text, fraction: fractions.append(fraction),
        energy_bins=20,
        numbers=range(1, 3),
    )
    assert all(same(a, b) for a, b in zip(some, pool[1:3], strict=True))
    assert fractions == [0.5, 0.75]


def test_file(pool, germanium_prior, tmp_path):
    save_pool(pool, tmp_path / "pool.safetensors")
    loaded = load_pool(tmp_path / "pool.safetensors")
    assert all(same(a, b) for a, b in zip(pool, loaded, strict=True))
    for rows in (pool, loaded):
        assert len(MeasurementBatches(germanium_prior, rows, n_q=8).draw(2, seed=0)) == 2


def test_other_files_are_refused(germanium_prior, tmp_path):
    with pytest.raises(FcinvError, match="no planned measurements"):
        load_pool(tmp_path / "none.safetensors")
    germanium_prior.save(tmp_path / "prior.safetensors")
    (tmp_path / "text.safetensors").write_text("text")
    for name in ("prior", "text"):
        with pytest.raises(FcinvError, match="damaged or holds no planned"):
            load_pool(tmp_path / f"{name}.safetensors")
