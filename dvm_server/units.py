"""What a worker does for one unit: read, ask the engine, write. Whole files or none.

The engine is one frame ahead of who writes (`model.ahead`), and reads ahead of itself. On a machine
of many cores several frames are written at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dvm_server.decoders import Decoders
from dvm_server.reader import GuideReader, PlateReader, TrimapReader
from dvm_server.translate import options_from_plain
from host_plugins.client.files import digest
from model.ahead import ahead, at_once, several
from model.engine import Engine, FrameMatte
from model.errors import Cancelled, InputError, SetupError
from model.passes import Block, Span
from model.plates import colour
from model.plates.file_errors import keeping, writing
from model.plates.mattes import write_matte
from model.plates.plate import PlateHeader, Trimap, Window
from model.plates.region import matte_header
from model.plates.spool import write_trimap_spool
from model.suggest import doubt_of

Tell = Callable[[Mapping[str, Any]], None]
IsCancelled = Callable[[], bool]

# Frames written at once: all cores compress a file, but one alone puts it together.
_WRITERS = at_once(4, 4)
# Of a span's own folder: what a killed worker left is known by it.
SCRATCH_PREFIX = "dvm-span-"


@dataclass
class AtWork:
    """How far a unit is, so that an error can name the frame."""

    frame: int | None = None

    def next_of(self, order: Mapping[str, Any]) -> int | None:
        """The frame after the last one told of."""
        wanted = list(order["wanted"])
        if self.frame in wanted:
            wanted = wanted[wanted.index(self.frame) + 1 :]
        return wanted[0] if wanted else None


def do_span(
    engine: Engine,
    order: Mapping[str, Any],
    decoders: Decoders,
    scratch: Path,
    tell: Tell,
    cancelled: IsCancelled,
) -> None:
    """Pass A: carry trimaps along a span and spool each one.

    Args:
        engine: for the shot's options.
        order: from `jobs.span_order`.
        decoders: free.
        scratch: folder for what the engine puts aside.
        tell: given ``trimap_done`` for each frame, once it is on disk, with its doubt.
        cancelled: asked between frames.
    """
    sources = _by_frame(order["plates"])
    plates = PlateReader(decoders, sources, sorted(sources))
    keys = TrimapReader(decoders, plates, _by_frame(order["keyframes"]), engine.motion)
    span = Span(
        tuple(order["frames"]), tuple(_by_frame(order["keyframes"])), tuple(order["wanted"])
    )
    into = _by_frame(order["into"])
    with keeping(scratch):
        aside = tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=scratch)
    with aside as folder:
        keyframes = {frame: keys(frame) for frame in span.keyframes}
        carried = engine.propagate(span, plates, plates.header, keyframes, Path(folder), cancelled)

        def written(one: tuple[int, Trimap]) -> dict[str, Any]:
            frame, trimap = one
            write_trimap_spool(Path(into[frame]), trimap)
            return {"type": "trimap_done", "frame": frame, "doubt": round(doubt_of(trimap), 4)}

        with (
            closing(ahead(carried, name="carry")) as trimaps,
            closing(several(trimaps, written, _WRITERS)) as messages,
        ):
            for message in messages:
                tell(message)


def do_block(
    engine: Engine,
    order: Mapping[str, Any],
    decoders: Decoders,
    tell: Tell,
    cancelled: IsCancelled,
) -> None:
    """Pass B: matte a block and write each frame's files.

    Args:
        engine: for the shot's options.
        order: from `jobs.block_order`.
        decoders: free.
        tell: given ``frame_done`` for each frame, once its files have their names.
        cancelled: asked between frames.
    """
    sources = _by_frame(order["plates"])
    plates = PlateReader(decoders, sources, sorted(sources))
    trimaps = TrimapReader(decoders, plates, _by_frame(order["trimaps"]), engine.motion)
    guides = GuideReader(decoders, plates, _by_frame(order["guides"]))
    block = Block(order["index"], tuple(order["frames"]), tuple(order["reads"]))
    black = [f for f in order["wanted"] if sources[f]["missing"] == "black"]
    wanted = [f for f in order["wanted"] if f not in black]
    for frame in black:
        if cancelled():
            raise Cancelled(frame=frame)
        header = matte_header(plates(frame).header, _region(order), frame)
        write(order, decoders, black_matte(frame, header, order["layers"]), tell)
    shot_frames = order["shot_frames"]
    made = engine.matte(block, shot_frames, wanted, plates, trimaps, cancelled, guides)
    with (
        closing(ahead(made, name="deliver")) as mattes,
        closing(
            several(_until(mattes, cancelled), partial(_written, order, decoders), _WRITERS)
        ) as written,
    ):
        for message in written:
            tell(message)


def _until(
    mattes: Iterator[FrameMatte], cancelled: IsCancelled
) -> Generator[FrameMatte, None, None]:
    """Mattes to be written; those that are being written at a cancel are finished, and told of."""
    for matte in mattes:
        if cancelled():
            raise Cancelled(frame=matte.frame)
        yield matte


def _region(order: Mapping[str, Any]) -> Window | None:
    return options_from_plain(order["engine"]).region


def black_matte(frame: int, header: PlateHeader, layers: list[str]) -> FrameMatte:
    """The matte of a missing plate: nothing is foreground, and that is certain."""
    size = header.data_window.height, header.data_window.width
    return FrameMatte(
        frame=frame,
        alpha=np.zeros(size, np.float32),
        trimap=np.zeros(size, np.uint8),
        confidence=np.ones(size, np.float32),
        foreground=np.zeros((*size, 3), np.float32) if "foreground" in layers else None,
        header=header,
        source="given",
    )


def write(order: Mapping[str, Any], decoders: Decoders, matte: FrameMatte, tell: Tell) -> None:
    """Write a frame's files, and tell ``frame_done`` of them."""
    tell(_written(order, decoders, matte))


