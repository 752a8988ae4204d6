"""Priors hold force constants from elsewhere than force fields, and still say something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prior_truths import (
    CRYSTALS,
    DensityOfStates,
    band_width,
    crystal_of,
    densities_of_states,
    path_and_mesh,
    truths,
)

from fcinv_core.crystal import ForceConstantBasis
from fcinv_core.crystal.transfer import carried_to
from fcinv_core.ensemble.prior import Prior
from fcinv_core.ensemble.prior_widths import PriorWidths, mean_square_energy
from fcinv_core.ensemble.samples import ForceFieldSample
from fcinv_core.ensemble.stability import probe_points
from fcinv_core.errors import FcinvError


@pytest.fixture(scope="module")
def prior_of():
    """Priors from structure files alone, each built once."""
    built = {}

    def build(name):
        if name not in built:
            built[name] = Prior.from_crystal(crystal_of(name))
        return built[name]

    return build


@pytest.fixture(scope="module")
def silicon(prior_of):
    return prior_of("Si")


@pytest.mark.parametrize("name", CRYSTALS)
def test_holds_what_no_force_field_has_seen(prior_of, name):
    for origin, force_constants in truths(name).items():
        place = prior_of(name).where(force_constants)
        assert place.rank < 0.99, f"{name} {origin}: {place.in_words()}"
        assert place.in_energy_range
        assert place.remainder < 1e-6


@pytest.mark.parametrize("name", CRYSTALS)
def test_is_informative_once_the_stiffness_is_fixed(prior_of, name):
    assert band_width(prior_of(name), path_and_mesh()).max() < 0.25


def test_brackets_the_measured_density_of_states_of_germanium(prior_of):
    drawn, measured = densities_of_states(prior_of("Ge")), DensityOfStates.measured()
    for quantity in ("lower_edge", "upper_edge", "mean"):
        low, high = np.percentile([getattr(one, quantity) for one in drawn], [2.5, 97.5])
        assert low < getattr(measured, quantity) < high


def test_the_force_field_alone_would_exclude_the_truth(prior_of):
    """The stiffness of CHGNet's aluminium is a fifth of the measured one."""
    sure = PriorWidths(stiffness_median=1.0, stiffness_spread=0.1, amplitude_spread=0.0)
    prior = replace(prior_of("Al"), widths=sure)
    draws = prior.sample(500, 1).numpy()
    prior = replace(prior, distances=np.sort(prior.squared_distances(draws).sum(axis=1)))
    place = prior.where(truths("Al")["measured, 80 K"])
    assert not place.is_inside
    assert place.in_words().startswith("outside the prior")


@pytest.mark.parametrize("others, expected", [((1.2, 1.3), 1.0), ((3.0, 4.0), 3.0)])
def test_a_first_sample_far_off_the_others_says_nothing(silicon, others, expected):
    """Its stiffness counts if those of the others are about the same, else their median."""
    truth = truths("Si")["DFT"]
    samples = [
        ForceFieldSample(truth.scaled(factor), "none", f"{factor:g}", np.eye(3), 1.0, True)
        for factor in (1.0, *others)
    ]
    alone, among = (Prior.from_samples(silicon.basis, part) for part in (samples[:1], samples))
    energies_squared = mean_square_energy(silicon.basis)
    ratio = (energies_squared @ among.centre) / (energies_squared @ alone.centre)
    assert ratio == pytest.approx(expected, rel=1e-9)


def test_long_ranged_nonsense_is_found_out_and_named(silicon):
    """Far force constants as large as a tenth of the nearest ones, which nobody would believe."""
    basis = silicon.basis
    far = basis.distances > 5
    parameters = basis.parameters_of(carried_to(truths("Si")["DFT"], silicon.crystal))
    parameters[far] += (
        0.1 * np.abs(parameters).max() * np.random.default_rng(0).normal(size=far.sum())
    )
    place = silicon.where(basis.force_constants(parameters))
    assert not place.is_inside
    assert all(float(name.split(" Å")[0].split()[-1]) > 5 for name, _ in place.farthest)
    assert place.farthest[0][0] in place.in_words()


def test_what_the_basis_does_not_hold_is_reported(silicon):
    crystal = truths("Si")["DFT"].crystal
    short = ForceConstantBasis.from_crystal(crystal, cutoff=4.0)
    sample = ForceFieldSample(
        short.force_constants(short.parameters_of(truths("Si")["DFT"])),
        "test",
        "short-ranged",
        crystal.lattice,
        1.0,
        True,
    )
    place = Prior.from_samples(short, [sample]).where(truths("Si")["DFT"])
    assert 0.01 < place.remainder < 0.3


