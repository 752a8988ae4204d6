"""At the SNS: a post-processing script called as ``sns.py REDUCED_FILE OUTPUT_FOLDER``.

The autoreduction service takes anything on standard error for a failure, whose message it finds
after "Error: ", and allows 60 minutes and 70 % of the memory.
"""

import sys
from pathlib import Path

from after_mdnorm import invert_unattended, limit_memory, read_parameters
from mantid.simpleapi import LoadMD

SECONDS, MEMORY = 50 * 60, 0.65


def main(reduced_file, output_folder):
    limit_memory(MEMORY)
    parameters = read_parameters(Path(__file__).with_name("parameters.json"))
    name = Path(reduced_file).stem
    # A reduction script has the workspace from MDNorm at hand and need not load it.
    workspace = LoadMD(reduced_file, OutputWorkspace="reduced")
    verdict, files = invert_unattended(workspace, parameters, output_folder, name, SECONDS)
    print(f"Force constants of {name}: trust {verdict}. Written: {', '.join(files)}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"Error: {str(error).splitlines()[0]}")
