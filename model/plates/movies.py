"""Movies as plates, through PyAV: the frame with a number is always the same picture.

Containers seek to times, not to frames. So the presentation times of all packets are listed once
(which reads the file but decodes nothing), frame *n* is the *n*-th of them, and reading it decodes
from the keyframe before until a picture with exactly that time comes out.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from model.errors import InputError
from model.plates.file_errors import damaged, require_file, unsupported
from model.plates.image_files import write_image
from model.plates.movie_colour import to_rgb
from model.plates.plate import Plate, PlateHeader, Window

# The demuxer is chosen by the suffix and not by the content: FFmpeg would else follow a playlist
# under a movie's name to other files.
_DEMUXERS = {
    ".mov": "mov",
    ".mp4": "mov",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".mxf": "mxf",
}
FIRST_FRAME = 1

# ITU-T H.273, as FFmpeg numbers them.
_TRANSFERS = {8: "lin_rec709_scene", 16: "pq_rec2020_display", 18: "hlg_rec2020_display"}
# What Rec.709 cameras and consumer movies hold is made to be looked at: it is taken as sRGB.
_PICTURE = "srgb_rec709_scene"
# Half holds every code of 10 bit and less; deeper movies stay float.
_HALF_BITS = 10


def is_movie(path: str | Path) -> bool:
    """Whether a file is one of the containers read here, by its suffix."""
    return Path(path).suffix.lower() in _DEMUXERS


def movie_frames(path: str | Path) -> tuple[int, int]:
    """First and last frame number. Movies count from 1, as hosts do.

    Raises:
        InputError: as `MovieReader`.
    """
    with MovieReader(path) as reader:
        return reader.first, reader.last


def read_movie_frame(path: str | Path, frame: int) -> Plate:
    """One frame. For more than one, a `MovieReader` is faster.

    Raises:
        InputError: as `MovieReader` and its `read`.
    """
    with MovieReader(path) as reader:
        return reader.read(frame)


def extract(
    path: str | Path,
    frames: Iterable[int],
    folder: str | Path,
    told: Callable[[int | None], None] = lambda frame: None,
) -> dict[int, Path]:
    """Write frames as EXRs, to be sent by value: read again they are the same plates to the bit.

    Args:
        path: of the movie.
        frames: their numbers.
        folder: exists.
        told: called with each frame that is written, and with None while the movie is opened; may
            raise to give it up.

    Returns:
        The file of each frame, ``NAME.0001.exr``.

    Raises:
        InputError: as `MovieReader`, and ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    written = {}
    with MovieReader(path, lambda: told(None)) as reader:
        for frame in sorted(set(frames)):
            plate = reader.read(frame)
            target = Path(folder) / f"{Path(path).stem}.{frame:04d}.exr"
            write_image(
                target,
                plate.pixels,
                plate.header.channels,
                header=plate.header,
                pixel_type=plate.header.pixel_type,
                attributes={"colorInteropID": plate.header.colourspace},
            )
            written[frame] = target
            told(frame)
    return written


