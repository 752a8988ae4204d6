"""``fcinv train``: a network that reads the force constants of one crystal off its spectra."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fcinv_core.commands.options import (
    add_force_constant_options,
    add_output_folder,
    count,
    not_negative_count,
)
from fcinv_core.commands.terminal import progress_bar
from fcinv_core.errors import FcinvError
from fcinv_core.launch import Launch

if TYPE_CHECKING:
    from fcinv_core.cancellable import Report
    from fcinv_core.crystal import Crystal
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.inversion.born_charges import BornCharges
    from fcinv_core.networks.model import Model
    from fcinv_core.networks.model_card import ModelCard
    from fcinv_core.networks.processes import Processes
    from fcinv_core.networks.training_folder import TrainingFolder
    from fcinv_core.networks.training_settings import TrainingSettings

ARCHITECTURES = ("direct", "latent")
DEVICES = ("auto", "cpu", "cuda")

SAME_NUMBER = 1e-4
"""Difference of lattice vectors in Å, and of positions, that is one of digits."""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("train", help="a network for a crystal, from simulated spectra")
    parser.add_argument(
        "--structure", required=True, metavar="FILE", help="POSCAR, CIF or phonopy.yaml"
    )
    add_force_constant_options(parser)
    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        default=ARCHITECTURES[0],
        help="kind of network; default: %(default)s",
    )
    parser.add_argument(
        "--from",
        dest="begin_with",
        metavar="NAME|PATH",
        help="model of any crystal whose weights to begin with: saves most of the training",
    )
    parser.add_argument(
        "--device", choices=DEVICES, default=DEVICES[0], help="default: the GPU if there is one"
    )
    parser.add_argument(
        "--seed",
        type=not_negative_count,
        default=0,
        metavar="N",
        help="the same seed gives the same weights on one machine",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue what is in the folder, or begin"
    )
    parser.add_argument(
        "--measurements",
        type=count,
        metavar="N",
        help="simulated measurements to train with; with --resume more than before are possible",
    )
    add_output_folder(parser, "folder for the model")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: TextIO) -> int:
    """Train, write the model and say how good it is.

    Where several processes train together the first one reads, writes and speaks for all.
    """
    from fcinv_core.networks.architectures import NETWORKS
    from fcinv_core.networks.processes import joined
    from fcinv_core.networks.training import train

    launch = Launch.of_environment()
    with (
        joined(launch, _device(options.device)) as processes,
        progress_bar(terminal) if launch.rank == 0 else nullcontext() as progress,
    ):
        _check_alike(options, processes)
        asked_for = processes.first(lambda: _asked_for(options, processes, progress))
        try:
            path = train(
                NETWORKS[options.architecture],
                asked_for.prior,
                options.output,
                settings=asked_for.settings,
                begin_with=asked_for.begin_with,
                seed=options.seed,
                processes=processes,
                resume=options.resume,
                command=_as_typed(options, asked_for.settings.measurements),
                progress=progress,
            )
        except KeyboardInterrupt:
            if launch.rank == 0:
                print("Stopped; the same command with --resume continues.")
            raise
    if launch.rank == 0:
        print(_summary(path, options.structure))
    return 0


@dataclass(frozen=True)
class _AskedFor:
    """What is to be trained, and where it begins."""

    prior: Prior
    settings: TrainingSettings
    begin_with: Model | None


def _asked_for(
    options: argparse.Namespace, processes: Processes, progress: Report | None
) -> _AskedFor:
    from fcinv_core.inversion.output import check_output_directory

    check_output_directory(options.output)

    from fcinv_core.crystal import Crystal
    from fcinv_core.crystal.supercell_size import with_checked_supercell
    from fcinv_core.networks.training_folder import TrainingFolder
    from fcinv_core.networks.training_settings import TrainingSettings

    folder = TrainingFolder(options.output)
    if not options.resume:
        folder.check_free()
    settings = TrainingSettings()
    if measurements := options.measurements or folder.measurements:
        settings = replace(settings, measurements=measurements)
    settings.check_processes(processes.size)
    crystal = Crystal.from_file(options.structure)
    if options.supercell is not None:
        crystal = with_checked_supercell(crystal, options.supercell)
    charges = _born_charges(options, crystal)
    begin_with = _begin_with(options.begin_with)
    prior = _prior(options, crystal, charges, folder, progress)
    return _AskedFor(prior, settings, begin_with)


def _check_alike(options: argparse.Namespace, processes: Processes) -> None:
    """Refuse trainings that a launcher has started side by side, each for itself."""
    asked = {name: value for name, value in vars(options).items() if name != "run"}
    if processes.any(processes.first(lambda: asked) != asked):
        raise FcinvError(
            f"{processes.size} processes of one launch train together, and these were started "
            "with different options: give all the same, or launch each training on its own"
        )


def _begin_with(name: str | None) -> Model | None:
    from fcinv_core.networks.library import model_file
    from fcinv_core.networks.model import Model

    return None if name is None else Model.load(model_file(name).path)


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise FcinvError("--device cuda: torch finds no GPU here; use --device cpu")
    return name


def _born_charges(options: argparse.Namespace, crystal: Crystal) -> BornCharges | None:
    """Those of --born, else of a --structure that is a phonopy.yaml."""
    from fcinv_core.inversion.born_charges import BornCharges

    if options.born is not None:
        return BornCharges.from_born_file(options.born, crystal)
    return BornCharges.from_structure_file(options.structure, crystal)


def _prior(
    options: argparse.Namespace,
    crystal: Crystal,
    charges: BornCharges | None,
    folder: TrainingFolder,
    progress: Report | None,
) -> Prior:
    """That of the training to be resumed, else what force fields say."""
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.units import COULOMB_EV_ANGSTROM

    if folder.is_used and folder.prior.is_file():
        prior = Prior.load(folder.prior)
        _check_same_crystal(prior, options, crystal, charges)
        return prior
    values = dielectric = None
    if charges is not None:
        # Priors know no factor of their own; dipoles go with charge squared times factor.
        values = charges.values * math.sqrt(charges.nac_factor / COULOMB_EV_ANGSTROM)
        dielectric = charges.dielectric
    return Prior.from_crystal(
        crystal,
        cutoff=options.cutoff,
        born_charges=values,
        dielectric=dielectric,
        progress=progress,
    )


def _check_same_crystal(
    prior: Prior, options: argparse.Namespace, crystal: Crystal, charges: BornCharges | None
) -> None:
    """Refuse to continue a training with options that it was not begun with."""
    stored, asked_for = prior.crystal.to_dict(), crystal.to_dict()
    different = [name for name in stored if not _is_same(stored[name], asked_for[name])]
    if different == ["supercell_matrix"]:
        what = "--supercell"
    elif different:
        what = "--structure"
    elif prior.basis.cutoff != options.cutoff:
        what = "--cutoff"
    elif (prior.born_charges is None) != (charges is None):
        what = "--born"
    else:
        return
    raise FcinvError(
        f"{options.output} holds a training of {prior.crystal.formula} with another {what}: "
        "give the same, or choose another folder"
    )


def _is_same(stored: Any, asked_for: Any) -> bool:
    """Also of numbers that were written with fewer digits."""
    import numpy as np

    if isinstance(stored, list) and not isinstance(stored[0], str):
        one, other = np.asarray(stored), np.asarray(asked_for)
        return one.shape == other.shape and np.allclose(one, other, rtol=0.0, atol=SAME_NUMBER)
    return bool(stored == asked_for)


def _as_typed(options: argparse.Namespace, measurements: int) -> str:
    """The command that trains the same, for the model's card."""
    words = ["fcinv", "train", "--structure", str(options.structure)]
    if options.supercell is not None:
        words += ["--supercell", *map(str, options.supercell)]
    if options.cutoff is not None:
        words += ["--cutoff", f"{options.cutoff:g}"]
    if options.born is not None:
        words += ["--born", str(options.born)]
    if options.begin_with is not None:
        words += ["--from", options.begin_with]
    words += ["--architecture", options.architecture, "--seed", str(options.seed)]
    words += ["--measurements", str(measurements), "-o", str(options.output)]
    return shlex.join(words)


