"""Crystal, start and Born charges of an inversion, from the files and names that a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstants
from fcinv_core.crystal.force_constants import SAME_LATTICE
from fcinv_core.crystal.supercell_size import with_checked_supercell
from fcinv_core.errors import FcinvError
from fcinv_core.inversion.born_charges import BornCharges

if TYPE_CHECKING:
    from fcinv_core.networks.model import Model

NO_MODEL = "none"
"""The name of a model that stands for a start from the force field."""


@dataclass(frozen=True, eq=False)
class InversionInputs:
    """What `fcinv_core.invert` needs beside measurements.

    Attributes
    ----------
    crystal, start, born_charges, model
        See `fcinv_core.invert`.
    remarks
        What a user should know about the choice of the model.
    """

    crystal: Crystal
    start: ForceConstants | None
    born_charges: BornCharges | None
    model: Model | None
    remarks: tuple[str, ...] = ()

    @classmethod
    def from_files(
        cls,
        structure: str | Path,
        *,
        supercell: Sequence[int] | None = None,
        model: str | None = None,
        start: str | Path | None = None,
        born: str | Path | None = None,
    ) -> InversionInputs:
        """Read all of them.

        Parameters
        ----------
        structure
            POSCAR, CIF or phonopy.yaml.
        supercell
            Three multiples, or nine numbers of a matrix row by row; by default that of
            ``structure``, else at least 10 Å along each axis.
        model
            Name or path of a trained model, or `NO_MODEL`; by default the one that fits.
        start
            phonopy.yaml or FORCE_CONSTANTS to refine from instead of a network.
        born
            phonopy's BORN; by default the charges of ``start``, else of ``structure``.

        Raises
        ------
        FcinvError
            When something is missing, unreadable, or does not belong to the rest.
        """
        _check_model(model, start)
        crystal = Crystal.from_file(structure)
        if supercell is not None:
            crystal = with_checked_supercell(crystal, supercell)
        begin = None if start is None else ForceConstants.from_file(start, crystal)
        if begin is not None and supercell is not None:
            _check_supercell(begin.crystal, crystal)
        charges: BornCharges | None
        if born is not None:
            charges = BornCharges.from_born_file(born, begin.crystal if begin else crystal)
        elif begin is not None and begin.born_charges is not None:
            charges = BornCharges.from_force_constants(begin, str(start))
        else:
            charges = BornCharges.from_structure_file(structure, crystal)
        if begin is not None or model == NO_MODEL:
            return cls(crystal, begin, charges, None)
        chosen, remarks = _model(model, crystal, charges is not None)
        if chosen is None:
            advice = f"fcinv train --structure {structure} -o DIR"
            remarks.append(
                f"no trained model fits {crystal.formula}; for a surer start train one: {advice}"
            )
        elif model is None:
            remarks.append(f"started from the trained model {chosen.name}")
        return cls(crystal, begin, charges, chosen, tuple(remarks))


def _check_model(model: str | None, start: str | Path | None) -> None:
    """Refuse a model that is not there before anything large is read."""
    if model in (None, NO_MODEL):
        return
    if start is not None:
        raise FcinvError(
            "a model and starting force constants exclude each other: leave one of them out"
        )
    from fcinv_core.networks.library import model_file

    assert model is not None
    model_file(model)


def _model(name: str | None, crystal: Crystal, polar: bool) -> tuple[Model | None, list[str]]:
    """The model of a name, or the one that fits, and remarks about others."""
    from fcinv_core.networks.library import find_model, load_model

    if name is not None:
        return load_model(name, crystal, polar=polar), []
    choice = find_model(crystal, polar=polar)
    return choice.model, list(choice.remarks)


def _check_supercell(of_start: Crystal, asked_for: Crystal) -> None:
    """Refuse a supercell that the starting force constants do not have."""
    own, other = (
        np.sort(np.linalg.norm(crystal.supercell_matrix @ crystal.lattice, axis=1))
        for crystal in (of_start, asked_for)
    )
    if not np.allclose(own, other, rtol=SAME_LATTICE):
        raise FcinvError(
            f"the supercell asked for is {_lengths(other)} and that of the starting force "
            f"constants {_lengths(own)}: leave it out, or start from other force constants"
        )


def _lengths(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values) + " Å"
