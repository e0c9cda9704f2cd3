"""Learning a delta: few numbers that change many weights, and nothing of the base itself.

Each kernel or matrix of a network gets two thin ones whose product is added to it, biases and other
vectors get a vector. They begin at no change at all. See `model.delta` for how they are kept.

Source: E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.delta import ADDED, DOWN, UP


class LowRank(nn.Module):
    """Adds up · down to a tensor of two dimensions or more, its first against the rest."""

    def __init__(self, shape: torch.Size, rank: int, generator: torch.Generator):
        super().__init__()
        rest = shape.numel() // shape[0]
        self.up = nn.Parameter(torch.zeros(shape[0], rank))
        self.down = nn.Parameter(torch.randn(rank, rest, generator=generator) / rest**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view(weight.shape)


class Added(nn.Module):
    """Adds a tensor of the same shape."""

    def __init__(self, shape: torch.Size):
        super().__init__()
        self.added = nn.Parameter(torch.zeros(shape))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.added


def make_adaptable(network: nn.Module, rank: int, seed: int) -> list[nn.Parameter]:
    """Let a network learn changes of all of its tensors; the tensors themselves stay as they are.

    Args:
        network: changed in place.
        rank: of the changes of kernels and matrices. Where thin ones are no smaller than the whole,
            the whole is learned.
        seed: of the halves that do not begin at 0.

    Returns:
        What is to be learned.
    """
    generator = torch.Generator().manual_seed(seed)
    network.requires_grad_(False)
    for place, weight in list(network.named_parameters()):
        owner, name = _owner(network, place)
        parametrize.register_parametrization(owner, name, _change(weight, rank, generator))
    return [one for one in network.parameters() if one.requires_grad]


def _change(weight: Tensor, rank: int, generator: torch.Generator) -> nn.Module:
    shape = weight.shape
    thin = rank * (shape[0] + weight.numel() // shape[0]) if weight.dim() > 1 else weight.numel()
    made = LowRank(shape, rank, generator) if thin < weight.numel() else Added(shape)
    return made.to(weight.device)


def learned_changes(network: nn.Module) -> dict[str, Tensor]:
    """What an adaptable network has learned, by the names that deltas use, float16 on the CPU.

    Raises:
        ValueError: something is not finite, or too large for float16.
    """
    found = {}
    for place, module in network.named_modules():
        if not isinstance(module, parametrize.ParametrizationList):
            continue
        tensor = place.replace("parametrizations.", "")
        (change,) = module
        if isinstance(change, LowRank):
            parts: dict[str, Tensor] = {UP: change.up, DOWN: change.down}
        else:
            assert isinstance(change, Added)
            parts = {ADDED: change.added}
        for part, values in parts.items():
            half = values.detach().to("cpu", torch.float16)
            if not bool(half.isfinite().all()):
                raise ValueError(f"the change of {tensor} is not finite")
            found[f"{tensor}/{part}"] = half
    return found


def _owner(network: nn.Module, place: str) -> tuple[nn.Module, str]:
    path, _, name = place.rpartition(".")
    return network.get_submodule(path), name
