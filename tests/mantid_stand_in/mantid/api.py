"""Algorithms: their properties, running, progress and cancellation."""

from __future__ import annotations

import enum
import importlib.util
import sys
from pathlib import Path
from typing import Any

from mantid import kernel
from mantid._workspaces import (
    AlgorithmRecord,
    AnalysisDataService,
    IMDHistoWorkspace,
    IMDWorkspace,
    ITableWorkspace,
    MatrixWorkspace,
    Workspace,
    WorkspaceGroup,
    mtd,
)
from mantid.kernel import Direction, Logger, Property, property_of

__all__ = ["AnalysisDataService", "IMDWorkspace", "Workspace", "WorkspaceGroup", "mtd"]


class FileAction(enum.Enum):
    Save = 0
    OptionalSave = 1
    Load = 2
    OptionalLoad = 3


class PropertyMode(enum.Enum):
    Mandatory = 0
    Optional = 1


class FileProperty(Property):
    def __init__(self, name, defaultValue, action, extensions=(), direction=Direction.Input):
        super().__init__(name, defaultValue, direction=direction)
        self.action = action
        self.extensions = [extensions] if isinstance(extensions, str) else list(extensions)

    @property
    def isValid(self):
        mandatory = self.action in (FileAction.Load, FileAction.Save)
        return "No file specified." if mandatory and not self.value else ""

    def set(self, value):
        path, found = str(value), kernel.find_file(str(value))
        if self.action is FileAction.Load and found is None:
            raise ValueError(
                f'Invalid value for property {self.name} (string) "{path}": When setting value of '
                f'property "{self.name}": File "{path}" not found'
            )
        if path and self.action in (FileAction.Save, FileAction.OptionalSave):
            found = Path(path).absolute()
        self.value = path if found is None else str(found)


class WorkspaceProperty(Property):
    """Holds a workspace, and the name that it has or is to get."""

    kind: type = Workspace
    type = "Workspace"

    def __init__(self, name, defaultValue, direction, optional=PropertyMode.Mandatory):
        super().__init__(name, None, direction=direction)
        self.is_optional = optional is PropertyMode.Optional
        self.workspace_name = defaultValue

    @property
    def isDefault(self):
        return not self.workspace_name and self.value is None

    @property
    def valueAsStr(self):
        return self.workspace_name

    @property
    def isValid(self):
        if self.is_optional or self.workspace_name or self.value is not None:
            return ""
        return (
            "Enter a name for the "
            + ("Output" if self.direction == Direction.Output else "Input")
            + " workspace"
        )

    def set(self, value):
        if isinstance(value, Workspace):
            workspace = value
        else:
            self.workspace_name = str(value)
            if self.direction == Direction.Output:
                return
            if not value:
                self.value = None
                return
            if value not in AnalysisDataService:
                raise self.refusal(value, f'Workspace "{value}" was not found')
            workspace = AnalysisDataService[value]
        is_group = isinstance(workspace, WorkspaceGroup) and self.direction == Direction.Input
        if not isinstance(workspace, self.kind) and not is_group:
            told = f"Workspace {workspace.name()} is not of the correct type"
            raise self.refusal(workspace.name(), told)
        self.value = workspace
        if self.direction == Direction.Input:
            self.workspace_name = workspace.name()


class IMDHistoWorkspaceProperty(WorkspaceProperty):
    kind, type = IMDHistoWorkspace, "IMDHistoWorkspace"


class IMDWorkspaceProperty(WorkspaceProperty):
    kind, type = IMDWorkspace, "IMDWorkspace"


class MatrixWorkspaceProperty(WorkspaceProperty):
    kind, type = MatrixWorkspace, "MatrixWorkspace"


class ITableWorkspaceProperty(WorkspaceProperty):
    kind, type = ITableWorkspace, "TableWorkspace"


