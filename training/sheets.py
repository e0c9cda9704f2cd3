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

from training.datasets import Alpha

Pixels = npt.NDArray[np.uint8]

_WIDTH, _GAP, _HEAD = 300, 6, 22
_CLOSE = 5  # a close-up shows this part of the frame's width
_PAPER = 24
_ERROR_WHITE = 0.5  # an error that is drawn white


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
    """
    rows = [_line(title, _row_width(frames[0]), 0.55)]
    for frame in frames:
        rows.append(_line(f"frame {frame.number}   {frame.note}", _row_width(frame), 0.45))
        whole = (slice(None), slice(None))
        rows.append(_row(frame, whole, named=True))
        rows.append(_row(frame, _worst(frame), named=False))
    done, data = cv2.imencode(".png", np.vstack(rows))
    if not done:
        raise RuntimeError("OpenCV cannot encode a PNG")
    path.write_bytes(data.tobytes())


def chosen_frames(frames: Sequence[int], count: int = 3) -> list[int]:
    """A few of them, evenly spread, not the very ends."""
    if len(frames) <= count:
        return list(frames)
    places = np.linspace(0, len(frames), 2 * count + 1)[1::2]
    return [frames[int(place)] for place in places]


def _columns(frame: SheetFrame) -> dict[str, Pixels]:
    """B G R, full size."""
    columns = {
        "picture": _grey8(frame.picture[:, :, ::-1]),
        "trimap": _bgr(frame.trimap),
        "truth": _bgr(_grey8(frame.truth)),
    }
    columns |= {name: _bgr(_grey8(alpha)) for name, alpha in frame.alphas.items()}
    for name, alpha in frame.alphas.items():
        error = np.abs(alpha - frame.truth) / _ERROR_WHITE
        columns[f"error of {name}"] = _bgr(_grey8(error))
    return columns


def _row(frame: SheetFrame, part: tuple[slice, slice], *, named: bool) -> Pixels:
    cells = []
    for name, pixels in _columns(frame).items():
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
    down = min(max(round(across * height / width), 1), height)
    sums = cv2.blur(error, (across, down), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    top = int(np.clip(y - down // 2, 0, height - down))
    left = int(np.clip(x - across // 2, 0, width - across))
    return slice(top, top + down), slice(left, left + across)


def _row_width(frame: SheetFrame) -> int:
    return (3 + 2 * len(frame.alphas)) * (_WIDTH + _GAP)


def _line(text: str, width: int, size: float) -> Pixels:
    line = np.full((30, width, 3), _PAPER, np.uint8)
    _write(line, text, (4, 20), size)
    return line


def _write(cell: Pixels, text: str, place: tuple[int, int], size: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no more
    cv2.putText(cell, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, (225, 225, 225), 1, cv2.LINE_AA)


def _grey8(values: npt.NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), np.uint8)


def _bgr(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, 2)
