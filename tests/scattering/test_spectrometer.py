import json

import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.scattering.resolution import EnergyResolution
from fcinv_core.scattering.spectrometer import KNOWN, DetectorBank, Spectrometer

NAMES = ["4SEASONS", "ARCS", "CNCS", "HYSPEC", "LET", "MAPS", "MERLIN", "SEQUOIA"]

# Ranges of the scattering angle of the tubes, degrees, in the horizontal plane: what Mantid's
# interface QE Coverage takes (qt/python/mantidqtinterfaces, QECoverage).
TWO_THETA = {
    "ARCS": (2.373, 135.955),
    "CNCS": (3.806, 132.609),
    "LET": (2.65, 140.0),
    "MAPS": (3.0, 59.8),
    "MERLIN": (2.838, 135.69),
}

# Centres of tubes or packs in Mantid's definitions, m, of which the mirror images see no detector.
ONE_SIDED_PLACES = {
    "ARCS": [(2.283198311, -1.100914995, -2.142266875), (3.127791653, -1.100914995, 0.1386407777)],
    "CNCS": [(2.64047, 0.0, -2.29816), (3.49724, 0.0, 0.12488)],
    "LET": [(2.5805, 0.0, -2.3646), (3.3380, 0.0, 1.0525)],
    "MERLIN": [(1.7660, 0.0, -1.7695), (2.4859, 1.4, 0.2653)],
    "SEQUOIA": [(4.60563316, -1.30353562, 2.76377527), (3.72008922, -1.29480004, 3.87876145)],
    # C windows: x = -6 sin(angle), z = 6 cos(angle).
    "MAPS": [(-5.1, 0.0, 3.16), (-2.7, 0.3, 5.36)],
}

# Sums over the pixels of Mantid's definitions of diameter × length, as the sample sees it, sr.
SOLID_ANGLES = {
    "ARCS": 2.191,
    "CNCS": 1.605,
    "HYSPEC": 0.2266,
    "LET": 2.770,
    "MAPS": 0.477,
    "MERLIN": 2.778,
    "SEQUOIA": 0.887,
}


def direction(horizontal, vertical=0.0):
    h, v = np.radians(horizontal), np.radians(vertical)
    return np.stack([np.cos(v) * np.sin(h), np.sin(v) + 0 * h, np.cos(v) * np.cos(h)], axis=-1)


def placed(name):
    spectrometer = Spectrometer.load(name)
    return spectrometer.at(60.0) if spectrometer.movable else spectrometer


def test_known_spectrometers():
    assert Spectrometer.names() == NAMES
    for name in NAMES:
        spectrometer = Spectrometer.load(name.lower())
        assert spectrometer.name == name
        assert {"detectors", "paper", "incident_energy_range"} <= set(spectrometer.source)


@pytest.mark.parametrize("name", TWO_THETA)
def test_scattering_angles_in_the_horizontal_plane(name):
    angles = np.arange(-180, 180, 0.01)
    seen = np.abs(angles[Spectrometer.load(name).covers(direction(angles))])
    # Half a tube more than their centres, at most 0.6 degrees; LET's range is given as a round one.
    assert seen.min() == pytest.approx(TWO_THETA[name][0], abs=0.35)
    assert seen.max() == pytest.approx(TWO_THETA[name][1], abs=0.9 if name == "LET" else 0.35)


def test_gaps_of_maps():
    # Between the windows of MAPS, from the same interface.
    edges = [19.8, 21.1, 29.8, 31.1, 39.8, 41.1, 49.8, 51.1]
    maps = Spectrometer.load("MAPS")
    for lower, upper in zip(edges[::2], edges[1::2], strict=True):
        beside = np.array([lower - 0.1, (lower + upper) / 2, upper + 0.1])
        assert maps.covers(direction(-beside)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("name", "horizontal", "vertical"),
    [
        # doi:10.1063/1.3680104
        ("ARCS", (-28, 135), (-27, 26)),
        # doi:10.1088/1742-6596/251/1/012058
        ("SEQUOIA", (-30, 60), None),
        ("CNCS", None, (-16, 16)),
        # doi:10.1016/j.nima.2011.01.173
        ("LET", (-40, 140), (-30, 30)),
        # Description of McStas's ISIS_MERLIN by R. Bewley.
        ("MERLIN", (-45, 135), (-30, 30)),
        ("4SEASONS", (-35, 130), (-25, 27)),
    ],
)
def test_published_ranges(name, horizontal, vertical):
    banks = Spectrometer.load(name).banks
    edges = [edge for bank in banks for pair in bank.horizontal for edge in pair]
    heights = [angle for bank in banks for angle in bank.vertical]
    if horizontal:
        assert (min(edges), max(edges)) == pytest.approx(horizontal, abs=1.3)
    if vertical:
        assert (min(heights), max(heights)) == pytest.approx(vertical, abs=1.0)


