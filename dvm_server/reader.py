"""A worker's way to plates and trimaps: through the decoder, one ahead, a few kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvm_server.decoder import Decoder
from model.canvas import canvas_of
from model.errors import InputError
from model.plates.plate import Plate, PlateHeader, Trimap
from model.plates.spool import read_trimap_spool
from model.plates.trimap import place_trimap

# A window of five, one that leaves it, one read ahead: more would only cost memory.
KEPT = 7


class PlateReader:
    """The plates of one unit by frame. Holds at most `KEPT` of them, however long the unit is.

    Args:
        decoder: asked for one plate ahead while the engine works on another.
        sources: ``{path, frame, sha256, missing}`` by frame.
        order: frames in the order the unit will probably ask for them.
    """

    def __init__(
        self, decoder: Decoder, sources: Mapping[int, Mapping[str, Any]], order: Sequence[int]
    ):
        self._decoder = decoder
        self._sources = sources
        self._order = list(order)
        self._place = {frame: index for index, frame in enumerate(order)}
        self._kept: OrderedDict[str, Plate] = OrderedDict()
        self._asked: int | None = None
        self._last = -1
        self._first: tuple[int, PlateHeader] | None = None

    def __call__(self, frame: int) -> Plate:
        """The plate of a frame, or what stands in for it.

        Raises:
            InputError: it is missing, damaged or was changed since the survey.
        """
        key = self._key(frame)
        if key not in self._kept and self._asked is not None:
            self._collect()
        if key not in self._kept:
            self._ask(frame)
            self._collect()
        plate = self._kept[key]
        self._kept.move_to_end(key)
        self._ask_ahead(frame)
        return plate

    def header(self, frame: int) -> PlateHeader:
        """The header of a frame's plate, without its pixels where the format allows it.

        Raises:
            InputError: as for the plate.
        """
        key, source = self._key(frame), self._sources[frame]
        if key in self._kept or not source["sha256"]:  # a movie's frames are found by decoding
            return self(frame).header
        self.settle()
        return self._decoder.header(source["path"], source["frame"])

    def settle(self) -> None:
        """Take what was asked ahead, so that the decoder is free.

        Raises:
            InputError: that plate is damaged, which the unit would find out next anyway.
        """
        if self._asked is not None:
            self._collect()

    def _key(self, frame: int) -> str:
        source = self._sources[frame]
        return source["path"] if source["sha256"] else f"{source['path']}:{source['frame']}"

    def _ask(self, frame: int) -> None:
        source = self._sources[frame]
        self._decoder.ask("plate", source["path"], source["frame"], sha256=source["sha256"])
        self._asked = frame

    def _collect(self) -> None:
        frame, self._asked = self._asked, None
        assert frame is not None
        found = self._decoder.take()
        assert isinstance(found, Plate)
        # All plates of a shot have one display window, also those no engine looks at together.
        self._first = self._first or (frame, found.header)
        canvas_of((self._first, (frame, found.header)))
        self._kept[self._key(frame)] = found
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _ask_ahead(self, frame: int) -> None:
        """Ask for the next plate in the direction the engine is going."""
        place = self._place[frame]
        step = -1 if place < self._last else 1
        self._last = place
        ahead = place + step
        if (
            self._asked is None
            and 0 <= ahead < len(self._order)
            and self._key(self._order[ahead]) not in self._kept
        ):
            self._ask(self._order[ahead])


class TrimapReader:
    """The trimaps of one unit by frame; small enough to be kept while the unit lasts.

    Args:
        decoder: the one that ``plates`` uses.
        plates: settled before the decoder is asked, for it takes one question at a time.
        sources: ``{path, source, sha256}`` by frame.
    """

    def __init__(
        self, decoder: Decoder, plates: PlateReader, sources: Mapping[int, Mapping[str, Any]]
    ):
        self._decoder = decoder
        self._plates = plates
        self._sources = sources
        self._kept: dict[int, Trimap] = {}

    def __call__(self, frame: int) -> Trimap:
        """The trimap of a frame: painted, given or propagated.

        Raises:
            InputError: it is missing, damaged, changed, or not a trimap.
        """
        if frame not in self._kept:
            self._kept[frame] = self._read(frame)
        return self._kept[frame]

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
        header = self._plates.header(frame)
        self._plates.settle()
        found = self._decoder.trimap(source["path"], frame, source["source"], source["sha256"])
        # The engine would refuse it too, at the frame where it first looks at it.
        place_trimap(found, header, frame=frame)
        return found
