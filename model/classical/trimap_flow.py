"""Trimap propagation without learning: optical flow, a background layer and colour classifiers.

One direction from one keyframe, frame by frame. Each step

1. matches the frame with the one before, both ways (`flow`), and warps the alpha along;
2. asks for every pixel how likely its colour is as foreground and as background (`colour_classifier`,
   `background_layer`), with colours pinned to the keyframes and colours seen a moment ago nearby;
3. adds up what both say (inconsistent flow counts little) and lets it follow the picture's edges (`guided`);
4. makes the unknown band anew around that alpha, so that it neither grows nor shrinks along the way.

It follows X. Bai, J. Wang, D. Simons, G. Sapiro, "Video SnapCut", SIGGRAPH 2009, in its use of local colour and
shape, and Y.-Y. Chuang et al., "Video Matting of Complex Scenes", SIGGRAPH 2002, in carrying trimaps by flow from
keyframes and in looking for the background behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from model.classical.background_layer import BackgroundLayer, density
from model.classical.colour_classifier import Places, bins, lab, whole_model
from model.classical.flow import Grey, Motion, extend, grey, motion, warp
from model.classical.guided import smooth_evidence
from model.classical.keyframe import resolve
from model.classical.working_size import WorkingSize
from model.errors import SetupError
from model.registry import Classes, Frame

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Radii and distances are in pixels of a 640×360 picture; see `working_size`.
BAND = 7  # how far the unknown band reaches beyond what looks mixed
CELL = 48  # side of the cells that have colour classifiers of their own
REACH = 80  # farthest the foreground may move between two frames, against the background
NOISE = 20  # neighbourhood in which the background's noise is measured
SOFT = 0.05  # alphas from here to 1 − here are mixed

UNSEEN = 6.0  # density of colours that were never seen; 1 = uniform over scaled Lab
AMISS = 0.1  # share of background pixels that do not look like the layer though it is known there
LIMIT = 4.0  # most that colours can say, in log odds
TRUST = 3.0  # most that the warped alpha can say, in log odds
FIRM = 0.02  # weight of firm evidence against the picture's edges


@dataclass(frozen=True)
class Memory:
    """All that is carried from frame to frame; its size depends on the working size alone.

    Attributes:
        size: of the frames and of the images below.
        foreground: picture-wide colour model of the keyframes' foreground.
        backdrop: and of their background.
        picture: Lab colours of the last frame.
        levels: its luminance.
        alpha: its alpha, 0…1.
        open: where it cannot be narrowed: unknown without foreground (or background) to compare with.
        confidence: 0…1.
        background: its background layer.
    """

    size: WorkingSize
    foreground: Image
    backdrop: Image
    picture: Image
    levels: Grey
    alpha: Image
    open: Mask
    confidence: Image
    background: BackgroundLayer


class TrimapFlow:
    """The face of `model.registry.PropagationNetwork`."""

    def start(self, keyframes: Sequence[Frame], origin: int) -> Memory:
        """Pin the colours of the keyframes and begin at the one that is nearest to frame ``origin``.

        Raises:
            ValueError: there is no keyframe, one has no trimap, or their sizes differ.
        """
        if not keyframes:
            raise ValueError("trimap_flow needs at least one keyframe")
        height, width = keyframes[0].picture.shape[2:]
        size = WorkingSize.of(height, width)
        resolved = [resolve(frame, size) for frame in keyframes]
        seen = [bins(lab(size.reduce(frame.picture))) for frame in keyframes]
        nearest = min(range(len(keyframes)), key=lambda i: abs(keyframes[i].number - origin))
        picture = size.reduce(keyframes[nearest].picture)
        colours = lab(picture)
        first = resolved[nearest]
        return Memory(
            size=size,
            foreground=whole_model(
                (b, one.foreground) for b, one in zip(seen, resolved, strict=True)
            ),
            backdrop=whole_model((b, one.backdrop) for b, one in zip(seen, resolved, strict=True)),
            picture=colours,
            levels=grey(picture),
            alpha=first.alpha,
            open=first.open,
            confidence=np.ones_like(first.alpha),
            background=BackgroundLayer(colours, (first.backdrop == 1).astype(np.float32)),
        )

    def step(self, memory: Memory, frame: Frame) -> tuple[Memory, Classes]:
        """Carry on to the next frame in this direction. Raises ValueError if its size is another."""
        size = memory.size
        if tuple(frame.picture.shape[2:]) != (size.height, size.width):
            raise ValueError(
                f"frame {frame.number} is {frame.picture.shape[3]}×{frame.picture.shape[2]}, "
                f"its keyframe {size.width}×{size.height}"
            )
        picture = size.reduce(frame.picture)
        colours, levels = lab(picture), grey(picture)
        move = motion(memory.levels, levels)
        alpha = warp(memory.alpha, move.back)
        still = extend(move.back, _shows_background(memory, move).astype(np.float32))
        layer = memory.background.moved(still)
        odds = _colour_odds(memory, colours, layer, _shows_background(memory, move))
        evidence = _sigmoid(odds + TRUST * (2 * alpha - 1) * (0.3 + 0.7 * np.exp(-move.error / 2)))
        never, sure = _seeds(memory, alpha, odds, move, still)
        evidence = np.where(never, np.float32(0), np.where(sure, np.float32(1), evidence))
        weight = np.where(never | sure, np.float32(100), FIRM * (2 * evidence - 1) ** 2)
        alpha = smooth_evidence(picture, evidence, weight)
        open_ = _carried_open(memory, move)
        classes = _band(alpha, open_, size)
        doubt = np.abs(alpha - _sigmoid(odds))
        confidence = warp(memory.confidence, move.back) * (0.99 - 0.1 * doubt)
        planes = np.stack([classes == 0, classes == 128, classes == 255], 2).astype(np.float32)
        device = frame.picture.device
        after = replace(
            memory,
            picture=colours,
            levels=levels,
            alpha=alpha,
            open=open_,
            confidence=confidence,
            background=layer.with_seen(colours, classes == 0),
        )
        return after, Classes(size.enlarge(planes, device), size.enlarge(confidence, device))


def open_network(checkpoint: str | None, device: torch.device) -> TrimapFlow:
    """Nothing to load: SetupError ``setup.no_checkpoint_wanted`` if a checkpoint is named."""
    if checkpoint:
        raise SetupError(
            "setup.no_checkpoint_wanted",
            f"trimap_flow learns nothing and cannot use the checkpoint {checkpoint}",
            hint="leave the checkpoint out, or name the network it belongs to",
        )
    return TrimapFlow()


def _shows_background(memory: Memory, move: Motion) -> Mask:
    """Where the frame surely shows background whose motion is known."""
    near = _grown((memory.alpha > SOFT) | memory.open, memory.size.radius(3)).astype(np.float32)
    return (warp(near, move.back) < 0.01) & (move.error < 1.5)


def _colour_odds(memory: Memory, colours: Image, layer: BackgroundLayer, shown: Mask) -> Image:
    """Log odds, from −LIMIT to LIMIT, that a pixel is foreground, by its colour alone."""
    size = memory.size
    places = Places(size.rows, size.columns, size.radius(CELL, 8))
    here = bins(colours)
    ahead = places.density(
        bins(memory.picture), (memory.alpha > 1 - SOFT).astype(np.float32), memory.foreground, here
    )
    behind = places.density(bins(layer.colours), layer.known, memory.backdrop, here)
    ahead, behind = ahead + UNSEEN, behind + UNSEEN
    variance = layer.noise(colours, shown.astype(np.float32), size.radius(NOISE))
    layered = density(layer.distance(colours, variance), variance)
    behind = layer.known * ((1 - AMISS) * layered + AMISS * behind) + (1 - layer.known) * behind
    odds: Image = np.clip(np.log(ahead / behind), -LIMIT, LIMIT)
    return cv2.GaussianBlur(odds, (0, 0), 1.0)  # type: ignore[no-any-return]


def _seeds(
    memory: Memory, alpha: Image, odds: Image, move: Motion, still: Image
) -> tuple[Mask, Mask]:
    """Where the frame is surely background, and surely foreground, before neighbours are asked."""
    size = memory.size
    body = _grown(memory.alpha > 0.02, 1)
    speed = np.linalg.norm(move.forth + still, axis=2)[body]
    fast = float(np.percentile(speed, 95)) if speed.size else 0.0
    reach = min(size.radius(BAND) + 1.5 * fast, size.radius(REACH))
    far = ~_grown(alpha > SOFT, round(reach))
    quiet = (alpha < 0.02) & (move.error < 1) & (odds < -1)
    solid = (alpha > 0.98) & (odds > -0.5)
    never = far | ~_grown(~(quiet | far), size.radius(3))
    sure = ~_grown(~solid, size.radius(4))
    return never, sure & ~never


def _carried_open(memory: Memory, move: Motion) -> Mask:
    return warp(memory.open.astype(np.float32), move.back) > 0.5


def _band(alpha: Image, open_: Mask, size: WorkingSize) -> npt.NDArray[np.uint8]:
    """The trimap around an alpha: what looks mixed, and the edge of what does not, grown by BAND."""
    inside = alpha > 0.5
    edge = _grown(inside, 1) & _grown(~inside, 1)
    mixed = (alpha > SOFT) & (alpha < 1 - SOFT)
    unknown = _grown(mixed | edge | open_, size.radius(BAND))
    return np.where(unknown, 128, np.where(inside, 255, 0)).astype(np.uint8)


def _grown(mask: Mask, radius: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown: Mask = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return grown


def _sigmoid(odds: Image) -> Image:
    return (1 / (1 + np.exp(-odds))).astype(np.float32)
