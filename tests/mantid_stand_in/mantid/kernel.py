"""Properties, validators, settings, configuration and logging."""

from __future__ import annotations

import enum
import math
from pathlib import Path
from typing import Any

import numpy as np

EMPTY_DBL = 8.988465674311579e307
EMPTY_INT = 2147483647


class Direction:
    Input, Output, InOut = 0, 1, 2


class PropertyCriterion(enum.Enum):
    IsDefault = 0
    IsNotDefault = 1
    IsEqualTo = 2
    IsNotEqualTo = 3
    IsMoreOrEqual = 4


class EnabledWhenProperty:
    """Whether a property can be edited in a dialog."""

    def __init__(self, otherPropName, when, value=""):
        self._other, self._when, self._value = otherPropName, when, value

    def isVisible(self, algorithm):
        return True

    def isEnabled(self, algorithm):
        return self._is_met(algorithm)

    def _is_met(self, algorithm):
        other = algorithm.getProperty(self._other)
        met = {
            PropertyCriterion.IsDefault: other.isDefault,
            PropertyCriterion.IsNotDefault: not other.isDefault,
            PropertyCriterion.IsEqualTo: other.valueAsStr == self._value,
            PropertyCriterion.IsNotEqualTo: other.valueAsStr != self._value,
        }
        return met[self._when]


class VisibleWhenProperty(EnabledWhenProperty):
    """Whether a property is in a dialog at all."""

    def isEnabled(self, algorithm):
        return True

    def isVisible(self, algorithm):
        return self._is_met(algorithm)


class Validator:
    def problem(self, value: Any) -> str:
        raise NotImplementedError


class FloatBoundedValidator(Validator):
    def __init__(self, lower=None, upper=None):
        self._lower, self._upper = lower, upper

    def problem(self, value):
        if self._lower is not None and value < self._lower:
            return f"Selected value {value:g} is < the lower bound ({self._lower:g})"
        if self._upper is not None and value > self._upper:
            return f"Selected value {value:g} is > the upper bound ({self._upper:g})"
        return ""


IntBoundedValidator = FloatBoundedValidator


class StringListValidator(Validator):
    def __init__(self, allowedValues):
        self.allowed = list(allowedValues)

    def problem(self, value):
        return "" if value in self.allowed else f"The value {value!r} is not in the list"


class FloatArrayLengthValidator(Validator):
    def __init__(self, lenmin, lenmax=None):
        self._least, self._most = lenmin, lenmin if lenmax is None else lenmax

    def problem(self, value):
        fits = self._least <= len(value) <= self._most
        return "" if fits else f"Incorrect size: {len(value)}"


class Property:
    """A property as Python sees it."""

    EMPTY_DBL, EMPTY_INT = EMPTY_DBL, EMPTY_INT
    type = "string"

    def __init__(self, name, default, validator=None, direction=Direction.Input):
        self.name, self.direction = name, direction
        self.documentation, self.group, self.settings = "", "", None
        self.validator = validator
        self.value = self.default = default

    @property
    def allowedValues(self):
        return list(getattr(self.validator, "allowed", []))

    @property
    def isDefault(self):
        return self.valueAsStr == self._as_text(self.default)

    @property
    def valueAsStr(self):
        return self._as_text(self.value)

    @property
    def isValid(self):
        return "" if self.validator is None else self.validator.problem(self.value)

    def set(self, value):
        converted = self._converted(value)
        problem = "" if self.validator is None else self.validator.problem(converted)
        if problem:
            raise self.refusal(value, problem)
        self.value = converted

    def refusal(self, value, problem):
        return ValueError(
            f'Invalid value for property {self.name} ({self.type}) "{value}": {problem}'
        )

    def _converted(self, value):
        return str(value)

    @staticmethod
    def _as_text(value):
        return str(value)


class FloatProperty(Property):
    type = "number"

    def _converted(self, value):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self.refusal(value, "no number") from None

    @staticmethod
    def _as_text(value):
        return f"{value:.15g}"


class IntProperty(FloatProperty):
    def _converted(self, value):
        number = super()._converted(value)
        if number != math.floor(number):
            raise self.refusal(value, "no whole number")
        return int(number)


class BoolProperty(Property):
    type = "boolean"

    def _converted(self, value):
        if isinstance(value, str):
            return value.lower() in ("1", "true")
        return bool(value)

    @staticmethod
    def _as_text(value):
        return "1" if value else "0"


class _ArrayProperty(Property):
    item: Any = str

    def __init__(self, name, values=(), validator=None, direction=Direction.Input):
        super().__init__(name, self._array(values), validator, direction)

    def _converted(self, value):
        try:
            return self._array(value)
        except (TypeError, ValueError):
            raise self.refusal(value, "no list of numbers") from None

    def _array(self, values):
        if isinstance(values, str):
            values = [part.strip() for part in values.split(",") if part.strip()]
        elif np.isscalar(values):
            values = [values]
        return np.array([self.item(value) for value in values])

    @staticmethod
    def _as_text(value):
        return ",".join(f"{item:.15g}" if isinstance(item, float) else str(item) for item in value)


class FloatArrayProperty(_ArrayProperty):
    type, item = "dbl list", float


class IntArrayProperty(_ArrayProperty):
    type, item = "int list", int


class StringArrayProperty(_ArrayProperty):
    type, item = "str list", str

    def _array(self, values):
        return [str(value) for value in super()._array(values)]


def property_of(name, default, validator, direction):
    """The kind of property that a default value asks for."""
    kinds = ((bool, BoolProperty), (int, IntProperty), (float, FloatProperty), (str, Property))
    for kind, made in kinds:
        if isinstance(default, kind):
            return made(name, default, validator, direction)
    raise TypeError(f"no property of {default!r}")


class _ConfigService:
    """Keys that are not set are empty, as in Mantid."""

    def __init__(self):
        self._values = {"Q.convention": "Inelastic", "default.facility": "SNS"}
        own = Path.home() / ".mantid/Mantid.user.properties"
        if own.is_file():
            for line in own.read_text().splitlines():
                if "=" in line and not line.lstrip().startswith("#"):
                    key, value = line.split("=", 1)
                    self._values[key.strip()] = value.strip()

    def __getitem__(self, key):
        return self._values.get(key, "")

    def __setitem__(self, key, value):
        self._values[key] = str(value)


config = ConfigService = _ConfigService()


class Logger:
    """Keeps what it is told, and prints what Mantid prints by default, on standard output."""

    def __init__(self, name):
        self._name = name

    def _write(self, level, text):
        records.append((level, str(text)))
        if level != "information" and level != "debug":
            print(f"{self._name}-[{level.capitalize()}] {str(text).rstrip()}")

    def debug(self, text):
        self._write("debug", text)

    def information(self, text):
        self._write("information", text)

    def notice(self, text):
        self._write("notice", text)

    def warning(self, text):
        self._write("warning", text)

    def error(self, text):
        self._write("error", text)


records: list[tuple[str, str]] = []
"""What was logged."""

logger = Logger("Python")


def find_file(path: str) -> Path | None:
    """A file by its full path, or in the folder of the process."""
    found = Path(path).expanduser()
    return found.absolute() if found.is_file() else None
