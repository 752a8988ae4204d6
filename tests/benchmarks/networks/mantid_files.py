"""``python -m benchmarks.networks.mantid_files``: the files of a reduction with Mantid, inverted.

Silicon at 300 K, events simulated from DFT force constants and reduced by MDNorm: slices, a map and
volumes. Refinement from the shipped network beside that from nearly true force constants.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.networks import materials
from benchmarks.networks.estimators import model_of

from fcinv_core.crystal import ForceConstants
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.histogram import SQEHistogram
from fcinv_core.inversion.pipeline import invert
from fcinv_core.inversion.result import InversionResult

DATA = Path(__file__).parents[2] / "data/mantid"
FILES = (
    "HHL0_slice",
    "HHL0_slice_clean",
    "4K0_slice_energy_first",
    "4K0_slice_energy_first_clean",
    "five_orientations_HHL0_slice",
    "five_orientations_HHL0_slice_clean",
    "one_orientation_HHL0_slice",
    "one_orientation_HHL0_slice_clean",
    "HK0_map_30meV",
    "HK0_map_30meV_clean",
    "one_orientation_4d",
    "one_orientation_4d_clean",
    "4d",
    "4d_clean",
)
ENERGY_FWHM = 2.4
NEARLY = 0.96
"""Factor on the true force constants: energies are 2 % off."""

ZONE = np.indices((8, 8, 8)).reshape(3, -1).T / 8


def histogram(name: str) -> SQEHistogram:
    """One of `FILES`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"si_300K_{name}.nxs"
        path.write_bytes(lzma.decompress((DATA / f"{path.name}.xz").read_bytes()))
        return SQEHistogram.load(path)


def compared(name: str) -> Iterator[tuple[str, InversionResult, float]]:
    """Name of the start, result and seconds."""
    data, crystal = histogram(name), materials.crystal("Si")
    model, truth = model_of("Si", "direct"), carried_to(materials.truth("Si", "DFT", 0), crystal)
    assert model is not None
    for start, options in (
        ("network alone", {"model": model, "refine": False}),
        ("network", {"model": model}),
        ("nearly true", {"start": truth.scaled(NEARLY)}),
    ):
        begin = time.perf_counter()
        result = invert([data], crystal, energy_fwhm=ENERGY_FWHM, **options)
        yield start, result, time.perf_counter() - begin


def rms(force_constants: ForceConstants, others: ForceConstants) -> float:
    """Of phonon energies over the zone, from those of others, meV."""
    difference = force_constants.frequencies(ZONE) - others.frequencies(ZONE)
    return float(np.sqrt((difference**2).mean()))


def excess(result: InversionResult, other: InversionResult) -> float:
    """Half a deviance by which a result fits worse than another of the same data."""
    (fit,) = result.fits
    bins = np.count_nonzero(fit.used)
    return 0.5 * bins * (fit.deviance_per_dof - other.fits[0].deviance_per_dof)


def main(arguments: list[str] | None = None) -> None:
    """Invert all, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.networks.mantid_files", description=__doc__)
    parser.add_argument("--file", action="append", choices=FILES)
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks/mantid-files.md"))
    options = parser.parse_args(arguments)
    lines = [
        "| file | bins | network alone / meV | from the network / meV | nearly true / meV "
        "| stated / meV | apart / meV | fits worse by | verdicts | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|--:|",
    ]
    truth = materials.truth("Si", "DFT", 0)
    for name in options.file or FILES:
        found = {start: (result, seconds) for start, result, seconds in compared(name)}
        alone, network, true = (
            found[start][0] for start in ("network alone", "network", "nearly true")
        )
        stated = np.sqrt(np.mean(network.dispersion.sigma_mev**2))
        errors = [rms(each.force_constants, truth) for each in (alone, network, true)]
        apart = rms(network.force_constants, true.force_constants)
        lines.append(
            f"| {name} | {np.count_nonzero(network.fits[0].used)} "
            f"| {errors[0]:.3g} | {errors[1]:.3g} | {errors[2]:.3g} "
            f"| {stated:.2g} | {apart:.2g} | {excess(network, true):.1f} "
            f"| {network.verdict.trust} / {true.verdict.trust} "
            f"| {found['network'][1]:.0f} / {found['nearly true'][1]:.0f} |"
        )
        print(lines[-1], flush=True)
        options.page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
