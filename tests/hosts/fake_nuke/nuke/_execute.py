"""``nuke.execute``: rendering Write nodes to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nuke import _callbacks, _files, _pixels, _tcl
from nuke._nodes import Core, Node, current_group
from nuke._state import host, state
from nuke._values import FrameRanges, known_channels, view_names

_COMPRESSIONS = {
    "none": "none",
    "Zip (1 scanline)": "zips",
    "Zip (16 scanlines)": "zip",
    "PIZ Wavelet (32 scanlines)": "piz",
    "RLE": "rle",
    "B44": "b44",
    "B44A": "b44a",
    "DWAA": "dwaa",
    "DWAB": "dwab",
}


class CancelledError(Exception):
    """A host class that the stubs name; rendering raises RuntimeError."""


@host
def execute(
    nameOrNode: Any, start: Any, end: Any = None, incr: Any = 1, views: Any = None,
    continueOnError: bool = False,
) -> None:  # fmt: skip
    """Render a Write: ``(write, first, last, incr, views)`` or ``(write, FrameRanges, views)``.

    Raises:
        RuntimeError: while rendering already, in a callback, for what is no Write, when cancelled,
            or when a picture cannot be made or written.
    """
    if isinstance(start, FrameRanges):
        frames = [frame for one in start._ranges for frame in one._list()]
        if end is not None:
            views = end
        if incr != 1:
            continueOnError = bool(incr)
    else:
        frames = list(range(int(start), int(start if end is None else end) + 1, int(incr)))
    if state.executing:
        raise RuntimeError("I'm already executing something else")
    if state.callback_depth:
        raise RuntimeError("nuke.execute cannot be called from a callback")
    core = _core(nameOrNode)
    if core.class_name != "Write":
        raise RuntimeError(f"{core.name()} is not a Write node")
    wanted = list(views) if views else core.knobs["views"]._views()
    unknown = [one for one in wanted if one not in view_names()]
    if unknown:
        raise RuntimeError(f"no such views: {unknown}")
    state.executing = True
    try:
        _run(core, frames, [one for one in wanted if one in core.knobs["views"]._views()],
             continueOnError)  # fmt: skip
    finally:
        state.executing = False


# The same function under its other name, as in real Nuke.
render = execute


@host
def executing(f: float | None = None) -> bool:
    """Whether something is rendered now."""
    return state.executing


def _core(name_or_node: Any) -> Core:
    if isinstance(name_or_node, Node):
        return name_or_node._live()
    found = current_group().child(str(name_or_node)) or state.root.child(str(name_or_node))
    if found is None:
        raise RuntimeError(f"no such node: {name_or_node!r}")
    return found


def _event(core: Core, event: str) -> None:
    own = core.knobs[event[0].lower() + event[1:]]._raw
    _callbacks.fire(event, core, None, own)


def _run(core: Core, frames: list[int], views: list[str], go_on: bool) -> None:
    _event(core, "BeforeRender")
    errors: list[RuntimeError] = []
    done = 0
    for frame in frames:
        for view in views:
            # True cancels at once, a number after so many pictures.
            limit = state.cancel_execute
            if limit is True or (limit is not False and done >= limit):
                raise RuntimeError("Cancelled")
            try:
                _event(core, "BeforeFrameRender")
                _write(core, frame, view)
                _event(core, "AfterFrameRender")
            except RuntimeError as error:
                if not go_on or isinstance(error, NotImplementedError):
                    raise
                errors.append(error)
            done += 1
    _event(core, "AfterRender")
    if errors:
        raise errors[0]


def _write(core: Core, frame: int, view: str) -> None:
    if state.fail_execute:
        raise RuntimeError(state.fail_execute)
    pattern = _pixels.file_path(core, view)
    if not pattern:
        raise RuntimeError(f"{core.name()}: no file is set")
    if len(view_names()) > 1 and not _names_view(core) and len(core.knobs["views"]._views()) > 1:
        raise NotImplementedError("several views in one file are not in this fake")
    path = _tcl.with_frame(pattern, _write_frame(core, frame))
    kind = core.knobs["file_type"]._current().strip() or path.rsplit(".", 1)[-1].lower()
    if kind not in ("exr", "png"):
        raise RuntimeError(f"{core.name()}: cannot write a file of type {kind!r}")
    folder = Path(path).parent
    if not folder.is_dir():
        if not core.knobs["create_directories"]._at(0):
            raise RuntimeError(f"{core.name()}: {folder}: No such file or directory")
        folder.mkdir(parents=True)
    picture = _pixels.render(core, frame, view)
    wanted = known_channels(core.knobs["channels"]._raw)
    channels = [one for one in wanted if one in picture.channels]
    if not channels:
        raise RuntimeError(f"{core.name()}: no channels selected (or available) for write")
    if "autocrop" in core.knobs and core.knobs["autocrop"]._at(0):
        picture = _cropped(picture, channels)
    if state.root.knobs["proxy"]._at(0):
        picture = _halved(picture)
    if kind == "png":
        picture = picture.fitted((0, 0, picture.width, picture.height))
    _store(core, kind, path, picture, channels)
    state.written.append(
        {
            "path": path, "frame": frame, "view": view, "channels": channels,
            "raw": bool(core.knobs["raw"]._at(0)),
            **{
                name: core.knobs[name]._current()
                for name in ("datatype", "compression", "metadata")
                if name in core.knobs
            },
        }
    )  # fmt: skip


def _names_view(core: Core) -> bool:
    text = core.knobs["file"]._raw
    return "%V" in text or "%v" in text


def _write_frame(core: Core, frame: int) -> int:
    mode, text = core.knobs["frame_mode"]._current(), core.knobs["frame"]._raw.strip()
    if mode == "expression" and not text:
        return frame
    raise NotImplementedError("frame modes of Write are not in this fake")


def _store(core: Core, kind: str, path: str, picture: Any, channels: list[str]) -> None:
    planes = [(_pixels.file_channel(name), picture.plane(name)) for name in channels]
    if kind == "png" and len(planes) == 1:
        planes = [("Y", planes[0][1])]
    datatype = core.knobs["datatype"]._current() if "datatype" in core.knobs else "16 bit half"
    compression = ""
    if kind == "exr" and "compression" in core.knobs:
        compression = _COMPRESSIONS[core.knobs["compression"]._current()]
    if kind == "png" and datatype not in ("8 bit", "16 bit"):
        datatype = "8 bit"
    try:
        _files.write(
            path, (picture.width, picture.height), picture.bbox, planes, datatype, compression
        )
    except RuntimeError as error:
        raise RuntimeError(f"{core.name()}: {path}: {error}") from error


def _cropped(picture: Any, channels: list[str]) -> Any:
    """To the box of what is not 0; one pixel where all is 0."""
    x0, y0, x1, y1 = picture.bbox
    full = [
        (x, y)
        for y in range(y0, y1)
        for x in range(x0, x1)
        if any(picture.at(one, x, y) for one in channels)
    ] or [(x0, y0)]
    xs, ys = [x for x, _ in full], [y for _, y in full]
    return picture.fitted((min(xs), min(ys), max(xs) + 1, max(ys) + 1))


def _halved(picture: Any) -> Any:
    """Every second pixel: what the proxy of the script renders."""
    x0, y0, x1, y1 = (one // 2 for one in picture.bbox)
    small = _pixels.Picture(
        max(picture.width // 2, 1), max(picture.height // 2, 1), (x0, y0, max(x1, 1), max(y1, 1))
    )
    a, b, c, d = small.bbox
    for name in picture.channels:
        small.channels[name] = [
            picture.at(name, 2 * x, 2 * y) for y in range(b, d) for x in range(a, c)
        ]
    return small
