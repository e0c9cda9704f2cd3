"""Pass A over a span: trimaps carried from its keyframe, or from both and then blended; and hints.

It holds what the network remembers and one frame; the first way over a span waits on disk for the
second. So memory does not grow with the span.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.ahead import ahead
from model.blend import blend
from model.canvas import canvas_of
from model.classical.hindsight import look_back
from model.classical.hints import hint_of
from model.device_memory import device_full
from model.errors import Cancelled
from model.face import Classes, Clues, Frame, PropagationNetwork, StepsAhead
from model.passes import Span
from model.plates.hint import hint_bytes
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.transfers import Upload
from model.view import LightView

_HALF = 65504.0  # the largest half float
# From one keyframe: how many frames get their hints at once, and how many after them are looked at
# for that.
_AT_ONCE, _AHEAD = 16, 32

_Bytes = npt.NDArray[np.uint8]
_Classified = tuple[_Bytes, _Bytes]  # a trimap and its confidence
_Carried = tuple[int, _Classified, _Bytes | None]  # a frame's number, trimap and hint


def carry_trimaps(
    network: PropagationNetwork,
    view: LightView,
    span: Span,
    plate: Callable[[int], Plate],
    header: Callable[[int], PlateHeader],
    keyframes: Mapping[int, Trimap],
    scratch: Path,
    cancelled: Callable[[], bool],
) -> Generator[tuple[int, Trimap], None, None]:
    """`model.engine.Engine.propagate`, by a network.

    Raises:
        Cancelled: when ``cancelled`` says so, between frames.
        InputError, CapacityError: of what plates and devices raise.
    """
    canvas = canvas_of((f, header(f)) for f in span.frames)
    anchors = [view.frame(f, plate(f), canvas, keyframes[f]) for f in span.keyframes]

    def one_way(order: Sequence[int]) -> Iterator[tuple[int, Classes]]:
        """The span's frames in the order given, but for keyframes."""
        memory = network.start(anchors, order[0])
        numbers = [f for f in order if f not in span.keyframes]
        with (
            closing(ahead(_looks(view, numbers, canvas, plate), name="view")) as frames,
            closing(_steps(network, memory, frames)) as carried,
        ):
            for number in numbers:
                if cancelled():
                    raise Cancelled(frame=number)
                yield number, next(carried)

    light = anchors[0].composited_in
    if len(span.keyframes) == 2:
        carried = _from_both_ends(span, one_way, light, scratch)
    else:
        carried = _from_one_end(span, one_way, light, scratch, cancelled)
    for number, (pixels, sure), hint in carried:
        yield number, Trimap(pixels, canvas, "propagated", sure, hint=hint)


def _steps(
    network: PropagationNetwork, memory: Any, frames: Iterator[Frame]
) -> Generator[Classes, None, None]:
    if isinstance(network, StepsAhead):
        yield from network.steps(memory, frames)
        return
    for frame in frames:
        memory, classes = network.step(memory, frame)
        yield classes


def _from_both_ends(
    span: Span,
    one_way: Callable[[Sequence[int]], Iterator[tuple[int, Classes]]],
    light: str,
    scratch: Path,
) -> Iterator[_Carried]:
    """The forward half waits on disk for the other: a span may be long."""
    for number, classes in one_way(span.frames):
        if number in span.wanted:
            _spool(scratch / f"{number}.npz", classes)
    for number, after in one_way(span.frames[::-1]):
        if number in span.wanted:
            before = _unspool(scratch / f"{number}.npz", after)
            found = _blended(before, after, span.frames.index(number) / (len(span.frames) - 1))
            seen = [one.clues for one in (before, after) if one.clues]
            yield number, found, _hint(number, found[0], light, seen)


