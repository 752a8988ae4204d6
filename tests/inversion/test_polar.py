"""Inversion of polar crystals, from a measurement that Euphonic simulates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import phonopy
import pytest
from command_line import one_error
from phonopy.physical_units import get_physical_units
from polar_measurement import ENERGY_FWHM, expected_signal, histogram
from scipy.stats import chi2

from fcinv_core import ForceConstants, SQEHistogram, cli, invert
from fcinv_core.crystal import Crystal, ForceConstantBasis
from fcinv_core.errors import FcinvError
from fcinv_core.inversion.born_charges import BornCharges
from fcinv_core.inversion.dispersion import dispersion
from fcinv_core.inversion.lattice import Lattice
from fcinv_core.inversion.output import write_result
from fcinv_core.inversion.preparation import PreparedHistogram
from fcinv_core.inversion.prior import FINAL, ForceConstantPrior
from fcinv_core.inversion.problem import HistogramProblem
from fcinv_core.inversion.refinement import Refinement
from fcinv_core.inversion.stages import Counts

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "force_constants"
NEAR_GAMMA = np.array([[0.01, 0.01, 0.0], [0.03, 0.0, 0.03], [0.05, 0.05, 0.05]])
MESH = (np.indices((6, 6, 6)).reshape(3, -1).T + 0.5) / 6


def load_force_constants(name):
    return ForceConstants.from_file(FOLDER / f"{name}_dft.yaml")


def without_charges(force_constants):
    return replace(force_constants, born_charges=None, dielectric=None)


def lattice_of(force_constants, cutoff=None):
    basis = ForceConstantBasis.from_crystal(force_constants.crystal, cutoff)
    return Lattice(basis, force_constants)


@pytest.fixture(scope="module")
def magnesia():
    return load_force_constants("MgO")


@pytest.fixture(scope="module")
def expected(magnesia, tmp_path_factory):
    return expected_signal(magnesia, tmp_path_factory.mktemp("euphonic"))


@pytest.fixture(scope="module")
def data(magnesia, expected):
    """30 counts per mbarn/meV on top of 2."""
    counts = np.random.default_rng(11).poisson(30 * expected + 2).astype(float)
    return histogram(magnesia.crystal, counts, counts)


@pytest.fixture(scope="module")
def result(magnesia, data):
    return invert([data], magnesia.crystal, start=magnesia.scaled(0.85), energy_fwhm=ENERGY_FWHM)


@pytest.fixture(scope="module")
def result_without_dipoles(magnesia, data):
    """Half of the data are enough to tell."""
    every_other = np.arange(data.shape[0])[:, None, None, None] % 2 == 0
    half = np.where(every_other, data.signal, np.nan)
    start = without_charges(magnesia)
    return invert(
        [data.with_values(half, half)], magnesia.crystal, start=start, energy_fwhm=ENERGY_FWHM
    )


@pytest.mark.slow
def test_shells_of_the_start_are_read_off_its_tensors(result_without_dipoles, magnesia):
    """-r̂·Φ·r̂ and -(tr Φ - r̂·Φ·r̂)/2 of the nearest neighbours."""
    shell = result_without_dipoles.start_shells[0]
    neighbours = result_without_dipoles.basis.neighbours
    i, j = np.argwhere(np.isclose(neighbours.distances, shell.distance))[0]
    (bond,) = neighbours.vectors(i, j)
    tensor = magnesia.values[i, j]
    along = bond @ tensor @ bond / (bond @ bond)
    assert shell.longitudinal == pytest.approx(-along, rel=1e-6)
    assert shell.transverse == pytest.approx(-(np.trace(tensor) - along) / 2, rel=1e-6)
    assert shell.longitudinal_sigma == shell.transverse_sigma == 0
    fitted = result_without_dipoles.shells[0]
    assert abs(fitted.longitudinal - shell.longitudinal) > fitted.longitudinal_sigma


def test_parameters_lie_within_their_error_bars(result, magnesia):
    offset = result.parameters - lattice_of(magnesia).parameters_of(magnesia)
    distance = offset @ np.linalg.solve(result.covariance, offset)
    assert 0.005 < chi2.sf(distance, len(offset)) < 0.995
    assert result.deviance_per_dof == pytest.approx(1, abs=0.05)
    assert result.verdict.trust == "yes"
    assert result.fits[0].nuisance["scale"].value == pytest.approx(30, rel=0.02)


def test_longitudinal_branch_near_gamma_is_found(result, magnesia):
    found, true = (fc.frequencies(NEAR_GAMMA) for fc in (result.force_constants, magnesia))
    assert np.abs(magnesia.scaled(0.85).frequencies(NEAR_GAMMA) - true).max() > 2
    assert np.abs(found - true).max() < 0.3
    bands = result.dispersion
    gamma = ~bands.q.any(axis=1)
    assert gamma.sum() == 3, "the path begins there and goes through once: two sides"
    true_energy = magnesia.frequencies(1e-2 * NEAR_GAMMA)[0, -1]
    pulls = (bands.energy_mev[gamma, -1] - true_energy) / bands.sigma_mev[gamma, -1]
    assert (bands.sigma_mev[gamma, -1] < 0.1).all()
    assert np.abs(pulls).max() < 4
    assert (bands.energy_mev[gamma, -1] - bands.energy_mev[gamma, -2] > 30).all()


def test_energies_scatter_by_their_error_bars(result, magnesia):
    bands = result.dispersion
    inside = bands.q.any(axis=1)
    pulls = (bands.energy_mev - magnesia.frequencies(bands.q))[inside] / bands.sigma_mev[inside]
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6
    assert np.sqrt(np.mean(bands.sigma_mev**2)) < 0.15


@pytest.mark.slow
def test_many_counts_find_no_fault_with_the_sampling_of_bins(magnesia, expected):
    """A hundred times the counts: 1.3 line widths from sample to sample would show.

    (Deviance 1.15, and widths and spread of Q off by four and five standard deviations.)
    """
    counts = np.random.default_rng(11).poisson(3000 * expected + 2).astype(float)
    data = histogram(magnesia.crystal, counts, counts)
    result = invert([data], magnesia.crystal, start=magnesia, energy_fwhm=ENERGY_FWHM)
    assert result.deviance_per_dof < 1.04
    for name in ("resolution_scale", "q_spread_scale"):
        estimate = result.fits[0].nuisance[name]
        assert estimate.sigma < 1e-3
        assert abs(estimate.value - 1) < 3 * estimate.sigma


@pytest.mark.slow
def test_without_the_dipole_term_it_fails(result, result_without_dipoles, magnesia):
    """Though it starts from the true force constants in the supercell."""
    bare = result_without_dipoles
    assert bare.deviance_per_dof > 1.5 > 1.1 > result.deviance_per_dof
    assert bare.verdict.trust != "yes"
    errors = [
        np.abs(fc.frequencies(MESH) - magnesia.frequencies(MESH)).max()
        for fc in (bare.force_constants, result.force_constants)
    ]
    assert errors[0] > 10 * errors[1]
    near = [fc.frequencies(NEAR_GAMMA)[:, -1] for fc in (bare.force_constants, magnesia)]
    assert (near[1] - near[0] > 20).all()


def test_saved_result_is_phonopys(result, tmp_path):
    """The total force constants are saved: the dipole part neither lost nor twice in them."""
    write_result(result, tmp_path, report=False)
    phonon = phonopy.load(tmp_path / "force_constants.yaml", log_level=0)
    assert phonon.nac_params is not None
    thz = get_physical_units().THzToEv * 1e3
    bands = result.dispersion
    inside = bands.q.any(axis=1)
    found = phonon.run_qpoints(bands.q[inside]).frequencies * thz
    np.testing.assert_allclose(found, bands.energy_mev[inside], atol=2e-3)
    document = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert document["settings"]["born_charges"] == "starting force constants"
    assert {entry["part"] for entry in document["parameters"]} == {"short-ranged"}
    assert {entry["part"] for entry in document["shells"]} == {"short-ranged"}


def test_derivatives_with_dipoles(magnesia, data, monkeypatch):
    lattice = lattice_of(magnesia)
    prepared = PreparedHistogram.from_histogram(data, magnesia.crystal, energy_fwhm=ENERGY_FWHM)
    start = lattice.scaled(lattice.parameters_of(magnesia), 0.93)
    problem = HistogramProblem(prepared, lattice, start)
    several = problem.multiphonon(lattice.state(start), 1.0)
    monkeypatch.setattr(problem, "multiphonon", lambda state, resolution_scale: several)
    refinement = Refinement(
        lattice, [problem], ForceConstantPrior.around(lattice, start, FINAL), lambda _: None
    )
    point = refinement.starting_point(start)
    gradient = refinement.evaluate(point, Counts()).equations.gradient
    step = np.random.default_rng(3).normal(size=len(gradient)) * 1e-4
    step[: len(start)] *= 0.02
    ahead, behind = (
        refinement.evaluate(point.moved(move), Counts()).equations.cost for move in (step, -step)
    )
    assert (ahead - behind) / 2 == pytest.approx(gradient @ step, rel=1e-4)


# -- parametrisation ----------------------------------------------------------------------------


@pytest.mark.parametrize("name, cutoff", [("NaCl", None), ("ZnO", None), ("SiO2", None),
                                          ("ZnO", 5.0), ("SiO2", 4.5)])  # fmt: skip
def test_parameters_are_those_of_what_is_short_ranged(name, cutoff):
    truth = load_force_constants(name)
    lattice = lattice_of(truth, cutoff)
    parameters = lattice.parameters_of(truth)
    rebuilt = lattice.force_constants(parameters)
    drift = np.abs(rebuilt.values.sum(axis=1)).max()
    assert drift < 1e-9, "rigid translations cost no force, however low the sites' symmetry"
    energies = lattice.energies(parameters, MESH)
    # phonopy truncates its sums over dipoles earlier
    assert np.allclose(energies, rebuilt.frequencies(MESH), atol=0.15)
    if cutoff is None:
        np.testing.assert_allclose(rebuilt.values, truth.values, atol=1e-9)
    else:
        error = np.abs(energies - truth.frequencies(MESH)).max()
        bare = lattice_of(without_charges(truth), cutoff)
        cut = bare.force_constants(bare.parameters_of(truth)).with_born_charges(
            truth.born_charges, truth.dielectric, truth.nac_factor
        )
        assert np.abs(cut.frequencies(MESH) - truth.frequencies(MESH)).max() > 2 * error, (
            "a cutoff through the total force constants breaks off the dipoles"
        )


def test_stiffness_scales_the_total_and_keeps_quartz_stable():
    truth = load_force_constants("SiO2")
    lattice = lattice_of(truth)
    parameters = lattice.parameters_of(truth)
    for factor in (0.5, 2.6):
        scaled = lattice.scaled(parameters, factor)
        np.testing.assert_allclose(
            lattice.force_constants(scaled).values, factor * truth.values, atol=1e-9
        )
        assert lattice.energies(scaled, MESH).min() > -4
        assert lattice.energies(factor * parameters, MESH).min() < -40, "else it is not needed"


def test_both_sides_of_gamma_are_shown():
    """Zinc oxide: A1 and E1 modes split differently along c and across."""
    truth = load_force_constants("ZnO")
    lattice = lattice_of(truth)
    n_par = lattice.basis.n_parameters
    bands = dispersion(lattice, lattice.parameters_of(truth), np.zeros((n_par, n_par)))
    labels = dict(bands.path_labels)
    (first, second) = np.flatnonzero(~bands.q.any(axis=1))[1:]
    assert second == first + 1 and bands.distance[first] == bands.distance[second]
    assert labels[first] == "Γ" and second not in labels
    phonon = truth.to_phonopy()
    thz = get_physical_units().THzToEv * 1e3
    for point, beside in ((first, first - 1), (second, second + 1)):
        phonon.run_qpoints([[0, 0, 0]], nac_q_direction=bands.q[beside])
        found = np.sort(phonon.qpoints.frequencies[0] * thz)
        np.testing.assert_allclose(bands.energy_mev[point], found, atol=0.05)
    assert np.abs(bands.energy_mev[first] - bands.energy_mev[second]).max() > 0.5


# -- where Born charges come from ---------------------------------------------------------------


def born_lines(force_constants, charges=None):
    rows = [force_constants.dielectric]
    rows += list(force_constants.born_charges if charges is None else charges)
    return ["default", *(" ".join(f"{x:.8f}" for x in np.ravel(row)) for row in rows)]


@pytest.fixture
def born_file(magnesia, tmp_path):
    path = tmp_path / "BORN"
    path.write_text("\n".join(born_lines(magnesia)) + "\n")
    return path


@pytest.fixture
def files(magnesia, data, tmp_path):
    data.save(tmp_path / "data.nxs")
    without_charges(magnesia).save(tmp_path / "bare.yaml")
    return tmp_path


@pytest.fixture
def given_charges(monkeypatch, files):
    """The Born charges that ``fcinv invert`` passes on."""

    def passed_on(*options):
        kept = {}

        def stand_in(histograms, crystal, **keywords):
            kept.update(keywords)
            raise FcinvError("far enough")

        monkeypatch.setattr("fcinv_core.inversion.invert", stand_in)
        arguments = ["invert", files / "data.nxs", *options, "-o", files / "out"]
        assert cli.main([str(argument) for argument in arguments]) == cli.BAD_INPUT
        return kept["born_charges"]

    return passed_on


def test_sources_of_born_charges_and_their_order(given_charges, born_file, files, magnesia):
    polar, bare = FOLDER / "MgO_dft.yaml", files / "bare.yaml"
    cases = [
        (["--structure", polar, "--start", polar, "--born", born_file], str(born_file)),
        (["--structure", bare, "--born", born_file], str(born_file)),
        (["--structure", bare, "--start", polar], str(polar)),
        (["--structure", polar, "--start", bare], str(polar)),
        (["--structure", polar], str(polar)),
    ]
    for options, source in cases:
        charges = given_charges(*options)
        assert charges.source == source
        np.testing.assert_allclose(charges.values, magnesia.born_charges, atol=1e-7)
        np.testing.assert_allclose(charges.dielectric, magnesia.dielectric, atol=1e-7)
    assert given_charges("--structure", bare, "--start", bare) is None


def test_invert_with_a_born_file(files, born_file, magnesia, capsys):
    arguments = ["invert", files / "data.nxs", "--structure", files / "bare.yaml", "--start",
                 files / "bare.yaml", "--born", born_file, "--energy-fwhm", ENERGY_FWHM,
                 "--no-refine", "-o", files / "out"]  # fmt: skip
    assert cli.main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == "" and "Short-ranged part" in captured.out
    document = json.loads((files / "out" / "result.json").read_text(encoding="utf-8"))
    assert document["settings"]["born_charges"] == str(born_file)
    assert document["deviance_per_dof"] == pytest.approx(1, abs=0.05), "the truth"
    written = ForceConstants.from_file(files / "out" / "force_constants.yaml")
    np.testing.assert_allclose(
        written.frequencies(NEAR_GAMMA), magnesia.frequencies(NEAR_GAMMA), atol=1e-3
    )


@pytest.mark.parametrize("spoil", ["short", "long", "words", "empty", "negative", "missing"])
def test_born_files_that_do_not_fit(capsys, files, magnesia, spoil):
    lines = born_lines(magnesia)
    spoilt = {
        "short": lines[:-1],
        "long": [*lines, lines[-1]],
        "words": ["default", "epsilon", *lines[2:]],
        "empty": [],
        "negative": born_lines(replace(magnesia, dielectric=-magnesia.dielectric)),
        "missing": None,
    }[spoil]
    path = files / "BORN"
    if spoilt is not None:
        path.write_text("\n".join(spoilt))
    bare = files / "bare.yaml"
    line = one_error(
        capsys,
        ["invert", files / "data.nxs", "--structure", bare, "--start", bare, "--born", path,
         "-o", files / "out"],
    )  # fmt: skip
    assert str(path) in line
    assert not (files / "out").exists()


def test_charges_of_another_cell_are_refused(magnesia):
    charges = BornCharges.from_force_constants(magnesia, "there")
    crystal = magnesia.crystal
    shifted = replace(crystal, positions=crystal.positions + 0.25)
    moved = ForceConstants(shifted, magnesia.values)
    with pytest.raises(FcinvError, match="there belong to another cell .*BORN file"):
        charges.given_to(moved)
    relaxed = ForceConstants(crystal.with_lattice(1.01 * crystal.lattice), magnesia.values)
    np.testing.assert_allclose(
        charges.given_to(relaxed).born_charges, magnesia.born_charges, atol=1e-12
    )


# -- commands -----------------------------------------------------------------------------------


def test_simulate_has_the_dipole_term(files, expected, magnesia):
    source = FOLDER / "MgO_dft.yaml"
    signals = []
    for force_constants in (source, files / "bare.yaml"):
        arguments = ["simulate", "--force-constants", force_constants, "--like",
                     files / "data.nxs", "--energy-fwhm", ENERGY_FWHM, "-o",
                     files / "simulated.nxs"]  # fmt: skip
        assert cli.main([str(argument) for argument in arguments]) == 0
        signals.append(SQEHistogram.load(files / "simulated.nxs").signal)
    # Bragg points lie in some bins: at low energies nothing converges there
    above = slice_above(30.0, signals[0])
    difference, without = (np.abs(signal - expected)[above].max() for signal in signals)
    assert difference < 5e-3 * expected[above].max()
    assert without > 0.2 * expected[above].max()


def slice_above(energy, signal):
    edges = np.linspace(5.0, 91.0, signal.shape[-1] + 1)
    return (..., slice(int(np.argmax(edges >= energy)), None))


@pytest.mark.parametrize("size", ["99", "1" + 30 * "0"])
def test_absurd_supercells_are_refused(capsys, files, size):
    line = one_error(
        capsys,
        ["invert", files / "data.nxs", "--structure", DATA / "structures" / "Si.cif",
         "--supercell", size, "2", "2", "-o", files / "out"],
    )  # fmt: skip
    assert "the supercell" in line and "2000" in line and "10 Å" in line


def test_largest_supercell_is_not_absurd():
    crystal = Crystal.from_file(DATA / "structures" / "Si.cif", (6, 6, 6))
    assert 1000 < crystal.n_supercell < 2000
