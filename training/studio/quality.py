"""What mattes are like, told while they are read: figures of each frame, warnings of each shot.

Flicker is alpha that moves where the picture does not: of the pixels that are partial in either of
two neighbouring frames and whose colour, encoded for a screen, changes by less than `STILL`, the
mean of |α₁ − α₀|.

A matte that belongs to a neighbouring frame is told by where edges are: the matte's gradient is
held against the picture's, of its own frame, the one before and the one after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.studio.frames import Light, StudioFrame, shown

Values = npt.NDArray[np.float32]

BINS = 32
STILL = 0.02
PARTIAL = 0.05, 0.95
_BEYOND = 1e-3  # how far alpha may leave 0…1 by rounding
_LOOKED_AT = 480  # pixels of the longer side that edges are compared at
_CLEARLY = 1.04  # how much better a neighbour's edges must fit
_FEW = 6  # frames, fewer tell nothing of an offset
_FLICKER = 0.05


@dataclass(frozen=True)
class FrameQuality:
    """Figures of one frame.

    Attributes:
        coverage: mean alpha.
        partial: share of the pixels with 0.05 < α < 0.95.
        beyond: pixels outside 0…1, or no numbers.
        odd_colours: pixels of the plate that are not numbers or infinite.
        flicker: against the frame before; None for the first, or where nothing stands still.
        held: alpha is the same as in the frame before, the picture is not.
        fit: how well edges of alpha lie on those of the frame before, its own and the one after.
    """

    number: int
    coverage: float
    partial: float
    beyond: int
    flicker: float | None
    held: bool
    fit: tuple[float, float, float] | None
    odd_colours: int = 0


@dataclass(frozen=True)
class ShotQuality:
    """All of a shot.

    Attributes:
        histogram: counts of alpha in `BINS` bins of 0…1, pixels that are exactly 0 or 1 left out.
        eight_bit: every alpha is a multiple of 1/255.
    """

    frames: tuple[FrameQuality, ...]
    histogram: tuple[int, ...]
    eight_bit: bool
    warnings: tuple[str, ...]


@dataclass
class _Seen:
    frame: StudioFrame
    alpha: Values
    picture: Values
    grey: Values
    edges: Values


@dataclass
class Inspector:
    """Told of a shot's frames one after the other; keeps two of them."""

    light: Light
    _rows: list[FrameQuality] = field(default_factory=list)
    _histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    _eight_bit: bool = True
    _before: _Seen | None = None
    _last: _Seen | None = None

    def see(self, frame: StudioFrame) -> None:
        """The next frame."""
        seen = _seen(frame, self.light)
        inner = seen.alpha[(seen.alpha > 0) & (seen.alpha < 1)]
        self._histogram += np.histogram(inner, BINS, (0, 1))[0]
        steps = inner * 255
        self._eight_bit &= bool(np.abs(steps - np.rint(steps)).max(initial=0) < 0.02)
        if self._last is not None:
            self._rows.append(_figures(self._last, self._before, seen))
        self._before, self._last = self._last, seen

    def finish(self) -> ShotQuality:
        """Of all frames that were seen."""
        if self._last is not None:
            self._rows.append(_figures(self._last, self._before, None))
        rows = tuple(self._rows)
        return ShotQuality(
            rows,
            tuple(int(count) for count in self._histogram),
            self._eight_bit,
            tuple(_warnings(rows, self._eight_bit)),
        )


