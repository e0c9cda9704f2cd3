"""Which files of a clip are there, readable and of one size; and which mattes of a shot are.

Looks at headers only. What a plate means for a shot is the server's to say: this finds early what
would stop it anyway, in words that name the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import files
from .errors import InputError
from .exr_header import MAGIC as EXR
from .exr_header import read_exr_header, unreadable
from .outputs import layers_of_files, output_path
from .shot import Shot

Size = tuple[int, int]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# What a file of this name must begin with.
_BEGINS = {".exr": EXR, ".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG}
# Markers of JPEG frame headers, which have the size: C0 to CF but for DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_MOST_SEGMENTS = 10_000


@dataclass(frozen=True)
class FilePattern:
    """A file name with a place for the frame number, or the name of one file.

    Attributes:
        text: as written.
        numbered: it has such a place; else every frame is in the one file, as in a movie.
    """

    text: str
    numbered: bool

    @classmethod
    def parse(cls, text: str) -> FilePattern:
        """Read ``plate.####.exr``, ``plate.%04d.exr``, ``plate.$F4.exr``, ``plate.@@@@.exr``, or a
        name without a number.

        Raises:
            InputError: ``input.pattern`` if it is none.
        """
        text = str(text)
        try:
            numbered = output_path(text, 1) != output_path(text, 2)
        except InputError as error:
            # The rules are those of outputs, the sentence is about plates.
            raise _no_pattern(text) from error
        if "\0" in text:
            raise _no_pattern(text)
        return cls(text, numbered)

    def path(self, frame: int) -> Path:
        """The file of a frame."""
        return output_path(self.text, frame)


@dataclass(frozen=True)
class PlateReport:
    """What was found of a clip.

    Attributes:
        size: width and height of every plate's display window, in pixels; None where no header
            tells it (TIFF, DPX, movies).
        missing: frames whose plates are not there, ascending.
        bytes: of all plates together.
    """

    size: Size | None
    missing: tuple[int, ...]
    bytes: int


def check_plates(pattern: str, frames: Iterable[int], missing: str = "error") -> PlateReport:
    """See that the plates of a shot can be read, before anything is sent.

    Every file is there and not empty; the header of an EXR, PNG or JPEG can be read; all that tell
    a size tell the same. Takes a moment per file: not for a host's main thread.

    Args:
        pattern: of the files, or one file that holds all frames.
        frames: wanted.
        missing: as in a shot's options: ``error``, ``hold`` or ``black``.

    Raises:
        InputError: ``input.pattern``; ``input.missing_plate`` if ``missing`` is ``error`` or none
            is there; ``input.unreadable``; ``input.plate_size``.
    """
    clip = FilePattern.parse(pattern)
    wanted = sorted(set(frames))
    # A single file is looked at once, for the first frame.
    looked_at = wanted if clip.numbered else wanted[:1]
    there: dict[int, int] = {}
    for frame in looked_at:
        size = _bytes_of(clip.path(frame), frame)
        if size is not None:
            there[frame] = size
    absent = [frame for frame in looked_at if frame not in there]
    if absent and (missing == "error" or not there):
        raise _missing(clip, absent, none=not there)
    first: tuple[int, Size] | None = None
    for frame in there:
        found = _size_of(clip.path(frame), frame)
        if found is None:
            continue
        if first is None:
            first = frame, found
        elif found != first[1]:
            raise _other_size(clip.path(frame), frame, found, first)
    return PlateReport(first[1] if first else None, tuple(absent), sum(there.values()))


def plate_size(path: Path) -> Size:
    """Width and height of a plate's display window, in pixels.

    Raises:
        InputError: ``input.missing_plate``, ``input.unreadable``; ``input.unknown_size`` if it is
            no EXR, PNG or JPEG.
    """
    path = Path(path)
    size = _size_of(path, None)
    if size is None:
        raise InputError(
            "input.unknown_size",
            f"the size of {path} cannot be told: it is no EXR, PNG or JPEG",
            hint="use plates of such a kind, or a clip whose size the host knows",
        )
    return size


def matte_files(shot: Shot, frame: int) -> dict[str, Path]:
    """The output files of a frame by layer; one that holds all layers goes as ``alpha``.

    Raises:
        InputError: ``input.pattern`` if the shot names no outputs.
    """
    outputs = shot.outputs
    return {layer: output_path(outputs.pattern, frame, layer) for layer in layers_of_files(outputs)}


def finished_frames(shot: Shot) -> list[int]:
    """The frames whose output files are all there, with a readable header; ascending.

    Whether they are this shot's, and not older ones under the same name, only the server can tell.

    Raises:
        InputError: ``input.pattern`` if the shot names no outputs.
    """
    return [
        frame
        for frame in shot.numbers()
        if all(_is_picture(path) for path in matte_files(shot, frame).values())
    ]


def _size_of(path: Path, frame: int | None) -> Size | None:
    """As `plate_size`, for the plate of a frame; None if its kind is not known here."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_PNG))
            wanted = _BEGINS.get(files.suffix(path))
            if not begin:
                raise unreadable(path, frame, "it is empty")
            # By content first: a PNG that is called .jpg is read by the server all the same.
            if begin == _PNG:
                return _png_size(file, path, frame)
            if begin.startswith(_JPEG):
                file.seek(2)
                return _jpeg_size(file, path, frame)
            if not begin.startswith(EXR):
                if wanted is not None:
                    kind = files.suffix(path)[1:].upper()
                    raise unreadable(path, frame, f"it is called {kind} and is none")
                return None
    except OSError as error:
        raise _not_opened(path, frame, error) from error
    return read_exr_header(path, frame).size


