"""What is to be known about a trained model before trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fcinv_core.versions import software_versions

if TYPE_CHECKING:
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.networks.network import Network

LICENCE = "GPL-3.0-or-later"

CITATION = (
    "Sable, Linjawi, Bradbury, Malof & Delaire, Digital Discovery (2026), "
    "10.1039/D6DD00008H, and the force fields above"
)


@dataclass(frozen=True)
class HeldOutScore:
    """Errors of a network's estimates on simulated measurements that it was not trained on.

    Of each one the root-mean-square error of phonon energies over the Brillouin zone.

    Attributes
    ----------
    median_mev, mean_mev
        Over the measurements, in meV.
    median_percent, mean_percent
        The same as shares of the highest phonon energy of the truth, in percent.
    """

    median_mev: float
    mean_mev: float
    median_percent: float
    mean_percent: float


@dataclass(frozen=True)
class ModelCard:
    """Origin and quality of a trained model, as plain data.

    Attributes
    ----------
    formula, space_group
        Of the crystal.
    lattice
        a, b, c in Å and α, β, γ in degrees of its unit cell.
    supercell_matrix
        (3, 3) integers on that cell: what its force constants live in.
    n_parameters
        Independent force constants.
    polar
        Whether it was trained with Born charges.
    architecture, n_weights
        Of the network.
    force_fields
        What the prior was made of, in words.
    energy_range
        meV: the highest phonon energy of the training crystals lay in it.
    training
        Settings and outcome of the training: measurements, seed, seconds, ranges.
    scores
        Errors on held-out measurements by kind ("idealised", "noisy", ...).
    versions
        Of the software that trained it.
    command
        That made it.
    licence, citation
        A line each.
    """

    formula: str
    space_group: str
    lattice: tuple[float, ...]
    supercell_matrix: tuple[tuple[int, ...], ...]
    n_parameters: int
    polar: bool
    architecture: str
    n_weights: int
    force_fields: tuple[str, ...]
    energy_range: tuple[float, float]
    training: dict[str, Any]
    scores: dict[str, HeldOutScore]
    versions: dict[str, str] = field(default_factory=software_versions)
    command: str = ""
    licence: str = LICENCE
    citation: str = CITATION

    @classmethod
    def describing(
        cls,
        network: Network,
        *,
        training: Mapping[str, Any],
        scores: Mapping[str, HeldOutScore],
        command: str = "",
    ) -> ModelCard:
        """The card of a network, from itself and its prior as far as they tell.

        Parameters
        ----------
        training
            Plain JSON values.
        """
        prior: Prior = network.prior
        crystal = prior.crystal
        return cls(
            formula=crystal.formula,
            space_group=crystal.space_group,
            lattice=_lattice_parameters(crystal.lattice),
            supercell_matrix=tuple(tuple(row) for row in crystal.supercell_matrix.tolist()),
            n_parameters=prior.basis.n_parameters,
            polar=prior.born_charges is not None,
            architecture=network.architecture,
            n_weights=sum(weight.numel() for weight in network.parameters()),
            force_fields=prior.sources,
            energy_range=prior.energy_range,
            training=dict(training),
            scores=dict(scores),
            command=command,
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ModelCard:
        """The inverse of `to_dict`.

        Raises
        ------
        LookupError, TypeError, ValueError
            When the document is something else.
        """
        low, high = document["energy_range"]
        card = cls(
            **{
                **document,
                "lattice": tuple(document["lattice"]),
                "supercell_matrix": tuple(tuple(row) for row in document["supercell_matrix"]),
                "force_fields": tuple(document["force_fields"]),
                "energy_range": (low, high),
                "scores": {
                    kind: HeldOutScore(**score) for kind, score in document["scores"].items()
                },
            }
        )
        card._check()
        return card

    def _check(self) -> None:
        """Refuse values of other kinds than those that a card has, with a ValueError."""
        texts = (self.formula, self.space_group, self.architecture, self.command)
        counts = (self.n_parameters, self.n_weights)
        scores = [value for score in self.scores.values() for value in asdict(score).values()]
        numbers = (*self.lattice, *self.energy_range, *scores)
        if not (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(count, int) for count in counts)
            and all(isinstance(number, (int, float)) for number in numbers)
            and isinstance(self.training, Mapping)
            and isinstance(self.versions, Mapping)
            and len(self.lattice) == 6
        ):
            raise ValueError("it does not hold what a card has")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @property
    def error(self) -> float:
        """The number to compare models by, in percent of the highest phonon energy.

        Median on noisy measurements; without those the mean over what there is; infinite
        without any.
        """
        if "noisy" in self.scores:
            return self.scores["noisy"].median_percent
        medians = [score.median_percent for score in self.scores.values()]
        return float(np.mean(medians)) if medians else float("inf")

    @property
    def crystal(self) -> str:
        """Formula and space group in one word or two."""
        return f"{self.formula} {self.space_group}"

    def to_text(self) -> str:
        """For a person, a line for each fact."""
        a, b, c, alpha, beta, gamma = self.lattice
        charges = "with Born charges" if self.polar else "no Born charges"
        low, high = self.energy_range
        rows: list[tuple[str, str]] = [
            ("crystal", f"{self.formula}, space group {self.space_group}"),
            ("lattice", f"{a:.4g} {b:.4g} {c:.4g} Å, {alpha:.4g} {beta:.4g} {gamma:.4g}°"),
            ("supercell", _supercell_in_words(self.supercell_matrix)),
            ("force constants", f"{self.n_parameters} independent, {charges}"),
            ("network", f"{self.architecture}, {self.n_weights} weights"),
            ("prior from", "; ".join(self.force_fields) or "not recorded"),
            ("highest energies", f"{low:.3g} to {high:.3g} meV"),
        ]
        rows += [
            (
                f"error, {kind}",
                f"median {score.median_mev:.2g} meV ({score.median_percent:.2g} % of the top), "
                f"mean {score.mean_mev:.2g} meV ({score.mean_percent:.2g} %)",
            )
            for kind, score in self.scores.items()
        ]
        if not self.scores:
            rows.append(("error", "not measured"))
        rows += [(f"training: {key}", _in_words(value)) for key, value in self.training.items()]
        rows += [
            ("versions", _in_words(self.versions)),
            ("made by", self.command or "not recorded"),
            ("licence", self.licence),
            ("to cite", self.citation),
        ]
        width = max(len(name) for name, _ in rows) + 2
        return "\n".join(f"{name:<{width}}{value}" for name, value in rows)


def _lattice_parameters(lattice: np.ndarray) -> tuple[float, ...]:
    from ase.geometry import cell_to_cellpar

    return tuple(float(value) for value in cell_to_cellpar(lattice))


def _supercell_in_words(matrix: Sequence[Sequence[int]]) -> str:
    array = np.array(matrix)
    if np.array_equal(array, np.diag(np.diag(array))):
        return " x ".join(str(multiple) for multiple in np.diag(array))
    return "; ".join(" ".join(str(number) for number in row) for row in matrix)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_in_words(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