def _seen(frame: StudioFrame, light: Light) -> _Seen:
    picture = shown(frame.colours, light.name).clip(0, 1)
    alpha = frame.alpha.clip(0, 1)
    scale = min(1.0, _LOOKED_AT / max(alpha.shape))
    size = max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale))
    grey = cv2.resize(picture.mean(2), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return _Seen(frame, alpha, picture, _slope(np.asarray(grey)), _slope(np.asarray(small)))


def _slope(plane: npt.NDArray[Any]) -> Values:
    x, y = (cv2.Sobel(plane, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    return np.asarray(np.hypot(x, y), np.float32)


def _figures(own: _Seen, before: _Seen | None, after: _Seen | None) -> FrameQuality:
    stored, alpha = own.frame.alpha, own.alpha
    outside = int(((stored < -_BEYOND) | (stored > 1 + _BEYOND)).sum())
    flicker, held = None, False
    if before is not None and before.alpha.shape == alpha.shape:
        moved = np.abs(own.picture - before.picture).max(2)
        band = (_partial(alpha) | _partial(before.alpha)) & (moved < STILL)
        if band.sum() > 20:
            flicker = float(np.abs(alpha - before.alpha)[band].mean())
        held = bool(np.array_equal(alpha, before.alpha) and moved.mean() > 1e-3)
    return FrameQuality(
        number=own.frame.number,
        coverage=float(alpha.mean()),
        partial=float(_partial(alpha).mean()),
        beyond=own.frame.odd + outside,
        flicker=flicker,
        held=held and float(alpha.max(initial=0)) > 0,
        fit=_fit(own, before, after),
        odd_colours=own.frame.odd_colours,
    )


def _partial(alpha: Values) -> npt.NDArray[np.bool_]:
    return (alpha > PARTIAL[0]) & (alpha < PARTIAL[1])


def _fit(
    own: _Seen, before: _Seen | None, after: _Seen | None
) -> tuple[float, float, float] | None:
    """Mean slope of the picture under the matte's edges, weighed by how steep they are."""
    if before is None or after is None or own.edges.sum() == 0:
        return None
    if not before.grey.shape == own.grey.shape == after.grey.shape:
        return None
    total = float(own.edges.sum())
    one, two, three = (
        float((own.edges * seen.grey).sum() / total) for seen in (before, own, after)
    )
    return one, two, three


def _warnings(rows: Sequence[FrameQuality], eight_bit: bool) -> list[str]:
    found = []
    if beyond := [row for row in rows if row.beyond]:
        found.append(
            f"{len(beyond)} frames have alpha outside 0…1 or no number, the most in frame "
            f"{max(beyond, key=lambda row: row.beyond).number}; it is clipped"
        )
    if odd := [row for row in rows if row.odd_colours]:
        found.append(
            f"{len(odd)} frames have colours that are infinite or no number, the most in frame "
            f"{max(odd, key=lambda row: row.odd_colours).number}; they become 65504 and 0"
        )
    if empty := [row.number for row in rows if row.coverage == 0]:
        found.append(f"{len(empty)} frames have no foreground at all, the first is {empty[0]}")
    if full := [row.number for row in rows if row.coverage == 1]:
        found.append(f"{len(full)} frames are foreground all over, the first is {full[0]}")
    if eight_bit and any(row.partial for row in rows):
        found.append("mattes have 8 bit: 255 steps, which networks learn as they are")
    if not any(row.partial > 0 for row in rows):
        found.append("mattes are hard: nothing is partial, as in a rotoscope's shape without blur")
    if held := [row.number for row in rows if row.held]:
        found.append(
            f"{len(held)} mattes are the same as the one before though the plate is not, the first "
            f"is frame {held[0]}: they may be made on twos"
        )
    if jumping := [row for row in rows if (row.flicker or 0) > _FLICKER]:
        most = max(jumping, key=lambda row: row.flicker or 0)
        found.append(
            f"{len(jumping)} frames flicker: alpha moves by {most.flicker:.2f} in frame "
            f"{most.number} where the plate stands still"
        )
    fits = [row.fit for row in rows if row.fit]
    if len(fits) >= _FEW:
        before, own, after = np.median(np.array(fits), 0)
        for name, other in (("before", before), ("after", after)):
            if other > _CLEARLY * own:
                found.append(
                    f"edges of the mattes fit the plates of the frame {name} better "
                    f"({other / own:.2f} times): they may be numbered a frame off"
                )
    return found
