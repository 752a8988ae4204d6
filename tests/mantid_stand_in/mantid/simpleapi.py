"""Every algorithm as a function: Mantid's own, and those of the plugin directories."""

from __future__ import annotations

import sys
from collections import namedtuple

from mantid import _algorithms as _own
from mantid.api import (
    AlgorithmFactory,
    AlgorithmManager,
    AnalysisDataService,
    WorkspaceGroup,
    WorkspaceProperty,
    load_plugins,
    mtd,
)
from mantid.kernel import Direction, config, logger

__all__ = ["AnalysisDataService", "WorkspaceGroup", "config", "logger", "mtd"]

assert _own
load_plugins(config["user.python.plugins.directories"])


def _function(name):
    def run(*args, **keywords):
        algorithm = AlgorithmManager.createUnmanaged(name)
        algorithm.initialize()
        order = algorithm.mandatoryProperties()
        given = dict(zip(order, args, strict=False)) | keywords
        missing = [
            p.name
            for p in algorithm.getProperties()
            if p.isValid and p.direction == Direction.Input and p.name not in given
        ]
        if missing:
            raise RuntimeError(f"{missing} argument(s) not supplied to {name}")
        for key, value in given.items():
            algorithm.setProperty(key, value)
        algorithm.execute()
        return _returned(name, algorithm)

    run.__name__ = name
    return run


def _returned(name, algorithm):
    values = {}
    for key in algorithm.outputProperties():
        item = algorithm.getProperty(key)
        if isinstance(item, WorkspaceProperty):
            if not item.workspace_name or item.workspace_name not in AnalysisDataService:
                continue
            values[key] = AnalysisDataService[item.workspace_name]
        else:
            values[key] = item.value
    if len(values) == 1:
        return next(iter(values.values()))
    return namedtuple(f"{name}_returns", values)(**values) if values else None


for _name in AlgorithmFactory.names():
    setattr(sys.modules[__name__], _name, _function(_name))
