"""Between Mantid's workspaces and this package, both ways.

The only module of the package that imports Mantid; versions from 4.0 on. What takes long, or
needs more than NumPy, is imported where it is used: Mantid loads this at its start.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from mantid.api import (
    AlgorithmManager,
    AnalysisDataService,
    FileAction,
    FileProperty,
    IMDHistoWorkspace,
    Progress,
    WorkspaceFactory,
    WorkspaceGroup,
)
from mantid.kernel import (
    ConfigService,
    EnabledWhenProperty,
    FloatArrayProperty,
    FloatBoundedValidator,
    Property,
    PropertyCriterion,
)

from fcinv_core.cancellable import Report, run_cancellable
from fcinv_core.errors import NO_MEMORY, FcinvError, is_out_of_memory
from fcinv_core.limits import MOST_THREADS

if TYPE_CHECKING:
    from fcinv_core.histogram import SQEHistogram
    from fcinv_core.histogram.axes import Axis
    from fcinv_core.histogram.experiment import ExperimentInfo
    from fcinv_core.inversion import InversionResult
    from fcinv_core.inversion.result import Dispersion, Estimate

Result = TypeVar("Result")

_STEPS = 99
"""Of Mantid's progress bar."""

RESOLUTIONS = ("EnergyResolution", "EnergyResolutionCoefficients", "EnergyResolutionFile")
"""Properties that each give the energy resolution."""

_CELL = ("a", "b", "c", "alpha", "beta", "gamma")

_LABEL, _Y, _Y_ERROR, _NEITHER = 6, 2, 5, 0
"""What Mantid plots a column of a table as."""


def histogram_from_workspace(workspace: Any) -> SQEHistogram:
    """Copy an MDHistoWorkspace.

    Parameters
    ----------
    workspace
        ``IMDHistoWorkspace``, with axes in any order and projection.

    Raises
    ------
    FcinvError
        When it is something else, or its axes make no histogram.
    """
    _refuse_others(workspace)
    signal = np.array(workspace.getSignalArray(), order="C")
    return _histogram(
        workspace,
        axes_of(workspace),
        signal,
        np.array(workspace.getErrorSquaredArray(), order="C"),
        np.array(workspace.getNumEventsArray(), order="C"),
    )


def bins_of(workspace: Any) -> SQEHistogram:
    """What is to be known of an MDHistoWorkspace but its values, with one bin along Q and energy.

    Tells whether a large workspace can be used without a copy of it.
    """
    from fcinv_core.histogram.axes import Axis

    axes = [
        Axis(axis.name, axis.unit, axis.frame, axis.edges[[0, -1]], axis.identifier)
        if axis.is_energy or axis.is_momentum
        else axis
        for axis in axes_of(workspace)
    ]
    values = np.ones(tuple(axis.n_bins for axis in axes))
    return _histogram(workspace, axes, values, values, values)


def problem_of(workspace: Any) -> str | None:
    """Why a workspace cannot be inverted or simulated, in one line, but for its logs; or None."""
    from fcinv_core.histogram import check_invertible

    try:
        _refuse_others(workspace)
        check_invertible(bins_of(workspace), temperature=0.0)
    except FcinvError as error:
        return str(error)
    return None


def axes_of(workspace: Any) -> list[Axis]:
    """Its dimensions in their order."""
    from fcinv_core.histogram.axes import Axis

    axes = []
    for i in range(workspace.getNumDims()):
        dimension = workspace.getDimension(i)
        # as SaveMD writes them: in single precision, they do not quite ascend evenly
        edges = np.array([dimension.getX(k) for k in range(dimension.getNBins() + 1)])
        axes.append(
            Axis(
                dimension.name,
                str(dimension.getUnits()),
                dimension.getMDFrame().name(),
                edges,
                dimension.getDimensionId(),
            )
        )
    return axes


def _histogram(
    workspace: Any,
    axes: Sequence[Axis],
    signal: np.ndarray,
    variance: np.ndarray,
    num_events: np.ndarray,
) -> SQEHistogram:
    from fcinv_core.histogram import SQEHistogram

    return SQEHistogram(
        axes=tuple(axes),
        signal=signal,
        variance=variance,
        num_events=num_events,
        mask=np.zeros(signal.shape, dtype=bool),  # MaskMD leaves NaN
        experiments=tuple(
            _experiment(workspace.getExperimentInfo(i))
            for i in range(workspace.getNumExperimentInfo())
        ),
        q_convention=ConfigService["Q.convention"] or "Inelastic",
        coordinate_system=int(workspace.getSpecialCoordinateSystem()),
        source=_name(workspace),
    )


