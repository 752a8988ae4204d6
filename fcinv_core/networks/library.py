"""Models that come with fcinv and those of the user, and the one that fits a crystal.

Only the metadata of files are read until a model is chosen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcinv_core.crystal import Crystal
from fcinv_core.crystal.matching import difference_between
from fcinv_core.crystal.transfer import correspondence
from fcinv_core.errors import FcinvError, did_you_mean
from fcinv_core.networks.model import Model, read_document
from fcinv_core.networks.model_card import ModelCard

SHIPPED = Path(__file__).parents[1] / "data/models"
"""Models that come with fcinv."""

ENDING = ".safetensors"

MODEL_FILE = f"model{ENDING}"
"""What a training calls its model."""

FOLDER = "FCINV_MODELS"
"""Environment variable: the folder of the user's models."""

SAME_LATTICE = 0.03
"""Largest strain between the lattice that a model was trained on and that of a crystal, which is
also what data and crystal may differ by."""

SAME_MASS = 0.02
"""Largest relative difference of masses: other isotopes scatter otherwise."""

HOW_TO_TRAIN = "train one with fcinv train --structure FILE -o DIR"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file in one of the folders of models.

    Attributes
    ----------
    card, crystal
        From its metadata; None where those cannot be read.
    problem
        Why not, in words, else None.
    """

    path: Path
    card: ModelCard | None = None
    crystal: Crystal | None = None
    problem: str | None = None

    @classmethod
    def at(cls, path: Path) -> ModelFile:
        """Read the metadata of a file."""
        try:
            document = read_document(path)
            card = ModelCard.from_dict(document["card"])
            return cls(path, card, Crystal.from_dict(document["prior"]["crystal"]))
        except FcinvError as error:
            return cls(path, problem=str(error))
        except (LookupError, TypeError, ValueError) as error:
            return cls(path, problem=f"the card of {path} is damaged ({type(error).__name__})")

    @property
    def name(self) -> str:
        """That of the file, without the ending."""
        return self.path.stem

    @property
    def is_shipped(self) -> bool:
        """Whether it came with fcinv."""
        return self.path.parent == SHIPPED

    def misfit(self, crystal: Crystal, *, polar: bool) -> str | None:
        """None, or why the model is not one of a crystal, in words.

        Parameters
        ----------
        polar
            Whether Born charges are to be used. A model that has its own also serves where none
            were given.
        """
        if self.card is None or self.crystal is None:
            return self.problem
        difference = difference_between(self.crystal, crystal, SAME_LATTICE)
        if difference is not None:
            return difference
        try:
            atoms = correspondence(self.crystal, crystal).atoms
        except FcinvError:
            return "the atoms lie at different places in the cell"
        masses, others = self.crystal.primitive_masses[atoms], crystal.primitive_masses
        if np.abs(masses / others - 1).max() > SAME_MASS:
            return f"the masses differ: {_listed(masses)} and {_listed(others)} u"
        if polar and not self.card.polar:
            return "it was trained without Born charges, and the crystal has them"
        return None


@dataclass(frozen=True, eq=False)
class Choice:
    """The model that fits a crystal best, if any, and what was passed over on the way.

    Attributes
    ----------
    model
        None if no model fits.
    remarks
        Sentences about models that fit but cannot be used.
    """

    model: Model | None
    remarks: tuple[str, ...] = ()


def own_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the user's models are: ``$FCINV_MODELS``, else ``fcinv/models`` of the XDG data home.

    None for users without a home folder.
    """
    if environment.get(FOLDER):
        return Path(environment[FOLDER])
    data_home = Path(environment.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():  # as the XDG specification has it
        try:
            data_home = Path.home() / ".local/share"
        except RuntimeError:
            return None
    return data_home / "fcinv/models"


def model_files() -> list[ModelFile]:
    """All models, the user's first, each folder by name."""
    files: list[ModelFile] = []
    for folder in (own_folder(), SHIPPED):
        if folder is None:
            continue
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ENDING)
        except OSError:  # not there, no folder, not readable: nothing to list
            continue
        files += [ModelFile.at(path) for path in paths]
    return files


def model_file(name: str) -> ModelFile:
    """A model by its name, or by the path of its file.

    Raises
    ------
    FcinvError
        When there is none; the message names those that there are.
    """
    inside = Path(name) / MODEL_FILE
    hint = f" (did you mean {inside}?)" if inside.is_file() else ""
    if name.endswith(ENDING) or os.sep in name or Path(name).is_file():
        if hint:
            raise FcinvError(f"{name} is a folder: give the file in it{hint}")
        return ModelFile.at(Path(name))
    files = model_files()
    for file in files:
        if file.name == name:
            return file
    known = list(dict.fromkeys(file.name for file in files))
    there = f"there are {', '.join(known)}" if known else f"there are none yet: {HOW_TO_TRAIN}"
    hint = hint or did_you_mean(name, known)
    raise FcinvError(f"there is no model {name!r}{hint}; {there}")


def find_model(crystal: Crystal, *, polar: bool = False) -> Choice:
    """The model that fits a crystal; of several the one with the smallest held-out error.

    Parameters
    ----------
    polar
        Whether Born charges are to be used.
    """
    fitting = [file for file in model_files() if file.misfit(crystal, polar=polar) is None]
    remarks: list[str] = []
    for file in sorted(fitting, key=_error):
        try:
            return Choice(Model.load(file.path), tuple(remarks))
        except FcinvError as error:
            remarks.append(f"passed over: {error}")
    return Choice(None, tuple(remarks))


def load_model(name: str, crystal: Crystal, *, polar: bool = False) -> Model:
    """A model by name or path that must fit a crystal.

    Raises
    ------
    FcinvError
        When there is no such model, it is damaged, or it is of another crystal.
    """
    file = model_file(name)
    model = Model.load(file.path)
    if (misfit := file.misfit(crystal, polar=polar)) is not None:
        raise FcinvError(
            f"the model {file.name} does not fit {crystal.formula}: {misfit}; leave --model out, "
            f"or {HOW_TO_TRAIN}"
        )
    return model


def _error(file: ModelFile) -> float:
    assert file.card is not None
    return file.card.error


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
