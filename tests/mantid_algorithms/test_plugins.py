"""What dialogs, scripts and Mantid's start see of the plugins before anything runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mantid.api import AlgorithmManager

PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = ("SimulateSQE", "InvertForceConstants")

CONTRACT = {
    "SimulateSQE": {
        "InputWorkspace", "ForceConstants", "SupercellMatrix", "Temperature", "EnergyResolution",
        "ApplyCoverage", "Scale", "Background", "OutputWorkspace",
        *(f"QDimension{i}" for i in range(3)),
        *(f"Dimension{i}{what}" for i in range(4) for what in ("Name", "Binning")),
    },
    "InvertForceConstants": {
        "InputWorkspace", "AdditionalWorkspaces", "InputDataWorkspace",
        "InputNormalizationWorkspace", "Structure", "SupercellMatrix", "Cutoff", "BornFile",
        "Model", "StartForceConstants", "Temperature", "EnergyResolution", "EnergyMin",
        "EnergyMax", "Background", "Refine", "MaxIterations", "Seed", "OutputForceConstants",
        "OutputWorkspace", "OutputSimulation", "OutputResidual", "OutputDispersion", "ReportFile",
        "TrustVerdict", "Deviance",
    },
}  # fmt: skip

WITH_UNITS = {
    "Temperature": "K",
    "EnergyResolution": "meV",
    "EnergyResolutionCoefficients": "meV",
    "EnergyResolutionFile": "meV",
    "EnergyMin": "meV",
    "EnergyMax": "meV",
    "Cutoff": "Angstrom",
    "Scale": "mbarn/meV",
    "Dimension0Binning": "r.l.u.",
}


def properties(name):
    return {item.name: item for item in AlgorithmManager.create(name).getProperties()}


@pytest.mark.parametrize("name", NAMES)
def test_properties_of_the_contract_are_there_and_documented(name):
    found = properties(name)
    assert found.keys() >= CONTRACT[name]
    for item in found.values():
        assert item.documentation.strip().endswith("."), item.name
        if item.name in WITH_UNITS:
            assert re.search(rf"\b{re.escape(WITH_UNITS[item.name])}", item.documentation)


@pytest.mark.parametrize("name", NAMES)
def test_category_summary_and_help(name):
    algorithm = AlgorithmManager.create(name)
    assert algorithm.category() == "Inelastic\\Phonons"
    assert algorithm.summary().endswith(".")
    assert set(NAMES) & set(algorithm.seeAlso()) == set(NAMES) - {name}
    page = algorithm.helpURL()
    assert page.startswith("file://") and name in page


def settings_of(name):
    return {
        key: item.settings
        for key, item in properties(name).items()
        if getattr(item, "settings", None) is not None
    }


def test_what_does_not_apply_is_hidden_or_disabled(load):
    simulate, settings = AlgorithmManager.create("SimulateSQE"), settings_of("SimulateSQE")
    bins = [name for name in settings if name.startswith(("Dimension", "QDimension"))]
    assert len(bins) == 11 and all(settings[name].isVisible(simulate) for name in bins)
    assert not settings["ApplyCoverage"].isEnabled(simulate)
    load("five_orientations_HHL0_slice_clean")
    simulate.setProperty("InputWorkspace", "measured")
    assert not any(settings[name].isVisible(simulate) for name in bins)
    assert settings["ApplyCoverage"].isEnabled(simulate)
    invert, settings = (
        AlgorithmManager.create("InvertForceConstants"),
        settings_of("InvertForceConstants"),
    )
    assert settings["MaxIterations"].isEnabled(invert)
    invert.setProperty("Refine", False)
    assert not settings["MaxIterations"].isEnabled(invert)


IMPORT = """
import json, sys, time
import numpy, mantid.kernel, mantid.api
before = set(sys.modules)
import {name}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("name", NAMES)
def test_importing_a_plugin_loads_next_to_nothing(name, mantid_environment):
    """Mantid does it at every start."""
    environment = mantid_environment | {
        "PYTHONPATH": f"{PLUGINS}:{mantid_environment['PYTHONPATH']}"
    }
    run = subprocess.run(
        [sys.executable, "-c", IMPORT.format(name=name)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = json.loads(run.stdout.splitlines()[-1])
    heavy = {"torch", "phonopy", "scipy", "matplotlib", "h5py", "jinja2", "rich", "chgnet", "ase"}
    assert heavy.isdisjoint(module.split(".")[0] for module in loaded)
    ours = [module for module in loaded if module.startswith("fcinv_core.")]
    assert len(ours) < 10 and run.stderr == ""


def test_the_folder_of_plugins_holds_algorithms_only():
    """Mantid imports every Python file in it, and each is named after its algorithm."""
    files = [path for path in PLUGINS.rglob("*") if "__pycache__" not in path.parts]
    assert sorted(path.name for path in files) == [f"{name}.py" for name in sorted(NAMES)]
