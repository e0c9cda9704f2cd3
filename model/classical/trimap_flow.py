"""Trimap propagation without learning: optical flow, a background layer and colour classifiers.

One direction from one keyframe, frame by frame. Each step

1. matches the frame with the one before, both ways (`flow`), and warps the alpha along;
2. asks how likely each pixel's colour is as foreground and as background (`evidence`), from colours
   pinned to the keyframes, colours seen nearby a moment ago, and the background known to be behind;
3. adds up what both say (inconsistent flow counts little) and lets it follow edges (`guided`);
4. makes the unknown band anew around that alpha, so that it neither grows nor shrinks on the way.
   Where nothing has moved since the keyframe, the artist's own trimap stands (`anchor`).

Sources: carrying trimaps by flow and looking for the background behind: Y.-Y. Chuang et al.,
"Video Matting of Complex Scenes", SIGGRAPH 2002; local colour and shape, weighed against each
other: X. Bai, J. Wang, D. Simons, G. Sapiro, "Video SnapCut", SIGGRAPH 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from model.classical.anchor import Anchor
from model.classical.background_layer import BackgroundLayer
from model.classical.colour_classifier import bins, lab, whole_model
from model.classical.evidence import (
    SOFT,
    certain,
    colour_odds,
    combined,
    probability,
    shows_background,
)
from model.classical.filters import Image, Mask, grown, merged, shrunk
from model.classical.flow import Grey, Motion, extend, luminance, motion, warp
from model.classical.guided import follow_edges
from model.classical.keyframe import resolve
from model.classical.working_size import WorkingSize
from model.errors import SetupError
from model.face import Classes, Clues, Frame

# In pixels of a 640×360 picture.
_BAND = 7.0  # how far the unknown band reaches beyond what looks mixed
_WEAK_BAND = 5.0  # and beyond what colours do not support
_WEAK_NEAR = 15.0  # which is looked for this near what looks mixed

_WEAK = 0.7  # log odds that colours must have in favour of a certain class near the band
_FIRM = 0.02  # weight of firm evidence against the picture's edges
_FIXED = 100.0  # and of what is certain beforehand


@dataclass(frozen=True)
class Memory:
    """All that is carried from frame to frame; its size depends on the working size alone.

    Attributes:
        size: of the frames, and of the images below.
        wholes: picture-wide colour models of foreground and background, pinned to the keyframes.
        colours: scaled Lab of the last frame.
        levels: its luminance.
        alpha: its alpha, 0…1.
        open: what colours cannot narrow; see `keyframe`.
        confidence: 0…1.
        background: its background layer.
        behind: the same in the light that the shot is composited in.
        anchor: the keyframe's trimap and where it lies now.
        softness: of the keyframes' bands, 0…1 in the mean; see `keyframe.ResolvedKeyframe`.
    """

    size: WorkingSize
    wholes: tuple[Image, Image]
    colours: Image
    levels: Grey
    alpha: Image
    open: Mask
    confidence: Image
    background: BackgroundLayer
    behind: BackgroundLayer
    anchor: Anchor
    softness: float


class TrimapFlow:
    """The face of `model.face.PropagationNetwork`."""

    def start(self, keyframes: Sequence[Frame], origin: int) -> Memory:
        """Pin the colours of all keyframes and begin at the one nearest to frame ``origin``.

        Raises:
            ValueError: there is no keyframe, one has no trimap, or their sizes differ.
        """
        if not keyframes:
            raise ValueError("trimap_flow needs at least one keyframe")
        height, width = keyframes[0].picture.shape[2:]
        size = WorkingSize.of(height, width)
        for frame in keyframes:
            _check_size(frame, size)
        solved = [resolve(frame, size) for frame in keyframes]
        seen = [bins(lab(size.reduce(frame.picture))) for frame in keyframes]
        wholes = (
            whole_model((b, k.foreground) for b, k in zip(seen, solved, strict=True)),
            whole_model((b, k.background) for b, k in zip(seen, solved, strict=True)),
        )
        nearest = min(range(len(solved)), key=lambda i: abs(keyframes[i].number - origin))
        picture, first = size.reduce(keyframes[nearest].picture), solved[nearest]
        colours, bare = lab(picture), (first.trimap == 0).astype(np.float32)
        return Memory(
            size=size,
            wholes=wholes,
            colours=colours,
            levels=luminance(picture),
            alpha=first.alpha,
            open=first.open,
            confidence=np.ones_like(first.alpha),
            background=BackgroundLayer(colours, bare),
            behind=BackgroundLayer(size.reduce(keyframes[nearest].light), bare),
            anchor=Anchor.at(first.trimap),
            softness=sum(one.softness for one in solved) / len(solved),
        )

    def step(self, memory: Memory, frame: Frame) -> tuple[Memory, Classes]:
        """Carry on to the next frame in this direction. Raises ValueError if its size differs."""
        size = memory.size
        _check_size(frame, size)
        picture = size.reduce(frame.picture)
        colours, levels, light = lab(picture), luminance(picture), size.reduce(frame.light)
        move = motion(memory.levels, levels)
        shown = shows_background(memory.alpha, memory.open, move, size)
        still = extend(move.back, shown.astype(np.float32))
        layer = memory.background.moved(still)
        # Both are known where the background was seen.
        behind = BackgroundLayer(warp(memory.behind.colours, still), layer.known)
        anchor = memory.anchor.carried(move, still, size)
        warped = warp(memory.alpha, move.back)
        open_ = _carried_open(memory, warped, move)

        before = (memory.colours, memory.alpha)
        odds = colour_odds(colours, before, layer, shown, memory.wholes, size)
        never, sure = certain(odds, memory.alpha, warped, move, still, size)
        alpha = _settled(picture, combined(odds, warped, move), never, sure)

        alpha = _without_islands(alpha, open_)
        band = _band(alpha, odds, open_, size)
        trimap = anchor.laid_over(band, size)
        doubt = np.where(anchor.held(size), 0, np.abs(alpha - probability(odds)))
        confidence = np.asarray(
            warp(memory.confidence, move.back) * (0.99 - 0.1 * doubt), np.float32
        )
        bare = (band == 0) & (trimap == 0)
        after = replace(
            memory,
            colours=colours,
            levels=levels,
            alpha=alpha,
            open=open_,
            confidence=confidence,
            background=layer.with_seen(colours, bare),
            behind=behind.with_seen(light, bare),
            anchor=anchor,
        )
        planes = merged([(trimap == level).astype(np.float32) for level in (0, 0.5, 1)])
        clues = Clues(light, behind.colours, behind.known, move.back, move.forth)
        device = frame.picture.device
        return after, Classes(size.enlarge(planes, device), size.enlarge(confidence, device), clues)


def open_network(checkpoint: str | None, device: torch.device) -> TrimapFlow:
    """Nothing to load: SetupError ``setup.no_checkpoint_wanted`` if a checkpoint is named."""
    if checkpoint:
        raise SetupError(
            "setup.no_checkpoint_wanted",
            f"trimap_flow learns nothing and cannot use the checkpoint {checkpoint}",
            hint="leave the checkpoint out, or name the network it belongs to",
        )
    return TrimapFlow()


def _carried_open(memory: Memory, warped: Image, move: Motion) -> Mask:
    """The open regions in this frame. They go with the foreground they hang on, if there is any:
    flow inside of them may be that of what is seen through them. ``warped`` is the alpha of the
    frame before, moved to this one."""
    way = move.back
    if memory.wholes[0].any():
        solid = (warped > 1 - SOFT) & (move.error < 1.5)
        way = extend(move.back, solid.astype(np.float32))
    return np.asarray(warp(memory.open.astype(np.float32), way) > 0.5, np.bool_)


def _settled(picture: Image, evidence: Image, never: Mask, sure: Mask) -> Image:
    """Alpha after neighbours were asked; certain places fixed, weak evidence left to them."""
    evidence = np.where(never, np.float32(0), np.where(sure, np.float32(1), evidence))
    weight = np.where(never | sure, _FIXED, _FIRM * (2 * evidence - 1) ** 2).astype(np.float32)
    return follow_edges(picture, evidence, weight)


def _band(alpha: Image, odds: Image, open_: Mask, size: WorkingSize) -> Image:
    """The trimap around an alpha: 0, 0.5 or 1.

    Unknown is what looks mixed, the edge of what does not, what is open, and what colours do not
    support near those; each with a margin.
    """
    inside = alpha > 0.5
    edge = grown(inside, 1) & grown(~inside, 1)
    mixed = edge | ((alpha > SOFT) & (alpha < 1 - SOFT)) | open_
    weak = (np.where(inside, odds, -odds) < _WEAK) & grown(mixed, size.radius(_WEAK_NEAR))
    weak = grown(shrunk(weak, 1), size.radius(_WEAK_BAND))
    unknown = grown(mixed, size.radius(_BAND)) | weak
    return np.where(unknown, np.float32(0.5), inside.astype(np.float32))


def _without_islands(alpha: Image, open_: Mask) -> Image:
    """Alpha without the regions that hold nothing solid: what a cluttered background looks like."""
    present = (alpha > SOFT) | open_
    count, labels = cv2.connectedComponents(present.astype(np.uint8), connectivity=8)
    held = np.bincount(labels[(alpha > 1 - SOFT) | open_], minlength=count) > 0
    return np.where(held[labels] & present, alpha, 0).astype(np.float32)


def _check_size(frame: Frame, size: WorkingSize) -> None:
    height, width = frame.picture.shape[2:]
    if (height, width) != (size.height, size.width):
        raise ValueError(
            f"frame {frame.number} is {width}×{height}, its keyframe {size.width}×{size.height}"
        )