def _written(order: Mapping[str, Any], decoders: Decoders, matte: FrameMatte) -> dict[str, Any]:
    """Write a frame's files; what is to be told of them."""
    into = {layer: Path(path) for layer, path in _by_frame(order["into"])[matte.frame].items()}
    attributes = {
        "dvm:composited_in": _light(matte, order),
        **_by_frame(order["attributes"])[matte.frame],
        "dvm:trimap": matte.source,
    }
    if matte.fallback:
        attributes["dvm:fallback"] = matte.fallback
    files = {}
    # The folder may go away at any moment, between writing and looking too.
    with writing(next(iter(into.values())).parent):
        digests = write_matte(
            into,
            matte,
            layers=order["layers"],
            split=order["split"],
            compression=order["compression"],
            attributes=attributes,
            made_before=_made_before(order, into.values(), attributes, decoders),
        )
        for layer, path in into.items():
            stat = path.stat()
            files[layer] = {
                "path": str(path),
                "sha256": digests[path],
                "bytes": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
            }
    return {
        "type": "frame_done",
        "frame": matte.frame,
        "files": files,
        "seconds": sum(matte.seconds.values()),
        "source": matte.source,
        "fallback": matte.fallback,
    }


def _made_before(
    order: Mapping[str, Any],
    paths: Collection[Path],
    attributes: Mapping[str, Any],
    decoders: Decoders,
) -> dict[Path, str] | None:
    """Sha256 of files that may be replaced; None if all may.

    They are those that the survey knew, and what has come up since and says by its key that it is
    this very matte: a worker that died or another machine wrote it, on a GPU maybe with other bits.
    """
    if order["ours"] is None:
        return None
    found = {path: order["ours"][str(path)] for path in paths if str(path) in order["ours"]}
    for path in paths:
        if path not in found and path.is_file():
            with suppress(InputError, SetupError):  # what cannot be read is somebody else's
                header = decoders.matte_header(str(path)).result()
                if header.metadata.get("dvm:key") == attributes["dvm:key"]:
                    found[path] = digest(path)
    return found


def _light(matte: FrameMatte, order: Mapping[str, Any]) -> str:
    """The light a matte was made in, where the shot leaves it to the plate's colourspace."""
    name = colour.plate_colourspace(matte.header, order["engine"]["colourspace"])
    return colour.default_composited_in(name)


def _by_frame(plain: Mapping[str, Any]) -> dict[int, Any]:
    """JSON has texts as keys; frames are numbers."""
    return {int(frame): one for frame, one in plain.items()}
