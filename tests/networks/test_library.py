"""Which models there are, and which one fits a crystal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from command_line import one_error
from toy_network import SCORES, register, toy_model

from fcinv_core import Crystal, cli
from fcinv_core.errors import FcinvError
from fcinv_core.networks import library
from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.model_card import HeldOutScore

STRUCTURES = Path(__file__).parents[1] / "data/structures"


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """The folder of shipped models and that of the user, both empty."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir(), own.mkdir()
    monkeypatch.setattr(library, "SHIPPED", shipped)
    monkeypatch.setenv("FCINV_MODELS", str(own))
    register(monkeypatch)
    return shipped, own


@pytest.fixture
def germanium_file():
    return Crystal.from_file(STRUCTURES / "Ge.cif")


def structure(tmp_path, atoms):
    path = tmp_path / "POSCAR"
    write(path, atoms, format="vasp")
    return Crystal.from_file(path)


def with_error(percent):
    return SCORES | {"noisy": HeldOutScore(percent, percent, percent, percent)}


def test_no_models_at_all(folders, germanium_file, capsys):
    assert library.model_files() == []
    assert library.find_model(germanium_file).model is None
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    assert "no trained models" in out and "fcinv train" in out and str(folders[1]) in out


def test_missing_folders_are_empty(folders, monkeypatch, tmp_path):
    monkeypatch.setenv("FCINV_MODELS", str(tmp_path / "nowhere"))
    monkeypatch.setattr(library, "SHIPPED", tmp_path / "nowhere either")
    assert library.model_files() == []


def test_own_folder(monkeypatch):
    assert library.own_folder({"FCINV_MODELS": "/a", "XDG_DATA_HOME": "/b"}) == Path("/a")
    assert library.own_folder({"XDG_DATA_HOME": "/b"}) == Path("/b/fcinv/models")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    default = Path("/home/me/.local/share/fcinv/models")
    assert library.own_folder({}) == library.own_folder({"XDG_DATA_HOME": "relative"}) == default

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert library.own_folder({}) is None


def test_the_best_that_fits(folders, germanium_prior, germanium_file):
    shipped, own = folders
    toy_model(germanium_prior, scores=with_error(2.0)).save(shipped / "worse.safetensors")
    toy_model(germanium_prior, scores=with_error(1.0)).save(own / "better.safetensors")
    toy_model(germanium_prior, scores={}).save(own / "unknown.safetensors")
    choice = library.find_model(germanium_file)
    assert choice.model.name == "better" and choice.remarks == ()


@pytest.mark.parametrize("cell", ["primitive", "conventional", "strained"])
def test_any_description_of_the_crystal_fits(folders, germanium_prior, tmp_path, cell):
    toy_model(germanium_prior).save(folders[1] / "Ge.safetensors")
    a = 5.658 * (1.02 if cell == "strained" else 1)
    atoms = bulk("Ge", "diamond", a=a, cubic=cell == "conventional")
    atoms.rotate(30, "z", rotate_cell=True)
    atoms.positions += 0.1
    assert library.find_model(structure(tmp_path, atoms)).model is not None


@pytest.mark.parametrize(
    ("atoms", "told"),
    [
        (bulk("Si", "diamond", a=5.658), "Si Si"),
        (bulk("Ge", "fcc", a=4.2), "primitive cells differ"),
        (bulk("Ge", "diamond", a=5.9), "3%"),
        (bulk("Ge", "hcp", a=4.0, c=6.5), "space groups"),
    ],
)
def test_other_crystals_do_not_fit_and_are_told_apart(
    folders, germanium_prior, tmp_path, atoms, told
):
    toy_model(germanium_prior).save(folders[1] / "Ge.safetensors")
    crystal = structure(tmp_path, atoms)
    assert library.find_model(crystal).model is None
    with pytest.raises(FcinvError, match=told) as caught:
        library.load_model("Ge", crystal)
    assert "does not fit" in str(caught.value) and "\n" not in str(caught.value)


def test_other_isotopes_do_not_fit(folders, germanium_prior, germanium_file):
    from dataclasses import replace

    toy_model(germanium_prior).save(folders[1] / "Ge.safetensors")
    heavier = replace(germanium_file, masses=germanium_file.masses * 76 / 72.6)
    assert library.find_model(heavier).model is None
    with pytest.raises(FcinvError, match="masses"):
        library.load_model("Ge", heavier)


def test_a_model_without_born_charges_is_none_of_a_polar_crystal(
    folders, germanium_prior, germanium_file
):
    toy_model(germanium_prior).save(folders[1] / "Ge.safetensors")
    assert library.find_model(germanium_file, polar=True).model is None
    with pytest.raises(FcinvError, match="Born charges"):
        library.load_model("Ge", germanium_file, polar=True)


