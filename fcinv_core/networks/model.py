"""A trained model: a prior, a network, and a card that says what they are good for.

On disk it is one safetensors file. The metadata hold one JSON document: ``schema``,
``architecture`` and ``settings`` of the network, ``prior``, ``card``, and ``sha256`` over all of
those and every tensor. Tensors are named ``prior.*`` and ``network.*``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fcinv_core.ensemble import prior_file
from fcinv_core.ensemble.prior import Prior
from fcinv_core.errors import FcinvError
from fcinv_core.files import is_regular_file, parsed_json, write_whole
from fcinv_core.networks.architectures import NETWORKS
from fcinv_core.networks.estimate import ForceConstantEstimate
from fcinv_core.networks.model_card import ModelCard
from fcinv_core.networks.network import Network

if TYPE_CHECKING:
    from fcinv_core.inversion.preparation import PreparedHistogram

SCHEMA = 1
"""Version of the layout of the file."""

LARGEST_FILE = 10_000_000
"""Bytes: models travel with the package and by e-mail."""

_MISFITS = (
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)
"""What arrays, networks and cards raise that do not fit together."""

METADATA = "fcinv_model"
"""Key of the document in the metadata of the file. One, as several have no fixed order."""


@dataclass(frozen=True, eq=False)
class Model:
    """Reads force constants of one crystal off measurements of it.

    Attributes
    ----------
    prior
        Of the force constants that the network was trained on, with the crystal and basis.
    network
        Trained.
    card
        Where it comes from and how well it does.
    name
        That of its file, without the ending.
    """

    prior: Prior
    network: Network
    card: ModelCard
    name: str = ""

    def estimate(self, prepared: Sequence[PreparedHistogram]) -> ForceConstantEstimate:
        """Force constants from all measurements of one crystal together.

        Parameters
        ----------
        prepared
            Q in reciprocal coordinates of the primitive cell of the prior's crystal, see
            `PreparedHistogram.in_crystal`. Without any spectra among them (maps at one energy
            only) nothing is read off, and the estimate is the prior itself.

        Raises
        ------
        FcinvError
            When the network makes nothing of them.
        """
        spectra = [item for item in prepared if item.has_spectra]
        if not spectra:
            return ForceConstantEstimate.from_prior(self.prior)
        self.network.eval()
        with torch.no_grad():
            estimates = self.network.estimate_from(spectra)
        parameters = estimates.parameters.double().cpu().numpy()
        covariance = estimates.covariance.double().cpu().numpy()
        finite = np.isfinite(parameters).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2))
        if not finite.any():
            raise FcinvError(
                f"the model of {self.prior.crystal.formula} finds no force constants for these "
                "data: invert them without a model (--model none)"
            )
        return ForceConstantEstimate.of_several(self.prior, parameters[finite], covariance[finite])

    @cached_property
    def sha256(self) -> str:
        """Of everything that the model is; its file holds the same."""
        return _digest(self._document(), self._tensors())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file.

        Raises
        ------
        FcinvError
            When the file cannot be written, would be larger than `LARGEST_FILE`, or weights are
            not finite.
        """
        from safetensors.numpy import save as serialised

        tensors = self._tensors()
        if (problem := _not_finite(tensors)) is not None:
            raise FcinvError(f"{problem}: train again, with a lower learning rate")
        document = {**self._document(), "sha256": self.sha256}
        content = serialised(tensors, {METADATA: json.dumps(document)})
        if len(content) > LARGEST_FILE:
            raise FcinvError(
                f"the model of {self.prior.crystal.formula} takes {len(content) / 1e6:.1f} MB, "
                f"more than the {LARGEST_FILE / 1e6:.0f} MB of a model file: make the network, "
                "the supercell or the range of the force constants smaller"
            )
        write_whole(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read what `save` wrote.

        Raises
        ------
        FcinvError
            When the file is missing, damaged, no model, or of another version of fcinv.
        """
        path = Path(path)
        document, tensors = _read_all(path)
        architecture = document.get("architecture")
        if not isinstance(architecture, str) or architecture not in NETWORKS:
            raise FcinvError(
                f"the model {path} holds a network of architecture {architecture!r}, and this "
                f"version of fcinv knows {', '.join(NETWORKS) or 'none'}: use another version, or "
                "train it again"
            )
        if (problem := _not_finite(tensors)) is not None:
            raise FcinvError(f"the model {path} is of no use: {problem}; train it again")
        try:
            prior = prior_file.from_stored(document["prior"], _below("prior.", tensors))
            network = NETWORKS[architecture](prior, document["settings"])
            weights = _below("network.", tensors)
            network.load_state_dict({key: torch.from_numpy(w) for key, w in weights.items()})
            return cls(prior, network.eval(), ModelCard.from_dict(document["card"]), path.stem)
        except FcinvError as error:
            raise FcinvError(f"the model {path} is damaged: {error}") from error
        except _MISFITS as error:
            raise FcinvError(
                f"the parts of the model {path} do not fit together ({error}): train it again"
            ) from error

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "architecture": self.network.architecture,
            "settings": self.network.settings(),
            "prior": prior_file.to_document(self.prior),
            "card": self.card.to_dict(),
        }

    def _tensors(self) -> dict[str, np.ndarray]:
        """Everything that is no JSON, by name and contiguous."""
        tensors = {f"prior.{key}": value for key, value in prior_file.to_arrays(self.prior).items()}
        for key, weight in self.network.state_dict().items():
            tensors[f"network.{key}"] = weight.detach().cpu().contiguous().numpy()
        return tensors


def read_document(path: Path) -> dict[str, Any]:
    """What the metadata of a model file say, without its tensors; the checksum is not tested.

    Raises
    ------
    FcinvError
        When the file is missing, damaged, no model, or of another version of fcinv.
    """
    return _read(path, with_tensors=False)[0]


def _read_all(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    document, tensors = _read(path, with_tensors=True)
    if document.get("sha256") != _digest(document, tensors):
        raise FcinvError(
            f"the model {path} is damaged: its content does not have its checksum; copy it again, "
            "or train it again"
        )
    return document, tensors


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    if not is_regular_file(path):
        raise FcinvError(f"no model at {path}: give a file that fcinv train wrote")
    if path.stat().st_size > LARGEST_FILE:
        raise FcinvError(
            f"{path} is larger than any model ({path.stat().st_size / 1e6:.0f} MB): give a file "
            "that fcinv train wrote"
        )
    tensors = {}
    try:
        with safe_open(path, "numpy") as stored:
            document = parsed_json((stored.metadata() or {})[METADATA])
            schema = document["schema"]
            if schema == SCHEMA and with_tensors:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except OSError as error:
        raise FcinvError(f"cannot read the model {path}: {error.strerror or error}") from error
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise FcinvError(
            f"{path} is damaged or no model of fcinv ({type(error).__name__}): copy it again, or "
            "give a file that fcinv train wrote"
        ) from error
    if schema != SCHEMA:
        raise FcinvError(
            f"the model {path} is of schema {schema}, and this version of fcinv reads {SCHEMA}: "
            "use another version, or train it again"
        )
    return document, tensors


def _digest(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the document without its own checksum, and of each tensor with its name."""
    content = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _not_finite(tensors: Mapping[str, np.ndarray]) -> str | None:
    """None, or which numbers are not finite, in words."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            return f"{name} holds numbers that are not finite"
    return None


def _below(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
