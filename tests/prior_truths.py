"""Priors against force constants that no force field has seen: the tables in docs/prior.md.

``PYTHONPATH=tests python -m prior_truths docs/prior`` writes them and the picture (what CHGNet says
of the last three crystals does not come with fcinv: it needs CHGNet, and minutes).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from born_von_karman import born_von_karman

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.prior import Prior
from fcinv_core.scattering.displacements import brillouin_mesh
from fcinv_core.scattering.lattice_dynamics import LatticeDynamics

DATA = Path(__file__).parent / "data"
CRYSTALS = ("Ge", "Si", "MgO", "NaCl", "Al", "Cu")
HELD_OUT = ("ZnO", "SiO2", "Al2O3")
"""Crystals whose force constants had no part in choosing the widths."""

MEASURED = {"Al": (80, 300), "Cu": (49, 80, 296, 673, 973, 1336)}
"""Temperatures in K of Born-von Karman fits."""

HIGH_SYMMETRY = {
    "Γ": (0, 0, 0),
    "X": (0.5, 0.5, 0),
    "W": (0.5, 0.75, 0.25),
    "K": (0.375, 0.75, 0.375),
    "L": (0.5, 0.5, 0.5),
}
"""Of face-centred cubic lattices, in reciprocal coordinates of the primitive cell."""


def crystal_of(name: str) -> Crystal:
    """As a user has it: from a structure file alone (held-out crystals: as calculated)."""
    if name in HELD_OUT:
        return ForceConstants.from_file(DATA / f"force_constants/{name}_dft.yaml").crystal
    return Crystal.from_file(DATA / f"structures/{name}.cif")


def truths(name: str) -> dict[str, ForceConstants]:
    """Force constants of a crystal from elsewhere than a force field."""
    if name in MEASURED:
        return {
            f"measured, {temperature} K": born_von_karman(name, temperature)
            for temperature in MEASURED[name]
        }
    file, origin = (f"{name}_dft", "DFT") if name != "Ge" else ("Ge_standin", "stand-in")
    return {origin: ForceConstants.from_file(DATA / f"force_constants/{file}.yaml")}


def path_and_mesh() -> np.ndarray:
    """(n, 3) wave vectors: from each high-symmetry point to the next, and all over the zone."""
    corners = np.array(list(HIGH_SYMMETRY.values()))
    steps = np.linspace(0, 1, 12)[:, None]
    path = [a + steps * (b - a) for a, b in zip(corners, corners[1:], strict=False)]
    return np.vstack([*path, np.random.default_rng(0).random((60, 3))])


def energies(prior: Prior, parameters: torch.Tensor, q_points: np.ndarray) -> np.ndarray:
    """(n_draws, n_q, n_modes) in meV."""
    dynamics = LatticeDynamics(prior.crystal)
    blocks = [
        dynamics.modes(dynamics.real_space(prior.values(part)), q_points).energies
        for part in parameters.split(100)
    ]
    return torch.cat(blocks).numpy()


def band_width(prior: Prior, q_points: np.ndarray, n_draws: int = 1500) -> np.ndarray:
    """(n_q, n_modes) width of the band that holds 68 % of draws at equal stiffness.

    Relative to the highest energy of the median draw.
    """
    drawn = energies(prior, prior.sample(n_draws, 1, fixed_stiffness=True), q_points)
    low, high = np.percentile(drawn, [16, 84], axis=0)
    return (high - low) / np.median(drawn.max(axis=(1, 2)))


@dataclass(frozen=True)
class DensityOfStates:
    """What a density of states says in three numbers, meV: lower and upper edge, and mean."""

    lower_edge: float
    upper_edge: float
    mean: float

    @classmethod
    def measured(cls) -> DensityOfStates:
        """Germanium at 80 K (Nelin & Nilsson 1972)."""
        document = json.loads((DATA / "measured/ge_dos_80K.json").read_text())
        density = np.array(document["density"])
        grid = np.linspace(document["energy_first_meV"], document["energy_last_meV"], len(density))
        # Not measured below the first energy, where it grows as the square.
        below = np.arange(0, grid[0], grid[1] - grid[0])
        density = np.append(density[0] * (below / grid[0]) ** 2, density)
        return cls.of(np.append(below, grid), density)

    @classmethod
    def of(cls, energy: np.ndarray, weight: np.ndarray) -> DensityOfStates:
        """Edges are where 2 and 98 % of the modes lie below."""
        order = np.argsort(energy)
        energy, weight = energy[order], weight[order] / weight.sum()
        lower, upper = np.interp([0.02, 0.98], np.cumsum(weight), energy)
        return cls(float(lower), float(upper), float(energy @ weight))


def densities_of_states(prior: Prior, n_draws: int = 200) -> list[DensityOfStates]:
    """Of draws from a prior."""
    q_points, weights = brillouin_mesh(prior.crystal.primitive_lattice, 30.0)
    drawn = energies(prior, prior.sample(n_draws, 2), q_points)
    modes = np.repeat(weights, drawn.shape[-1])
    return [DensityOfStates.of(draw.ravel(), modes) for draw in drawn]


def table(names: tuple[str, ...]) -> str:
    """Markdown: each crystal's prior, and where force constants from elsewhere lie in it."""
    lines = [
        "| crystal | parameters | band | force constants | stiffness | σ off | rank |",
        "|---|--:|--:|---|--:|--:|--:|",
    ]
    for name in names:
        prior = Prior.from_crystal(crystal_of(name))
        width = band_width(prior, path_and_mesh())
        band = f"{width.max():.0%} (mean {width.mean():.0%})"
        for origin, force_constants in truths(name).items():
            place = prior.where(force_constants)
            remark = "" if place.is_stable else ", unstable"
            lines.append(
                f"| {name} | {prior.basis.n_parameters} | {band} | {origin}{remark} | "
                f"{place.stiffness:.2f} | {place.stiffness_deviations:+.1f} | {place.rank:.0%} |"
            )
    return "\n".join(lines)


