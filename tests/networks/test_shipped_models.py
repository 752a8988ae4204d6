"""The models that come with fcinv: what they are, and crystals that no force field has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.networks import materials
from benchmarks.networks.cases import make_case

from fcinv_core.networks.library import SHIPPED, model_files
from fcinv_core.networks.model import Model
from fcinv_core.networks.validation import PhononEnergies

EXPECTED = {f"{name}-direct" for name in ("Ge", "Si", "MgO", "Al", "Cu")} | {
    f"{name}-latent" for name in ("Ge", "MgO", "Al")
}
LARGEST = 10e6
"""Bytes."""

N_CASES = 3


def test_all_are_there():
    files = [file for file in model_files() if file.path.parent == SHIPPED]
    assert {file.name for file in files} == EXPECTED
    for file in files:
        assert file.problem is None
        assert file.path.stat().st_size < LARGEST
        name, architecture = file.name.split("-")
        assert file.card is not None
        assert file.card.architecture == architecture
        command = f"fcinv train --structure tests/data/structures/{name}.cif"
        assert file.card.command.startswith(command)


QUICK = sorted(name for name in EXPECTED if name.endswith("direct"))
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(EXPECTED - set(QUICK))]


@pytest.fixture(params=[*QUICK, *SLOW])
def model(request):
    return Model.load(SHIPPED / f"{request.param}.safetensors")


def test_force_constants_that_no_force_field_has_seen(model):
    """From DFT or measured; data by the forward model. Networks learn from simpler simulations."""
    material = model.prior.crystal.formula
    origin = materials.origins(material)[1]
    energies = PhononEnergies(model.prior)
    errors = []
    for number in range(N_CASES):
        case = make_case(material, "noisy-1000", origin, number)
        found = model.network.estimate_from([case.prepared])
        parameters = model.prior.basis.parameters_of(case.truth)
        right = energies(torch.from_numpy(parameters)[None])
        error = (energies(found.parameters[:1].double()) - right).square().mean().sqrt()
        errors.append(float(error / right.max()))
        turned = case.crystal.point_group_rotations[29]
        rotated = replace(case.prepared, centres=case.prepared.centres @ turned.T)
        again = model.network.estimate_from([rotated]).parameters
        scale = float(found.parameters.abs().max())
        assert float((again - found.parameters).abs().max()) < 1e-3 * scale
    assert np.median(errors) < 0.05
