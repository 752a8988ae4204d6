"""Force fields by name, as ASE calculators that neither print nor reach for the network."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fcinv_core.errors import FcinvError

CHGNET_WEIGHTS = "0.3.0"


def cache_folder() -> Path:
    """``$FCINV_CACHE``, by default ``~/.cache/fcinv``."""
    return Path(os.environ.get("FCINV_CACHE") or Path.home() / ".cache/fcinv").expanduser()


class ForceField:
    """One force field, loaded when its forces are first asked for.

    Parameters
    ----------
    name
        One of `KNOWN`, or "package.module:name" of a callable that returns an ASE calculator
        with forces and stress.

    Raises
    ------
    FcinvError
        When ``name`` is neither.
    """

    def __init__(self, name: str) -> None:
        if name not in KNOWN and not name.partition(":")[2]:
            raise FcinvError(
                f"unknown force field {name!r}: use one of {', '.join(KNOWN)}, or "
                f"'package.module:callable' for any ASE calculator"
            )
        self.name = name
        self._dtype: Any = None

    @cached_property
    def version(self) -> str:
        """What of the force field its results depend on: package and weights."""
        if self.name == "chgnet":
            return CHGNET_WEIGHTS
        if self.name in KNOWN:
            known = KNOWN[self.name]
            weights = "" if known.weights is None else _digest(_weights_folder() / known.weights)
            return f"{_installed_version(known.package)} {weights}".strip()
        module = self.name.partition(":")[0]
        return _installed_version(module.split(".")[0]) or _digest_of_module(module)

    @cached_property
    def calculator(self) -> Any:
        """The ASE calculator; ask it `at_work`.

        Raises
        ------
        FcinvError
            When it is not installed, lacks its weights, or cannot be loaded.
        """
        import torch

        with self.at_work():
            calculator = self._load()
            self._dtype = torch.get_default_dtype()
        return calculator

    def _load(self) -> Any:
        if self.name in KNOWN:
            return KNOWN[self.name].load(self.name)
        module, _, name = self.name.partition(":")
        try:
            return getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError) as error:
            raise FcinvError(f"force field {self.name!r} cannot be imported: {error}") from error

    def forces(self, cell: Any) -> np.ndarray:
        """Forces on the atoms of a phonopy cell, (n, 3) in eV/Å, their sum zero.

        Raises
        ------
        FcinvError
            When the force field fails, or they are not finite.
        """
        from ase import Atoms

        atoms = Atoms(
            cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True
        )
        atoms.calc = self.calculator
        with self.at_work():
            forces = np.array(atoms.get_forces(), dtype=float)
        if not np.all(np.isfinite(forces)):
            raise FcinvError(f"{self.name} gives forces that are not finite")
        return forces - forces.mean(axis=0)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Nothing printed or warned, one thread, and every failure as FcinvError.

        torch's default type of numbers is the one that the force field set when it was loaded;
        afterwards it and the number of threads are what they were.
        """
        import torch

        threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
        torch.set_num_threads(1)
        if self._dtype is not None:
            torch.set_default_dtype(self._dtype)
        try:
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                warnings.simplefilter("ignore")
                yield
        except FcinvError:
            raise
        except Exception as error:  # force fields raise whatever their libraries do
            raise FcinvError(f"{self.name} fails ({type(error).__name__}: {error})") from error
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)


@dataclass(frozen=True)
class _Known:
    """A force field that has a name of its own.

    Attributes
    ----------
    module, package
        As Python and pip know it.
    weights
        Name of the file of weights to be placed in the folder for weights; None where they
        come with the package.
    build
        Makes the calculator, given the path of the weights (empty without).
    """

    module: str
    package: str
    weights: str | None
    build: Callable[[str], Any]

    def load(self, name: str) -> Any:
        path = "" if self.weights is None else str(_weights_folder() / self.weights)
        try:
            # Without weights nothing is loaded: the libraries would download them.
            if importlib.util.find_spec(self.module) is None:
                raise ImportError(f"no module named {self.module}")
            if path and not Path(path).is_file():
                raise FcinvError(
                    f"the weights of force field {name!r} are missing: place {self.weights} in "
                    f"{_weights_folder()}"
                )
            return self.build(path)
        except (ImportError, ValueError) as error:
            wanted = "fcinv[forcefields]" if name == "chgnet" else self.package
            raise FcinvError(
                f"the force field {name!r} cannot be imported ({error}): pip install {wanted}"
            ) from error


def _chgnet(weights: str) -> Any:
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    class WithoutNeedlessStress(CHGNetCalculator):
        """Derivatives by strain and magnetic moments take as long as all the rest."""

        def calculate(
            self,
            atoms: Any = None,
            properties: Any = None,
            system_changes: Any = None,
            task: Any = "ef",
        ) -> None:
            if "stress" in (properties or ()):
                task = "efs"
            super().calculate(atoms, properties, system_changes, task=task)

    model = CHGNet.load(model_name=CHGNET_WEIGHTS, use_device="cpu", verbose=False)
    return WithoutNeedlessStress(model=model, use_device="cpu", on_isolated_atoms="ignore")


def _mace(weights: str) -> Any:
    calculators: Any = importlib.import_module("mace.calculators")
    return calculators.mace_mp(model=weights, device="cpu", default_dtype="float64")


def _sevennet(weights: str) -> Any:
    calculator: Any = importlib.import_module("sevenn.calculator")
    return calculator.SevenNetCalculator("7net-0", device="cpu")


def _orb(weights: str) -> Any:
    pretrained: Any = importlib.import_module("orb_models.forcefield.pretrained")
    loaded = pretrained.orb_v3_conservative_inf_omat(
        weights_path=weights, device="cpu", precision="float32-highest", compile=False
    )
    if isinstance(loaded, tuple):  # from orb-models 0.6 on, which wants Python 3.12
        model, adapter = loaded
        calculator: Any = importlib.import_module("orb_models.forcefield.inference.calculator")
        return calculator.ORBCalculator(model, atoms_adapter=adapter, device="cpu")
    calculator = importlib.import_module("orb_models.forcefield.calculator")
    return calculator.ORBCalculator(loaded, device="cpu")


def _mattersim(weights: str) -> Any:
    forcefield: Any = importlib.import_module("mattersim.forcefield")
    return forcefield.MatterSimCalculator(load_path=weights, device="cpu")


KNOWN = {
    "chgnet": _Known("chgnet", "chgnet", None, _chgnet),
    "mace": _Known("mace", "mace-torch", "mace-mpa-0-medium.model", _mace),
    "sevennet": _Known("sevenn", "sevenn", None, _sevennet),
    "orb": _Known("orb_models", "orb-models", "orb-v3-conservative-inf-omat-20250404.ckpt", _orb),
    "mattersim": _Known("mattersim", "mattersim", "mattersim-v1.0.0-1M.pth", _mattersim),
}
"""Force fields by name; `calculators` of other names are asked for by dotted path."""


def _weights_folder() -> Path:
    return cache_folder() / "weights"


def _installed_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest_of_module(module: str) -> str:
    """Digest of a module's source, for calculators that are no installed package."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return _digest(Path(spec.origin)) if spec is not None and spec.origin else ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