class MovieReader:
    """An open movie. Frames in ascending order are read without seeking.

    Args:
        path: of the movie.
        go_on: called again and again while its frames are listed, for which all of it is read; may
            raise to give it up.

    Attributes:
        first: number of the first frame.
        last: number of the last frame.

    Raises:
        InputError: ``input.missing_plate``, ``input.unreadable``, ``input.unsupported_image`` or
            ``input.damaged``.
    """

    def __init__(self, path: str | Path, go_on: Callable[[], None] = lambda: None):
        self._path = Path(path)
        require_file(self._path, None)
        if not is_movie(self._path):
            raise unsupported(self._path, None, "has no suffix of a movie")
        demuxer = _DEMUXERS[self._path.suffix.lower()]
        with _reading(self._path, None):
            self._container = av.open(
                str(self._path), format=demuxer, options={"protocol_whitelist": "file"}
            )
        try:
            with _reading(self._path, None):
                if not self._container.streams.video:
                    raise unsupported(self._path, None, "holds no pictures")
                self._stream = self._container.streams.video[0]
                self._times, self._keys = self._list_times(go_on)
        except BaseException:
            self.close()
            raise
        self.first = FIRST_FRAME
        self.last = FIRST_FRAME + len(self._times) - 1
        self._next_index = -1
        self._pictures: Iterator[av.VideoFrame] = iter(())

    @property
    def bits(self) -> int:
        """Of the deepest channel; 8 where the file does not say."""
        kind = self._stream.format
        return max(component.bits for component in kind.components) if kind else 8

    def read(self, frame: int) -> Plate:
        """Decode one frame: R, G and B, half up to 10 bit, else float32; video levels made full.

        Video above white stays above 1. An alpha is left out, and flags that a telephone was held
        upright are not followed.

        Raises:
            InputError: ``input.missing_plate`` for a number that the movie lacks,
                ``input.damaged``.
        """
        if not self.first <= frame <= self.last:
            raise InputError(
                "input.missing_plate",
                f"{self._path} has frames {self.first} to {self.last}, no {frame}",
                frame=frame,
                hint="give frames that the movie has; movies count from 1",
            )
        index = frame - FIRST_FRAME
        with _reading(self._path, frame):
            picture = self._decode(index, frame)
            if picture.is_corrupt:
                raise damaged(self._path, frame, f"frame {frame} cannot be decoded")
            try:
                pixels = to_rgb(picture)
            except ValueError as error:
                raise unsupported(self._path, frame, f"stores colour as {error}") from error
        header = self._header(picture)
        kind = np.float16 if header.pixel_type == "half" else np.float32
        return Plate(pixels.astype(kind, copy=False), header)

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> MovieReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _list_times(self, go_on: Callable[[], None]) -> tuple[list[int], list[tuple[int, int]]]:
        """Times of all frames in order, and (time, where to seek for it) of the keyframes."""
        times, keys = set(), []
        for packet in self._container.demux(self._stream):
            go_on()
            if packet.size == 0 or packet.is_discard:
                continue  # the end, or cut off by an edit list
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None:
                raise unsupported(self._path, None, "does not say when its frames are shown")
            times.add(time)
            if packet.is_keyframe:
                keys.append((time, packet.dts if packet.dts is not None else time))
        if not times:
            raise damaged(self._path, None, "it holds no frames")
        return sorted(times), sorted(keys)

    def _decode(self, index: int, frame: int) -> av.VideoFrame:
        """The picture with exactly the index's time."""
        if index != self._next_index:
            # not to the time itself: a keyframe decoded before it may be shown after it
            before = bisect_right(self._keys, (self._times[index], sys.maxsize)) - 1
            start = self._keys[before][1] if before >= 0 else self._times[0]
            self._container.seek(start, stream=self._stream, backward=True)
            self._pictures = self._container.decode(self._stream)
        self._next_index = -1  # unless all goes well
        for picture in self._pictures:
            shown = picture.pts if picture.pts is not None else picture.dts
            if shown == self._times[index]:
                self._next_index = index + 1
                return picture
            if shown is not None and shown > self._times[index]:
                break
        raise damaged(self._path, frame, f"frame {frame} cannot be decoded")

    def _header(self, picture: av.VideoFrame) -> PlateHeader:
        window = Window.of_size(picture.width, picture.height)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        rate = self._stream.average_rate or self._stream.guessed_rate
        metadata: dict[str, object] = {}
        if rate:
            metadata["FramesPerSecond"] = (rate.numerator, rate.denominator)
        transfer = int(picture.color_trc)
        bits = max(component.bits for component in picture.format.components)
        return PlateHeader(
            channels=("R", "G", "B"),
            data_window=window,
            display_window=window,
            pixel_aspect=float(aspect),
            metadata=metadata,
            colourspace=_TRANSFERS.get(transfer, _PICTURE),
            path=str(self._path),
            pixel_type="half" if bits <= _HALF_BITS else "float",
            metadata_types={"FramesPerSecond": "rational"} if rate else {},
        )


@contextmanager
def _reading(path: Path, frame: int | None) -> Iterator[None]:
    """The one place where exceptions of PyAV become ours."""
    try:
        yield
    except (av.FFmpegError, EOFError, UnicodeDecodeError, MemoryError) as error:
        raise damaged(path, frame, str(error)) from error