@pytest.mark.parametrize("name", ONE_SIDED_PLACES)
def test_positive_angles_are_on_the_side_of_x(name):
    places = np.array(ONE_SIDED_PLACES[name])
    spectrometer = Spectrometer.load(name)
    assert spectrometer.covers(places).all()
    assert not spectrometer.covers(places * [-1, 1, 1]).any()


def test_direct_beam_meets_no_detector():
    beam = direction(np.zeros(1))
    for name in ("ARCS", "CNCS", "LET", "MAPS", "MERLIN", "SEQUOIA"):
        assert not Spectrometer.load(name).covers(beam).any(), name
    above = np.concatenate([direction(np.zeros(1), angle) for angle in (2.5, 2.8)])
    assert Spectrometer.load("LET").covers(above).tolist() == [False, True]
    # The halves of MERLIN's tubes above and below the beam begin 0.22 m from it, at 2.5 m.
    halves = np.concatenate([direction(np.zeros(1), angle) for angle in (4.5, 5.5, -4.5, -5.5)])
    assert Spectrometer.load("MERLIN").covers(halves).tolist() == [False, True, False, True]


@pytest.mark.parametrize("name", SOLID_ANGLES)
def test_solid_angle_of_the_real_pixels(name):
    assert Spectrometer.load(name).solid_angle == pytest.approx(SOLID_ANGLES[name], rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_fill_what_is_covered(name):
    spectrometer = placed(name)
    pixels = spectrometer.pixels(spacing=1.0)
    assert spectrometer.covers(pixels.directions).all()
    # Banks do not overlap: a random direction is covered as often as the solid angles say.
    directions = np.random.default_rng(7).normal(size=(200_000, 3))
    share = spectrometer.covers(directions).mean() * 4 * np.pi * spectrometer.active_fraction
    deviation = 4 * np.pi * np.sqrt(share / 4 / np.pi / len(directions))
    assert pixels.solid_angles.sum() == pytest.approx(share, abs=4 * deviation)


def test_spacing_of_pixels():
    bank = DetectorBank(horizontal=((10.0, 20.0), (30.0, 31.0)), height=(-1.0, 1.0), radius=2.0)
    directions, solid_angles = bank.cells(2.0)
    assert bank.vertical == pytest.approx((-26.565, 26.565), abs=1e-3)
    assert len(directions) == (5 + 1) * 27
    assert solid_angles.sum() == pytest.approx(bank.solid_angle)
    horizontal = np.degrees(np.arctan2(directions[:, 0], directions[:, 2]))
    assert np.unique(horizontal.round(6)).tolist() == [11, 13, 15, 17, 19, 30.5]
    with pytest.raises(FcinvError, match="spacing 0 degrees"):
        Spectrometer.load("ARCS").pixels(0)


def test_hyspec_turns():
    hyspec = Spectrometer.load("HYSPEC")
    with pytest.raises(FcinvError, match=r"move: choose .* at\(angle\)"):
        hyspec.pixels()
    with pytest.raises(FcinvError, match="HYSPEC move"):
        hyspec.covers(direction(np.zeros(1)))
    with pytest.raises(FcinvError, match="ARCS do not move"):
        Spectrometer.load("ARCS").at(10.0)
    # A tube of the bank's left end stands at 29.63 degrees from its middle.
    ends = np.array([29.63, -29.63])
    for angle in (-40.0, 90.0, 165.0):
        turned = hyspec.at(angle)
        assert turned.covers(direction(angle + ends)).all()
        assert not turned.covers(direction(angle + ends * 1.02)).any()
        assert turned.solid_angle == pytest.approx(hyspec.solid_angle)
    # 7.5 degrees up and down.
    assert hyspec.banks[0].vertical == pytest.approx((-7.5, 7.5), abs=0.1)


def test_energy_range():
    arcs = Spectrometer.load("ARCS")
    assert arcs.energy_range(60.0) == pytest.approx((-30.0, 57.0))
    with pytest.raises(FcinvError, match="10 meV: ARCS has 20 to 1500 meV"):
        arcs.energy_range(10)
    with pytest.raises(FcinvError, match="nan meV: ARCS has"):
        arcs.resolution(float("nan"))


@pytest.mark.parametrize("name", NAMES)
def test_resolution_at_all_incident_energies(name):
    spectrometer = Spectrometer.load(name)
    if spectrometer.choppers:
        pytest.importorskip("resins")
    lowest, highest = spectrometer.incident_energy_range
    for incident_energy in np.geomspace(lowest, highest, 7).clip(lowest, highest):
        width = spectrometer.resolution(float(incident_energy)).elastic_fwhm
        assert 0.01 < width / incident_energy < 0.16


def test_choppers_change_with_incident_energy():
    pytest.importorskip("resins")
    merlin = Spectrometer.load("MERLIN")
    for incident_energy, package, frequency in [(180.0, "G", 250), (181.0, "S", 600)]:
        assert merlin.resolution(incident_energy) == EnergyResolution.from_instrument(
            "MERLIN", incident_energy, chopper_package=package, chopper_frequency=frequency
        )
    assert Spectrometer.load("4SEASONS").resolution(50.0).elastic_fwhm == pytest.approx(3.0)


def document(**changes):
    values = json.loads((KNOWN / "4SEASONS.json").read_text())
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def test_own_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document(name="mine", smallest_two_theta=5)))
    mine = Spectrometer.load(path)
    assert (mine.name, mine.smallest_two_theta) == ("mine", 5)
    assert mine.banks == Spectrometer.load("4SEASONS").banks


