"""What the colours of a frame are: a plate, or an element that lacks its background.

    plate           what the camera saw; the matte lies beside it, or in A
    premultiplied   foreground multiplied by alpha: black where alpha is 0
    straight        foreground alone, not multiplied; what stands where alpha is 0 means nothing

A plate and a straight element look alike to a program, so straight has to be said. Premultiplied is
told by black where alpha is 0, and by colours that alpha bounds where it is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import InputError

Values = npt.NDArray[np.float32]

_CLEAR = 1e-3  # alpha at most, where nothing of a foreground can be seen
_BLACK = 1e-4  # light at most that counts as none
_ENOUGH = 0.002  # share of a frame's pixels that must be clear to tell by
_ALL = 0.999
_SOME = 0.05


@dataclass(frozen=True)
class Evidence:
    """Of one frame: how much of it is clear, and how much of that is black."""

    clear: float
    black: float


def look(colours: Values, alpha: Values) -> Evidence:
    """Look at a frame.

    Args:
        colours: float32 H×W×3.
        alpha: float32 H×W.
    """
    clear = alpha <= _CLEAR
    black = (np.abs(colours).max(2) <= _BLACK) & clear
    return Evidence(float(clear.mean()), float(black.sum() / max(clear.sum(), 1)))


def tell(frames: list[Evidence], name: str) -> str:
    """``plate`` or ``premultiplied``, for a whole shot.

    Raises:
        InputError: ``input.unclear_kind`` if the frames do not tell, or tell two things.
    """
    telling = [one for one in frames if one.clear >= _ENOUGH]
    if telling and all(one.black >= _ALL for one in telling):
        return "premultiplied"
    if telling and all(one.black <= 1 - _SOME for one in telling):
        return "plate"
    if not telling:
        why = "alpha is hardly anywhere 0, so its frames do not tell"
    else:
        why = "some of its frames are black where alpha is 0 and some, or some parts, are not"
    raise InputError(
        "input.unclear_kind",
        f"whether {name} holds plates or premultiplied colours is not clear: {why}",
        hint='say kind = "plate", "premultiplied" or "straight" in the list',
    )
