"""The plates of a node: those of the Read above it, or what comes into it, rendered. In steps, each
of which holds up Nuke for a moment only."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..client.desk import State
from ..client.errors import InputError
from . import adapter, shots
from .plates import Source, rendered_source, source_of


def source_now(
    node: Any, settings: shots.Settings | None = None
) -> Generator[None, None, Source | None]:
    """The plates that the Read above a node reads.

    Returns:
        None if there is no Read, or its frames are rearranged, or plates are rendered anyhow: then
        they are numbered as the timeline is.

    Raises:
        InputError: ``input.no_source``, ``input.no_plates``.
    """
    above = adapter.upstream(node, 0)
    if above is None:
        raise InputError(
            "input.no_source",
            "nothing is connected to the input Source",
            hint="connect the Read of the plates",
        )
    if not adapter.is_read(above) or adapter.value(node, "dvm_plates") == "rendered":
        return None
    yield
    facts = adapter.read_facts(above, adapter.views())
    if settings is None:
        return source_of(facts)
    return source_of(facts, colourspace=settings.colourspace, missing=settings.missing)


def plate_at(node: Any, frame: int) -> Generator[None, None, tuple[int, Source | None]]:
    """The plate that a frame shows, and the source it is of; see `source_now`."""
    source = yield from source_now(node)
    yield
    return (source.timing.plate(frame) if source else frame), source


def frame_of(plate: int, source: Source | None) -> int:
    """The frame that shows a plate."""
    return source.timing.frame(plate) if source else plate


def views_of(source: Source | None) -> list[str]:
    """Views that have plates, and so trimaps, of their own; of plates that are rendered, all that
    the script has; none if there is but one."""
    if source is not None:
        return list(source.views)
    views = adapter.views()
    return views if len(views) > 1 else []


def rendering(
    key: str, node: Any, settings: shots.Settings, state: State
) -> Generator[None, None, Source | None]:
    """Render what comes into a node, a frame a step; frames that are there are kept if that is
    wanted.

    Args:
        key: what the node is known by.
        node: ours.
        settings: of the node.
        state: says how far it is, and whether it is to stop.

    Returns:
        The plates; None if it was stopped.

    Raises:
        InputError: ``input.render``.
    """
    several = views_of(None)
    pattern = shots.plate_pattern(key, several)
    yield
    first, last = adapter.frame_range(node.input(0))
    if settings.first is not None and settings.last is not None:
        first, last = max(first, settings.first), min(last, settings.last)
    working_space = adapter.working_space()
    yield
    window = adapter.window_of(node.input(0))
    yield
    source = rendered_source(
        {view: pattern.replace("%V", view) for view in several} or {"": pattern},
        first, last, working_space=working_space, colourspace=settings.colourspace,
    )  # fmt: skip
    frames = range(first, last + 1)
    state.stage, state.total = "rendering", len(frames)
    for done, number in enumerate(frames):
        state.done = done
        state.tell(f"rendering plates, {done} of {len(frames)}")
        kept = settings.keep_plates and all(
            source.plate(number, view).is_file() for view in source.patterns
        )
        while not kept:
            if state.stopping:
                return None
            try:
                adapter.write(
                    node, "Source", pattern, number, channels="rgb", window=window,
                    of_views=several,
                )  # fmt: skip
                break
            except adapter.Busy:
                state.tell("waiting for Nuke, which renders something else")
                yield
        yield
    return source


def at_once(steps: Generator[None, None, Any]) -> Any:
    """Take all steps, and give what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
