"""What a network begins with: the published ``--init_type``, and a ResNet-50 for its encoder.

Not as published: what begins at zero on purpose (the offsets of deformable convolutions, the heads
of residuals) stays zero, and BatchNorm stays 1 and 0; nothing is loaded in silence.

Sources: X. Glorot, Y. Bengio, AISTATS 2010 (xavier); K. He et al., ICCV 2015 (kaiming); A. M. Saxe
et al., ICLR 2014 (orthogonal).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.checkpoint import load_pickled, load_tensors, sha256_of_file
from model.errors import SetupError
from model.networks.r50_published_names import published_name
from model.networks.st_fam_r50 import StFamR50
from training.checkpoint import some_of

TYPES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, 0.0, "fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain),
}
_STEM = "encoder.conv1.weight"


def initialise(network: nn.Module, table: Mapping[str, Any]) -> list[str]:
    """Do what a recipe's ``[init]`` says; with an empty table, nothing.

    Returns:
        What was done, a line each.

    Raises:
        SetupError: ``setup.bad_recipe`` for another type or a network without such an encoder,
            ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint`` if a file
            lacks tensors of the encoder.
    """
    lines = []
    if "type" in table:
        kind, gain = str(table["type"]), float(table.get("gain", 0.02))
        lines.append(_draw(network, kind, gain))
    if table.get("backbone"):
        lines += load_backbone(network, Path(table["backbone"]))
    return lines


def _draw(network: nn.Module, kind: str, gain: float) -> str:
    """Kernels and matrices anew, unless all of one is zero; the biases beside them 0."""
    if kind not in TYPES:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's init.type {kind!r} is not known",
            hint=f"use one of: {', '.join(TYPES)}",
        )
    drawn = kept = 0
    with torch.no_grad():
        for module in network.modules():
            own = dict(module.named_parameters(recurse=False))
            for name, weight in own.items():
                if weight.dim() < 2:
                    continue
                if not weight.is_meta and not bool(weight.any()):
                    kept += 1
                    continue
                TYPES[kind](weight, gain)
                drawn += 1
                if name == "weight" and own.get("bias") is not None:
                    own["bias"].zero_()
    if any(one.is_meta for one in network.parameters()):
        return f"{kind}, gain {gain:g}: kernels and matrices drawn, those that begin at 0 kept"
    return f"{kind}, gain {gain:g}: {drawn} kernels and matrices drawn, {kept} that begin at 0 kept"


def load_backbone(network: nn.Module, file: Path) -> list[str]:
    """Put a ResNet-50 into the encoder, and whatever else of the network the file holds.

    Args:
        network: `StFamR50`.
        file: as torch or safetensors wrote it; named as torchvision's ``resnet50``
            (``conv1.weight`` …, three input channels), or as the published network
            (``encoder.conv1.weight`` …).

    Returns:
        What fits and what does not, a line each.
    """
    if not isinstance(network, StFamR50):
        raise SetupError(
            "setup.bad_recipe",
            f"a ResNet-50 is no part of this network, so init.backbone {file} has no place in it",
            hint="leave init.backbone out; --init takes a checkpoint of the network itself",
        )
    found = _read(file)
    if not any(name.startswith("encoder.") for name in found):
        found = {f"encoder.{name}": one for name, one in found.items()}
    state = network.state_dict()
    wanted = {published_name(ours): ours for ours in state}
    encoder = [name for name in wanted if name.startswith("encoder.")]
    missing = [n for n in encoder if n not in found and not n.endswith("num_batches_tracked")]
    other = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(state[wanted[name]].shape)}"
        for name in encoder
        if name in found and not _fits(name, found[name], state[wanted[name]])
    ]
    if missing or other:
        parts = [f"{len(missing)} missing ({some_of(missing)})"] if missing else []
        parts += [f"{len(other)} of another shape ({some_of(other)})"] if other else []
        raise SetupError(
            "setup.other_checkpoint",
            f"{file} is no ResNet-50 for this encoder: of its {len(encoder)} tensors, "
            f"{', '.join(parts)}",
            hint="use torchvision's resnet50 weights, or a file of the published network",
        )
    used = [n for n, one in found.items() if n in wanted and _fits(n, one, state[wanted[n]])]
    with torch.no_grad():
        for name in used:
            mine, theirs = state[wanted[name]], found[name]
            if not mine.is_meta:
                if name == _STEM:
                    mine.zero_()  # the trimap's plane, where the file has three
                    mine[:, : theirs.shape[1]].copy_(theirs)
                else:
                    mine.copy_(theirs)
    inside = sum(name in encoder for name in used)
    planes = found[_STEM].shape[1]
    lines = [
        f"backbone {file.name}: {inside} of {len(encoder)} tensors of the encoder, {planes} of 4 "
        "planes of its first convolution" + (", the trimap's begins at 0" if planes == 3 else "")
    ]
    if len(used) > inside:
        lines.append(f"  and {len(used) - inside} of the {len(wanted) - len(encoder)} others")
    left = [name for name in found if name not in used]
    if left:
        lines.append(f"  not used: {len(left)} tensors ({some_of(left)})")
    return lines


def backbone_record(table: Mapping[str, Any]) -> dict[str, str] | None:
    """For a checkpoint's record: which file the encoder began with."""
    if not table.get("backbone"):
        return None
    file = Path(table["backbone"])
    return {"name": file.name, "sha256": sha256_of_file(file)}


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors" and file.is_file():
        return load_tensors(file, torch.device("cpu"))
    return load_pickled(file)


def _fits(name: str, theirs: Tensor, mine: Tensor) -> bool:
    if name == _STEM and theirs.dim() == 4 and theirs.shape[1] == 3:
        return theirs.shape[0] == mine.shape[0] and theirs.shape[2:] == mine.shape[2:]
    return theirs.shape == mine.shape
