"""Continue a reduction script: force constants from what MDNorm has left.

Copy this file beside the reduction script and call `invert_unattended` at its end.
"""

import json
import os
import resource
import threading
from pathlib import Path

from mantid.api import AlgorithmManager, AnalysisDataService
from mantid.simpleapi import SaveMD

PATHS = ("Structure", "StartForceConstants", "BornFile", "EnergyResolutionFile")


def read_parameters(path):
    """Properties of InvertForceConstants; paths of files are relative to the parameter file."""
    parameters = json.loads(Path(path).read_text())
    for name in PATHS:
        if name in parameters:
            parameters[name] = str(Path(path).absolute().parent / parameters[name])
    return parameters


def limit_memory(share):
    """Let this process take no more than a share of the machine's memory."""
    most = int(share * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def invert_unattended(workspace, parameters, directory, name, seconds):
    """Invert a workspace within a number of seconds; returns the verdict and the files written.

    Raises RuntimeError with one line that says what is wrong.
    """
    folder = Path(directory).absolute()
    files = {
        "OutputForceConstants": folder / f"{name}_force_constants.yaml",
        "ReportFile": folder / f"{name}_report.html",
        "ResultFile": folder / f"{name}_result.json",
    }
    algorithm = AlgorithmManager.create("InvertForceConstants")
    algorithm.setRethrows(True)
    algorithm.setProperty("InputWorkspace", workspace)
    algorithm.setProperty("OutputWorkspace", f"{name}_parameters")
    algorithm.setProperty("OutputSimulation", f"{name}_simulated")
    for key, value in {**parameters, **{key: str(path) for key, path in files.items()}}.items():
        algorithm.setProperty(key, value)
    # The properties that do not fit say so in Mantid's log; here is the one that comes first.
    for key, problem in algorithm.validateInputs().items():
        raise RuntimeError(f"{key}: {problem}")
    clock = threading.Timer(seconds, algorithm.cancel)
    clock.start()
    try:
        algorithm.execute()
    except KeyboardInterrupt:
        raise RuntimeError(f"no force constants within {seconds} s; use coarser bins") from None
    finally:
        clock.cancel()
    simulated = folder / f"{name}_simulated.nxs"
    SaveMD(AnalysisDataService[f"{name}_simulated"], Filename=str(simulated))
    verdict = algorithm.getProperty("TrustVerdict").value
    return verdict, [*(str(path) for path in files.values()), str(simulated)]
