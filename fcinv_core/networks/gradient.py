"""The gradient of one step, which all processes work out together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fcinv_core.networks.network import Network
from fcinv_core.networks.processes import Processes
from fcinv_core.networks.reproducible import Look


def mean_gradient(
    network: Network, looks: Sequence[Look], processes: Processes
) -> dict[str, torch.Tensor]:
    """Give all weights the gradient of the sum of the mean losses.

    Random numbers that the network draws follow from the group, not from the process that has it.

    Parameters
    ----------
    network
        Its weights are the same in all processes, and so are the gradients that they get.
    looks
        Of this process: groups of one size, as many in each process.
    processes
        To take the mean over.

    Returns
    -------
    Mean losses by name. What is not finite in one process is so in all.
    """
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    sums: dict[str, torch.Tensor] = {}
    for look in looks:
        torch.manual_seed(look.seed)
        losses = network.losses(network.prepare([look.group]), look.group.parameters)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        (total / len(looks)).backward()
        for name, loss in losses.items():
            share = loss.detach().float() / len(looks)
            sums[name] = sums[name] + share if name in sums else share
    # One message for everything: at this size it is the number of messages that takes the time.
    message = torch.cat(
        [*(_gradient(parameter).flatten() for parameter in parameters), *map(_row, sums.values())]
    )
    message = processes.mean(message)
    sizes = [parameter.numel() for parameter in parameters]
    *gradients, means = message.split([*sizes, len(sums)])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter).clone()
    return dict(zip(sums, means, strict=True))


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _row(scalar: torch.Tensor) -> torch.Tensor:
    return scalar.reshape(1)
