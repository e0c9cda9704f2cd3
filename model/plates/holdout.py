"""Garbage and core mattes: where they are 1 they pin alpha, in between they limit it.

Alpha is at most 1 − garbage and at least core, as keyers have it (min and max, not a threshold): a
soft edge of a garbage matte stays soft, where a threshold would cut a stair into the matte. Where
both say something the garbage matte wins: what was thrown away stays away.

They act twice. Where they are 1, and only there, the trimap becomes certain before anything is
solved: that saves work, and tells the prior what to go by. And alpha is limited once it is solved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.plates.hint import placed_hint
from model.plates.input_mattes import InputMatte, Values, other_size, place_input_matte
from model.plates.plate import Plate, PlateHeader, Trimap
from model.plates.trimap import BACKGROUND, FOREGROUND, UNKNOWN, place_trimap

# 254.5 of 255, and what half precision has just below 1, are 1; of a clean plate's alpha too.
ALL = 1 - 0.5 / 255


@dataclass(frozen=True)
class Guides:
    """What goes with one frame's plate; mostly nothing.

    Attributes:
        garbage, core: mattes.
        clean: a plate of the background alone.
    """

    garbage: InputMatte | None = None
    core: InputMatte | None = None
    clean: Plate | None = None


NO_GUIDES = Guides()


def no_guides(frame: int) -> Guides:
    """Of a shot that has none."""
    return NO_GUIDES


@dataclass(frozen=True)
class Limits:
    """Bounds of alpha over a plate's data window, float32 H×W, ``least`` ≤ ``most``."""

    least: Values
    most: Values

    def pinned(self, trimap: Trimap, header: PlateHeader) -> Trimap:
        """The trimap, certain where alpha can have one value only.

        Args:
            trimap: of the frame.
            header: of its plate.
        """
        pixels = place_trimap(trimap, header).copy()
        background, foreground = self.most == 0, self.least == 1
        pixels[background], pixels[foreground] = BACKGROUND, FOREGROUND
        confidence = None
        if trimap.confidence is not None:
            confidence = place_trimap(Trimap(trimap.confidence, trimap.window), header).copy()
            confidence[background | foreground] = 255
        return replace(
            trimap,
            pixels=pixels,
            window=header.data_window,
            confidence=confidence,
            hint=placed_hint(trimap, header),
        )

    def loosened(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A placed trimap as it is true of the limited alpha: unknown where a certain pixel got
        another alpha than 0 or 1."""
        soft = ((pixels == FOREGROUND) & (self.most < 1)) | (
            (pixels == BACKGROUND) & (self.least > 0)
        )
        return np.where(soft, np.uint8(UNKNOWN), pixels)


def limits_of(guides: Guides, header: PlateHeader, frame: int | None = None) -> Limits | None:
    """The bounds that a frame's garbage and core mattes set; None if it has neither.

    Raises:
        InputError: ``input.guide_size``.
    """
    if guides.garbage is None and guides.core is None:
        return None
    shape = header.data_window.height, header.data_window.width
    most, least = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    if guides.garbage is not None:
        most -= _placed(guides.garbage, header, frame, "the garbage matte")
    if guides.core is not None:
        least = np.minimum(_placed(guides.core, header, frame, "the core matte"), most)
    return Limits(least, most)


def check_clean_plate(clean: PlateHeader, plate: PlateHeader, frame: int) -> None:
    """Refuse a clean plate of another format; its data window may be any.

    Raises:
        InputError: ``input.guide_size``.
    """
    if clean.display_window != plate.display_window:
        size = clean.display_window.width, clean.display_window.height
        raise other_size("the clean plate", clean.path, size, plate, frame)


def _placed(matte: InputMatte, header: PlateHeader, frame: int | None, what: str) -> Values:
    values = place_input_matte(matte, header, frame=frame, what=what)
    values[values >= ALL] = 1
    values[values <= 1 - ALL] = 0
    return values
