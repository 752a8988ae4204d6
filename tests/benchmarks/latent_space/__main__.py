"""``python -m benchmarks.latent_space``: latent spaces of the models, looked at and written up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.latent_space.cloud import Cloud
from benchmarks.latent_space.landing import KINDS, Landing, landings, other_origins
from benchmarks.latent_space.lines import FINER, LARGE, Straight, straight_lines
from benchmarks.latent_space.pictures import picture
from benchmarks.latent_space.reading import principal_shares, readings
from benchmarks.networks import materials
from benchmarks.networks.estimators import model_of
from benchmarks.pages import command_line

from fcinv_core.networks.latent import LatentNetwork


def main(arguments: list[str] | None = None) -> None:
    """Look at all, and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.latent_space", description=__doc__)
    parser.add_argument("--material", action="append", choices=["Ge", "MgO", "Al", "Si", "Cu"])
    parser.add_argument("--crystals", type=int, default=200, help="of the cloud")
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--cases", type=int, default=10, help="of each kind of measurement")
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks/latent-space.md"))
    options = parser.parse_args(arguments)
    command = command_line("benchmarks.latent_space", arguments)
    parts = [f"Written by `{command}`."]
    for material in options.material or materials.MATERIALS:
        model = model_of(material, LatentNetwork.architecture)
        if model is None:
            print(f"no model of {material} with the architecture latent: left out")
            continue
        network = model.network.eval()
        assert isinstance(network, LatentNetwork)
        cloud = Cloud.of(network, material, options.crystals)
        straight = straight_lines(network, cloud, options.lines)
        landed = [
            landing
            for origin in other_origins(material)
            for kind in KINDS
            for landing in landings(network, cloud, material, origin, kind, options.cases)
        ]
        image = options.page.parent / f"latent_{material}.png"
        picture(material, cloud, straight, landed, image)
        parts.append(section(material, cloud, straight, landed, image.name))
        options.page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def section(
    material: str, cloud: Cloud, straight: Straight, landed: Sequence[Landing], image: str
) -> str:
    """Of one crystal."""
    shares = principal_shares(cloud)
    effective = float(1 / (shares**2).sum())
    lines = [
        f"**{material}**",
        "",
        f"![Latent space of {material}]({image})",
        "",
        f"{len(cloud.mean)} held-out crystals. The first principal component of the cloud holds "
        f"{shares[0]:.0%} of its variance, the first five {shares[:5].sum():.0%}; as many as "
        f"{effective:.1f} count.",
        "",
        "| read off by a straight line | R² | component | its R² alone |",
        "|---|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {reading.r_squared:.3f} | {reading.component} | {reading.share:.2f} |"
        for name, reading in readings(cloud).items()
    ]
    lines += [
        "",
        f"Along {len(straight.jumps)} straight lines in {len(straight.energies) - 1} steps: "
        f"largest change of a decoded energy in one step "
        f"{100 * np.median(straight.jumps):.2g} % of the top (median of the lines), "
        f"{100 * straight.jumps.max():.2g} % at most; "
        f"{100 * straight.finer.max():.2g} % at most once the "
        f"{np.count_nonzero(straight.jumps > LARGE)} lines with more than {100 * LARGE:.0f} % "
        f"have steps {FINER} times as fine. A largest step is "
        f"{np.median(straight.roughness):.2g} times the mean one (at most "
        f"{straight.roughness.max():.2g}). Decoded spectra change by "
        f"{100 * np.median(straight.spectra):.2g} % of their weight in one step (at most "
        f"{100 * straight.spectra.max():.2g} %).",
        "",
        "Cases from elsewhere: share of the cloud that lies closer to its middle, and stated "
        "widths over the spread of the prior's crystals (mean of the coordinates).",
        "",
        "| force constants | data | cases | rank in the cloud | width over spread |",
        "|---|---|--:|--:|--:|",
    ]
    for origin, kind in dict.fromkeys((each.origin, each.kind) for each in landed):
        some = [each for each in landed if (each.origin, each.kind) == (origin, kind)]
        ranks = [each.rank for each in some]
        width = np.mean([each.deviation / cloud.spread for each in some])
        lines.append(
            f"| {origin} | {kind} | {len(some)} | {np.median(ranks):.0%} "
            f"(at most {max(ranks):.0%}) | {width:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
