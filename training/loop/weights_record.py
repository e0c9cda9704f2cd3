"""The checkpoint that a training writes, and what it says of how its weights came to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.checkpoint import CheckpointRecord, save_checkpoint
from training.loop.beginning import Beginning
from training.loop.recipe_file import recipe_hash

LICENCE = (
    "weights: Apache-2.0, trained on procedural clips and on material under CC0, CC-BY, MIT, "
    "Apache-2.0, BSD-3-Clause and public-domain terms or released for unrestricted use, each file "
    "named in training.material"
)
OTHER_LICENCE = (
    "weights: trained on clips that the record names; what they may be used for is for the owners "
    "of those clips to say"
)


def write_checkpoint(
    path: Path,
    network: nn.Module,
    recipe: Mapping[str, Any],
    step: int,
    metrics: Mapping[str, float],
    beginning: Beginning,
    described: Mapping[str, Any] | None = None,
) -> None:
    """Weights as float16 with the record of how they came to be; what BatchNorm holds, and whole
    numbers, stay what they are.

    Args:
        beginning: of the run: the record names each file of its material, and the record of what
            it began with becomes part of this one.
        described: of clips that lie somewhere, what a source says of them. Then the licence is the
            recipe's ``licence``, or says that it is for the owners of the clips to say.
    """
    init, backbone = beginning.init, beginning.backbone
    record = CheckpointRecord(
        network=str(recipe["network"]),
        config=dict(network.config),  # type: ignore[arg-type]
        licence=_licence(recipe, init, bool(described) or backbone is not None),
        training={
            "recipe": dict(recipe),
            "recipe_sha256": recipe_hash(recipe),
            "steps": step,
            "material": dict(beginning.material),
            "init": None if init is None else init["training"],
            "held_out": dict(metrics),
            "torch": torch.__version__,
            **({"clips": dict(described)} if described else {}),
            **({"backbone": backbone} if backbone else {}),
        },
    )
    exact = {
        f"{name}.{own}"
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for own in module.state_dict()
    }
    tensors = {
        name: tensor.detach().to(
            "cpu",
            tensor.dtype if name in exact else torch.float16,
            memory_format=torch.contiguous_format,
        )
        for name, tensor in network.state_dict().items()
    }
    save_checkpoint(path, tensors, record)


def _licence(recipe: Mapping[str, Any], init: Mapping[str, Any] | None, others: bool) -> str:
    """Of the weights. What they began with goes on to count.

    Args:
        init: see `Beginning`.
        others: whether clips or weights that are not ours went into them.
    """
    own = str(recipe.get("licence", OTHER_LICENCE if others else LICENCE))
    if init is None or init["licence"] in ("", own, LICENCE):
        return own
    return f"{own}; begun with: {init['licence']}"
