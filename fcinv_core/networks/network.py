"""What every network can do, whatever is inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fcinv_core.errors import FcinvError

if TYPE_CHECKING:
    from fcinv_core.ensemble.measurement_group import MeasurementGroup
    from fcinv_core.ensemble.prior import Prior
    from fcinv_core.inversion.preparation import PreparedHistogram

Settings = Mapping[str, int | float]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Force constants of n crystals as networks see them, with their spread.

    Attributes
    ----------
    parameters
        (n, n_parameters) in the basis of the prior, eV/Å².
    covariance
        (n, n_parameters, n_parameters) eV²/Å⁴.
    """

    parameters: torch.Tensor
    covariance: torch.Tensor


class Network(torch.nn.Module):
    """From measurements of one crystal to its force constants.

    Parameters
    ----------
    prior
        Of the force constants, with the crystal.
    settings
        Sizes; those left out have their defaults.
    """

    architecture: ClassVar[str]

    def __init__(self, prior: Prior, settings: Settings | None = None) -> None:
        super().__init__()
        self.prior = prior

    def settings(self) -> dict[str, int | float]:
        """What builds this network anew: ``type(self)(prior, settings)``."""
        raise NotImplementedError

    def begin_with(self, other: Network) -> None:
        """Take over the weights of a trained network, of any crystal.

        All that both have are taken: architectures share most of theirs. Those that depend on the
        number of force constants stay where the shapes differ.

        Raises
        ------
        FcinvError
            When nothing is shared, or the sizes differ.
        """
        own, found = self.state_dict(), other.state_dict()
        shared = own.keys() & found.keys()
        sizes, others = self.settings(), other.settings()
        if not shared or any(sizes[name] != others[name] for name in sizes.keys() & others.keys()):
            raise FcinvError(
                f"weights of the {other.architecture} network {others} do not fit the "
                f"{self.architecture} network {sizes}: begin with a model of its kind"
            )
        alike = {name: found[name] for name in shared if found[name].shape == own[name].shape}
        self.load_state_dict({**own, **alike})

    def prepare(self, groups: Sequence[MeasurementGroup]) -> Any:
        """What the network looks at, of each measurement of each group, in their order."""
        raise NotImplementedError

    def losses(self, spectra: Any, parameters: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scalars by name whose sum is to be small: means over all measurements.

        Random numbers are to be those of torch's own generators, which training seeds anew for
        each group, so that it does not matter which process has the group.

        Parameters
        ----------
        spectra
            From `prepare`.
        parameters
            (n, n_parameters) eV/Å²: the truth.
        """
        raise NotImplementedError

    def estimate(self, spectra: Any, *, at_leisure: bool = False) -> Estimates:
        """Force constants of each measurement of `prepare`; without gradient.

        Only ``at_leisure`` all is done that `estimate_from` does.
        """
        raise NotImplementedError

    def calibrate(self, spectra: Iterable[Any], parameters: torch.Tensor) -> None:
        """After training: make stated spreads hold the truth as often as they should.

        Networks whose spread is right as it is leave it so.

        Parameters
        ----------
        spectra
            From `prepare`, several times, of measurements that were not trained on.
        parameters
            (n, n_parameters) eV/Å²: the truth of all of them.
        """

    def estimate_from(self, prepared: Sequence[PreparedHistogram]) -> Estimates:
        """Force constants of one crystal from all of its measurements together.

        Where several explain these about as well there are several (n > 1), the best first.
        """
        raise NotImplementedError
