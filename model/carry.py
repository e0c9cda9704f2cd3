"""Pass A over a span: trimaps carried from its keyframe, or from both and then blended; and hints.

It holds what the network remembers and a frame or two each way; where the two ways over a span have
not met yet, what they found waits (`model.waiting`). So memory does not grow with the span.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.ahead import ahead
from model.blend import blend
from model.canvas import canvas_of
from model.classical.data_term import DataTerm
from model.classical.hindsight import look_back
from model.classical.hints import hint_of
from model.device_memory import device_full
from model.errors import Cancelled
from model.face import Frame, PropagationNetwork, StepsAhead
from model.passes import Span
from model.plates.hint import hint_bytes, weight_bounds
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.transfers import Upload
from model.trimap_classes import Classes, Clues
from model.view import LightView
from model.waiting import Classified, Waiting, spool_trimap, unspool_trimap

# From one keyframe: how many frames get their hints at once, and how many after them are looked at
# for that.
_AT_ONCE, _AHEAD = 16, 32

_Bytes = npt.NDArray[np.uint8]
_OneWay = Callable[[int], Generator[tuple[int, Classes], None, None]]  # of a keyframe, by place
_Carried = tuple[int, Classified, _Bytes | None]  # a frame's number, trimap and hint


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

    memories = network.starts(anchors, span.keyframes)

    def one_way(end: int) -> Generator[tuple[int, Classes], None, None]:
        """The span's frames but for keyframes, from one of these."""
        order = span.frames[:: 1 if span.keyframes[end] == span.frames[0] else -1]
        numbers = [f for f in order if f not in span.keyframes]
        with (
            closing(ahead(_looks(view, numbers, canvas, plate), name="view")) as frames,
            closing(_steps(network, memories[end], frames)) as carried,
        ):
            for number in numbers:
                if cancelled():
                    raise Cancelled(frame=number)
                yield number, next(carried)

    light = anchors[0].composited_in
    if len(span.keyframes) == 2:
        carried = _from_both_ends(span, one_way, light, Waiting(scratch, view.device))
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
    span: Span, one_way: _OneWay, light: str, waiting: Waiting
) -> Iterator[_Carried]:
    """What either way finds first waits for the other."""
    with (
        closing(one_way(0)) as forward,
        closing(one_way(1)) as backward,
        closing(_in_turns(forward, backward, waiting.device)) as found,
    ):
        for is_forward, number, classes in found:
            if number not in span.wanted:
                continue
            if number not in waiting:
                waiting.put(number, classes)
                continue
            other = waiting.take(number, classes)
            before, after = (classes, other) if is_forward else (other, classes)
            position = span.frames.index(number) / (len(span.frames) - 1)
            with device_full(number, waiting.device):
                trimap = _blended(before, after, position)
                seen = [one.clues for one in (before, after) if one.clues]
                hint = _hint(number, trimap[0], light, seen)
            yield number, trimap, hint


def _in_turns(
    forward: Iterator[tuple[int, Classes]],
    backward: Iterator[tuple[int, Classes]],
    device: torch.device,
) -> Generator[tuple[bool, int, Classes], None, None]:
    """Frames of both ways, with whether each is of the first. On a CUDA device a frame of either in
    turn: what waits stays there. Else the second way begins when the first has ended: a movie is
    read from one place at a time."""
    if device.type == "cuda":
        for one, other in zip(forward, backward, strict=True):
            yield (True, *one)
            yield (False, *other)
        return
    yield from ((True, *one) for one in forward)
    yield from ((False, *one) for one in backward)


def _from_one_end(
    span: Span,
    one_way: _OneWay,
    light: str,
    scratch: Path,
    cancelled: Callable[[], bool],
) -> Iterator[_Carried]:
    """If the network keeps clues, trimaps wait on disk for what frames after them show: for as many
    of them as `_AHEAD`, so that somebody who waits for trimaps need not wait for the last."""
    waiting: list[int] = []
    like: Any = None
    for number, classes in one_way(0):
        found = _blended(classes, None, 0.0)
        if classes.clues is None:
            if number in span.wanted:
                yield number, found, None
            continue
        waiting.append(number)
        like = classes.clues
        spool_trimap(scratch / f"{number}.npz", found, classes.clues)
        if len(waiting) == _AT_ONCE + _AHEAD:
            yield from _seen_from_behind(span, waiting, _AT_ONCE, light, scratch, like, cancelled)
            del waiting[:_AT_ONCE]
    yield from _seen_from_behind(span, waiting, len(waiting), light, scratch, like, cancelled)


def _seen_from_behind(
    span: Span,
    waiting: Sequence[int],
    count: int,
    light: str,
    scratch: Path,
    like: Any,
    cancelled: Callable[[], bool],
) -> Iterator[_Carried]:
    """The first ``count`` of the frames that wait, which need not wait any longer."""
    memory = None
    for place in range(len(waiting) - 1, -1, -1):
        if cancelled():
            raise Cancelled(frame=waiting[place])
        number, path = waiting[place], scratch / f"{waiting[place]}.npz"
        found, before = unspool_trimap(path, like)
        memory, after = look_back(memory, before, found[0])
        if place < count:
            path.unlink()
            if number in span.wanted:
                hint = _hint(number, found[0], light, (before, after))
                yield number, found, hint


def _blended(first: Classes, last: Classes | None, position: float) -> Classified:
    pixels, confidence = blend(first, last, position)
    return pixels.cpu().numpy(), (confidence * 255).round().byte().cpu().numpy()


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
    return None if hint is None else _packed(hint)


def _packed(hint: DataTerm) -> _Bytes:
    """`hint_bytes`, made where the hint lies."""
    alpha, weight = hint.alpha[0, 0], hint.weight[0, 0]
    if not alpha.is_cuda:
        return hint_bytes(alpha.numpy(), weight.numpy())
    bounds = torch.from_numpy(weight_bounds()).to(weight.device)
    scaled = torch.bucketize(weight, bounds, right=True)
    shown = torch.where(scaled > 0, (alpha.clamp(0, 1) * 255).round(), 0.0)
    return torch.stack([shown.byte(), scaled.byte()]).cpu().numpy()