def _experiment(info: Any) -> ExperimentInfo:
    from fcinv_core.histogram.experiment import ExperimentInfo, GoniometerAxis, Logs

    run, sample = info.run(), info.sample()
    ub = cell = None
    if sample.hasOrientedLattice():
        lattice = sample.getOrientedLattice()
        ub = np.array(lattice.getUB(), dtype=np.float64)
        cell = tuple(float(getattr(lattice, name)()) for name in _CELL)
    rotation = np.array(run.getGoniometer().getR(), dtype=np.float64)
    is_turned = not np.allclose(rotation, np.eye(3), atol=1e-12)
    return ExperimentInfo.from_logs(
        Logs(list(run.keys()), lambda name: run.getProperty(name).value),
        ub=ub,
        lattice=cell,
        goniometer=(GoniometerAxis.from_rotation(rotation),) if is_turned else (),
        instrument=str(info.getInstrument().getName()),
    )


def _refuse_others(workspace: Any) -> None:
    if not isinstance(workspace, IMDHistoWorkspace):
        raise FcinvError(
            f"{_name(workspace)} is a {workspace.id()}, no MDHistoWorkspace; bin the data with "
            "MDNorm or BinMD"
        )


def _name(workspace: Any) -> str:
    return workspace.name() or "the workspace"


def named_workspaces(names: Iterable[str]) -> list[Any]:
    """Workspaces of these names, those of a group one by one.

    Raises
    ------
    FcinvError
        When there is none of that name.
    """
    found: list[Any] = []
    for name in names:
        if not AnalysisDataService.doesExist(name):
            raise FcinvError(f"there is no workspace {name!r}; load it, or correct the name")
        workspace = AnalysisDataService.retrieve(name)
        if isinstance(workspace, WorkspaceGroup):
            found += named_workspaces(workspace.getNames())
        else:
            found.append(workspace)
    return found


def workspace_like(template: Any, histogram: SQEHistogram) -> Any:
    """A new MDHistoWorkspace with the bins, logs and history of ``template`` and other values."""
    workspace = _output_of("CloneMDWorkspace", InputWorkspace=template)
    workspace.setSignalArray(histogram.signal)
    workspace.setErrorSquaredArray(histogram.variance)
    return workspace


def new_workspace(histogram: SQEHistogram) -> Any:
    """A new MDHistoWorkspace, through a file: Mantid cannot add a lattice to one in Python."""
    with tempfile.TemporaryDirectory(prefix="fcinv-") as folder:
        path = Path(folder) / "histogram.nxs"
        histogram.save(path)
        return _output_of("LoadMD", Filename=str(path))


def table_of(result: InversionResult) -> Any:
    """A table of all fitted numbers: parameter, value, sigma, unit."""
    table = WorkspaceFactory.createTable("TableWorkspace")
    table.addColumn("str", "parameter", _LABEL)
    table.addColumn("double", "value", _Y)
    table.addColumn("double", "sigma", _Y_ERROR)
    table.addColumn("str", "unit", _NEITHER)
    for name, estimate in _estimates(result):
        numbers = float(estimate.value), float(estimate.sigma)
        table.addRow([_ascii(name), *numbers, _ascii(estimate.unit)])
    return table


def _estimates(result: InversionResult) -> Iterable[tuple[str, Estimate]]:
    yield from result.parameter_estimates.items()
    for fit in result.fits:
        of = f" of {fit.source}" if len(result.fits) > 1 else ""
        for name, estimate in fit.nuisance.items():
            yield f"{name}{of}", estimate
    yield from result.elastic.estimates.items()


def dispersion_workspace(dispersion: Dispersion) -> Any:
    """A MatrixWorkspace with one spectrum per branch: energies (meV) along the path (1/Å)."""
    n_branches = dispersion.energy_mev.shape[1]
    workspace = _output_of(
        "CreateWorkspace",
        DataX=np.tile(dispersion.distance, n_branches),
        DataY=dispersion.energy_mev.T.ravel(),
        DataE=dispersion.sigma_mev.T.ravel(),
        NSpec=n_branches,
        UnitX="MomentumTransfer",
        YUnitLabel="Energy transfer (meV)",
        VerticalAxisUnit="Text",
        VerticalAxisValues=[f"branch {i + 1}" for i in range(n_branches)],
        WorkspaceTitle="Phonon dispersion",
    )
    labels = ", ".join(
        f"{_ascii(label)} {dispersion.distance[index]:.4f}"
        for index, label in dispersion.path_labels
    )
    workspace.mutableRun().addProperty("path_labels", labels, True)
    return workspace