def _from_one_end(
    span: Span,
    one_way: Callable[[Sequence[int]], Iterator[tuple[int, Classes]]],
    light: str,
    scratch: Path,
    cancelled: Callable[[], bool],
) -> Iterator[_Carried]:
    """If the network keeps clues, trimaps wait on disk for what frames after them show: for as many
    of them as `_AHEAD`, so that somebody who waits for trimaps need not wait for the last."""
    waiting: list[int] = []
    for number, classes in one_way(span.frames[:: 1 if span.frames[0] in span.keyframes else -1]):
        found = _blended(classes, None, 0.0)
        if classes.clues is None:
            if number in span.wanted:
                yield number, found, None
            continue
        waiting.append(number)
        _spool_trimap(scratch / f"{number}.npz", found, classes.clues)
        if len(waiting) == _AT_ONCE + _AHEAD:
            yield from _seen_from_behind(span, waiting, _AT_ONCE, light, scratch, cancelled)
            del waiting[:_AT_ONCE]
    yield from _seen_from_behind(span, waiting, len(waiting), light, scratch, cancelled)


def _seen_from_behind(
    span: Span,
    waiting: Sequence[int],
    count: int,
    light: str,
    scratch: Path,
    cancelled: Callable[[], bool],
) -> Iterator[_Carried]:
    """The first ``count`` of the frames that wait, which need not wait any longer."""
    memory = None
    for place in range(len(waiting) - 1, -1, -1):
        if cancelled():
            raise Cancelled(frame=waiting[place])
        number, path = waiting[place], scratch / f"{waiting[place]}.npz"
        found, before = _unspool_trimap(path)
        memory, after = look_back(memory, before, found[0])
        if place < count:
            path.unlink()
            if number in span.wanted:
                yield number, found, _hint(number, found[0], light, (before, after))


def _blended(first: Classes, last: Classes | None, position: float) -> _Classified:
    pixels, confidence = (x.cpu().numpy() for x in blend(first, last, position))
    return pixels, np.rint(confidence * 255).astype(np.uint8)


def _looks(
    view: LightView, numbers: Sequence[int], canvas: Window, plate: Callable[[int], Plate]
) -> Generator[Frame, None, None]:
    upload = Upload(view.device)
    for f in numbers:
        with device_full(f, view.device):
            frame = upload(partial(view.frame, f, plate(f), canvas))
        yield frame


def _hint(number: int, trimap: _Bytes, light: str, directions: Sequence[Clues]) -> _Bytes | None:
    """What was seen of single pixels, packed; None if nothing was."""
    hint = hint_of(number, trimap, light, directions) if directions else None
    if hint is None:
        return None
    return hint_bytes(hint.alpha[0, 0].numpy(), hint.weight[0, 0].numpy())


def _spool(path: Path, classes: Classes) -> None:
    np.savez(
        path,
        probability=classes.probability.half().cpu().numpy(),
        confidence=classes.confidence.half().cpu().numpy(),
        **_halves(classes.clues),
    )


def _unspool(path: Path, like: Classes) -> Classes:
    device = like.probability.device
    with np.load(path) as stored:
        found = Classes(
            torch.from_numpy(stored["probability"]).to(device).float(),
            torch.from_numpy(stored["confidence"]).to(device).float(),
            _clues(stored) if like.clues else None,
        )
    path.unlink()
    return found


def _spool_trimap(path: Path, found: _Classified, clues: Clues) -> None:
    np.savez(path, pixels=found[0], sure=found[1], **_halves(clues))


def _unspool_trimap(path: Path) -> tuple[_Classified, Clues]:
    with np.load(path) as stored:
        return (stored["pixels"], stored["sure"]), _clues(stored)


def _halves(clues: Clues | None) -> dict[str, Any]:
    planes = {} if clues is None else vars(clues)
    return {name: x.clip(-_HALF, _HALF).astype(np.float16) for name, x in planes.items()}


def _clues(stored: Mapping[str, npt.NDArray[np.float16]]) -> Clues:
    return Clues(*(stored[one.name].astype(np.float32) for one in fields(Clues)))