def test_fresh_draws_have_uniform_ranks(silicon):
    fresh = silicon.squared_distances(silicon.sample(1000, 77).numpy()).sum(axis=1)
    ranks = np.sort(np.searchsorted(silicon.distances, fresh) / len(silicon.distances))
    expected = (np.arange(1000) + 0.5) / 1000
    # Kolmogorov and Smirnov: 1.95 is exceeded once in a thousand times.
    assert np.abs(ranks - expected).max() < 1.95 * np.sqrt(1 / 1000 + 1 / 2000)


def test_draws_are_stable_and_keep_symmetry_and_sum_rule(silicon):
    for draw in silicon.sample(20, 5):
        force_constants = silicon.force_constants(draw)
        np.testing.assert_allclose(force_constants.values.sum(axis=1), 0, atol=1e-9)
        q_points = np.random.default_rng(1).random((20, 3)) - 0.5
        low, high = silicon.energy_range
        by_phonopy = force_constants.frequencies(q_points)
        assert by_phonopy.min() > 0
        assert by_phonopy.max() < high
        rotations = silicon.crystal.point_group_rotations
        turned = force_constants.frequencies(q_points @ rotations[7].T)
        np.testing.assert_allclose(turned, by_phonopy, atol=1e-4)


def test_draws_follow_the_covariance_where_none_is_rejected(silicon):
    """Narrow enough, nothing is unstable: mean and covariance are those that were asked for."""
    narrow = replace(
        silicon,
        factor=0.01 * silicon.factor,
        widths=replace(silicon.widths, amplitude_spread=0.0),
    )
    draws = narrow.sample(4096, 3, fixed_stiffness=True).numpy()
    scale = np.linalg.norm(narrow.factor, axis=1)
    standard = (draws - narrow.centre) / scale
    assert np.abs(standard.mean(axis=0)).max() < 5 / np.sqrt(4096)
    asked = (narrow.factor @ narrow.factor.T) / np.outer(scale, scale)
    assert np.abs(np.cov(standard.T) - asked).max() < 7 / np.sqrt(4096)
    assert len(narrow.factor.T) == narrow.basis.n_parameters - 1


def test_stiffness_is_the_mean_squared_energy(silicon):
    """By phonopy on a mesh, and log-normal as asked for."""
    grid = (np.arange(4) + 0.5) / 4
    mesh = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, 3)
    centre = np.mean(silicon.force_constants(silicon.centre).frequencies(mesh) ** 2)
    draws = silicon.sample(600, 9)
    for draw in draws[:3]:
        squares = np.mean(silicon.force_constants(draw).frequencies(mesh) ** 2)
        # The mesh's mean is exact but for force constants that the mesh folds onto the site.
        assert squares / centre == pytest.approx(silicon.stiffness(draw.numpy()), rel=0.02)
    logarithms = np.log(silicon.stiffness(draws.numpy()))
    widths = silicon.widths
    assert logarithms.mean() == pytest.approx(np.log(widths.stiffness_median), abs=0.1)
    assert logarithms.std() == pytest.approx(widths.stiffness_spread, rel=0.15)


def test_shapes_have_equal_stiffness(silicon):
    shapes = silicon.sample(50, 4, fixed_stiffness=True).numpy()
    np.testing.assert_allclose(silicon.stiffness(shapes), 1, atol=1e-9)


def test_same_seed_same_draws_and_longer_samples_begin_alike(silicon):
    first = silicon.sample(10, 1)
    assert torch.equal(first, silicon.sample(400, 1)[:10])
    assert not torch.equal(first, silicon.sample(10, 2))
    assert silicon.sample(0).shape == (0, silicon.basis.n_parameters)


def test_impossible_range_of_energies_is_an_error_and_no_endless_search(germanium_prior):
    with pytest.raises(FcinvError, match="no draw of the prior of Ge"):
        replace(germanium_prior, energy_range=(1e5, 2e5)).sample(1)


def test_force_constants_of_the_wrong_sign_are_refused(germanium_prior, germanium):
    for factor in (-1.0, 0.0):
        with pytest.raises(FcinvError, match="check their sign"):
            germanium_prior.where(germanium.scaled(factor))


