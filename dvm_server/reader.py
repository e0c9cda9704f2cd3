"""A worker's way to plates and trimaps: through the decoders, some ahead, a few kept."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dvm_server.decoders import Decoders
from host_plugins.client.guides import NAMES
from model.canvas import canvas_of
from model.errors import InputError
from model.plates.file_errors import no_plate
from model.plates.holdout import Guides, check_clean_plate
from model.plates.input_mattes import place_input_matte
from model.plates.plate import Plate, PlateHeader, Trimap
from model.plates.roto import trimap_of_shape
from model.plates.spool import read_trimap_spool
from model.plates.trimap import place_trimap

# A window of five, and one that leaves it: more would only cost memory.
KEPT = 6
# Ways through a unit's frames: trimaps are carried from both ends at once. A place so near to where
# one has come is on it.
_WAYS, _NEAR = 2, 4
EdgeMotion = Callable[[int, Plate, Sequence[Plate]], npt.NDArray[np.float32]]
# Guides of each kind, with those that are read ahead.
KEPT_GUIDES = 8


class PlateReader:
    """The plates of one unit by frame. For two threads at most, each on a way of its own.

    Holds at most `KEPT` of them and, for each decoder, one that is read ahead and one more, however
    long the unit is.

    Args:
        decoders: asked ahead while the engine works on another plate.
        sources: ``{path, frame, sha256, missing, stamp}`` by frame.
        order: frames in the order the unit will probably ask for them.
    """

    def __init__(
        self, decoders: Decoders, sources: Mapping[int, Mapping[str, Any]], order: Sequence[int]
    ):
        self._decoders = decoders
        self._sources = sources
        self._order = list(order)
        self._place = {frame: index for index, frame in enumerate(order)}
        self._kept: OrderedDict[str, Plate] = OrderedDict()
        self._asked: dict[str, Future[Plate]] = {}
        self._waited_for: Counter[str] = Counter()
        self._along: list[Callable[[int], None]] = []
        self._ways: list[_Way] = []
        self._first: tuple[int, PlateHeader] | None = None
        self._turn = threading.Lock()

    def __call__(self, frame: int) -> Plate:
        """The plate of a frame, or what stands in for it.

        Raises:
            InputError: it is missing, damaged or was changed since the survey.
        """
        key = self._key(frame)
        with self._turn:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            self._waited_for[key] += 1
            self._ask_ahead(frame)
            asked = self._asked[key]
        try:
            found = asked.result()
        finally:
            with self._turn:
                self._waited_for[key] -= 1
                self._asked.pop(key, None)
        with self._turn:
            # All plates of a shot have one display window, also those no engine looks at together.
            self._first = self._first or (frame, found.header)
            canvas_of((self._first, (frame, found.header)))
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def header(self, frame: int) -> PlateHeader:
        """The header of a frame's plate, without its pixels where the format allows it.

        Raises:
            InputError: as for the plate.
        """
        key, source = self._key(frame), self._sources[frame]
        known = key in self._kept or key in self._asked
        if known or not source["sha256"]:  # a movie's frames are found by decoding
            return self(frame).header
        return self._decoders.header(source["path"], source["frame"]).result()

    def read_along(self, ask: Callable[[int], None]) -> None:
        """``ask`` is called with each frame whose plate is about to be read."""
        self._along.append(ask)

    def _key(self, frame: int) -> str:
        source = self._sources[frame]
        return source["path"] if source["sha256"] else f"{source['path']}:{source['frame']}"

    def _ask(self, frame: int, way: int) -> None:
        """Begin to read it, unless it is here or on its way."""
        key, source = self._key(frame), self._sources[frame]
        if key in self._kept or key in self._asked:
            return
        for ask in self._along:
            ask(frame)
        self._asked[key] = self._decoders.plate(
            source["path"], source["frame"], source["sha256"], source["stamp"], way=way
        )

    def _ask_ahead(self, frame: int) -> None:
        """Begin to read a plate, and the next ones on its way.

        That is told by plates that are new to the engine: a window goes back to where it begins.
        """
        place = self._place[frame]
        number = self._way_of(place)
        way = self._ways[number]
        way.step = -1 if place < way.last else 1
        way.last = place
        self._ask(frame, number)
        coming = {i: self._coming(one) for i, one in enumerate(self._ways)}
        wanted = {self._key(one) for some in coming.values() for one in some}
        wanted |= {key for key, count in self._waited_for.items() if count}
        for key in [one for one in self._asked if one not in wanted]:
            self._asked.pop(key).cancel()  # the engine has turned round
        for one in coming[number]:
            self._ask(one, number)

    def _way_of(self, place: int) -> int:
        """Which of the ways a place is on: one that has come near it, else a new one in place of
        that which was not gone for longest."""
        near = [i for i, way in enumerate(self._ways) if abs(place - way.last) <= _NEAR]
        if near:
            number = min(near, key=lambda i: abs(place - self._ways[i].last))
        elif len(self._ways) < _WAYS:
            number = len(self._ways)
            self._ways.append(_Way(last=place - 1))
        else:
            number = min(range(_WAYS), key=lambda i: self._ways[i].turn)
            self._ways[number] = _Way(last=place - 1)
        self._ways[number].turn = 1 + max(way.turn for way in self._ways)
        return number

    def _coming(self, way: _Way) -> list[int]:
        count = len(self._decoders) // len(self._ways) + 1
        places = range(way.last + way.step, way.last + way.step * (count + 1), way.step)
        return [self._order[one] for one in places if 0 <= one < len(self._order)]


@dataclass
class _Way:
    """Of a thread through the frames: its last place, where it is going, and when that was."""

    last: int
    step: int = 1
    turn: int = 0


class TrimapReader:
    """The trimaps of one unit by frame; small enough to be kept while the unit lasts.

    Args:
        decoders: those that ``plates`` uses.
        plates: with each of them its trimap is read ahead.
        sources: ``{path, source, sha256, roto, neighbours}`` by frame.
        motion: of `model.engine.Engine`.
    """

    def __init__(
        self,
        decoders: Decoders,
        plates: PlateReader,
        sources: Mapping[int, Mapping[str, Any]],
        motion: EdgeMotion,
    ):
        self._motion = motion
        self._decoders = decoders
        self._plates = plates
        self._sources = sources
        self._asked: dict[int, Future[Trimap]] = {}
        self._kept: dict[int, Trimap] = {}
        plates.read_along(self._ask)

    def __call__(self, frame: int) -> Trimap:
        """The trimap of a frame: painted, given or propagated.

        Raises:
            InputError: it is missing, damaged, changed, or not a trimap.
        """
        if frame not in self._kept:
            self._kept[frame] = self._read(frame)
        return self._kept[frame]

    def _ask(self, frame: int) -> None:
        """Begin to read it, if that is a decoder's task."""
        source = self._sources.get(frame)
        if source is None or source["source"] == "propagated" or source["roto"] is not None:
            return
        if frame not in self._kept and frame not in self._asked:
            self._asked[frame] = self._decoders.trimap(
                source["path"], frame, source["source"], source["sha256"]
            )

    def _read(self, frame: int) -> Trimap:
        source = self._sources[frame]
        if source["source"] == "propagated":
            try:
                return read_trimap_spool(Path(source["path"]))
            except (ValueError, FileNotFoundError) as error:
                # Removing it makes the next submission carry the trimap again.
                Path(source["path"]).unlink(missing_ok=True)
                raise InputError(
                    "input.spool_damaged",
                    f"the propagated trimap of frame {frame} in the spool is damaged",
                    frame=frame,
                    hint="submit the shot again; it will be carried again",
                ) from error
        if source["roto"] is not None:
            return self._of_shape(frame, source)
        self._ask(frame)
        header = self._plates.header(frame)
        found = self._asked.pop(frame).result()
        # The engine would refuse it too, at the frame where it first looks at it.
        place_trimap(found, header, frame=frame)
        return found

    def _of_shape(self, frame: int, source: Mapping[str, Any]) -> Trimap:
        """The trimap that is made of a rough shape."""
        with no_plate("the shape"):
            shape = self._decoders.matte(source["path"], frame, source["sha256"]).result()
        plate = self._plates(frame)
        placed = place_input_matte(shape, plate.header, frame=frame, what="the shape")
        neighbours = [self._plates(one) for one in source["neighbours"]]
        motion = self._motion(frame, plate, neighbours) if neighbours else None
        shrink, grow = source["roto"]
        pixels = trimap_of_shape(placed, shrink, grow, motion, frame=frame, path=shape.path)
        return Trimap(pixels, plate.header.data_window, source["source"], path=shape.path)


