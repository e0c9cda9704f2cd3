"""Frames of the layout's sources, by their place from 0: movies, folders of pictures, stills.

Pictures are decoded by OpenCV alone; movies need PyAV and OpenImageIO, which are imported when the
first one is opened.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import InputError, SetupError
from training.composing.layout import PICTURES

Codes = npt.NDArray[Any]  # uint8 or uint16

_GREY_WITHIN = 0.1  # of the range: chroma that lossy movies of a grey picture have
_COLOURED = 0.01  # of the pixels may have more


class Frames(Protocol):
    """A source that is open.

    Attributes:
        count: frames.
        bits: 8 or 16, of the codes.
    """

    count: int
    bits: int

    def read(self, index: int) -> Codes:
        """H×W grey, H×W×3 RGB or H×W×4 RGBA; uint8 or uint16.

        Raises:
            InputError: it cannot be decoded, or has another size than the frames before.
        """
        ...

    def close(self) -> None: ...


def open_frames(path: Path) -> Frames:
    """A movie, a folder of numbered pictures, or one picture.

    Raises:
        InputError: it is not there, is empty, is damaged, or lacks a number.
        SetupError: ``setup.no_movies`` where the packages that read movies are missing.
    """
    if path.is_dir():
        return PictureFrames(path, list(numbered_pictures(path).values()))
    if path.suffix.lower() in PICTURES:
        return PictureFrames(path, [path])
    return MovieFrames(path)


class PictureFrames:
    """Pictures of one size and one depth, each read when it is asked for."""

    def __init__(self, path: Path, files: list[Path]):
        self._path, self._files = path, files
        self.count = len(files)
        first = read_picture(files[0])
        self._kept: tuple[int, Codes] = (0, first)
        self._size = first.shape[:2]
        self.bits = 8 * first.itemsize

    def read(self, index: int) -> Codes:
        if self._kept[0] == index:
            return self._kept[1]
        codes = read_picture(self._files[index])
        if codes.shape[:2] != self._size or 8 * codes.itemsize != self.bits:
            raise InputError(
                "input.mixed_frames",
                f"{self._files[index]} is {_said(codes)}, the first picture beside it "
                f"{self._size[1]}×{self._size[0]} in {self.bits} bit",
                frame=index,
                hint="give all frames of a clip one size and one depth",
            )
        self._kept = (index, codes)
        return codes

    def close(self) -> None:
        """Nothing is open."""


class MovieFrames:
    """A movie through PyAV; neighbouring frames are decoded one after the other."""

    def __init__(self, path: Path):
        require_movies(path)
        from model.plates.movies import MovieReader

        self._reader = MovieReader(path)
        self.count = self._reader.last - self._reader.first + 1
        self.bits = 8 if self._reader.bits <= 8 else 16

    def read(self, index: int) -> Codes:
        values = self._reader.read(self._reader.first + index).pixels.astype(np.float32)
        kind, most = (np.uint8, 255) if self.bits == 8 else (np.uint16, 65535)
        codes: Codes = np.rint(values.clip(0, 1) * np.float32(most)).astype(kind)
        return codes

    def close(self) -> None:
        self._reader.close()


def require_movies(path: Path) -> None:
    """See that movies can be read here.

    Raises:
        SetupError: ``setup.no_movies``.
    """
    try:
        import_module("model.plates.movies")
    except ImportError as error:
        raise SetupError(
            "setup.no_movies",
            f"{path} is a movie, and a package that reads movies is missing: {error}",
            hint="pip install av OpenImageIO, or give folders of PNG frames instead",
        ) from error


def colour_of(codes: Codes) -> Codes:
    """H×W×3: grey three times, an alpha left out."""
    return np.dstack([codes] * 3) if codes.ndim == 2 else np.ascontiguousarray(codes[..., :3])


def unit(codes: Codes) -> npt.NDArray[np.float32]:
    """Codes as float32, 0…1."""
    return codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)


def alpha_of(codes: Codes, path: Path) -> Codes:
    """H×W: the alpha of a picture that has one and uses it, else its grey.

    Raises:
        InputError: ``input.not_grey`` for a coloured picture without alpha: a foreground that
            lies where its alpha should.
    """
    if codes.ndim == 2:
        return codes
    most = np.iinfo(codes.dtype).max
    if codes.shape[2] == 4 and int(codes[..., 3].min()) < most:
        return np.ascontiguousarray(codes[..., 3])
    rgb = codes[..., :3]
    spread = rgb.max(2) - rgb.min(2)
    if float((spread > _GREY_WITHIN * most).mean()) > _COLOURED:
        raise InputError(
            "input.not_grey",
            f"{path} should be an alpha and is a picture in colour",
            hint="an alpha is grey, or the alpha channel of its picture",
        )
    if not spread.any():
        return np.ascontiguousarray(rgb[..., 0])
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey: Codes = np.rint(luma).clip(0, most).astype(codes.dtype)
    return grey


def numbered_pictures(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> dict[int, Path]:
    """The pictures of a folder by the number that ends their names, in order.

    Raises:
        InputError: ``input.no_frames``, ``input.missing_frame`` (a number in between is missing),
            ``input.unreadable``.
    """
    by_number: dict[int, Path] = {}
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"the folder {folder} cannot be listed: {error.strerror}",
            hint="check its name and permissions",
        ) from error
    for path in names:
        number = re.search(r"(\d+)$", path.stem)
        if path.name.startswith(".") or path.suffix.lower() not in suffixes or not number:
            continue
        if int(number[1]) in by_number:
            raise InputError(
                "input.mixed_frames",
                f"{folder} has two pictures with the number {int(number[1])}: "
                f"{by_number[int(number[1])].name} and {path.name}",
                hint="leave one sequence in the folder",
            )
        by_number[int(number[1])] = path
    if not by_number:
        raise InputError(
            "input.no_frames",
            f"{folder} holds no numbered pictures",
            hint=f"frames are called like 00000.png; {', '.join(suffixes)} are read",
        )
    first, last = min(by_number), max(by_number)
    missing = next((n for n in range(first, last + 1) if n not in by_number), None)
    if missing is not None:
        raise InputError(
            "input.missing_frame",
            f"{folder} goes from {first} to {last} and lacks {missing}",
            frame=missing,
            hint="copy the missing frame, or take away those behind the gap",
        )
    return {number: by_number[number] for number in range(first, last + 1)}


def read_picture(path: Path) -> Codes:
    """Decode a PNG, JPEG or TIFF: H×W, H×W×3 RGB or H×W×4 RGBA, uint8 or uint16, as stored.

    Raises:
        InputError: ``input.missing_file``, ``input.unreadable``, ``input.damaged`` or
            ``input.unsupported_image`` (floating point).
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise InputError(
            "input.missing_file", f"{path} is not there", hint="copy or render it again"
        ) from None
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"{path} cannot be opened: {error.strerror}",
            hint="check its name and permissions",
        ) from error
    try:
        found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:  # too many pixels, for example
        found = None
    if found is None:
        raise InputError(
            "input.damaged",
            f"{path} is damaged, or no picture",
            hint="copy or render it again",
        )
    if found.dtype not in (np.uint8, np.uint16):
        raise InputError(
            "input.unsupported_image",
            f"{path} holds {found.dtype} values",
            hint="convert it to a PNG of 8 or 16 bit",
        )
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[..., 0]
    if found.ndim == 3:
        order = [2, 1, 0, 3][: found.shape[2]]
        found = np.ascontiguousarray(found[..., order])
    codes: Codes = found
    return codes


def _said(codes: Codes) -> str:
    return f"{codes.shape[1]}×{codes.shape[0]} in {8 * codes.itemsize} bit"