def test_stored_prior_is_the_same(silicon, tmp_path):
    silicon.save(tmp_path / "prior.safetensors")
    again = Prior.load(tmp_path / "prior.safetensors")
    assert torch.equal(again.sample(5, 3), silicon.sample(5, 3))
    truth = truths("Si")["DFT"]
    assert replace(again.where(truth), remainder=0) == replace(silicon.where(truth), remainder=0)
    assert again.settings() == silicon.settings()
    assert again.crystal.content_hash == silicon.crystal.content_hash


@pytest.mark.parametrize("damage", [b"", b"not a prior", None])
def test_damaged_file_is_one_line(silicon, tmp_path, damage):
    path = tmp_path / "prior.safetensors"
    if damage is None:
        silicon.save(path)
        damage = path.read_bytes()[:2000]
    path.write_bytes(damage)
    with pytest.raises(FcinvError, match="damaged or no prior") as caught:
        Prior.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(FcinvError, match="no prior at"):
        Prior.load(tmp_path / "nothing.safetensors")


def test_unstable_samples_count_only_where_there_is_nothing_else(silicon):
    sample = ForceFieldSample(
        force_constants=silicon.force_constants(silicon.centre),
        potential="test",
        kind="good",
        lattice=silicon.crystal.lattice,
        lowest_energy=1.0,
        is_stable=True,
    )
    # The centre of a prior made of it and of nonsense is that one alone.
    bad = replace(
        sample, force_constants=sample.force_constants.scaled(-1.0), kind="bad", is_stable=False
    )
    prior = Prior.from_samples(silicon.basis, [bad, sample])
    np.testing.assert_allclose(prior.centre, silicon.centre, atol=1e-12)
    assert prior.sources == ("test, good",)
    with pytest.raises(FcinvError, match="hold Si together"):
        Prior.from_samples(silicon.basis, [bad])


def test_polar_crystal_is_judged_with_its_dipoles():
    """The dipole part is as in phonopy: draws with Born charges are stable there, too."""
    truth = truths("NaCl")["DFT"]
    basis = ForceConstantBasis.from_crystal(truth.crystal)
    sample = ForceFieldSample(
        truth.scaled(0.7), "test", "softened", truth.crystal.lattice, 1.0, True
    )
    prior = Prior.from_samples(
        basis, [sample], born_charges=truth.born_charges, dielectric=truth.dielectric
    )
    draw = prior.force_constants(prior.sample(1, 2)[0])
    np.testing.assert_allclose(draw.born_charges, truth.born_charges, atol=1e-8)
    q_points = np.random.default_rng(3).random((30, 3)) - 0.5
    assert draw.frequencies(q_points).min() > 0
    # Without its charges the same draw has no longitudinal optic mode next to Γ.
    at_gamma = np.array([[0.02, 0.02, 0.0]])
    split = draw.frequencies(at_gamma)[0]
    plain = replace(draw, born_charges=None, dielectric=None).frequencies(at_gamma)[0]
    assert split.max() > plain.max() + 3
    low, high = prior.extremes(prior.sample(1, 2))
    probes = draw.frequencies(probe_points(prior.crystal))
    # Phonopy leaves out the real-space part of the Ewald sum: 0.1 meV.
    assert float(low[0]) == pytest.approx(probes.min(), abs=0.1)
    assert float(high[0]) == pytest.approx(probes.max(), abs=0.1)


def test_mean_square_energy_is_the_trace_of_all_modes(silicon):
    """Averaged over the supercell's own wave vectors, where nothing is folded wrongly."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    crystal = silicon.crystal
    cells = crystal.supercell_lattice @ np.linalg.inv(crystal.primitive_lattice)
    mesh = get_commensurate_points(np.rint(cells).astype(int).T)
    energies = silicon.force_constants(silicon.centre).frequencies(mesh)
    squares = np.sum(energies * np.abs(energies)) / len(mesh)
    expected = squares / 4.135667696**2 / 15.633302**2  # phonopy's THz per sqrt(eV/Å²/u)
    assert mean_square_energy(silicon.basis) @ silicon.centre == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_draws_on_a_gpu_are_as_plausible(silicon):
    draws = silicon.sample(64, 1, device="cuda")
    assert draws.device.type == "cuda"
    ranks = silicon.squared_distances(draws.cpu().numpy()).sum(axis=1)
    assert silicon.distances.min() < np.median(ranks) < silicon.distances.max()
