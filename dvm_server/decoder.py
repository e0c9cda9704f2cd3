"""The process that opens plates and trimaps: no torch, little memory, and nobody's loss if it dies.

Image files are hostile input (OpenEXR alone had dozens of vulnerabilities in a year). A file that
crashes or stalls the decoder is a damaged file; the next one gets a fresh decoder.
"""

from __future__ import annotations

import logging
import os
import resource
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvm_server import child
from dvm_server.child import Channel, Child
from dvm_server.pixel_file import make_pixel_file, read_pixels, write_pixels
from dvm_server.translate import model_error, wire_error
from host_plugins.client.files import digest
from model.errors import CapacityError, InputError
from model.plates.channels import Picture
from model.plates.input_mattes import InputMatte
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.same_files import file_stamp

if TYPE_CHECKING:
    from model.plates.movies import MovieReader

_LOG = logging.getLogger("dvm.decoder")
_READING, _SIGN_SECONDS = "reading", 1.0
# One thread each: the cores belong to the engine, and every thread takes address space.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Decoder:
    """A decoder process. For one thread at a time, which waits for each answer."""

    def __init__(self, *, memory_bytes: int, seconds: float):
        """
        Args:
            memory_bytes: its address space; 0 = no bound.
            seconds: a file that takes longer to decode is damaged; one that takes longer to be
                read, or to read more of, is where no file server answers.
        """
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._child: Child | None = None
        self._pixels = -1

    def plate(self, path: str, frame: int | None, sha256: str = "", stamp: str = "") -> Plate:
        """Read a plate.

        Args:
            path: of an image or a movie.
            frame: its number.
            sha256: of an image, what its bytes must be; "" = anything.
            stamp: of a movie, what `file_stamp` must be; "" = anything.

        Raises:
            InputError: ``input.damaged`` if the decoder died of the file or stalled,
                ``input.plate_changed``, else what the reader raised.
            CapacityError: ``capacity.no_answer`` if the file could not be read in time.
        """
        said = self._answer("plate", path, frame, sha256=sha256, stamp=stamp)
        return Plate(said["pixels"], PlateHeader.from_json(said["header"]))

    def trimap(self, path: str, frame: int, source: str, sha256: str = "") -> Trimap:
        """Read a painted or given trimap. Raises what `plate` does."""
        said = self._answer("trimap", path, frame, source=source, sha256=sha256)
        data, display = (None if one is None else Window(*one) for one in said["windows"])
        return Trimap(said["pixels"], data, said["source"], path=said["path"], frame_window=display)

    def matte(self, path: str, frame: int | None, sha256: str = "") -> InputMatte:
        """Read a garbage or core matte. Raises what `plate` does."""
        said = self._answer("matte", path, frame, sha256=sha256)
        data, display = (None if one is None else Window(*one) for one in said["windows"])
        return InputMatte(said["pixels"], data, display, said["path"])

    def header(self, path: str, frame: int | None) -> PlateHeader:
        """Read a plate's header. Raises what `plate` does."""
        return PlateHeader.from_json(self._answer("header", path, frame)["header"])

    def matte_header(self, path: str) -> PlateHeader:
        """Read the header of a matte of ours, which has no picture. Raises what `plate` does."""
        return PlateHeader.from_json(self._answer("matte header", path, None)["header"])

    def whole(self, path: str) -> PlateHeader:
        """Decode every channel of a matte of ours, and return its header. Raises what `plate`
        does."""
        return PlateHeader.from_json(self._answer("whole", path, None)["header"])

    @property
    def pid(self) -> int | None:
        """The process in use, if there is one."""
        return self._child.pid if self._child is not None else None

    def close(self) -> None:
        """End the process; the next question starts a fresh one."""
        if self._child is not None:
            self._child.end()
            os.close(self._pixels)
            self._child = None

    def _answer(self, kind: str, path: str, frame: int | None, **rest: Any) -> dict[str, Any]:
        """Ask, wait, and take the pixels over."""
        question = {"kind": kind, "path": path, "frame": frame, **rest}
        channel = (self._child or self._start()).channel
        try:
            channel.send(question)
            reading = True
            while "sign" in (answer := self._next_word(channel, path, frame, reading=reading)):
                reading = answer["sign"] == _READING
            if "shape" in answer:
                answer["pixels"] = read_pixels(self._pixels, answer["shape"], answer["dtype"])
        except (EOFError, OSError, ValueError):
            raise self._given_up(path, frame, "the decoder died of it") from None
        if "error" in answer:
            if answer["traceback"]:
                _LOG.error("report %s\n%s", answer["error"]["report"], answer["traceback"])
            raise model_error(answer["error"])
        return answer

    def _next_word(
        self, channel: Channel, path: str, frame: int | None, *, reading: bool
    ) -> dict[str, Any]:
        """What the child says next: how far it is, or the answer."""
        if channel.waiting(self._seconds):
            return channel.receive()
        if not reading:
            raise self._given_up(path, frame, f"it took longer than {self._seconds:g} s")
        self.close()
        raise CapacityError(
            "capacity.no_answer",
            f"{path} has not been read in {self._seconds:g} s",
            frame=frame,
            hint="see whether its disk or file server works, and submit the shot again",
        )

    def _start(self) -> Child:
        self._pixels = make_pixel_file()
        settings = {"memory_bytes": self._memory_bytes, "pixels": self._pixels}
        self._child = child.start(
            "dvm_server.decoder", settings, _ENVIRONMENT, files=[self._pixels]
        )
        return self._child

    def _given_up(self, path: str, frame: int | None, why: str) -> InputError:
        self.close()
        return InputError(
            "input.damaged",
            f"{path} cannot be decoded: {why}",
            frame=frame,
            hint="render or export the file again",
        )


