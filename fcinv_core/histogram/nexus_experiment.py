"""A minimal ``experimentN`` group for histograms that were not read from a file.

Mantid's loader drops an experiment, and the lattice with it, unless sample, logs and an
instrument can all be read. So there is an instrument here that has a source and a sample
position and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcinv_core.histogram.experiment import ExperimentInfo
from fcinv_core.histogram.nexus_types import (
    write_attributes,
    write_group,
    write_log,
    write_numbers,
    write_text,
)

_INSTRUMENT_NAME = "fcinv"

_INSTRUMENT_XML = """<?xml version="1.0" encoding="UTF-8"?>
<instrument name="{name}" valid-from="1900-01-01 00:00:00" valid-to="2100-01-01 00:00:00"
            last-modified="2000-01-01 00:00:00">
  <defaults>
    <length unit="metre"/>
    <angle unit="degree"/>
    <reference-frame>
      <along-beam axis="z"/>
      <pointing-up axis="y"/>
      <handedness val="right"/>
    </reference-frame>
  </defaults>
  <component type="source"><location z="-10.0"/></component>
  <type name="source" is="Source"/>
  <component type="sample-position"><location z="0.0"/></component>
  <type name="sample-position" is="SamplePos"/>
</instrument>
"""


def write_experiment(entry: Any, index: int, info: ExperimentInfo) -> None:
    """Write ``experiment<index>`` into the entry, laid out as SaveMD does."""
    group = write_group(entry, f"experiment{index}", "NXgroup", version=1)
    _write_instrument(group, info.instrument or _INSTRUMENT_NAME)
    _write_sample(group, info)
    _write_logs(group, info)


def _write_instrument(group: Any, name: str) -> None:
    instrument = write_group(group, "instrument", "NXinstrument", version=1)
    write_text(instrument, "name", name)
    definition = write_group(instrument, "instrument_xml", "NXnote")
    write_text(definition, "data", _INSTRUMENT_XML.format(name=name))
    write_text(definition, "type", "text/xml")
    write_text(definition, "description", "XML contents of the instrument IDF file.")
    parameters = write_group(instrument, "instrument_parameter_map", "NXnote", version=1)
    for key, text in (
        ("author", " "),
        ("data", " "),
        ("date", "1990-01-01T00:00:00"),
        ("description", "A string representation of the parameter map."),
        ("type", "text/plain"),
    ):
        write_text(parameters, key, text)


def _write_sample(group: Any, info: ExperimentInfo) -> None:
    sample = write_group(
        group,
        "sample",
        "NXsample",
        name=" ",
        version=1,
        shape_xml='<type name="userShape">  </type>',
    )
    material = write_group(sample, "material", "NXdata", name=" ", version=2, formulaStyle="empty")
    for name in ("number_density", "pressure", "temperature"):
        write_numbers(material, name, 0.0)
    write_numbers(sample, "num_other_samples", 0, np.int32)
    write_numbers(sample, "num_oriented_lattice", int(info.ub is not None), np.int32)
    if info.ub is not None and info.lattice is not None:
        crystal = write_group(sample, "oriented_lattice", "NXcrystal")
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        for name, value in zip(names, info.lattice, strict=True):
            write_numbers(crystal, f"unit_cell_{name}", value)
        write_numbers(crystal, "orientation_matrix", info.ub)
    write_numbers(sample, "geom_id", 0, np.int32)
    for name in ("geom_height", "geom_thickness", "geom_width"):
        write_numbers(sample, name, 0.0)


def _write_logs(group: Any, info: ExperimentInfo) -> None:
    logs = write_group(group, "logs", "NXgroup", version=1)
    if info.incident_energy is not None:
        write_log(logs, "Ei", info.incident_energy)
    if info.temperature is not None:
        write_log(logs, "SampleTemperature", info.temperature)
    if info.run_number:
        write_log(logs, "run_number", info.run_number)
    if info.w_matrix is not None:
        write_log(logs, "W_MATRIX", info.w_matrix)
    goniometer = write_group(logs, "goniometer", "NXpositioner", version=1)
    write_numbers(goniometer, "num_axes", len(info.goniometer), np.int32)
    for i, axis in enumerate(info.goniometer):
        motor = write_group(goniometer, f"axis{i}", "NXmotor")
        write_text(motor, "name", axis.name)
        angle = write_numbers(motor, "angle", axis.angle)
        write_attributes(angle, unit="deg", sense="CW" if axis.sense < 0 else "CCW")
        write_numbers(motor, "rotationaxis", axis.direction)
