"""MDNorm's algorithm for direct geometry, step by step as Mantid has it.

It also knows the error of the development version 3.13.20190128, which wrote the test data: where
a trajectory crosses the border of an energy bin, that version took hkl as if the incident wave
number were 1 1/Å. Such a point is left out when it lies outside of the histogram (so that the
neighbouring segment runs on through several energy bins and counts in the one of its middle), and
otherwise drags the middle of its segments away from the trajectory. Later versions multiply with
the incident wave number.
"""

from __future__ import annotations

import numpy as np

from fcinv_core.units import NEUTRON_ENERGY_PER_K2

FLOAT32_ROUNDING = 1e-6


def mdnorm(
    histogram, directions, incident_energy, rotations, energy_range, *, error_of_2019: bool = False
) -> np.ndarray:
    """Normalisation of pixels that weigh 1 in runs of charge 1, 0 where there is none."""
    places = (*histogram.momentum_axes, histogram.energy_axis)
    edges = [histogram.axes[i].edges for i in places]
    ki = np.sqrt(incident_energy / NEUTRON_ENERGY_PER_K2)
    kf_min, kf_max = np.sqrt(
        (incident_energy - np.array(energy_range)[::-1]) / NEUTRON_ENERGY_PER_K2
    )
    result = np.zeros([len(e) - 1 for e in edges])
    for rotation in rotations:
        to_hkl = np.linalg.inv(2 * np.pi * rotation @ histogram.ub @ histogram.hkl_matrix)
        q_in, q_out = to_hkl[:, 2], directions @ to_hkl.T
        q_out = q_out[_near(edges, q_in, q_out, (1.0, ki), (kf_min, kf_max))]
        points, inside = _crossings(
            edges, q_in, q_out, ki, kf_min, kf_max, incident_energy, error_of_2019
        )
        # Points outside of the box do not exist for MDNorm: they are sorted to the end.
        some = inside.any(axis=1)
        points, inside = points[some], inside[some]
        order = np.argsort(np.where(inside, points[..., 3], np.inf), axis=1, kind="stable")
        points = np.take_along_axis(points, order[..., None], axis=1)
        inside = np.take_along_axis(inside, order, axis=1)
        kf = points[..., 3]
        delta = NEUTRON_ENERGY_PER_K2 * (kf[:, 1:] ** 2 - kf[:, :-1] ** 2)
        real = inside[:, 1:] & (delta >= 1e-10)
        middle = 0.5 * (points[:, 1:] + points[:, :-1])[real]
        middle[:, 3] = incident_energy - NEUTRON_ENERGY_PER_K2 * middle[:, 3] ** 2
        index = np.stack(
            [
                np.floor((x - e[0]) / (e[-1] - e[0]) * (len(e) - 1) + FLOAT32_ROUNDING).astype(int)
                for x, e in zip(middle.T, edges, strict=True)
            ]
        )
        within = ((index >= 0) & (index.T < result.shape).T).all(axis=0)
        np.add.at(result, tuple(index[:, within]), delta[real][within])
    return np.moveaxis(result, range(4), np.argsort(np.argsort(places)))


def _near(edges, q_in, q_out, initial, final):
    """Pixels none of whose points, right or wrong, can be inside of the histogram are left out."""
    corners = np.array([q_in * ki - q_out * kf for ki in initial for kf in final])
    low, high = np.array([(e[0], e[-1]) for e in edges[:3]]).T
    return ((corners.max(0) >= low) & (corners.min(0) <= high)).all(axis=1)


def _crossings(edges, q_in, q_out, ki, kf_min, kf_max, incident_energy, error_of_2019):
    """(n, n_planes, 4) h, k, l and final wave number, and which of them exist."""
    start, end = q_in * ki - q_out * kf_min, q_in * ki - q_out * kf_max
    points, exist = [], []
    for axis in range(3):
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (edges[axis] - start[:, axis, None]) / (end - start)[:, axis, None]
        crosses = (start[:, axis, None] - edges[axis]) * (end[:, axis, None] - edges[axis]) < 0
        crosses &= (np.abs(end - start)[:, axis] > 1e-10)[:, None]
        part = np.where(crosses, part, 0.0)
        hkl = start[:, None] + part[..., None] * (end - start)[:, None]
        hkl[..., axis] = edges[axis]
        points.append(np.concatenate([hkl, (kf_min + part * (kf_max - kf_min))[..., None]], -1))
        exist.append(crosses)
    kf = np.sqrt(np.maximum(incident_energy - edges[3], 0) / NEUTRON_ENERGY_PER_K2)
    hkl = q_in * (1.0 if error_of_2019 else ki) - q_out[:, None] * kf[:, None]
    points.append(np.concatenate([hkl, np.tile(kf[:, None], (len(q_out), 1, 1))], -1))
    exist.append(np.tile((kf - kf_min) * (kf - kf_max) <= 0, (len(q_out), 1)))
    for hkl, k in ((start, kf_min), (end, kf_max)):
        points.append(np.concatenate([hkl, np.full((len(hkl), 1), k)], -1)[:, None])
        exist.append(np.ones((len(hkl), 1), bool))
    points, exist = np.concatenate(points, axis=1), np.concatenate(exist, axis=1)
    low, high = np.array([(e[0], e[-1]) for e in edges[:3]]).T
    inside = (points[..., :3] >= low) & (points[..., :3] <= high)
    return points, exist & inside.all(axis=-1)