class PythonAlgorithm:
    """Base class of algorithms."""

    def __init__(self):
        self._properties: dict[str, Property] = {}
        self._is_child = self._is_initialized = self._is_executed = self._is_cancelled = False
        self.progress_reports: list[tuple[float, str]] = []

    def name(self):
        return type(self).__name__

    def version(self):
        return 1

    def category(self):
        return "PythonAlgorithms"

    def summary(self):
        return ""

    def seeAlso(self):
        return []

    def helpURL(self):
        return ""

    def validateInputs(self):
        return {}

    def checkGroups(self):
        return True

    def initialize(self):
        if not self._is_initialized:
            self._is_initialized = True
            self.PyInit()

    def setChild(self, is_child):
        self._is_child = is_child

    def isChild(self):
        return self._is_child

    def setLogging(self, value):
        pass

    def setRethrows(self, value):
        pass

    def isExecuted(self):
        return self._is_executed

    def log(self):
        return Logger(self.name())

    def declareProperty(self, name, defaultValue=None, *args, **keywords):
        if isinstance(name, Property):
            declared, doc = name, (defaultValue or keywords.get("doc", ""))
        else:
            validator = doc = None
            direction = Direction.Input
            for argument in args:
                if isinstance(argument, str):
                    doc = argument
                elif isinstance(argument, int):
                    direction = argument
                else:
                    validator = argument
            declared = property_of(
                name,
                defaultValue,
                keywords.get("validator", validator),
                keywords.get("direction", direction),
            )
            doc = keywords.get("doc", doc) or ""
        declared.documentation = doc
        self._properties[declared.name] = declared

    def setPropertySettings(self, name, settings):
        self.getProperty(name).settings = settings

    def setPropertyGroup(self, name, group):
        self.getProperty(name).group = group

    def getProperty(self, name):
        if name not in self._properties:
            raise RuntimeError(f"Unknown property search object {name}")
        return self._properties[name]

    def existsProperty(self, name):
        return name in self._properties

    __contains__ = existsProperty

    def getProperties(self):
        return list(self._properties.values())

    def getPropertyValue(self, name):
        return self.getProperty(name).valueAsStr

    def setProperty(self, name, value):
        self.getProperty(name).set(value)

    setPropertyValue = setProperty

    def outputProperties(self):
        return [p.name for p in self.getProperties() if p.direction == Direction.Output]

    def mandatoryProperties(self):
        inputs = [p for p in self.getProperties() if p.direction != Direction.Output]
        return [p.name for p in sorted(inputs, key=lambda p: not p.isValid)]

    def cancel(self):
        self._is_cancelled = True

    def execute(self):
        self._is_executed = False
        groups = [
            p
            for p in self.getProperties()
            if p.direction == Direction.Input and isinstance(p.value, WorkspaceGroup)
        ]
        if groups and self.checkGroups():
            return self._run_for_members(groups[0])
        issues = {p.name: p.isValid for p in self.getProperties() if p.isValid}
        if not issues:
            issues = {name: text for name, text in self.validateInputs().items() if text}
        if issues:
            for name, text in issues.items():
                self.log().error(f"Invalid value for {name}: {text}")
            raise RuntimeError("Some invalid Properties found")
        try:
            self.PyExec()
        except KeyboardInterrupt:
            raise
        except Exception as error:
            told = str(error)
            self.log().error(told)
            raise RuntimeError(told) from None
        self._is_executed = True
        if not self._is_child:
            self._store()
        return True

    def _store(self):
        record = AlgorithmRecord(self)
        for item in self.getProperties():
            if not isinstance(item, WorkspaceProperty) or item.direction != Direction.Output:
                continue
            if item.value is not None and item.workspace_name:
                members = item.value if isinstance(item.value, WorkspaceGroup) else [item.value]
                for i in range(len(members)) if members is item.value else [0]:
                    members[i]._history.append(record)
                AnalysisDataService.addOrReplace(item.workspace_name, item.value)

    def _run_for_members(self, group):
        """Once per member, whose names outputs get as prefixes, then in groups of their own."""
        made: dict[str, list[str]] = {}
        for member in group.value.getNames():
            one = AlgorithmManager.createUnmanaged(self.name())
            one.initialize()
            for item in self.getProperties():
                if item is group:
                    one.setProperty(item.name, member)
                elif isinstance(item, WorkspaceProperty) and item.direction == Direction.Output:
                    if item.workspace_name:
                        name = f"{member}_{item.workspace_name}"
                        one.setProperty(item.name, name)
                        made.setdefault(item.workspace_name, []).append(name)
                elif not item.isDefault:
                    one.setPropertyValue(item.name, item.valueAsStr)
            one.execute()
        for name, members in made.items():
            AnalysisDataService.addOrReplace(name, WorkspaceGroup(members))
        self._is_executed = True
        return True


class Progress:
    """Looks at the cancel button when the bar has moved by a notify step."""

    def __init__(self, alg, start, end, nreports):
        self._algorithm, self._start, self._end = alg, start, end
        self._steps = max(nreports, 1)
        self._at = 0
        self._notify_step = max(int(self._steps * 0.01 / (end - start)), 1)
        self._last = -self._notify_step

    def setNotifyStep(self, percent):
        self._notify_step = int(self._steps * percent / 100 / (self._end - self._start))

    def report(self, *args):
        if len(args) == 2:
            self._at, text = args
        else:
            self._at += 1
            (text,) = args or ("",)
        if self._at - self._last < self._notify_step:
            return
        self._last = self._at
        fraction = min(self._start + (self._end - self._start) * self._at / self._steps, self._end)
        self._algorithm.progress_reports.append((fraction, text))
        if self._algorithm._is_cancelled:
            raise KeyboardInterrupt


class _AlgorithmFactory:
    def __init__(self):
        self._classes: dict[str, Any] = {}

    def subscribe(self, algorithm):
        self._classes[algorithm.__name__] = algorithm

    def exists(self, name, version=-1):
        return name in self._classes

    def create(self, name):
        if name not in self._classes:
            raise RuntimeError(f'Algorithm not registered "{name}"')
        return self._classes[name]()

    def names(self):
        return list(self._classes)


AlgorithmFactory = _AlgorithmFactory()


class _AlgorithmManager:
    def createUnmanaged(self, name, version=-1):
        return AlgorithmFactory.create(name)

    def create(self, name, version=-1):
        algorithm = AlgorithmFactory.create(name)
        algorithm.initialize()
        return algorithm


AlgorithmManager = _AlgorithmManager()


class _WorkspaceFactory:
    def createTable(self, kind="TableWorkspace"):
        return ITableWorkspace()


WorkspaceFactory = _WorkspaceFactory()


def load_plugins(directories: str) -> list[str]:
    """Import every Python file below the directories; names of those that could not be."""
    failed = []
    for directory in filter(None, directories.split(";")):
        for path in sorted(Path(directory).rglob("*.py")):
            specification = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(specification)
            sys.modules[path.stem] = module
            try:
                specification.loader.exec_module(module)
            except Exception as error:
                failed.append(path.stem)
                kernel.logger.warning(f"Could not load {path}: {error}")
    return failed
