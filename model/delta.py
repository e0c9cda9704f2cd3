"""Deltas: small checkpoints that say how weights differ from those of a whole one, their base.

A delta may change several networks. For each tensor that it changes it holds, in float16,

    NETWORK/TENSOR/added          what is added to it, in its own shape; or
    NETWORK/TENSOR/up, …/down     O×r and r×(rest of its size): their product is added

The second is the low-rank update of E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language
Models", ICLR 2022, with kernels seen as matrices of O rows. Which base belongs to each network is
in the record, by sha256: so the sha256 of a delta's file stands for all of the weights that it
makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

ADDED, UP, DOWN = "added", "up", "down"


@dataclass(frozen=True)
class DeltaBase:
    """What one network's changes are added to.

    Attributes:
        file: the base's name; it is looked for among the shipped weights and beside the delta.
        sha256: of that file's bytes, in hex.
        config: keyword arguments that rebuild the network.
    """

    file: str
    sha256: str
    config: Mapping[str, object] = field(default_factory=dict)


def named(network: str, changes: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's changes (TENSOR/added …) under the names that they have in a delta's file."""
    return {f"{network}/{name}": tensor for name, tensor in changes.items()}


def changes_of(network: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The reverse of `named`: one network's changes out of a delta's tensors."""
    before = f"{network}/"
    return {k.removeprefix(before): v for k, v in tensors.items() if k.startswith(before)}


def changed(
    base: Mapping[str, torch.Tensor], changes: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The base's tensors with the changes added, in float32 on the base's device; tensors that do
    not change are as they were.

    Raises:
        ValueError: a change of a tensor that the base lacks, or of another shape.
    """
    found = dict(base)
    for tensor in dict.fromkeys(name.rpartition("/")[0] for name in changes):
        if tensor not in base:
            raise ValueError(f"the base has no {tensor}")
        old = base[tensor].float()
        added = _added({k: changes.get(f"{tensor}/{k}") for k in (ADDED, UP, DOWN)}, tensor)
        if added.numel() != old.numel():
            raise ValueError(f"{tensor} has {old.numel()} numbers and its change {added.numel()}")
        found[tensor] = old + added.to(old.device).view(old.shape)
    return found


def _added(parts: Mapping[str, torch.Tensor | None], tensor: str) -> torch.Tensor:
    plain, up, down = (parts[k] for k in (ADDED, UP, DOWN))
    if plain is not None:
        return plain.float()
    if up is None or down is None or up.shape[-1] != down.shape[0]:
        raise ValueError(f"the change of {tensor} lacks a half, or its halves do not match")
    return up.float() @ down.float()
