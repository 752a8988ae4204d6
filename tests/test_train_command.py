"""``fcinv train`` from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import one_error
from networks.tiny_network import TinyNetwork

from fcinv_core import Crystal, cli
from fcinv_core.ensemble.measurement_pool import measurement_pool
from fcinv_core.ensemble.measurement_ranges import MeasurementRanges
from fcinv_core.ensemble.prior import Prior
from fcinv_core.errors import FcinvError
from fcinv_core.networks import architectures, training, training_settings
from fcinv_core.networks.model import Model
from fcinv_core.networks.training_settings import TrainingSettings

STRUCTURES = Path(__file__).parent / "data" / "structures"
QUICK = MeasurementRanges(spectrometers=("ARCS",), n_orientations=(3, 4), kinds=("slice",))
TINY = TrainingSettings(
    measurements=16, per_step=8, group_size=4, simulations=16, observations=2, n_q=8,
    geometries=1, validation_geometries=1, validation_cases=16,
    calibration_geometries=1, calibration_cases=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def germanium_of_file(germanium_prior):
    """A prior of the crystal in the file, as if a force field had been asked."""
    return replace(
        germanium_prior,
        basis=replace(germanium_prior.basis, crystal=Crystal.from_file(STRUCTURES / "Ge.cif")),
    )


@pytest.fixture(scope="module")
def plan(germanium_of_file):
    return measurement_pool(germanium_of_file, 1, QUICK, seed=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch, germanium_of_file, plan):
    """A tiny network, a few measurements, and no force field; returns what that was asked for."""
    asked = []

    def from_crystal(crystal, *, cutoff, born_charges, dielectric, progress):
        asked.append((crystal, cutoff, born_charges, dielectric))
        return replace(germanium_of_file, born_charges=born_charges, dielectric=dielectric)

    monkeypatch.setattr(Prior, "from_crystal", from_crystal)
    monkeypatch.setattr(training_settings, "TrainingSettings", lambda: TINY)
    monkeypatch.setattr(training, "measurement_pool", lambda *args, **options: plan)
    networks = {"direct": type("Direct", (TinyNetwork,), {"architecture": "direct"})}
    monkeypatch.setitem(architectures.NETWORKS, "direct", networks["direct"])
    return asked


@pytest.fixture
def arguments(tmp_path):
    out = tmp_path / "out"
    return ["train", "--structure", str(STRUCTURES / "Ge.cif"), "--device", "cpu", "-o", str(out)]


def test_it_trains_and_tells(arguments, capsys, tmp_path, quick):
    assert cli.main([*arguments, "--seed", "3", "--cutoff", "4.5"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    model = tmp_path / "out" / "model.safetensors"
    card = Model.load(model).card
    assert "with 16 simulated measurements in" in captured.out
    for kind in ("idealised", "noisy"):
        assert f"median {card.scores[kind].median_mev:.2g} meV" in captured.out
    assert f"--model {model}" in captured.out and str(model) in captured.out
    assert card.command.startswith("fcinv train --structure") and "--seed 3" in card.command
    assert "--cutoff 4.5" in card.command
    ((crystal, cutoff, charges, dielectric),) = quick
    assert crystal.formula == "Ge" and cutoff == 4.5 and charges is None and dielectric is None


def test_resume(arguments, capsys, tmp_path, quick):
    """No force field is asked again, and the number of measurements is remembered."""
    assert cli.main([*arguments, "--measurements", "24"]) == 0
    assert cli.main([*arguments, "--resume"]) == 0
    assert len(quick) == 1
    described = json.loads((tmp_path / "out" / "training.json").read_text())
    assert described["measurements"] == 24
    assert cli.main([*arguments, "--resume", "--measurements", "40"]) == 0
    assert len(quick) == 1 and capsys.readouterr().err == ""
    table = (tmp_path / "out" / "learning_curve.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["24", "40"]


def test_a_structure_written_with_fewer_digits_is_the_same(arguments, capsys, tmp_path):
    assert cli.main(arguments) == 0
    text = (STRUCTURES / "Ge.cif").read_text()
    assert "5.658" in text
    for length, status in (("5.65801", 0), ("5.66", 2)):
        again = tmp_path / "again.cif"
        again.write_text(text.replace("5.658", length))
        assert cli.main([*arguments, "--resume", "--structure", str(again)]) == status


def test_what_the_force_field_failed_at_is_told(arguments, capsys, monkeypatch, germanium_of_file):
    failed = replace(germanium_of_file, failures=("chgnet, volume +4 %: unstable",))
    monkeypatch.setattr(Prior, "from_crystal", lambda crystal, **options: failed)
    assert cli.main(arguments) == 0
    assert "chgnet, volume +4 %: unstable" in capsys.readouterr().out


def test_another_training_is_refused(arguments, capsys):
    assert cli.main(arguments) == 0
    capsys.readouterr()
    for other, told in (
        ([], "--resume"),
        (["--resume", "--seed", "4"], "--seed 0, not 4"),
        (["--resume", "--supercell", "3", "3", "3"], "--supercell"),
        (["--resume", "--structure", STRUCTURES / "Si.cif"], "--structure"),
        (["--resume", "--cutoff", "4"], "--cutoff"),
    ):
        assert told in one_error(capsys, [*arguments, *other])


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["--seed", "-1"], "'-1'"),
        (["--measurements", "0"], "'0'"),
        (["--architecture", "deep"], "'deep'"),
        (["--supercell", "90", "90", "90"], "atoms"),
        (["--structure", "nowhere.cif"], "nowhere.cif"),
        (["--born", "nowhere"], "nowhere"),
        (["-o", __file__], "is a file"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(arguments, capsys, tmp_path, wrong, told):
    assert told in one_error(capsys, [*arguments, *wrong])
    assert list(tmp_path.iterdir()) == []


def test_no_gpu(arguments, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "--device cpu" in one_error(capsys, [*arguments, "--device", "cuda"])


def test_no_force_field(arguments, capsys, monkeypatch, tmp_path):
    def from_crystal(crystal, **options):
        raise FcinvError("the force field 'chgnet' cannot be imported: pip install it")

    monkeypatch.setattr(Prior, "from_crystal", from_crystal)
    assert "pip install" in one_error(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_stopped(arguments, capsys, monkeypatch):
    def train(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    assert cli.main(arguments) == cli.INTERRUPTED
    captured = capsys.readouterr()
    assert captured.err == "" and "--resume" in captured.out
