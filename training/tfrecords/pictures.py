"""The pictures of a frame as they lie in records: JPEG or PNG files, and what may be wrong there.

`v` plate, `f` foreground, `b` background, `a` alpha, `t` trimap. Of `a` and `t` channel 0 counts;
they may be grey, or colour with equal channels, as the published tools write them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.integer[Any]]
Plane = npt.NDArray[np.float32]

NAMES = {"v": "plate", "f": "foreground", "b": "background", "a": "alpha", "t": "trimap"}
GREY = ("a", "t")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# JPEG rings beside hard edges: by 41 of 255 at quality 75, by 16 at 90.
_OFF_LOSSLESS, _OFF_JPEG = 5, 48
_OFF_SHARE = 0.02
_COLOURED = 24  # codes of 255 between the channels of what should be grey


class BadPicture(ValueError):
    """What is wrong with one picture, in a few words without its name."""


@dataclass(frozen=True)
class Looked:
    """What a frame's pictures are.

    Attributes:
        sizes: width and height by key, of those that decode.
        alpha_most: the largest alpha, 0…1; None if there is none.
        faults: in words.
    """

    sizes: Mapping[str, tuple[int, int]]
    alpha_most: float | None
    faults: tuple[str, ...]


def decode(data: bytes) -> Pixels:
    """A picture as its file has it: uint8 or uint16, H×W, H×W×3 or H×W×4, BGR.

    Raises:
        BadPicture: it is no whole JPEG or PNG.
    """
    if not data.startswith((_JPEG, _PNG)):
        raise BadPicture("is neither JPEG nor PNG" if data else "is empty")
    # In what JPEG codes, 0xFF is followed by 0: its last end must lie behind its last scan.
    if data.startswith(_JPEG) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise BadPicture("ends before its last line")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadPicture("cannot be decoded")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadPicture(f"holds {pixels.dtype}")
    found: Pixels = np.asarray(pixels)
    return found


def colour(data: bytes) -> Plane:
    """H×W×3, RGB, 0…1, without an alpha that it may have.

    Raises:
        BadPicture: as `decode`.
    """
    pixels = decode(data)
    if pixels.ndim == 2:
        pixels = np.dstack([pixels] * 3)
    return np.ascontiguousarray(_scaled(pixels[..., 2::-1]))


def grey(data: bytes) -> Plane:
    """H×W, 0…1: channel 0.

    Raises:
        BadPicture: as `decode`.
    """
    return _scaled(_first(decode(data)))


def classes(trimap: Plane) -> Plane:
    """A trimap as 0, 0.5 and 1: the nearest of them."""
    return (np.round(trimap * 2) / 2).astype(np.float32)


def look_at(pictures: Mapping[str, bytes], keys: Sequence[str]) -> Looked:
    """See whether the pictures of a frame under these keys are there, whole and sane."""
    faults: list[str] = []
    sizes: dict[str, tuple[int, int]] = {}
    alpha_most = None
    for key in keys:
        if key not in pictures:
            faults.append(f"the key {key} ({NAMES[key]}) is missing")
            continue
        try:
            pixels = decode(pictures[key])
        except BadPicture as error:
            faults.append(f"{key} {error}")
            continue
        sizes[key] = pixels.shape[1], pixels.shape[0]
        if key in GREY:
            faults += (f"{key} {told}" for told in _grey_faults(key, pixels, pictures[key]))
        if key == "a":
            alpha_most = float(_scaled(_first(pixels)).max())
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{key} {width}×{height}" for key, (width, height) in sizes.items())
        faults.append(f"its pictures differ in size: {told}")
    return Looked(sizes, alpha_most, tuple(faults))


def faults_of_clip(frames: Sequence[Looked]) -> Iterator[str]:
    """What is wrong with all frames of a clip together."""
    sizes = list(dict.fromkeys(size for frame in frames for size in frame.sizes.values()))
    if len(sizes) > 1 and not any(len(set(frame.sizes.values())) > 1 for frame in frames):
        told = ", ".join(f"{width}×{height}" for width, height in sizes[:3])
        yield f"its frames differ in size: {told}"
    most = max((one.alpha_most for one in frames if one.alpha_most is not None), default=0.0)
    if 0 < most < 1.5 / 255:
        yield "a is nowhere more than 1 of 255: it seems to be written as 0 and 1"


def _first(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _scaled(pixels: Pixels) -> Plane:
    return (pixels / np.float32(np.iinfo(pixels.dtype).max)).astype(np.float32)


def _grey_faults(key: str, pixels: Pixels, data: bytes) -> Iterator[str]:
    apart = np.ptp(255 * _scaled(pixels[..., :3]), axis=2) if pixels.ndim == 3 else np.zeros(1)
    if (apart > _COLOURED).mean() > _OFF_SHARE:
        yield f"is coloured, and not {'an alpha' if key == 'a' else 'a trimap'}"
    if key != "t":
        return
    plane = _scaled(_first(pixels))
    off = 255 * np.abs(plane - classes(plane))
    share = float((off > (_OFF_JPEG if data.startswith(_JPEG) else _OFF_LOSSLESS)).mean())
    if share > _OFF_SHARE:
        yield f"is no trimap: {share:.0%} of it is neither 0, 128 nor 255"
