"""The two directions of propagation made one trimap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.classical.filters import closed
from model.classical.working_size import WorkingSize, stays_there
from model.trimap_classes import Classes

_BACKGROUND, _UNKNOWN, _FOREGROUND = 0, 1, 2


def blend(
    forward: Classes | None, backward: Classes | None, position: float
) -> tuple[Tensor, Tensor]:
    """One trimap from what was carried forward and backward.

    Each direction counts by how near its keyframe is and by its own confidence, pixel by pixel.
    Where one direction is certain of the foreground and the other of the background, the pixel
    becomes unknown whatever the weights: a wide band costs time, a hole costs the shot. Cracks of
    certain pixels between the unknown of one direction and that of the other are closed.

    Source: the distance-weighted blend of forward and backward classes is that of the trimap
    generation module of Y. Zhang et al., "Attention-guided Temporally Coherent Video Object
    Matting", ACM Multimedia 2021; confidence and the rule for disagreement are ours.

    Args:
        forward: classes carried from the span's first keyframe; None if it has none there.
        backward: classes carried from its last keyframe; None if it has none there.
        position: where the frame lies, 0 at the first keyframe … 1 at the last; ignored with one
            direction.

    Returns:
        The trimap, uint8 H×W: 0 background, 128 unknown, 255 foreground. And the confidence,
        float32 H×W in 0…1: that of the directions, times the share of them that chose this class.

    Raises:
        ValueError: neither direction is given, or position is not in 0…1.
    """
    if not 0 <= position <= 1:
        raise ValueError(f"position {position} is not in 0…1")
    given = [(c, w) for c, w in ((forward, 1 - position), (backward, position)) if c is not None]
    if not given:
        raise ValueError("there is neither a forward nor a backward direction to blend")
    if len(given) == 1:
        given = [(given[0][0], 1.0)]
    found = [classes.at_frame_size() for classes, _ in given]
    planes = torch.stack([probability[0] for probability, _ in found])
    own = torch.stack([confidence[0, 0] for _, confidence in found])
    floor = 1e-6  # so that two directions without confidence still count by distance
    weights = torch.stack([w * (sure + floor) for sure, (_, w) in zip(own, given, strict=True)])
    weights = weights / weights.sum(0).clamp_min(1e-12)
    probability = (weights[:, None] * planes).sum(0)
    choices, choice = likeliest(planes), likeliest(probability)
    clash = (choices == _FOREGROUND).any(0) & (choices == _BACKGROUND).any(0)
    choice = choice.masked_fill(clash, _UNKNOWN)
    if len(given) == 2:
        choice = choice.masked_fill(_new_cracks(choice, choices), _UNKNOWN)
    agreed = probability.gather(0, choice[None])[0]
    confidence = ((weights * own).sum(0) * agreed).clamp(0, 1)
    levels = torch.tensor([0, 128, 255], dtype=torch.uint8, device=choice.device)
    return levels[choice], confidence


def likeliest(probability: Tensor) -> Tensor:
    """…×3×H×W to int64 …×H×W: which of the classes is largest, the first of equals.

    On a processor torch's own argmax takes 0.24 s for that at HD, and this a ninth of it.
    """
    background, unknown, foreground = probability.unbind(-3)
    found = (unknown > background).long()
    return torch.where(foreground > torch.maximum(background, unknown), _FOREGROUND, found)


def _new_cracks(choice: Tensor, choices: Tensor) -> Tensor:
    """Where the unknown of H×W classes has cracks, a pixel or two of the working size wide, that
    neither of the directions N×H×W has: what one has may be as an artist has painted it."""
    height, width = choice.shape
    size = WorkingSize.of(height, width)
    radius = max(1, round(size.height / size.rows))

    def cracks(classes: Tensor) -> Any:
        unknown: Any = classes == _UNKNOWN
        if not stays_there(unknown):
            unknown = unknown.cpu().numpy()
        return closed(unknown, radius) & ~unknown

    found = cracks(choice)
    for one in choices:
        found &= ~cracks(one)
    return torch.as_tensor(found).to(choice.device)
