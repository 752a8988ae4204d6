"""At ISIS: a script called as ``isis.py REDUCED_FILE OUTPUT_FOLDER``.

The runner expects exit code 0, and JSON on the last line of standard output.
"""

import json
import sys
from pathlib import Path

from after_mdnorm import invert_unattended, read_parameters
from mantid.simpleapi import LoadMD

SECONDS = 50 * 60


def main(reduced_file, output_folder):
    parameters = read_parameters(Path(__file__).with_name("parameters.json"))
    name = Path(reduced_file).stem
    # A reduction script has the workspace from MDNorm at hand and need not load it.
    workspace = LoadMD(reduced_file, OutputWorkspace="reduced")
    return invert_unattended(workspace, parameters, output_folder, name, SECONDS)


if __name__ == "__main__":
    outcome = {"status": "Successful", "status_message": "", "output_files": []}
    try:
        verdict, outcome["output_files"] = main(*sys.argv[1:])
        outcome["status_message"] = f"trust {verdict}"
    except (RuntimeError, ValueError, OSError) as error:
        outcome["status"], outcome["status_message"] = "Error", str(error).splitlines()[0]
    print(json.dumps(outcome))
