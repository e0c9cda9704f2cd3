"""What the buttons of the keyframes do, in steps. Each is given the desk, what the node is known by
there, the node, and the frame that was looked at when the button was pressed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ..client.desk import Desk
from ..client.errors import InputError
from ..client.plate_files import FilePattern
from . import adapter, keyframes, shots
from .plates import Source
from .sources import frame_of, plate_at, source_now, views_of

Steps = Generator[None, None, None]


def taking_trimap(desk: Desk, key: str, node: Any, frame: int) -> Steps:
    """Make the frame a keyframe, with what comes into Trimap there.

    Raises:
        InputError: ``input.no_trimap``, ``input.frame_range``, ``input.render``, and as
            `sources.source_now`.
    """
    above = adapter.upstream(node, 1)
    if above is None:
        raise InputError(
            "input.no_trimap",
            "nothing is connected to the input Trimap",
            hint="connect a Roto, a RotoPaint, or the Read of a painted trimap",
        )
    yield
    plate, source = yield from plate_at(node, frame)
    if source is not None and not source.timing.holds(plate):
        timing = source.timing
        raise InputError(
            "input.frame_range",
            f"frame {frame} lies outside of the clip, which has {timing.frame(timing.first)} "
            f"to {timing.frame(timing.last)}",
            hint="go to a frame of the clip",
        )
    channel = str(adapter.value(node, "dvm_trimap_channel"))
    if channel == "automatic":
        channel = "alpha" if adapter.has_alpha(above) else "red"
    with adapter.undisturbed():
        adapter.set_channel(node, f"rgba.{channel}")
    views = views_of(source)
    # The file is named by the plate, and the frame that is rendered is the script's.
    path = yield from _own_file(node, key, views, plate)
    yield
    try:
        adapter.write(node, "dvm_keyframe", path, frame, channels="alpha", of_views=views)
    except adapter.Busy as error:
        raise InputError(
            "input.render", "Nuke is rendering something else", hint="wait for it, or stop it"
        ) from error
    yield
    keep(node, {**kept_of(node), plate: path}, source)
    desk.said(key, f"trimap of frame {frame} taken")


def _own_file(node: Any, key: str, views: Sequence[str], plate: int) -> Generator[None, None, str]:
    """Where a trimap is written: a file that no other node's list names, as a copy's may."""
    lists = []
    for one in adapter.our_nodes():
        yield
        if adapter.is_alive(one) and one != node:
            lists.append(adapter.text_of(one, "dvm_keyframe_files"))

    def file(take: int) -> str:
        return str(FilePattern.parse(shots.trimap_pattern(key, views, take)).path(plate))

    take = 1
    while any(keyframes.is_named(text, file(take)) for text in lists):
        take += 1
    return file(take)


def removing(desk: Desk, key: str, node: Any, frame: int) -> Steps:
    """Take the frame off the list; its file stays.

    Raises:
        InputError: ``input.no_keyframe`` if it is not on it, and as `sources.source_now`.
    """
    plate, source = yield from plate_at(node, frame)
    left = kept_of(node)
    if left.pop(plate, None) is None:
        raise keyframes.not_one(frame)
    keep(node, left, source)


def walking(desk: Desk, key: str, node: Any, frame: int, *, ahead: bool) -> Steps:
    """Go to the keyframe after the frame, or before it.

    Raises:
        InputError: ``input.no_keyframe`` if there is none, and as `sources.source_now`.
    """
    plate, source = yield from plate_at(node, frame)
    adapter.go_to(frame_of(keyframes.neighbour(kept_of(node), plate, ahead=ahead), source))


def suggesting(desk: Desk, key: str, node: Any, frame: int) -> Steps:
    """Go to the frame that is best painted next.

    Raises:
        InputError: ``input.no_suggestion``, and as `sources.source_now`.
    """
    plate = desk.suggested(key)
    yield
    source = yield from source_now(node)
    yield
    adapter.go_to(frame_of(plate, source))


def kept_of(node: Any) -> dict[int, str]:
    """A node's keyframes: file by plate.

    Raises:
        InputError: ``input.keyframes``.
    """
    return keyframes.read(str(adapter.value(node, "dvm_keyframe_files")))


def keep(node: Any, kept: Mapping[int, str], source: Source | None) -> None:
    """Set a node's list of keyframes; it can be undone."""
    adapter.set_value(node, "dvm_keyframe_files", keyframes.written(kept))
    show(node, kept, source)


def show(node: Any, kept: Mapping[int, str], source: Source | None) -> None:
    """Have a node name the frames of its keyframes, as the timeline counts."""
    frames = (frame_of(plate, source) for plate in sorted(kept))
    adapter.set_value(node, "dvm_keyframes", ", ".join(map(str, frames)))