class GuideReader:
    """The guides of one unit by frame. One image for all frames is read once.

    Args:
        decoders: those that ``plates`` uses.
        plates: with each of them its guides are read ahead.
        sources: ``{path, sha256}`` by frame and role.
    """

    def __init__(
        self,
        decoders: Decoders,
        plates: PlateReader,
        sources: Mapping[int, Mapping[str, Mapping[str, Any]]],
    ):
        self._decoders = decoders
        self._plates = plates
        self._sources = sources
        self._asked: OrderedDict[tuple[str, str], Future[Any]] = OrderedDict()
        plates.read_along(self._ask)

    def __call__(self, frame: int) -> Guides:
        """The guides of a frame.

        Raises:
            InputError: one is missing, damaged, changed, no matte, or of another size.
        """
        self._ask(frame)
        found = {}
        for role, source in self._sources.get(frame, {}).items():
            with no_plate(f"the {NAMES[role]}"):
                found[role] = self._asked[role, source["path"]].result()
        clean = found.get("clean")
        if clean is not None:
            check_clean_plate(clean.header, self._plates.header(frame), frame)
        return Guides(**found)

    def _ask(self, frame: int) -> None:
        for role, source in self._sources.get(frame, {}).items():
            key = role, source["path"]
            if key not in self._asked:
                read = self._decoders.plate if role == "clean" else self._decoders.matte
                self._asked[key] = read(source["path"], frame, source["sha256"])
            self._asked.move_to_end(key)
            kept = [one for one in self._asked if one[0] == role]
            for old in kept[:-KEPT_GUIDES]:
                del self._asked[old]