def densities_table(prior: Prior) -> str:
    """Markdown: the measured density of states of germanium among those of draws."""
    drawn, measured = densities_of_states(prior), DensityOfStates.measured()
    lines = ["| density of states of germanium | 95 % of draws / meV | measured at 80 K / meV |"]
    lines.append("|---|--:|--:|")
    for quantity, words in (
        ("lower_edge", "2 % of the modes lie below"),
        ("upper_edge", "98 % of the modes lie below"),
        ("mean", "mean energy"),
    ):
        low, high = np.percentile([getattr(one, quantity) for one in drawn], [2.5, 97.5])
        lines.append(f"| {words} | {low:.1f} to {high:.1f} | {getattr(measured, quantity):.1f} |")
    return "\n".join(lines)


def draw(name: str, path: Path) -> None:
    """Band of dispersions at the stiffness of the truth, and the truth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    prior = Prior.from_crystal(crystal_of(name))
    (truth,) = truths(name).values()
    stiffness = prior.where(truth).stiffness
    corners = [HIGH_SYMMETRY[label] for label in "ΓXWLΓ"]
    steps = np.linspace(0, 1, 40)[:, None]
    q_points = np.vstack(
        [np.array(a) + steps * (np.array(b) - np.array(a)) for a, b in pairwise(corners)]
    )
    x = np.concatenate([corner + steps[:, 0] for corner in range(len(corners) - 1)])
    shapes = stiffness * prior.sample(400, 1, fixed_stiffness=True)
    low, high = np.percentile(energies(prior, shapes, q_points), [16, 84], axis=0)
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for mode in range(low.shape[1]):
        label = "68 % of the prior, stiffness as the truth" if mode == 0 else None
        axes.fill_between(x, low[:, mode], high[:, mode], color="0.8", lw=0, label=label)
    centre = torch.from_numpy(prior.centre)[None]
    lines = {
        "force field as it is": energies(prior, centre, q_points)[0],
        "truth, which no force field has seen": np.sort(
            carried_to(truth, prior.crystal).frequencies(q_points)
        ),
    }
    for (label, values), style in zip(lines.items(), ("C1--", "C0"), strict=True):
        axes.plot(x, values[:, 0], style, lw=1.2, label=label)
        axes.plot(x, values[:, 1:], style, lw=1.2)
    axes.set_xticks(range(len(corners)), list("ΓXWLΓ"))
    axes.set(xlim=(0, len(corners) - 1), ylim=(0, None), ylabel="energy / meV", title=name)
    axes.grid(axis="x", color="0.9")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    figure.savefig(path, dpi=130)


def main(folder: Path) -> None:
    """Everything that the page shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for title, names in (("crystals", CRYSTALS), ("held-out", HELD_OUT)):
        text = table(names)
        print(text)
        (folder / f"{title}.md").write_text(text + "\n", encoding="utf-8")
    text = densities_table(Prior.from_crystal(crystal_of("Ge")))
    print(text)
    (folder / "density-of-states.md").write_text(text + "\n", encoding="utf-8")
    draw("Ge", folder / "germanium.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