def main(channel: Channel, settings: Mapping[str, Any]) -> None:
    """The child: answer questions until the channel closes."""
    logging.disable()  # tracebacks travel in the answer
    if settings["memory_bytes"]:
        _cap(resource.RLIMIT_AS, settings["memory_bytes"])
        _cap(resource.RLIMIT_FSIZE, settings["memory_bytes"])  # the pixel file is memory too
    movies = _Movies()
    while True:
        try:
            question = channel.receive()
        except EOFError:
            return
        channel.send(_answer(question, settings["pixels"], _Signs(channel), movies))


class _Signs:
    """What the child says on its way to an answer. A stall before all of a file has been read is
    its file server's fault, after that it is the file's own."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._last = time.monotonic()

    def reading(self) -> None:
        """There is more to read, and it comes."""
        if time.monotonic() - self._last > _SIGN_SECONDS:
            self._last = time.monotonic()
            self._channel.send({"sign": _READING})

    def read(self) -> None:
        """What comes now takes no file server."""
        self._channel.send({"sign": "read"})


def _cap(limit: int, most: int) -> None:
    """Lower a limit; one that is lower already may not be raised again."""
    hard = resource.getrlimit(limit)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, most))


class _Movies:
    """The movie read last stays open: its next frame needs no seeking then."""

    def __init__(self) -> None:
        self._open: tuple[Path, str, MovieReader] | None = None

    def frame(self, path: Path, frame: int, expected: str, signs: _Signs) -> Plate:
        """A frame of the movie that has this stamp, before it is read and after."""
        stamp = file_stamp(str(path))
        if expected and stamp != expected:
            raise _changed(path, frame)
        found = self._reader(path, stamp, signs).read(frame)
        if file_stamp(str(path)) != stamp:
            raise _changed(path, frame)
        return found

    def _reader(self, path: Path, stamp: str, signs: _Signs) -> MovieReader:
        from model.plates.movies import MovieReader

        # One that has been replaced under its name, or written on, has another stamp.
        if self._open is None or self._open[:2] != (path, stamp):
            if self._open is not None:
                self._open[2].close()
                self._open = None
            self._open = path, stamp, MovieReader(path, signs.reading)
        return self._open[2]


def _answer(
    question: Mapping[str, Any], pixels: int, signs: _Signs, movies: _Movies
) -> dict[str, Any]:
    path, frame = Path(question["path"]), question["frame"]
    try:
        return _told(_read(question, path, frame, signs, movies), pixels)
    except MemoryError:
        error = InputError(
            "input.damaged",
            f"{path} needs more memory than a decoder may use",
            frame=frame,
            hint="check the file, or raise decoder_memory_bytes in the server's settings",
        )
        return {"error": wire_error(error).to_wire(), "traceback": ""}
    except Exception as caught:  # noqa: BLE001  any reader's error must reach whoever asked
        said = wire_error(caught, frame=frame)
        trace = "".join(traceback.format_exception(caught)) if said.report else ""
        return {"error": said.to_wire(), "traceback": trace}


def _read(
    question: Mapping[str, Any], path: Path, frame: int | None, signs: _Signs, movies: _Movies
) -> Plate | Trimap | InputMatte | PlateHeader:
    # Imported after the memory cap is set, and only in the child.
    from model.plates.image_files import read_header, read_plate, set_threads
    from model.plates.input_mattes import read_input_matte
    from model.plates.movies import is_movie
    from model.plates.trimap import read_trimap

    set_threads(1)
    expected = question.get("sha256", "")
    if expected and path.exists():
        if digest(path, signs.reading) != expected:
            raise _changed(path, frame)
        signs.read()
    match question["kind"]:
        case "plate" if frame is not None and is_movie(path):
            return movies.frame(path, frame, question["stamp"], signs)
        case "plate":
            return read_plate(path, frame=frame)
        case "trimap":
            return read_trimap(path, frame=frame, source=question["source"])
        case "matte":
            return read_input_matte(path, frame=frame)
        case "whole":
            return read_plate(path, frame=frame, choose=_every_channel).header
        case "matte header":
            return read_header(path, frame=frame, choose=_first_channel)
        case _:
            return read_header(path, frame=frame)


def _changed(path: Path, frame: int | None) -> InputError:
    return InputError(
        "input.plate_changed",
        f"{path} was changed while the shot was being matted",
        frame=frame,
        hint="submit the shot again when the plates are complete",
    )


def _first_channel(names: Sequence[str], is_id: Sequence[bool]) -> Picture:
    """Any channel will do: a matte has no picture."""
    return Picture("", ("Y",), (0,))


def _every_channel(names: Sequence[str], is_id: Sequence[bool]) -> Picture:
    return Picture("", ("Y",) * len(names), tuple(range(len(names))))


def _told(found: Plate | Trimap | InputMatte | PlateHeader, pixels: int) -> dict[str, Any]:
    """The answer, without the pixels, which go into their file."""
    if isinstance(found, PlateHeader):
        return {"header": found.to_json()}
    said = write_pixels(pixels, found.pixels)
    if isinstance(found, Plate):
        said["header"] = found.header.to_json()
    else:
        windows = (found.window, found.frame_window)
        said["windows"] = [None if one is None else list(astuple(one)) for one in windows]
        said["path"] = found.path
        if isinstance(found, Trimap):
            said["source"] = found.source
    return said
