"""Runs cases and keeps what is found, one line of JSON for each case and estimator."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.networks import materials
from benchmarks.networks.cases import Case, make_case
from benchmarks.networks.estimators import Estimator, find
from benchmarks.networks.score import Errors, share_inside
from benchmarks.networks.valley import ZONE, Valley
from benchmarks.records import Record, Records

from fcinv_core.errors import FcinvError

PRIOR_DRAWS, PRIOR_SEED = 1000, 7
"""That tell the covariance of a prior."""


@dataclass(frozen=True)
class Job:
    """One case, for one or several estimators, with refinements or estimates alone."""

    material: str
    kind: str
    origin: str
    number: int
    estimators: tuple[str, ...]
    refine: bool = True

    @property
    def keys(self) -> list[tuple[str, str, str, int, str]]:
        """What each of its records is known by."""
        return [
            (self.material, self.kind, self.origin, self.number, name) for name in self.estimators
        ]


KEY = ("material", "kind", "origin", "number", "estimator")
"""What a record is known by."""


def scored(case: Case, estimators: Iterable[Estimator], refine: bool = True) -> Iterator[Record]:
    """A record for each estimator: the case, what could be known of it, and how it was answered.

    Key ``estimate`` holds `Errors` and seconds. With refinements ``limits`` holds what could be
    known, and ``refined`` is like ``estimate`` and says whether the right valley was reached. An
    estimator that gives up has ``failure`` in their place.
    """
    about: Record = {
        "material": case.material,
        "kind": case.kind,
        "origin": case.origin,
        "number": case.number,
        "q_bins": int(case.prepared.used.any(axis=1).sum()),
        "bins": int(case.prepared.used.sum()),
        "counts": float(case.prepared.counts.sum()),
        "top_mev": float(case.truth.frequencies(ZONE).max()),
    }
    if refine:
        valley = Valley(case, materials.prior(case.material).basis)
        about["limits"] = {
            "bound_mev": valley.width(valley.covariance),
            "informed_mev": valley.width(valley.covariance_under(spread(case.material))),
            "prior_mev": valley.width(spread(case.material)),
            "truth_refined_mev": valley.distance(case.truth),
        }
    for estimator in estimators:
        record: Record = {**about, "estimator": estimator.name, "made_of": estimator.made_of}
        try:
            seconds, answer = _timed(estimator.estimate, case)
            record["estimate"] = {
                **asdict(Errors.of(answer.force_constants, case.truth)),
                "seconds": seconds,
            }
            if answer.covariance is not None:
                record["inside"] = share_inside(answer, case.truth)
            if refine:
                seconds, refined = _timed(estimator.refine, case)
                record["refined"] = {
                    **asdict(Errors.of(refined, case.truth)),
                    "seconds": seconds,
                    "arrival": asdict(valley.judge(refined)),
                }
        except FcinvError as error:
            record["failure"] = str(error)
        yield record


@cache
def spread(material: str) -> np.ndarray:
    """Covariance of draws from the prior, (n_par, n_par) in eV²/Å⁴."""
    return np.cov(materials.prior(material).sample(PRIOR_DRAWS, PRIOR_SEED).numpy().T)


def _timed(function: Callable[[Case], Any], case: Case) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = function(case)
    return time.perf_counter() - begin, result


class Results(Records):
    """Records of cases and estimators.

    Parameters
    ----------
    path, kept
        See `Records`.
    """

    def __init__(self, path: Path, kept: Path | None = None) -> None:
        super().__init__(path, kept, KEY)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """What of the jobs is not there yet, or was answered by another model."""
        records = {self.key_of(record): record for record in self.records()}

        def is_done(key: tuple[Any, ...], refine: bool) -> bool:
            record, estimator = records.get(key), find(key[0], key[-1])
            if record is None or (estimator and record["made_of"] != estimator.made_of):
                return False
            return "limits" in record or not refine

        left = []
        for job in jobs:
            names = tuple(key[-1] for key in job.keys if not is_done(key, job.refine))
            if names:
                left.append(replace(job, estimators=names))
        return left


def run(jobs: Sequence[Job], results: Results, processes: int) -> None:
    """Do jobs in processes of one thread each; results are kept as soon as a case is done."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as pool:
        tasks = [pool.submit(do, job) for job in jobs]
        for number, task in enumerate(as_completed(tasks), 1):
            for record in task.result():
                results.append(record)
            print(f"{number} of {len(tasks)} cases", end="\r", flush=True)
    print()


def do(job: Job) -> list[Record]:
    """Records of one job."""
    found = [find(job.material, name) for name in job.estimators]
    case = make_case(job.material, job.kind, job.origin, job.number)
    estimators = [estimator for estimator in found if estimator is not None]
    return list(scored(case, estimators, job.refine))


def _one_thread() -> None:
    torch.set_num_threads(1)
