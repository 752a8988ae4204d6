"""``python -m benchmarks.verdicts``: what the verdict says of good and of spoilt input.

Every inversion is kept in a file of results at once; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.verdicts.kinds import KINDS
from benchmarks.verdicts.measured import measurement, silicon, truth

from fcinv_core import FcinvError, invert
from fcinv_core.networks.library import find_model

FILES = ("one_orientation_4d_clean", "HHL0_slice_clean")


def record(kind: str, file: str, seed: int) -> dict[str, Any]:
    """Invert one input and keep what matters."""
    given = KINDS[kind].make(measurement(file), file, seed)
    own = given.crystal is silicon()
    started = time.perf_counter()
    found: dict[str, Any] = {"kind": kind, "file": file, "seed": seed}
    try:
        result = invert(
            given.histograms,
            given.crystal,
            model=find_model(given.crystal).model,
            energy_fwhm=given.energy_fwhm,
            temperature=given.temperature,
        )
    except FcinvError as error:
        return found | {"trust": "refused", "reasons": [str(error)]}
    found |= {
        "trust": result.verdict.trust,
        "reasons": list(result.verdict.reasons),
        "deviance": result.deviance_per_dof,
        "seconds": time.perf_counter() - started,
    }
    if own:
        offset = result.dispersion.energy_mev - truth().frequencies(result.dispersion.q)
        sigma = np.maximum(result.dispersion.sigma_mev, 1e-3)
        found["rms_mev"] = float(np.sqrt(np.mean(offset**2)))
        found["largest_pull"] = float(np.abs(offset / sigma).max())
    return found


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.verdicts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--file", action="append", choices=FILES)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--results", type=Path, default=Path("build/verdicts.jsonl"))
    options = parser.parse_args()
    done = []
    if options.results.exists():
        done = [json.loads(line) for line in options.results.read_text().splitlines()]
    known = {(item["kind"], item["file"], item["seed"]) for item in done}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for file in options.file or FILES:
            for kind in options.kind or KINDS:
                if (kind, file, seed) in known:
                    continue
                line = json.dumps(record(kind, file, seed))
                with options.results.open("a") as stream:
                    stream.write(line + "\n")
                print(line, flush=True)


if __name__ == "__main__":
    main()
