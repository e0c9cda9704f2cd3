"""What is seen of single pixels while a trimap is carried to a frame, and helps to matte it.

A carried trimap is unknown where an artist's would not be: right through a thin arm, in the gap
between arm and body. The frames it was carried over have shown much of the background that is now
behind the subject: held against the plate, as a clean plate would be (`clean_plate.evidence`), it
tells arm from gap, and soft alphas too. Where the background moves by itself, as footage does, it
says little: how far it is off is measured on what the trimap calls background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.classical.anchor import carried_classes
from model.classical.background_layer import FADE
from model.classical.clean_plate import evidence
from model.classical.data_term import DataTerm
from model.classical.filters import Image, arrays, chosen, placed, planes_of
from model.classical.working_size import WorkingSize
from model.face import Frame
from model.trimap_classes import Clues

_SEEN = 0.2  # background is believed that was seen so much, or so lately
_OFF = 0.2  # pixels that it lies off after a frame; after n of them √n times as much
_AROUND, _CONSENT = 5, 4  # side of the square that has a say in a pixel, and how much of one
_WORD = 0.2  # what it weighs against a clean plate's
_LEAST = 1e-12


def hint_of(
    number: int, trimap: npt.NDArray[np.uint8], composited_in: str, directions: Sequence[Clues]
) -> DataTerm | None:
    """The hint of one frame.

    Args:
        number: of the frame.
        trimap: uint8 H×W, carried and blended: 0, 128, 255; numpy's.
        composited_in: ``linear`` or ``display``: the light of the clues.
        directions: what each direction of propagation has seen.

    Returns:
        float32 1×1×H×W each, where the clues are; nothing is said of pixels that are certain. None
        if nothing is said at all.
    """
    size = WorkingSize.of(*trimap.shape)
    there = placed(trimap, directions[0].light)
    unknown = torch.as_tensor(there == 128)
    small = planes_of(carried_classes(there, size))
    light = planes_of(directions[0].light)
    background, known = _freshest(directions)
    frame = Frame(number, light, light, small, composited_in)
    behind, seen = planes_of(background), planes_of(known) > _SEEN
    said = evidence(replace(frame, background=behind, background_known=seen), _drift(behind, known))
    if said is None:
        return None
    return _enlarged(_undisputed(said), (small == 0.5).float(), unknown[None, None])


def _freshest(directions: Sequence[Clues]) -> tuple[Image, Image]:
    """The background as the direction has it that saw it last, and how well that is known."""
    background, known = directions[0].background, directions[0].known
    for other in directions[1:]:
        better = other.known > known
        background = chosen(better, other.background, background)
        known = arrays(known).where(better, other.known, known)
    return background, known


def _drift(background: Tensor, known: Image) -> Tensor:
    """The variance, 1×1×h×w, of a background that was moved along since it was seen: it lies
    a little off. What is seen in every frame does not show that."""
    frames = planes_of(known).clamp_min(_SEEN).log() / math.log(FADE)
    right = F.pad(background[..., 2:] - background[..., :-2], (1, 1)) / 2
    down = F.pad(background[..., 2:, :] - background[..., :-2, :], (0, 0, 1, 1)) / 2
    steep = (right.square() + down.square()).mean(1, keepdim=True)
    return _OFF**2 * steep * frames.clamp_min(0)


def _undisputed(said: DataTerm) -> DataTerm:
    """Less weight where a pixel's neighbours are told otherwise: ripples of water and pebbles that
    lie a little off are specks of foreground by their colours, and stay specks in a matte. Edges of
    the subject lose their weight too; those the Laplacian finds, between two sides that keep it."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, _AROUND, stride=1, padding=_AROUND // 2)

    there = (said.weight > 0).float()
    count = mean(there).clamp_min(_LEAST)
    first, second = mean(there * said.alpha) / count, mean(there * said.alpha.square()) / count
    agreed = 1 - 4 * (second - first.square()).clamp(0, 0.25)
    return DataTerm(said.alpha, said.weight * _WORD * agreed**_CONSENT)


def _enlarged(said: DataTerm, asked: Tensor, unknown: Tensor) -> DataTerm:
    """From working size to the frame's, bilinearly; ``asked`` (1×1×h×w) and ``unknown`` (1×1×H×W)
    are where."""
    weight = said.weight * asked
    planes = torch.cat([weight, weight * said.alpha], 1)
    if planes.shape[2:] != unknown.shape[2:]:
        planes = F.interpolate(planes, unknown.shape[2:], mode="bilinear", align_corners=False)
    planes = planes * unknown
    return DataTerm(planes[:, 1:] / planes[:, :1].clamp_min(_LEAST), planes[:, :1])
