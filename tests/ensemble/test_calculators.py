"""Force fields by name: what they are called with, and what is said when they are missing."""

from __future__ import annotations

import hashlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator

from fcinv_core import FcinvError
from fcinv_core.ensemble.calculators import ForceField

NAMES = {
    "mace": ("mace", "mace-torch", "mace-mpa-0-medium.model"),
    "sevennet": ("sevenn", "sevenn", None),
    "orb": ("orb_models", "orb-models", "orb-v3-conservative-inf-omat-20250404.ckpt"),
    "mattersim": ("mattersim", "mattersim", "mattersim-v1.0.0-1M.pth"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCINV_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def install(monkeypatch):
    """Put modules with the given content where they can be imported."""

    def put(name, **content):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            module = sys.modules.get(path)
            if module is None:
                module = ModuleType(path)
                module.__spec__ = ModuleSpec(path, None)
                module.__path__ = []
                monkeypatch.setitem(sys.modules, path, module)
        vars(module).update(content)

    return put


def recorder(calls):
    def call(*args, **kwargs):
        calls.append((args, kwargs))
        return "calculator"

    return call


@pytest.mark.parametrize("name", ["chgnet", *NAMES])
def test_missing_package_says_how_to_get_it(name, monkeypatch):
    module, package, _ = NAMES.get(name, ("chgnet", r"fcinv\[forcefields\]", None))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FcinvError, match=f"{name!r}.*pip install {package}") as error:
        _ = ForceField(name).calculator
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in NAMES if NAMES[name][2]])
def test_missing_weights_are_not_downloaded(name, install, cache):
    module, _, weights = NAMES[name]
    install(module)  # without any function: a call would be an AttributeError
    with pytest.raises(FcinvError, match=f"place {weights} in {cache}/weights"):
        _ = ForceField(name).calculator


def weights_of(name, cache):
    path = cache / "weights" / NAMES[name][2]
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return str(path)


def test_mace(install, cache):
    calls = []
    install("mace.calculators", mace_mp=recorder(calls))
    path = weights_of("mace", cache)
    assert ForceField("mace").calculator == "calculator"
    assert calls == [((), {"model": path, "device": "cpu", "default_dtype": "float64"})]


def test_sevennet(install):
    calls = []
    install("sevenn.calculator", SevenNetCalculator=recorder(calls))
    assert ForceField("sevennet").calculator == "calculator"
    assert calls == [(("7net-0",), {"device": "cpu"})]


@pytest.mark.parametrize("loaded", ["model", ("model", "adapter")])
def test_orb_of_both_interfaces(loaded, install, cache):
    calls, models = [], []

    def model(**kwargs):
        models.append(kwargs)
        return loaded

    install("orb_models.forcefield.pretrained", orb_v3_conservative_inf_omat=model)
    place = "inference.calculator" if isinstance(loaded, tuple) else "calculator"
    install(f"orb_models.forcefield.{place}", ORBCalculator=recorder(calls))
    path = weights_of("orb", cache)
    assert ForceField("orb").calculator == "calculator"
    assert models[0]["weights_path"] == path and models[0]["device"] == "cpu"
    (args, kwargs) = calls[0]
    assert args == ("model",) and kwargs.pop("device") == "cpu"
    assert kwargs == ({"atoms_adapter": "adapter"} if isinstance(loaded, tuple) else {})


def test_mattersim(install, cache):
    calls = []
    install("mattersim.forcefield", MatterSimCalculator=recorder(calls))
    path = weights_of("mattersim", cache)
    assert ForceField("mattersim").calculator == "calculator"
    assert calls == [((), {"load_path": path, "device": "cpu"})]


def test_version_tells_weights_and_sources_apart(cache, monkeypatch):
    empty = ForceField("mace").version
    weights_of("mace", cache)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert ForceField("mace").version.endswith(digest[:16]) != empty.endswith(digest[:16])
    (cache / "own_force_field.py").write_text("calculator = None")
    monkeypatch.syspath_prepend(str(cache))
    first = ForceField("own_force_field:calculator").version
    (cache / "own_force_field.py").write_text("calculator = 1")
    assert ForceField("own_force_field:calculator").version != first
    assert ForceField("ase.calculators.emt:EMT").version == __import__("ase").__version__


def test_names_that_are_none():
    with pytest.raises(FcinvError, match="unknown force field 'nothing': use one of chgnet, mace"):
        ForceField("nothing")
    with pytest.raises(FcinvError, match="cannot be imported"):
        _ = ForceField("no_such_package:calculator").calculator
    with pytest.raises(FcinvError, match="cannot be imported"):
        _ = ForceField("ase.calculators.emt:NoSuchThing").calculator


class Constant(Calculator):
    """The same force on every atom but the first."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force):
        super().__init__()
        self.force = force

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        forces = np.full((len(self.atoms), 3), self.force)
        forces[0] = 0
        self.results = {"energy": 0.0, "forces": forces}


def cell_of(n):
    positions = np.arange(3 * n).reshape(n, 3) / (3 * n)
    return SimpleNamespace(symbols=["Al"] * n, scaled_positions=positions, cell=9 * np.eye(3))


def test_forces_add_up_to_zero_and_are_finite():
    force_field = ForceField("own:toy")
    force_field.calculator = Constant(1.0)
    assert np.allclose(force_field.forces(cell_of(4))[:, 0], [-0.75, 0.25, 0.25, 0.25])
    force_field.calculator = Constant(np.nan)
    with pytest.raises(FcinvError, match="own:toy gives forces that are not finite"):
        force_field.forces(cell_of(4))


def test_work_leaves_no_trace(capfd):
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    force_field = ForceField("own:toy")
    with pytest.raises(FcinvError, match=r"own:toy fails \(ZeroDivisionError"):
        with force_field.at_work():
            assert torch.get_num_threads() == 1
            torch.set_default_dtype(torch.float16)
            print("computing")
            print("a warning", file=sys.stderr)
            _ = 1 / 0
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert capfd.readouterr() == ("", "")


class OfDoublePrecision(Constant):
    """Sets torch's default type when loaded, and relies on it later."""

    def __init__(self):
        super().__init__(1.0)
        torch.set_default_dtype(torch.float64)

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        assert torch.zeros(1).dtype == torch.float64


def test_type_of_numbers_is_the_force_fields_own(install):
    install("toys", double=OfDoublePrecision)
    assert torch.get_default_dtype() == torch.float32
    assert np.all(np.isfinite(ForceField("toys:double").forces(cell_of(2))))
    assert torch.get_default_dtype() == torch.float32


def test_chgnet_forces_without_stress_are_those_with_it():
    pytest.importorskip("chgnet")
    from ase.build import bulk

    force_field = ForceField("chgnet")
    with force_field.at_work():
        atoms = bulk("Si")
        atoms.rattle(0.1, seed=1)
        atoms.calc = force_field.calculator
        forces = atoms.get_forces()
        assert "stress" not in atoms.calc.results
        stress = atoms.get_stress()
        together = atoms.get_forces()
        strained = atoms.copy()
        strained.calc = force_field.calculator
        energies = []
        for strain in (-1e-3, 1e-3):
            strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
            energies.append(strained.get_potential_energy())
    assert forces == pytest.approx(together, abs=1e-5)
    # dE/dε = V·tr σ of an isotropic strain ε
    slope = (energies[1] - energies[0]) / 2e-3
    assert atoms.get_volume() * stress[:3].sum() == pytest.approx(slope, rel=0.02)
