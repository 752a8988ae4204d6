"""Backgrounds against numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from fcinv_core.ensemble.background import Background
from fcinv_core.errors import FcinvError

EDGES = np.array([-12.0, -7.0, -1.0, 2.0, 3.0, 9.0, 40.0])


def test_bins_hold_averages():
    background = Background(flat=0.3, slope=-0.002, elastic=5.0, decay=1.7)
    found = background.spectrum(torch.from_numpy(EDGES)).numpy()

    def intensity(energy):
        return 0.3 - 0.002 * energy + 5.0 * np.exp(-abs(energy) / 1.7)

    expected = [
        quad(intensity, low, high, points=[0.0] if low < 0 < high else None)[0] / (high - low)
        for low, high in zip(EDGES, EDGES[1:], strict=False)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_several_at_once_and_never_negative():
    flat = torch.tensor([0.1, 0.2])[:, None, None]
    found = Background(flat=flat, slope=-0.01 * flat).spectrum(torch.tensor([0.0, 10.0, 300.0]))
    np.testing.assert_allclose(found[:, 0].numpy(), [[0.095, 0.0], [0.19, 0.0]], rtol=1e-6)


def test_impossible_numbers_are_refused():
    with pytest.raises(FcinvError, match="decay"):
        Background(decay=0.0)
    with pytest.raises(FcinvError, match="flat nan"):
        Background(flat=float("nan"))