def _is_picture(path: Path) -> bool:
    try:
        read_exr_header(path)
    except InputError:
        return False  # absent or damaged: either way it has yet to be made
    return True


def _bytes_of(path: Path, frame: int) -> int | None:
    """The size of a file; None if it is not there."""
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise files.unreadable("plate", path, frame, error) from error
    if size == 0:
        raise unreadable(path, frame, "it is empty")
    return size


def _png_size(file: BinaryIO, path: Path, frame: int | None) -> Size:
    chunk = file.read(16)
    if len(chunk) < 16 or chunk[4:8] != b"IHDR":
        raise unreadable(path, frame, "it ends within its header")
    width, height = struct.unpack(">II", chunk[8:])
    return _sane(width, height, path, frame)


def _jpeg_size(file: BinaryIO, path: Path, frame: int | None) -> Size:
    """From the first frame header; what stands before it (previews, profiles) is passed over."""
    for _ in range(_MOST_SEGMENTS):
        marker = file.read(2)
        while marker[1:] == b"\xff":  # any number of fill bytes may stand before a marker
            marker = marker[1:] + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF:
            break
        if marker[1] in _JPEG_ALONE:
            continue
        head = file.read(2)
        if len(head) < 2:
            break
        (length,) = struct.unpack(">H", head)
        if marker[1] in _JPEG_FRAMES:
            body = file.read(5)
            if len(body) < 5:
                break
            height, width = struct.unpack(">HH", body[1:])
            return _sane(width, height, path, frame)
        if length < 2 or marker[1] in (0xD9, 0xDA):
            break
        file.seek(length - 2, 1)
    raise unreadable(path, frame, "it is a JPEG without a size")


def _sane(width: int, height: int, path: Path, frame: int | None) -> Size:
    if width == 0 or height == 0:
        raise unreadable(path, frame, f"it says that it has {width}×{height} pixels")
    return width, height


def _not_opened(path: Path, frame: int | None, error: OSError) -> InputError:
    if frame is not None:
        return files.unreadable("plate", path, frame, error)
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return InputError(
            "input.missing_plate",
            f"the plate {path} is not there",
            hint="render or copy the plate, or correct its path",
        )
    return unreadable(path, None, error.strerror or str(error))


def _missing(clip: FilePattern, absent: list[int], *, none: bool) -> InputError:
    first = f"the plate of frame {absent[0]}, {clip.path(absent[0])}, is not there"
    if none:
        message = first + (f", nor is any up to frame {absent[-1]}" if len(absent) > 1 else "")
        hint = "correct the path of the clip, or its frames"
    else:
        message = first + (f" ({len(absent)} plates are missing)" if len(absent) > 1 else "")
        hint = "render or copy the plate, or choose to hold the one before it"
    return InputError("input.missing_plate", message, frame=absent[0], hint=hint)


def _other_size(path: Path, frame: int, found: Size, first: tuple[int, Size]) -> InputError:
    return InputError(
        "input.plate_size",
        f"frame {frame} ({path}) is {found[0]}×{found[1]} "
        f"where frame {first[0]} is {first[1][0]}×{first[1][1]}",
        frame=frame,
        hint="render all plates of a shot with one format, or matte them as two shots",
    )


def _no_pattern(text: str) -> InputError:
    return InputError(
        "input.pattern",
        f"{text!r} is no pattern of plates",
        hint="write one place for the frame number in the file's name, e.g. plate.####.exr",
    )
