"""Contact sheets of an evaluation: what a person looks at beside the figures.

A row a frame: picture, trimap, truth, prior, and each network, then how far prior and networks are
from the truth. Below it, the same columns close up, where the last network is worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.plates.atomic import write_bytes
from training.judging.datasets import Alpha
from training.report.pixels import error8, grey8, png, worst_window

Pixels = npt.NDArray[np.uint8]

_WIDTH, _GAP, _HEAD = 300, 6, 22
_CLOSE = 5  # a close-up shows this part of the frame's width
_PAPER = 24


@dataclass(frozen=True)
class SheetFrame:
    """One frame of a sheet; all H×W.

    Attributes:
        number: of the frame.
        picture: float32 H×W×3, 0…1, as displayed.
        trimap: uint8.
        truth: 0…1.
        alphas: by method, in columns' order; the prior first.
        note: e.g. the figures of this frame.
    """

    number: int
    picture: Alpha
    trimap: Pixels
    truth: Alpha
    alphas: Mapping[str, Alpha]
    note: str = ""


def write_sheet(path: Path, title: str, frames: Sequence[SheetFrame]) -> None:
    """Draw a sheet as PNG.

    Args:
        path: of the PNG; its folder exists.
        title: one line above.
        frames: at least one, all with the same methods.

    Raises:
        InputError: ``input.output_unwritable``. CapacityError: ``capacity.disk_full``.
    """
    rows = [_line(title, _row_width(frames[0]), 0.55)]
    for frame in frames:
        rows.append(_line(f"frame {frame.number}   {frame.note}", _row_width(frame), 0.45))
        columns = _columns(frame)
        rows.append(_row(columns, (slice(None), slice(None)), named=True))
        rows.append(_row(columns, _worst(frame), named=False))
    write_bytes(path, png(np.vstack(rows)))


def chosen_frames(frames: Sequence[int], count: int = 3) -> list[int]:
    """A few of them, evenly spread, not the very ends."""
    if len(frames) <= count:
        return list(frames)
    places = np.linspace(0, len(frames), 2 * count + 1)[1::2]
    return [frames[int(place)] for place in places]


def _columns(frame: SheetFrame) -> dict[str, Pixels]:
    """R G B, full size."""
    columns = {
        "picture": grey8(frame.picture),
        "trimap": _rgb(frame.trimap),
        "truth": _rgb(grey8(frame.truth)),
    }
    columns |= {name: _rgb(grey8(alpha)) for name, alpha in frame.alphas.items()}
    for name, alpha in frame.alphas.items():
        columns[f"error of {name}"] = _rgb(error8(alpha, frame.truth))
    return columns


def _row(columns: Mapping[str, Pixels], part: tuple[slice, slice], *, named: bool) -> Pixels:
    cells = []
    for name, pixels in columns.items():
        cut = pixels[part]
        height = max(round(_WIDTH * cut.shape[0] / cut.shape[1]), 1)
        how = cv2.INTER_AREA if cut.shape[1] >= _WIDTH else cv2.INTER_NEAREST
        small = cv2.resize(np.ascontiguousarray(cut), (_WIDTH, height), interpolation=how)
        head = _HEAD if named else _GAP
        cell = np.full((height + head, _WIDTH + _GAP, 3), _PAPER, np.uint8)
        cell[head:, :_WIDTH] = small
        if named:
            _write(cell, name, (2, _HEAD - 7), 0.42)
        cells.append(cell)
    return np.hstack(cells)


def _worst(frame: SheetFrame) -> tuple[slice, slice]:
    """Where the last method's squared error is largest, in a window of a fifth of the width."""
    last = list(frame.alphas.values())[-1]
    error = np.square(last - frame.truth)
    height, width = error.shape
    across = max(width // _CLOSE, min(16, width))
    return worst_window(error, across, min(max(round(across * height / width), 1), height))


def _row_width(frame: SheetFrame) -> int:
    return (3 + 2 * len(frame.alphas)) * (_WIDTH + _GAP)


def _line(text: str, width: int, size: float) -> Pixels:
    line = np.full((30, width, 3), _PAPER, np.uint8)
    _write(line, text, (4, 20), size)
    return line


def _write(cell: Pixels, text: str, place: tuple[int, int], size: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no more
    cv2.putText(cell, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, (225, 225, 225), 1, cv2.LINE_AA)


def _rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, 2)
