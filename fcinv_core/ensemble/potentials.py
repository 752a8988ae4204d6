"""Force constants from universal machine-learned force fields.

A force field is asked at its own relaxed cell, because at the measured one it may be
unstable; its force constants are then carried to the measured lattice.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.crystal import Crystal, ForceConstantBasis, ForceConstants
from fcinv_core.errors import FcinvError

SHIPPED = Path(__file__).parents[1] / "data/force_fields"
"""Results that come with fcinv, for crystals that many people start with."""

DISPLACEMENT = 0.03
"""Å: small enough to be harmonic, large enough for forces in single precision."""

RELAXED_FORCE = 1e-3
"""eV/Å (and eV per strain): where a relaxation ends."""

MOST_STEPS = 500

_CHGNET_WEIGHTS = "0.3.0"

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""


def force_field_constants(
    crystal: Crystal, potential: str = "chgnet", progress: Progress | None = None
) -> ForceConstants:
    """Force constants of a crystal from a universal force field.

    Cell and positions are relaxed at fixed space group; forces of phonopy's displacements in
    the crystal's supercell at the relaxed cell give force constants, which are projected onto
    the symmetry-reduced basis and carried to ``crystal``. Results are kept in the folder
    ``$FCINV_CACHE`` (default ``~/.cache/fcinv``); some come with fcinv. The same input gives
    the same result: one thread, CPU.

    Parameters
    ----------
    crystal
        The measured crystal.
    potential
        "chgnet" (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)), or "package.module:name"
        of a callable that returns an ASE calculator with forces and stress.
    progress
        Called with a few words and the fraction done.

    Raises
    ------
    FcinvError
        When the force field is not installed, fails on the crystal, or finds no stable cell.
    """
    name = _file_name(crystal, potential)
    cache = _cache_folder()
    for folder in (SHIPPED, cache):
        kept = _load(folder / name, crystal)
        if kept is not None:
            return kept
    computed = _compute(crystal, potential, progress or (lambda stage, fraction: None))
    # A cache that cannot be written only costs time.
    with contextlib.suppress(OSError, FcinvError):
        cache.mkdir(parents=True, exist_ok=True)
        computed.save(cache / name)
    return computed.on(crystal)


def _cache_folder() -> Path:
    root = os.environ.get("FCINV_CACHE") or Path.home() / ".cache/fcinv"
    return Path(root).expanduser() / "force_fields"


def _file_name(crystal: Crystal, potential: str) -> str:
    """Name of a result by what it depends on, which the measured lattice constant is not.

    The shape of the cell belongs to it, coarsely: fcc and bcc have the same fractional
    positions in their primitive cells.
    """
    from ase.geometry import cell_to_cellpar

    a, b, c, *angles = cell_to_cellpar(crystal.lattice)
    parts = {
        "symbols": list(crystal.symbols),
        "positions": (np.round(crystal.positions % 1, 4) % 1).tolist(),
        "shape": [round(float(b / a), 2), round(float(c / a), 2), *np.rint(angles).tolist()],
        "space_group": crystal.space_group,
        "supercell": crystal.supercell_matrix.tolist(),
        "primitive": (np.round(crystal.primitive_matrix, 4) + 0.0).tolist(),
        "potential": [potential, _version(potential)],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    label = "".join(x if x.isalnum() else "-" for x in potential)
    return f"{crystal.formula}_{label}_{digest}.yaml"


def _version(potential: str) -> str:
    if potential == "chgnet":
        return _CHGNET_WEIGHTS
    package = potential.split(":")[0].split(".")[0]
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _load(path: Path, crystal: Crystal) -> ForceConstants | None:
    """A kept result, or None where there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        return ForceConstants.from_file(path).on(crystal)
    except FcinvError:
        return None


def _compute(crystal: Crystal, potential: str, progress: Progress) -> ForceConstants:
    """Force constants at the force field's own cell, on the fractional positions measured."""
    with _one_thread():
        progress(f"loading {potential}", 0.0)
        with _quiet(potential, crystal):
            calculator = _calculator(potential)
        progress(f"relaxing {crystal.formula} with {potential}", 0.05)
        with _quiet(potential, crystal):
            lattice, positions = _relax(crystal, calculator)
        relaxed = replace(crystal, lattice=lattice, positions=positions)
        phonon: Any = relaxed.phonopy()
        phonon.generate_displacements(distance=DISPLACEMENT, is_plusminus=True)
        supercells = phonon.supercells_with_displacements
        forces = []
        for number, supercell in enumerate(supercells):
            progress(
                f"forces of displacement {number + 1} of {len(supercells)}",
                0.1 + 0.85 * number / len(supercells),
            )
            with _quiet(potential, crystal):
                forces.append(_forces(supercell, calculator))
        progress("force constants", 0.95)
        phonon.forces = forces
        phonon.produce_force_constants(calculate_full_force_constants=False)
    raw = ForceConstants(relaxed, np.array(phonon.force_constants))
    basis = ForceConstantBasis.from_crystal(relaxed)
    symmetric = basis.force_constants(basis.parameters_of(raw))
    progress("done", 1.0)
    return ForceConstants(crystal.with_lattice(lattice), symmetric.values)


def _relax(crystal: Crystal, calculator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lattice (rows, Å) and fractional positions of the unit cell at zero force and stress."""
    from ase import Atoms
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    atoms = Atoms(
        crystal.symbols, scaled_positions=crystal.positions, cell=crystal.lattice, pbc=True
    )
    atoms.set_constraint(FixSymmetry(atoms, symprec=crystal.symprec))
    atoms.calc = calculator
    filtered: Any = FrechetCellFilter(atoms)
    optimizer = BFGS(filtered, logfile=None)
    if not optimizer.run(fmax=RELAXED_FORCE, steps=MOST_STEPS):
        raise FcinvError(f"no stable cell of {crystal.formula} within {MOST_STEPS} steps")
    return atoms.cell.array.copy(), atoms.get_scaled_positions(wrap=False)


def _forces(supercell: Any, calculator: Any) -> np.ndarray:
    from ase import Atoms

    atoms = Atoms(
        supercell.symbols,
        scaled_positions=supercell.scaled_positions,
        cell=supercell.cell,
        pbc=True,
    )
    atoms.calc = calculator
    forces = np.array(atoms.get_forces(), dtype=float)
    return forces - forces.mean(axis=0)


def _calculator(potential: str) -> Any:
    if potential == "chgnet":
        return _chgnet()
    module, _, name = potential.partition(":")
    if not name:
        raise FcinvError(
            f"unknown force field {potential!r}: use 'chgnet' or 'package.module:callable'"
        )
    try:
        return getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise FcinvError(f"force field {potential!r} cannot be imported: {error}") from error


def _chgnet() -> Any:
    try:
        from chgnet.model import CHGNet
        from chgnet.model.dynamics import CHGNetCalculator
    except ImportError as error:
        raise FcinvError(
            "the force field CHGNet is not installed: pip install fcinv[forcefields]"
        ) from error
    model = CHGNet.load(model_name=_CHGNET_WEIGHTS, use_device="cpu", verbose=False)
    return CHGNetCalculator(model=model, use_device="cpu", on_isolated_atoms="ignore")


@contextlib.contextmanager
def _quiet(potential: str, crystal: Crystal) -> Iterator[None]:
    """Nothing printed or warned, and every failure of a force field as FcinvError."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        except FcinvError:
            raise
        except Exception as error:  # force fields raise whatever their libraries do
            raise FcinvError(
                f"{potential} fails on {crystal.formula} ({type(error).__name__}: {error})"
            ) from error


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