def group_of(workspaces: Sequence[Any], name: str) -> Any:
    """A group of new workspaces, called ``name_1``, ``name_2``, ...; a single one as it is."""
    if len(workspaces) == 1:
        return workspaces[0]
    names = [f"{name}_{i + 1}" for i in range(len(workspaces))]
    for own, workspace in zip(names, workspaces, strict=True):
        AnalysisDataService.addOrReplace(own, workspace)
    return _output_of("GroupWorkspaces", InputWorkspaces=names)


def declare_measurement(algorithm: Any) -> None:
    """Properties for what sample logs may not tell: temperature and resolution."""
    algorithm.declareProperty(
        "Temperature",
        Property.EMPTY_DBL,
        validator=FloatBoundedValidator(lower=0.0),
        doc="Sample temperature in K, of all workspaces. Default: from the sample logs of each.",
    )
    algorithm.declareProperty(
        "EnergyResolution",
        Property.EMPTY_DBL,
        validator=FloatBoundedValidator(lower=0.0),
        doc="Energy resolution in meV: full width at half maximum, the same at all energy "
        "transfers. Default: 3 % of the incident energy in the sample logs.",
    )
    algorithm.declareProperty(
        FloatArrayProperty("EnergyResolutionCoefficients", []),
        "Instead: coefficients c0, c1, ... of the full width at half maximum in meV as a "
        "polynomial in the energy transfer in meV.",
    )
    algorithm.declareProperty(
        FileProperty("EnergyResolutionFile", "", FileAction.OptionalLoad, [".txt", ".dat"]),
        "Instead: text file with two columns, energy transfer and full width at half maximum, "
        "both in meV.",
    )
    for name in RESOLUTIONS:
        algorithm.setPropertyGroup(name, "Energy resolution")
    for name in RESOLUTIONS[1:]:
        algorithm.setPropertySettings(
            name, EnabledWhenProperty("EnergyResolution", PropertyCriterion.IsDefault)
        )


def help_page(algorithm: str) -> str:
    """Address of the documentation of an algorithm; empty where it is not at hand."""
    package = Path(__file__).parent
    pages = (
        package.parent / f"docs/_build/html/algorithms/{algorithm}.html",
        package.parent / f"docs/algorithms/{algorithm}.md",
        package / f"mantid_docs/{algorithm}.md",
    )
    return next((page.as_uri() for page in pages if page.is_file()), "")


def run(algorithm: Any, work: Callable[[Report], Result]) -> Result:
    """What ``work`` returns, run beside Mantid's progress bar and cancel button.

    The work must not touch Mantid: see `fcinv_core.cancellable`.

    Raises
    ------
    KeyboardInterrupt
        When the user cancels, as Mantid has it.
    """
    progress = Progress(algorithm, start=0.0, end=1.0, nreports=_STEPS)
    progress.setNotifyStep(0.0)  # else Mantid looks at the button only when the bar moves

    def interface(text: str, fraction: float) -> None:
        progress.report(int(_STEPS * min(fraction, 1.0)), text)

    def bounded(report: Report) -> Result:
        import torch

        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(min(os.cpu_count() or 1, MOST_THREADS))
        return work(report)

    return run_cancellable(bounded, interface)


def one_line_errors(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """A PyExec whose errors reach users as those of Mantid do, in one line."""

    def wrapped(algorithm: Any) -> None:
        try:
            method(algorithm)
        except FcinvError as error:
            raise RuntimeError(str(error)) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise RuntimeError(NO_MEMORY) from error
            raise

    return wrapped


def _output_of(algorithm: str, **properties: Any) -> Any:
    """Output workspace of one of Mantid's algorithms, which leaves nothing else behind."""
    child = AlgorithmManager.createUnmanaged(algorithm)
    child.setChild(True)
    child.setLogging(False)
    child.initialize()
    for name, value in properties.items():
        child.setProperty(name, value)
    child.setProperty("OutputWorkspace", "__fcinv")
    child.execute()
    return child.getProperty("OutputWorkspace").value


def _ascii(text: str) -> str:
    """Without letters that some of Mantid's files and windows do not show."""
    return text.replace("Å", "Angstrom").replace("²", "^2").replace("Γ", "Gamma")