def test_by_path(folders, germanium_prior, germanium_file, tmp_path):
    path = tmp_path / "elsewhere.safetensors"
    toy_model(germanium_prior).save(path)
    assert library.load_model(str(path), germanium_file).name == "elsewhere"
    with pytest.raises(FcinvError, match="no model at"):
        library.load_model(str(tmp_path / "nothing.safetensors"), germanium_file)


def test_damaged_files_are_listed_and_passed_over(folders, germanium_prior, germanium_file, capsys):
    _, own = folders
    toy_model(germanium_prior, scores=with_error(2.0)).save(own / "good.safetensors")
    toy_model(germanium_prior, scores=with_error(1.0)).save(own / "flipped.safetensors")
    content = bytearray((own / "flipped.safetensors").read_bytes())
    content[-5] ^= 1  # a weight, which listing does not read
    (own / "flipped.safetensors").write_bytes(content)
    (own / "cut.safetensors").write_bytes(content[:-5])
    (own / "empty.safetensors").write_bytes(b"")
    (own / "folder.safetensors").mkdir()
    choice = library.find_model(germanium_file)
    assert choice.model.name == "good"
    assert len(choice.remarks) == 1 and "flipped" in choice.remarks[0]
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    for name in ("cut", "empty", "folder"):
        assert any(line.split()[:2] == [name, "damaged"] for line in out.splitlines())
    assert "checksum" in one_error(capsys, ["models", "flipped"])
    assert "damaged" in one_error(capsys, ["models", "cut"])


def test_command_lists_and_shows(folders, germanium_prior, capsys):
    shipped, own = folders
    toy_model(germanium_prior).save(shipped / "Ge-toy.safetensors")
    assert cli.main(["models"]) == 0
    heading, line = capsys.readouterr().out.splitlines()[:2]
    assert heading.split()[:3] == ["name", "crystal", "network"]
    assert line.startswith("Ge-toy") and "Ge Fd-3m" in line and "toy" in line
    assert "0.5 meV noisy" in line and "MB" in line and "comes with fcinv" in line
    assert cli.main(["models", "Ge-toy"]) == 0
    card = capsys.readouterr().out
    n = germanium_prior.basis.n_parameters
    for fact in ("Fd-3m", f"{n} independent, no Born charges", f"{n} weights", "none, relaxed cell",
                 "0.7 meV", "1.4 %", "fcinv train", "GPL-3.0-or-later", "10.1039"):  # fmt: skip
        assert fact in card
    assert "this version of fcinv can use it" in card
    error = one_error(capsys, ["models", "Si"])
    assert "'Si'" in error and "Ge-toy" in error


def test_command_tells_a_program(folders, germanium_prior, capsys):
    shipped, own = folders
    toy_model(germanium_prior).save(shipped / "Ge-toy.safetensors")
    (own / "cut.safetensors").write_bytes(b"cut")
    assert cli.main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(own)
    cut, toy = told["models"]
    assert cut["card"] is None and "cut.safetensors" in cut["problem"]
    assert toy["comes_with_fcinv"] and toy["problem"] is None and toy["card"]["formula"] == "Ge"
    assert cli.main(["models", "Ge-toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == toy


def test_the_folder_of_a_training_is_no_model_but_holds_one(
    folders, germanium_prior, capsys, monkeypatch, tmp_path
):
    (tmp_path / "mine").mkdir()
    toy_model(germanium_prior).save(tmp_path / "mine/model.safetensors")
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "mine/"):
        assert "(did you mean mine/model.safetensors?)" in one_error(capsys, ["models", name])
    assert cli.main(["models", "mine/model.safetensors"]) == 0


def test_a_file_that_is_no_model_is_called_that(folders, capsys, monkeypatch, tmp_path):
    (tmp_path / "Si.cif").write_text("data_Si")
    monkeypatch.chdir(tmp_path)
    assert "no model 'Si.cif'" not in one_error(capsys, ["models", "Si.cif"])


def test_command_refuses_what_cannot_be_used(folders, germanium_prior, capsys, monkeypatch):
    toy_model(germanium_prior).save(folders[1] / "Ge-toy.safetensors")
    monkeypatch.delitem(NETWORKS, "toy")
    assert "architecture 'toy'" in one_error(capsys, ["models", "Ge-toy"])


def test_unknown_name_without_any_models(folders, capsys):
    assert "fcinv train" in one_error(capsys, ["models", "Si"])


def test_the_users_model_comes_before_a_shipped_one_of_that_name(folders, germanium_prior):
    shipped, own = folders
    for folder in folders:
        toy_model(germanium_prior).save(folder / "Ge.safetensors")
    assert library.model_file("Ge").path.parent == own
    assert [file.is_shipped for file in library.model_files()] == [False, True]
