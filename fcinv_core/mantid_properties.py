"""What the properties of our Mantid algorithms say, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fcinv_core.mantid_bridge import RESOLUTIONS, bins_of


def given(algorithm: Any, name: str, otherwise: Any = None) -> Any:
    """The value of a property, or ``otherwise`` where it is left at its default."""
    value = algorithm.getProperty(name)
    return otherwise if value.isDefault else value.value


def measurement_of(algorithm: Any) -> dict[str, Any]:
    """``temperature`` (K) and ``energy_fwhm`` (meV or a resolution), None where not given."""
    energy_fwhm = given(algorithm, "EnergyResolution")
    coefficients = given(algorithm, "EnergyResolutionCoefficients")
    path = given(algorithm, "EnergyResolutionFile")
    if coefficients is not None or path is not None:
        from fcinv_core.scattering.resolution import EnergyResolution

        if path is not None:
            energy_fwhm = EnergyResolution.from_text_file(path)
        else:
            energy_fwhm = EnergyResolution.polynomial(coefficients)
    return {"temperature": given(algorithm, "Temperature"), "energy_fwhm": energy_fwhm}


def supercell_of(algorithm: Any) -> list[int] | None:
    """The numbers of SupercellMatrix, None where it is not given."""
    numbers = given(algorithm, "SupercellMatrix")
    return None if numbers is None else [int(number) for number in numbers]


def issues_of_files(algorithm: Any, names: Iterable[str]) -> dict[str, str]:
    """Optional files to be read that are not there, which Mantid lets pass."""
    paths = {name: algorithm.getProperty(name).value for name in names}
    return {
        name: f"There is no file {path}: correct the path"
        for name, path in paths.items()
        if path and not Path(path).is_file()
    }


def issues_of_supercell(algorithm: Any) -> dict[str, str]:
    """A SupercellMatrix that is neither 3 nor 9 numbers."""
    size = len(algorithm.getProperty("SupercellMatrix").value)
    if size in (0, 3, 9):
        return {}
    return {"SupercellMatrix": f"{size} numbers: give 3 multiples, or 9 numbers row by row"}


def issues_of_measurement(algorithm: Any, workspaces: Sequence[Any]) -> dict[str, str]:
    """What of temperature and resolution is missing, or given twice.

    Parameters
    ----------
    workspaces
        Those whose logs count.
    """
    issues = issues_of_files(algorithm, ["EnergyResolutionFile"])
    resolutions = [name for name in RESOLUTIONS if given(algorithm, name) is not None]
    for name in resolutions[1:]:
        issues[name] = f"{resolutions[0]} is given, too: leave one of them out"
    known = [bins_of(workspace) for workspace in workspaces]
    wanted = {
        "Temperature": [bins.temperature for bins in known],
        "EnergyResolution": [bins.incident_energy for bins in known],
    }
    if given(algorithm, "Temperature") is not None:
        del wanted["Temperature"]
    if resolutions:
        del wanted["EnergyResolution"]
    for name, logs in wanted.items():
        if not known:
            issues[name] = "There is no InputWorkspace to take it from: give it"
        elif None in logs:
            source = known[logs.index(None)].source
            issues[name] = f"It is not in the sample logs of {source}: give it"
    return issues