BANK = {"radius": 2.5, "height": [-1, 1], "horizontal": [[0, 10]]}
CHOPPERS = {"highest_incident_energy": 100, "instrument": "ARCS", "settings": {}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"banks": None}, "has no 'banks': add it"),
        ({"name": None}, "is not understood: .*'name'"),
        ({"colour": "red"}, "is not understood: .*'colour'"),
        ({"banks": []}, "4SEASONS: it has no detector banks"),
        ({"banks": [BANK | {"horizontal": [[10, 0]]}]}, "lower angle first"),
        ({"banks": [BANK | {"horizontal": [[0, 400]]}]}, "full circle"),
        ({"banks": [BANK | {"height": [1, -1]}]}, "lower height first"),
        ({"banks": [BANK | {"radius": 0}]}, "radius above 0"),
        ({"banks": [BANK | {"radius": "far"}]}, "is not understood"),
        ({"banks": [BANK | {"height": [1]}]}, "is not understood"),
        ({"incident_energy_range": [50, 5]}, "incident energies"),
        ({"energy_range_fractions": [-0.5, 1.2]}, "energy transfers"),
        ({"active_fraction": 1.5}, "active_fraction"),
        ({"smallest_two_theta": -1}, "smallest_two_theta"),
        ({"fwhm_over_incident_energy": 0}, "fwhm_over_incident_energy"),
        ({"fwhm_over_incident_energy": None}, "either choppers or"),
        ({"choppers": [CHOPPERS]}, "either choppers or"),
        ({"choppers": [CHOPPERS], "fwhm_over_incident_energy": None}, "no choppers reach 300 meV"),
    ],
)
def test_wrong_descriptions(changes, message):
    with pytest.raises(FcinvError, match=message):
        Spectrometer.from_dict(document(**changes), "mine.json")


def test_wrong_names_and_files(tmp_path):
    with pytest.raises(FcinvError, match="no spectrometer 'IN5'; known are 4SEASONS, ARCS"):
        Spectrometer.load("IN5")
    with pytest.raises(FcinvError, match="missing.json cannot be read"):
        Spectrometer.load(tmp_path / "missing.json")
    (tmp_path / "text.json").write_text("spectrometer")
    with pytest.raises(FcinvError, match="text.json is not JSON"):
        Spectrometer.load(tmp_path / "text.json")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(FcinvError, match="list.json is not understood"):
        Spectrometer.load(tmp_path / "list.json")