def _summary(path: Path, structure: str) -> str:
    """How good the model is, where it is, and what to do with it."""
    from fcinv_core.networks.model import read_document
    from fcinv_core.networks.model_card import ModelCard

    document = read_document(path)
    card = ModelCard.from_dict(document["card"])
    seen, spent = card.training["measurements"], _duration(card.training["seconds"])
    next_command = ["fcinv", "invert", "FILE.nxs", "--structure", structure, "--model", str(path)]
    return "\n".join(
        [
            f"Trained the {card.architecture} network of {card.crystal} with {seen} simulated "
            f"measurements in {spent}.",
            "Errors (rms of phonon energies) on others, in geometries of their own:",
            *_errors(card),
            *_about_the_force_field(document["prior"]["failures"]),
            "",
            "Written:",
            *(f"  {file}" for file in (path, path.with_name("learning_curve.png"))),
            "",
            f"Next: {shlex.join(next_command)} -o DIR",
        ]
    )


def _errors(card: ModelCard) -> list[str]:
    return [
        f"  {kind:<10} median {score.median_mev:.2g} meV ({score.median_percent:.2g} % of the "
        f"highest energy), mean {score.mean_mev:.2g} meV ({score.mean_percent:.2g} %)"
        for kind, score in card.scores.items()
    ]


def _about_the_force_field(failures: Sequence[str]) -> list[str]:
    """What the force field failed at, and what that means for the prior."""
    if not failures:
        return []
    return [
        "About the force field that the network was trained around:",
        *(f"  {each}" for each in failures),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
