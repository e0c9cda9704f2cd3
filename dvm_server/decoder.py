"""The process that opens plates and trimaps: no torch, little memory, and nobody's loss if it dies.

Image files are hostile input (OpenEXR alone had dozens of vulnerabilities in a year). A file that
crashes or stalls the decoder is a damaged file; the next one gets a fresh decoder.
"""

from __future__ import annotations

import logging
import resource
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dvm_server import child
from dvm_server.child import Channel, Child
from dvm_server.translate import model_error, wire_error
from host_plugins.client.files import digest
from model.errors import EngineError, InputError
from model.plates.channels import Picture
from model.plates.plate import Plate, PlateHeader, Trimap, Window

if TYPE_CHECKING:
    from model.plates.movies import MovieReader

_LOG = logging.getLogger("dvm.decoder")
# One thread each: the cores belong to the engine, and every thread takes address space.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Decoder:
    """A decoder process and what is asked of it. One question at a time, asked ahead if wanted."""

    def __init__(self, *, memory_bytes: int, seconds: float):
        """
        Args:
            memory_bytes: its address space; 0 = no bound.
            seconds: a file that takes longer is damaged.
        """
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._child: Child | None = None
        self._asked: dict[str, Any] | None = None

    def ask(self, kind: str, path: str, frame: int | None, **rest: Any) -> None:
        """Begin to read; `take` brings the answer. An earlier question must have been taken."""
        if self._asked is not None:
            raise RuntimeError("a decoder takes one question at a time")
        self._asked = {"kind": kind, "path": path, "frame": frame, **rest}
        if self._child is None:
            settings = {"memory_bytes": self._memory_bytes}
            self._child = child.start("dvm_server.decoder", settings, _ENVIRONMENT)
        try:
            self._child.channel.send(self._asked)
        except OSError:
            self.close()  # found dead: `take` reports it

    def take(self) -> Plate | Trimap | PlateHeader:
        """The answer to `ask`.

        Raises:
            InputError: ``input.damaged`` if the decoder died of the file or stalled, else what
                the reader raised.
        """
        asked, self._asked = self._asked, None
        if asked is None:
            raise RuntimeError("nothing was asked of the decoder")
        if self._child is None or not self._child.channel.waiting(self._seconds):
            raise self._given_up(asked, f"reading it took longer than {self._seconds:g} s")
        try:
            answer, payload = self._child.channel.receive()
        except (EOFError, OSError, ValueError):
            raise self._given_up(asked, "the decoder died of it") from None
        if "error" in answer:
            if answer["traceback"]:
                _LOG.error("report %s\n%s", answer["error"]["report"], answer["traceback"])
            raise model_error(answer["error"])
        return _unpacked(answer, payload)

    def drop(self) -> None:
        """Be free for the next question, whatever became of the last one."""
        if self._asked is not None:
            try:
                self.take()
            except EngineError as error:
                _LOG.debug("read ahead and not needed: %s", error.message)

    def plate(self, path: str, frame: int | None, sha256: str = "") -> Plate:
        """Read a plate at once. Raises what `take` does."""
        self.ask("plate", path, frame, sha256=sha256)
        found = self.take()
        assert isinstance(found, Plate)
        return found

    def trimap(self, path: str, frame: int, source: str, sha256: str = "") -> Trimap:
        """Read a painted or given trimap at once. Raises what `take` does."""
        self.ask("trimap", path, frame, source=source, sha256=sha256)
        found = self.take()
        assert isinstance(found, Trimap)
        return found

    def header(self, path: str, frame: int | None) -> PlateHeader:
        """Read a header at once. Raises what `take` does."""
        self.ask("header", path, frame)
        found = self.take()
        assert isinstance(found, PlateHeader)
        return found

    @property
    def pid(self) -> int | None:
        """The process in use, if there is one."""
        return self._child.pid if self._child is not None else None

    def close(self) -> None:
        """End the process; the next question starts a fresh one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _given_up(self, asked: Mapping[str, Any], why: str) -> InputError:
        self.close()
        return InputError(
            "input.damaged",
            f"{asked['path']} cannot be decoded: {why}",
            frame=asked["frame"],
            hint="render or export the file again",
        )


def main(channel: Channel, settings: Mapping[str, Any]) -> None:
    """The child: answer questions until the channel closes."""
    logging.disable()  # tracebacks travel in the answer
    if settings["memory_bytes"]:
        most = settings["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    while True:
        try:
            question, _ = channel.receive()
        except EOFError:
            return
        header, pixels = _answer(question)
        channel.send(header, pixels)


def _answer(question: Mapping[str, Any]) -> tuple[dict[str, Any], memoryview]:
    path, frame = Path(question["path"]), question["frame"]
    try:
        found = _read(question, path, frame)
    except MemoryError:
        error = InputError(
            "input.damaged",
            f"{path} needs more memory than a decoder may use",
            frame=frame,
            hint="check the file, or raise decoder_memory_bytes in the server's settings",
        )
    except Exception as caught:  # noqa: BLE001  any reader's error must reach whoever asked
        said = wire_error(caught, frame=frame)
        trace = "".join(traceback.format_exception(caught)) if said.report else ""
        return {"error": said.to_wire(), "traceback": trace}, memoryview(b"")
    else:
        return _packed(found)
    return {"error": wire_error(error).to_wire(), "traceback": ""}, memoryview(b"")


def _read(
    question: Mapping[str, Any], path: Path, frame: int | None
) -> Plate | Trimap | PlateHeader:
    # Imported after the memory cap is set, and only in the child.
    from model.plates.image_files import read_header, read_plate, set_threads
    from model.plates.movies import is_movie
    from model.plates.trimap import read_trimap

    set_threads(1)
    expected = question.get("sha256", "")
    if expected and path.exists() and digest(path) != expected:
        raise InputError(
            "input.plate_changed",
            f"{path} was changed while the shot was being matted",
            frame=frame,
            hint="submit the shot again when the plates are complete",
        )
    match question["kind"]:
        case "plate" if frame is not None and is_movie(path):
            return _open_movie(path).read(frame)
        case "plate":
            return read_plate(path, frame=frame)
        case "trimap":
            return read_trimap(path, frame=frame, source=question["source"])
        case _:
            return read_header(path, frame=frame, choose=_first_channel)


@lru_cache(maxsize=1)
def _open_movie(path: Path) -> MovieReader:
    """The movie read last stays open: its next frame needs no seeking then."""
    from model.plates.movies import MovieReader

    return MovieReader(path)


def _first_channel(names: Sequence[str], is_id: Sequence[bool]) -> Picture:
    """Any channel will do for a header: a matte has no picture."""
    return Picture("", ("Y",), (0,))


def _packed(found: Plate | Trimap | PlateHeader) -> tuple[dict[str, Any], memoryview]:
    if isinstance(found, PlateHeader):
        return {"header": found.to_json()}, memoryview(b"")
    pixels = np.ascontiguousarray(found.pixels)
    said: dict[str, Any] = {"shape": list(pixels.shape), "dtype": pixels.dtype.name}
    if isinstance(found, Plate):
        said["header"] = found.header.to_json()
    else:
        said["window"] = None if found.window is None else list(astuple(found.window))
        said["source"], said["path"] = found.source, found.path
    return said, pixels.data.cast("B")


def _unpacked(said: Mapping[str, Any], payload: bytes) -> Plate | Trimap | PlateHeader:
    if "shape" not in said:
        return PlateHeader.from_json(said["header"])
    pixels = np.frombuffer(payload, dtype=said["dtype"]).reshape(said["shape"])
    if "header" in said:
        return Plate(pixels, PlateHeader.from_json(said["header"]))
    window = None if said["window"] is None else Window(*said["window"])
    return Trimap(pixels, window, said["source"], path=said["path"])
