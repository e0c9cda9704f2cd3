"""How the published checkpoint calls what `st_fam_r50` is made of.

The checkpoint of Y. Sun et al., "Deep Video Matting via Spatio-Temporal Alignment and Aggregation",
CVPR 2021, is a bare dict of 517 tensors. Our names on the left, theirs on the right; {…} is a
number, l a level 0 … 4 from fine to coarse, s a stage, b a block.

Trained with ``--upsample deconv`` there are 527: the published network then enlarges with
``up_deconv``, and keeps ``rs``, which it never looks at. Ours has one of the two.

    encoder.conv, .norm                         encoder.conv1, .bn1
    encoder.stages.{s}.{b}.conv{i}, .norm{i}    encoder.layer{s+1}.{b}.conv{i}, .bn{i}
    encoder.stages.{s}.{b}.shortcut.{0,1}       encoder.layer{s+1}.{b}.downsample.{0,1}
    align.{l}.look, .think                      fusion.flow{l}.off_conv1, .off_conv2
    align.{l}.taps                              fusion.flow{l}.dcnpack.conv_offset_mask
    align.{l}.weight, .bias                     fusion.flow{l}.dcnpack.weight, .bias
    fuse.{l}.squeeze, .excite                   fusion.attn{l}.ca.fc.0, .ca.fc.2
    fuse.{l}.space                              fusion.attn{l}.sa.conv
    fuse.{l}.merge, .norm                       fusion.fuse{l}.conv, .norm
    decoder.wide.{l}.left{i}, .right{i}         decoder.skip{l}.conv_l{i}, .conv_r{i}
    decoder.rise.{l}.spread, .spread_norm       decoder.deconv{l}.rs.conv, .rs.norm
    decoder.rise.{l}.enlarge                    decoder.deconv{l}.up_deconv
    decoder.rise.{l}.join, .join_norm           decoder.deconv{l}.deconv.conv, .deconv.norm
    decoder.head                                pred_head
    refine.convs.{i}, .norms.{i}                refine.conv{i+1}.conv, .norm
    refine.head                                 refine_head
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.networks.r50_decoder import R50Decoder
from model.networks.r50_encoder import PLANES

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _rule(pattern: str, theirs: Callable[[re.Match[str]], str]) -> Rule:
    return re.compile(pattern), theirs


_RULES: tuple[Rule, ...] = (
    _rule(r"encoder\.(conv|norm)\.", lambda m: f"encoder.{_stem(m[1])}1."),
    _rule(
        r"encoder\.stages\.(\d)\.(\d)\.(conv|norm)(\d)\.",
        lambda m: f"encoder.layer{int(m[1]) + 1}.{m[2]}.{_stem(m[3])}{m[4]}.",
    ),
    _rule(
        r"encoder\.stages\.(\d)\.(\d)\.shortcut\.",
        lambda m: f"encoder.layer{int(m[1]) + 1}.{m[2]}.downsample.",
    ),
    _rule(r"align\.(\d)\.look\.", lambda m: f"fusion.flow{m[1]}.off_conv1."),
    _rule(r"align\.(\d)\.think\.", lambda m: f"fusion.flow{m[1]}.off_conv2."),
    _rule(r"align\.(\d)\.taps\.", lambda m: f"fusion.flow{m[1]}.dcnpack.conv_offset_mask."),
    _rule(r"align\.(\d)\.(?=weight|bias)", lambda m: f"fusion.flow{m[1]}.dcnpack."),
    _rule(r"fuse\.(\d)\.squeeze\.", lambda m: f"fusion.attn{m[1]}.ca.fc.0."),
    _rule(r"fuse\.(\d)\.excite\.", lambda m: f"fusion.attn{m[1]}.ca.fc.2."),
    _rule(r"fuse\.(\d)\.space\.", lambda m: f"fusion.attn{m[1]}.sa.conv."),
    _rule(r"fuse\.(\d)\.merge\.", lambda m: f"fusion.fuse{m[1]}.conv."),
    _rule(r"fuse\.(\d)\.norm\.", lambda m: f"fusion.fuse{m[1]}.norm."),
    _rule(
        r"decoder\.wide\.(\d)\.(l|r)\w+(\d)\.", lambda m: f"decoder.skip{m[1]}.conv_{m[2]}{m[3]}."
    ),
    _rule(
        r"decoder\.rise\.(\d)\.(spread|join)(_norm)?\.",
        lambda m: (
            f"decoder.deconv{m[1]}.{'rs' if m[2] == 'spread' else 'deconv'}."
            f"{'norm' if m[3] else 'conv'}."
        ),
    ),
    _rule(r"decoder\.rise\.(\d)\.enlarge\.", lambda m: f"decoder.deconv{m[1]}.up_deconv."),
    _rule(r"decoder\.head\.", lambda m: "pred_head."),
    _rule(r"refine\.convs\.(\d)\.", lambda m: f"refine.conv{int(m[1]) + 1}.conv."),
    _rule(r"refine\.norms\.(\d)\.", lambda m: f"refine.conv{int(m[1]) + 1}.norm."),
    _rule(r"refine\.head\.", lambda m: "refine_head."),
)


def _stem(ours: str) -> str:
    return "bn" if ours == "norm" else ours


def published_name(ours: str) -> str:
    """What the published checkpoint calls a tensor of `StFamR50`'s state.

    Raises:
        ValueError: no part of the network is called so.
    """
    for pattern, theirs in _RULES:
        found = pattern.match(ours)
        if found:
            return theirs(found) + ours[found.end() :]
    raise ValueError(f"st_fam_r50 has no tensor called {ours}")


def never_looked_at(channels: Sequence[int]) -> dict[str, Tensor]:
    """What a published checkpoint by ``deconv`` has besides: the ``rs`` of each level, by their
    published names, without values."""
    with torch.device("meta"):
        state = R50Decoder(channels, PLANES).state_dict()
    named = {f"decoder.{name}": one for name, one in state.items()}
    return {published_name(name): one for name, one in named.items() if ".spread" in name}


@dataclass(frozen=True)
class Widths:
    """What names and shapes of a published checkpoint tell; the arguments of `StFamR50`."""

    channels: tuple[int, ...]
    shift: int
    refine: bool
    upsample: str


def widths_of(published: Mapping[str, Tensor]) -> Widths | None:
    """How wide the network of a checkpoint is and how many frames it looks back; None if its
    tensors are not called as those of the published network are."""
    norms = ["encoder.bn1.weight", *(f"encoder.layer{s}.0.bn3.weight" for s in (1, 2, 3, 4))]
    squeeze = published.get("fusion.attn0.ca.fc.0.weight")
    if squeeze is None or squeeze.dim() != 2 or any(name not in published for name in norms):
        return None
    channels = tuple(published[name].numel() for name in norms)
    if not squeeze.shape[0] or squeeze.shape[1] % squeeze.shape[0]:
        return None
    return Widths(
        channels,
        squeeze.shape[1] // squeeze.shape[0] - 1,
        any(name.startswith("refine") for name in published),
        "deconv" if any(".up_deconv." in name for name in published) else "shuffle",
    )
