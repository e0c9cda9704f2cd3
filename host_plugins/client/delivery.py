"""Where mattes go when they arrive: into the files the shot names, into a host's hands, or nowhere
because the server has written them itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import events, files
from .errors import InputError, ProtocolError
from .outputs import check_folder, layers_of_files, output_path
from .shot import Shot
from .wire import Part

Sink = Callable[[int, list[Part]], None]


class Delivery:
    """Takes the mattes of one shot.

    Args:
        shot: as submitted.
        by_value: mattes come as files over the wire.
        sink: takes them, by value; None means they are written to the shot's output pattern.

    Attributes:
        delivered: the frames that are safe.

    Raises:
        InputError: ``input.pattern``, ``input.output_unwritable``: they could not be written.
    """

    def __init__(self, shot: Shot, by_value: bool, sink: Sink | None):
        self.delivered: set[int] = set()
        self._shot = shot
        self._by_value = by_value
        self._sink = sink
        self._frames = frozenset(shot.numbers())
        self._known: dict[Path, str] = {}
        if self._writes:
            check_folder(shot.outputs, shot.numbers())

    @property
    def _writes(self) -> bool:
        return self._by_value and self._sink is None

    def have(self, check: Callable[[], None]) -> list[dict[str, Any]]:
        """The output files there are already, for ``submit``; the server judges whose they are.

        Args:
            check: called between files; raises to give up.

        Raises:
            InputError: ``input.output_unwritable`` if one of them cannot be read.
        """
        have: list[dict[str, Any]] = []
        self._known = {}
        if not self._writes:
            return have
        for frame in self._shot.numbers():
            for layer in layers_of_files(self._shot.outputs):
                path = output_path(self._shot.outputs.pattern, frame, layer)
                if not path.exists():
                    continue
                check()
                sha256 = self._known[path] = _digest(path, frame)
                have.append({"frame": frame, "layer": layer, "sha256": sha256})
        return have

    def take(self, matte: events.Matte) -> None:
        """Make a matte safe at our end; after that it may be acknowledged.

        Raises:
            InputError: ``input.output_exists`` if a file came up or was changed since `have`;
                ``input.output_unwritable``.
            CapacityError: ``capacity.disk_full``.
            ProtocolError: it is not what was asked for.
        """
        if bool(matte.parts) != self._by_value or matte.frame not in self._frames:
            raise ProtocolError(f"the matte of frame {matte.frame} is not what was asked for")
        if self._sink is not None:
            self._sink(matte.frame, list(matte.parts))
        elif self._by_value:
            self._write(matte)
        self.delivered.add(matte.frame)

    def missing(self) -> list[int]:
        """The frames that are not safe yet, ascending."""
        return sorted(self._frames - self.delivered)

    def _write(self, matte: events.Matte) -> None:
        outputs = self._shot.outputs
        found = {part.layer: part for part in matte.parts}
        if set(found) != set(layers_of_files(outputs)) or len(found) != len(matte.parts):
            raise ProtocolError(f"the matte of frame {matte.frame} lacks a layer, or has others")
        todo = {}
        for layer, part in found.items():
            path = output_path(outputs.pattern, matte.frame, layer)
            if path.exists():
                there = _digest(path, matte.frame)
                if there == part.sha256:
                    continue
                # Of a file that the server was told of, it said that it may be made again.
                if there != self._known.get(path) and not self._shot.options.overwrite:
                    raise InputError(
                        "input.output_exists",
                        f"{path} was written by somebody else since the shot was submitted",
                        shot=self._shot.name,
                        frame=matte.frame,
                        hint="choose another name for the mattes, or allow overwriting",
                    )
            todo[path] = part
        for path, part in todo.items():
            files.write_atomically(path, part.data, matte.frame)


def _digest(path: Path, frame: int) -> str:
    try:
        return files.digest(path)
    except OSError as error:
        raise files.unwritable(path, error.strerror or str(error), frame) from error
