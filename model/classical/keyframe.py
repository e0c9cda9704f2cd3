"""What a keyframe teaches: its alpha at working size, its colours, and what cannot be narrowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.classical.anchor import three_classes
from model.classical.closed_form import solve_alpha
from model.classical.filters import Image, Mask, fetched, grown, holding, planes_of, shrunk
from model.classical.working_size import WorkingSize
from model.face import Frame

_TOLERANCE = 1e-3  # of the solver: its alpha starts a soft classification, it is no matte
_LEVELS = 255  # steps that alpha is rounded to, so that the solver's rounding cannot be seen
_SOFT = 0.05

# Half the width, in pixels of a 640×360 picture, from which a band was painted for something soft.
_WIDE = 15.0


@dataclass(frozen=True)
class ResolvedKeyframe:
    """A keyframe at working size, all H×W.

    Attributes:
        trimap: 0, 0.5 or 1.
        alpha: 0…1; 0 and 1 where the trimap is certain.
        foreground: where its colours are samples of the foreground's, by the artist or the solver.
        background: and of the background's.
        open: unknown regions that are carried as they are, because colours cannot narrow them: they
            touch no foreground or no background to compare with (a puff of smoke), or were painted
            too wide for an edge (fur).
    """

    trimap: Image
    alpha: Image
    foreground: Mask
    background: Mask
    open: Mask

    @property
    def softness(self) -> float:
        """How much of the painted band is truly mixed: 0 an edge, 1 smoke, or lace that is nowhere
        solid. The mean of 4α(1 − α) over the unknown; 0 if nothing is."""
        alpha = self.alpha[self.trimap == 0.5]
        return float(np.mean(4 * alpha * (1 - alpha))) if len(alpha) else 0.0


def resolve(frame: Frame, size: WorkingSize) -> ResolvedKeyframe:
    """Solve a keyframe's unknown band; on the CPU. Raises ValueError if it has no trimap."""
    if frame.trimap is None:
        raise ValueError(f"keyframe {frame.number} has no trimap")
    trimap = three_classes(fetched(size.reduce(frame.trimap)))
    unknown = trimap == 0.5
    open_ = _apart_from(trimap == 1, unknown) if (trimap == 0).any() else unknown
    band = unknown & ~open_
    alpha = trimap
    if band.any():
        solved = solve_alpha(
            planes_of(fetched(size.reduce(frame.light))),
            planes_of(trimap),
            composited_in=frame.composited_in,
            tolerance=_TOLERANCE,
        )
        rounded = np.rint(solved[0, 0].cpu().numpy() * _LEVELS) / _LEVELS
        alpha = np.where(band, rounded, trimap).astype(np.float32)
    return ResolvedKeyframe(
        trimap=trimap,
        alpha=alpha,
        foreground=alpha > 1 - _SOFT,
        background=alpha < _SOFT,
        open=open_ | _wide(unknown, size),
    )


def _wide(unknown: Mask, size: WorkingSize) -> Mask:
    """Where the artist's band is wider than an edge and its blur need."""
    half = size.radius(_WIDE)
    return grown(shrunk(unknown, half), half) & unknown


def _apart_from(sure: Mask, unknown: Mask) -> Mask:
    """The connected regions of ``unknown`` that touch no pixel of ``sure``."""
    return unknown & ~holding(unknown, grown(sure, 1) & unknown)
