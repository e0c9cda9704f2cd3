"""What a keyframe teaches: its alpha at working size, its colours, and where it cannot be narrowed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from model.classical.closed_form import solve_alpha
from model.classical.working_size import WorkingSize
from model.registry import Frame

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_TOLERANCE = 1e-3  # of the closed form: its alpha is the start of a soft classification, no matte
_LEVELS = 255  # alphas are rounded to so many steps, so that the solver's rounding cannot be seen
_SOLVED = 0.5  # weight of colours that the solver, not the artist, called certain
_SOFT = 0.05


@dataclass(frozen=True)
class Resolved:
    """A keyframe at working size, all H×W.

    Attributes:
        alpha: 0…1; 0 and 1 where the trimap is certain.
        foreground: weight of each pixel as a sample of the foreground's colours, 1 if the artist says so.
        backdrop: and of the background's.
        open: unknown regions that touch no foreground, or no background: there is nothing to compare them
            with (a puff of smoke), so they are carried as they are.
    """

    alpha: Image
    foreground: Image
    backdrop: Image
    open: Mask


def resolve(frame: Frame, size: WorkingSize) -> Resolved:
    """Solve a keyframe's band. Raises ValueError if it has no trimap."""
    if frame.trimap is None:
        raise ValueError(f"keyframe {frame.number} has no trimap")
    trimap = size.reduce(frame.trimap)
    sure, never = trimap > 0.99, trimap < 0.01
    known = np.where(sure, 1, np.where(never, 0, 0.5)).astype(np.float32)
    unknown = ~sure & ~never
    if not unknown.any() or not sure.any() or not never.any():
        alpha = known
    else:
        light = torch.from_numpy(size.reduce(frame.light).transpose(2, 0, 1).copy())[None]
        solved = solve_alpha(
            light,
            torch.from_numpy(known)[None, None],
            composited_in=frame.composited_in,
            tolerance=_TOLERANCE,
        )
        alpha = (np.rint(solved[0, 0].numpy() * _LEVELS) / _LEVELS).astype(np.float32)
    open_ = _without(unknown, sure) if never.any() else unknown
    guess = unknown & ~open_
    return Resolved(
        alpha=np.where(open_, np.float32(0.5), alpha),
        foreground=(sure + _SOLVED * (guess & (alpha > 1 - _SOFT))).astype(np.float32),
        backdrop=(never + _SOLVED * (guess & (alpha < _SOFT))).astype(np.float32),
        open=open_,
    )


def _without(unknown: Mask, sure: Mask) -> Mask:
    """The connected regions of ``unknown`` that touch no pixel of ``sure``."""
    count, labels = cv2.connectedComponents(unknown.astype(np.uint8), connectivity=8)
    near = cv2.dilate(sure.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = np.bincount(labels[near & unknown], minlength=count) > 0
    return unknown & ~touching[labels]
