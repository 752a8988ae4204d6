"""Instrument definitions: places and sizes of detectors, against real Mantid and by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.histogram.instrument_definition import InstrumentDefinition

ARCSLIKE = Path(__file__).parents[1] / "data/mantid/ARCSLIKE_Definition.xml"
CYLINDER = """<cylinder id="shape">
  <centre-of-bottom-base x="0" y="-0.01" z="0"/><axis x="0" y="1" z="0"/>
  <radius val="0.0125"/><height val="0.02"/></cylinder><algebra val="shape"/>"""
CUBOID = """<cuboid id="shape">
  <left-front-bottom-point x="0.1" y="-0.2" z="-0.15"/>
  <left-front-top-point x="0.1" y="0.2" z="-0.15"/>
  <left-back-bottom-point x="0.1" y="-0.2" z="0.15"/>
  <right-front-bottom-point x="-0.1" y="-0.2" z="-0.15"/></cuboid>"""
SAMPLE = """<component type="sample"><location/></component>
  <type name="sample" is="SamplePos"/>
  <component type="source"><location z="-10"/></component><type name="source" is="Source"/>"""


def definition(components, shape=CYLINDER, defaults="", sample=SAMPLE, types=""):
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
      <instrument name="TEST" xmlns="http://www.mantidproject.org/IDF/1.0">
      <defaults><length unit="meter"/><angle unit="degree"/>{defaults}</defaults>
      {sample}{components}{types}
      <type name="pixel" is="detector">{shape}</type>
      <type name="monitor" is="monitor">{shape}</type></instrument>"""
    return InstrumentDefinition.from_xml(text, "test.xml")


def test_places_are_those_that_real_mantid_found(mantid_file):
    found = InstrumentDefinition.from_xml(ARCSLIKE.read_text())
    with h5py.File(mantid_file("si_300K_one_orientation_HHL0_slice.nxs")) as file:
        detectors = file["MDHistoWorkspace/experiment0/instrument/physical_detectors"]
        r = detectors["distance"][()]
        polar, azimuth = (np.radians(detectors[f"{x}_angle"][()]) for x in ("polar", "azimuthal"))
    radial = np.sin(polar)
    directions = [radial * np.cos(azimuth), radial * np.sin(azimuth), np.cos(polar)]
    assert found.name == "ARCSLIKE"
    np.testing.assert_allclose(found.positions, r[:, None] * np.transpose(directions), atol=1e-9)


def test_tube_of_pixels_evenly_spaced():
    found = definition("""<component type="pixel">
        <locations x="1" y="-1" y-end="1" n-elements="5"/></component>""")
    np.testing.assert_allclose(found.positions[:, 1], [-1, -0.5, 0, 0.5, 1])
    cosine = 1 / np.linalg.norm(found.positions, axis=1)
    np.testing.assert_allclose(found.solid_angles, 0.025 * 0.02 * cosine**3)


def test_polar_coordinates():
    found = definition("""<component type="pixel">
        <location r="2" t="90" p="90"/> <location R="2" theta="30" phi="0"/></component>""")
    np.testing.assert_allclose(found.positions, [[0, 2, 0], [1, 0, np.sqrt(3)]], atol=1e-12)


def test_angles_in_radian():
    found = definition(
        '<component type="pixel"><location r="2" t="1.5707963267948966" p="0"/></component>'
    )
    # <angle unit="degree"/> comes first in the template, and counts.
    assert found.positions[0, 2] == pytest.approx(2 * np.cos(np.radians(np.pi / 2)))
    text = """<instrument name="T"><defaults><angle unit="radian"/></defaults>%s
      <component type="pixel"><location r="2" t="1.5707963267948966" p="0"/></component>
      <type name="pixel" is="detector">%s</type></instrument>"""
    found = InstrumentDefinition.from_xml(text % (SAMPLE, CYLINDER))
    np.testing.assert_allclose(found.positions, [[2, 0, 0]], atol=1e-12)


def test_rotations_of_nested_components():
    """A bank turned by 90° about y, a tube in it turned by 90° about z: y of the tube is -x of
    the bank, which is z of the laboratory."""
    found = definition(
        """<component type="bank"><location x="3"><rot val="90" axis-x="0" axis-y="1" axis-z="0"/>
           </location></component>""",
        types="""<type name="bank"><component type="tube">
             <location y="0.5" rot="90" axis-x="0" axis-y="0" axis-z="1"/></component></type>
           <type name="tube"><component type="pixel">
             <location y="0.25"/></component></type>""",
    )
    np.testing.assert_allclose(found.positions, [[3, 0.5, 0.25]], atol=1e-12)
    # The cylinder lies along z and is seen from (-3, -0.5, -0.25).
    direction = found.positions[0] / np.linalg.norm(found.positions[0])
    assert found.areas[0] == pytest.approx(0.025 * 0.02 * np.hypot(*direction[:2]))


def test_rotations_inside_each_other_are_about_turned_axes():
    """90° about z, then 90° about what is x by then (y before): x → y, y → z, z → x."""
    turns = """<rot val="90"><rot val="90" axis-x="1" axis-y="0" axis-z="0"/></rot>"""
    found = definition(
        f'<component type="bank"><location>{turns}</location></component>',
        types="""<type name="bank"><component type="pixel">
            <location x="1"/><location y="2"/><location z="3"/></component></type>""",
    )
    np.testing.assert_allclose(found.positions, [[0, 1, 0], [0, 0, 2], [3, 0, 0]], atol=1e-12)


def test_translation_after_rotation():
    found = definition("""<component type="pixel"><location x="1">
        <rot val="90"><trans x="2"/></rot></location></component>""")
    np.testing.assert_allclose(found.positions, [[1, 2, 0]], atol=1e-12)


@pytest.mark.parametrize("where", ["location", "defaults"])
def test_components_that_face_the_sample_turn_their_z_axis_away_from_it(where):
    """A plate 0.2 x 0.4 m, 0.3 m deep: only its front is seen from straight ahead."""
    facing = '<facing x="0" y="0" z="0"/>' if where == "location" else ""
    default = '<components-are-facing x="0" y="0" z="0"/>' if where == "defaults" else ""
    found = definition(
        f"""<component type="pixel">
          <location x="3" y="4">{facing}</location><location z="-7">{facing}</location>
          <location x="3"><facing val="none"/></location></component>""",
        shape=CUBOID,
        defaults=default,
    )
    # The last one, turned by nothing, shows its side: 0.4 x 0.3 m.
    np.testing.assert_allclose(sorted(found.areas), sorted([0.08, 0.08, 0.12]), rtol=1e-9)


def test_cuboid_seen_at_an_angle():
    found = definition(
        '<component type="pixel"><location x="1" y="2" z="2"/></component>', shape=CUBOID
    )
    front, side, top = 0.2 * 0.4, 0.4 * 0.3, 0.2 * 0.3
    assert found.areas[0] == pytest.approx((2 * front + 1 * side + 2 * top) / 3)


def test_sphere():
    shape = '<sphere id="s"><centre x="0" y="0" z="0"/><radius val="0.1"/></sphere>'
    found = definition('<component type="pixel"><location x="2"/></component>', shape=shape)
    assert found.solid_angles[0] == pytest.approx(np.pi * 0.01 / 4)


def test_places_are_from_the_sample():
    sample = SAMPLE.replace("<location/>", '<location z="0.5" y="0.1"/>')
    found = definition('<component type="pixel"><location x="2"/></component>', sample=sample)
    np.testing.assert_allclose(found.positions, [[2, -0.1, -0.5]])


def test_monitors_and_detectors_without_a_shape_are_left_out():
    found = definition(
        """<component type="pixel"><location x="2"/></component>
           <component type="monitor"><location z="1"/></component>
           <component type="dead"><location r="0.002"/></component>""",
        types='<type name="dead" is="detector"/>',
    )
    np.testing.assert_allclose(found.positions, [[2, 0, 0]])


PIXEL = '<component type="pixel"><location x="2"/></component>'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": ""}, "test.xml has no detectors"),
        ({"components": PIXEL, "sample": ""}, "no sample position"),
        ({"components": PIXEL + "<component>"}, "test.xml is not valid XML .*mismatched tag"),
        ({"components": '<component type="tube"><location/></component>'}, "no type 'tube'"),
        ({"components": PIXEL.replace('"2"', '"two"')}, "could not convert .*two"),
        ({"components": PIXEL.replace('"2"', '"nan"')}, "x='nan' is not a number"),
        (
            {"components": PIXEL, "shape": '<cone id="a"/>'},
            "detector 'pixel' has the shape cone, which is not read",
        ),
        ({"components": PIXEL, "shape": CYLINDER + CUBOID}, "cylinder and cuboid"),
        ({"components": PIXEL, "shape": '<cylinder><axis x="1"/></cylinder>'}, "has no radius"),
        (
            {
                "components": '<component type="panel"><location/></component>',
                "types": '<type name="panel" is="rectangular_detector"/>',
            },
            "'panel' is a rectangular_detector, which is not read",
        ),
        (
            {
                "components": """<component type="tank"><location><parameter name="t-position">
                  <logfile id="s2"/></parameter></location></component>""",
                "types": f'<type name="tank">{PIXEL}</type>',
            },
            "place of 'tank' depends on its parameters t-position",
        ),
        (
            {
                "components": '<component type="a"><location/></component>',
                "types": '<type name="a"><component type="a"><location/></component></type>',
            },
            "types contain each other",
        ),
        (
            {
                "components": '<component type="pixel"><locations n-elements="-3"/></component>',
            },
            "n-elements=-3",
        ),
        (
            {
                "components": '<component type="a"><locations n-elements="9999"/></component>',
                "types": """<type name="a"><component type="pixel">
                  <locations n-elements="9999"/></component></type>""",
            },
            "more than 10000000 components",
        ),
        (
            {
                "components": PIXEL,
                "defaults": '<reference-frame><along-beam axis="x"/></reference-frame>',
            },
            "reference frame has not along-beam z",
        ),
    ],
)
def test_refusals_are_one_line(arguments, message):
    with pytest.raises(FcinvError, match=message) as raised:
        definition(**arguments)
    assert "test.xml" in str(raised.value)


def test_document_types_are_refused():
    bomb = """<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
      <instrument name="&b;"/>"""
    with pytest.raises(FcinvError, match="document type"):
        InstrumentDefinition.from_xml(bomb)
