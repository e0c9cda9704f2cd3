"""The two passes over a shot: `ShotMatte` carries trimaps along a span and mattes a block.

Both are generators that hold a window's worth of frames, so memory does not grow with the shot.
What a matte depends on is set down in `model.passes`; nothing else is kept between frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.blend import blend
from model.canvas import canvas_of
from model.checkpoint import read_record, sha256_of_file
from model.classical.foreground import estimate_foreground
from model.engine import EngineOptions, FrameMatte
from model.errors import Cancelled, CapacityError, InputError, SetupError
from model.exposure import ExposureMap
from model.face import Classes, Estimate, Frame, MattingNetwork, PropagationNetwork
from model.passes import Block, Span, window
from model.plates import colour
from model.plates.image_files import rgb
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.trimap import place_trimap
from model.registry import checkpoint_path, find, open_network
from model.tiles import Seen, estimate_in_tiles
from model.view import LightView

ENGINE_VERSION = "1"  # raised when pixels change for the same input; part of every key


def open_engine(options: EngineOptions) -> ShotMatte:
    """Open the networks that the options name, on the device that they name.

    Raises:
        SetupError: unknown network or device, missing or unreadable checkpoint.
    """
    device = choose_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    matting = find(options.network, "matting")
    propagation = find(matting.companion, "propagation")
    network = open_network(matting, options.checkpoint, device)
    path = checkpoint_path(matting, options.checkpoint)
    carries = checkpoint_path(propagation, "")
    exposure = ExposureMap() if path is None else read_record(path).exposure
    description = {
        "engine": f"deep-video-matte {version('deep-video-matte')}",
        "engine_version": ENGINE_VERSION,
        "network": matting.name,
        "propagation": propagation.name,
        "checkpoint": _named_file(path),
        "propagation_checkpoint": _named_file(carries),
        "device": str(device),
        "device_name": device_name(device),
        "ocio": colour.config_digest(),
        "threads": torch.get_num_threads(),
    }
    return ShotMatte(
        network,
        open_network(propagation, "", device),
        LightView(options.colourspace, options.composited_in, exposure, device),
        options,
        description,
    )


def choose_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, or the CPU.

    Raises:
        SetupError: ``setup.device`` if a named device is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise SetupError(
            "setup.device", f"{name!r} is not a device", hint="use auto, cpu or cuda:0, cuda:1 …"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SetupError(
            "setup.device",
            f"there is no device {name}: {torch.cuda.device_count()} CUDA devices are visible",
            hint="use --device auto or cpu; `dvm doctor` says what is there",
        )
    return device


def _named_file(checkpoint: Path | None) -> str:
    return "" if checkpoint is None else f"{checkpoint.name} {sha256_of_file(checkpoint)}"


def device_name(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


class ShotMatte:
    """One shot's engine on one device: the `model.engine.Engine` that a worker drives.

    Holds networks and options but no frames: each call gets what it reads and yields what it made.
    """

    def __init__(
        self,
        matting: MattingNetwork,
        propagation: PropagationNetwork,
        view: LightView,
        options: EngineOptions,
        description: Mapping[str, object],
    ):
        self._matting = matting
        self._propagation = propagation
        self._view = view
        self._options = options
        self._description = dict(description)

    def describe(self) -> dict[str, object]:
        return dict(self._description)

    def propagate(
        self,
        span: Span,
        plate: Callable[[int], Plate],
        header: Callable[[int], PlateHeader],
        keyframes: Mapping[int, Trimap],
        scratch: Path,
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[int, Trimap]]:
        """Pass A: forward and backward from the span's keyframes, then blended."""
        canvas = canvas_of((f, header(f)) for f in span.frames)
        anchors = [self._view.frame(f, plate(f), canvas, keyframes[f]) for f in span.keyframes]
        forward = span.frames[0] in span.keyframes
        backward = span.frames[-1] in span.keyframes and len(span.frames) > 1
        if forward and backward:
            # The forward half waits on disk for the other: a span may be long.
            for number, classes in self._carry(
                span, span.frames, canvas, plate, anchors, cancelled
            ):
                _spool(scratch / f"{number}.npz", classes)
        order = span.frames[::-1] if backward else span.frames
        steps = max(len(span.frames) - 1, 1)
        for number, classes in self._carry(span, order, canvas, plate, anchors, cancelled):
            other = _unspool(scratch / f"{number}.npz", classes) if forward and backward else None
            position = span.frames.index(number) / steps
            ahead, behind = (other, classes) if backward else (classes, None)
            found = blend(ahead, behind, position)
            pixels, confidence = (x.cpu().numpy() for x in found)
            sure = np.rint(confidence * 255).astype(np.uint8)
            yield number, Trimap(pixels, canvas, "propagated", sure)

    def _carry(
        self,
        span: Span,
        order: Sequence[int],
        canvas: Window,
        plate: Callable[[int], Plate],
        anchors: Sequence[Frame],
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[int, Classes]]:
        """One direction: the span's wanted frames in the order given."""
        wanted = set(span.wanted)
        memory = self._propagation.start(anchors, order[0])
        for number in order[1:]:
            if cancelled():
                raise Cancelled(frame=number)
            if number in span.keyframes:
                continue
            memory, classes = self._propagation.step(
                memory, self._view.frame(number, plate(number), canvas)
            )
            if number in wanted:
                yield number, classes

    def matte(
        self,
        block: Block,
        shot_frames: Sequence[int],
        wanted: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
    ) -> Iterator[FrameMatte]:
        """Pass B: each wanted frame from its window of neighbours."""
        if not self._options.solves:
            yield from self._trimaps(block, wanted, plate, trimap, cancelled)
            return
        solved: dict[tuple[int, Window], Seen] = {}
        features: dict[tuple[int, Any], Any] = {}
        asked = set(wanted)
        for number in (f for f in block.frames if f in asked):
            clock = _Clock()
            around = self._around(shot_frames, number)
            plates = {f: plate(f) for f in dict.fromkeys(around)}
            clock.lap("read")
            canvas = canvas_of((f, p.header) for f, p in plates.items())
            solved = {key: seen for key, seen in solved.items() if key[0] in plates}
            features = {key: kept for key, kept in features.items() if key[0] in plates}
            for f in plates:
                if cancelled():
                    raise Cancelled(frame=number)
                if (f, canvas) not in solved:
                    self._check_solvable(f, trimap(f))
                    frame = self._view.frame(f, plates[f], canvas, trimap(f))
                    clock.lap("view")
                    solved[f, canvas] = Seen(frame, self._prior(frame))
                    clock.lap("prior")
            centre = len(around) - 1 if self._options.causal else len(around) // 2
            estimate, fallback = estimate_in_tiles(
                self._matting,
                [solved[f, canvas] for f in around],
                centre,
                features,
                self._options.tile,
                self._options.precision,
            )
            clock.lap("network")
            yield self._deliver(
                solved[number, canvas].frame,
                plates[number],
                trimap(number),
                estimate,
                canvas,
                fallback,
                clock,
            )

    def _trimaps(
        self,
        block: Block,
        wanted: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
    ) -> Iterator[FrameMatte]:
        """Pass B where only trimaps are asked for: each is laid over its plate, nothing is solved.

        That is how an artist looks at what pass A carried, before any matte is worth its time.
        """
        asked = set(wanted)
        for number in (f for f in block.frames if f in asked):
            if cancelled():
                raise Cancelled(frame=number)
            clock = _Clock()
            header = plate(number).header
            clock.lap("read")
            own = trimap(number)
            yield FrameMatte(
                frame=number,
                alpha=None,
                trimap=place_trimap(own, header),
                confidence=_carried_confidence(own, header),
                foreground=None,
                header=header,
                source=own.source,
                seconds=clock.seconds,
            )

    def _check_solvable(self, number: int, trimap: Trimap) -> None:
        """Refuse a keyframe that the network could only answer with all 0 or all 1.

        Trimaps that were carried, or given for every frame, may lack a class: subjects come and go.

        Raises:
            InputError: ``input.no_foreground`` or ``input.no_background``.
        """
        classes = trimap.pixels
        if trimap.source != "painted" or not self._matting.needs_both:
            return
        for name, value in (("foreground", 255), ("background", 0)):
            if (classes == 128).any() and not (classes == value).any():
                raise InputError(
                    f"input.no_{name}",
                    f"the trimap of frame {number} ({trimap.path or trimap.source}) has unknown "
                    f"pixels but no certain {name}, and {self._description['network']} needs both",
                    frame=number,
                    hint=f"paint where the {name} is certain, be it a few pixels",
                )

    def _prior(self, frame: Frame) -> Estimate:
        """The network's prior.

        Raises:
            CapacityError: ``capacity.memory``: the unknown region is too large to be solved here.
        """
        try:
            return self._matting.prior(frame)
        except (RuntimeError, MemoryError) as error:
            # torch has a class of its own for a device that is full, but none for the machine.
            full = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
            if not full and "can't allocate memory" not in str(error):
                raise
            raise CapacityError(
                "capacity.memory",
                f"the unknown region of frame {frame.number} is too large for the memory there is",
                frame=frame.number,
                hint="paint a tighter trimap, or use a machine with more memory",
            ) from error

    def _around(self, shot_frames: Sequence[int], number: int) -> tuple[int, ...]:
        if self._matting.reach == 0:
            return (number,)
        return window(shot_frames, number, causal=self._options.causal)

    def _deliver(
        self,
        frame: Frame,
        plate: Plate,
        trimap: Trimap,
        estimate: Estimate,
        canvas: Window,
        fallback: str,
        clock: _Clock,
    ) -> FrameMatte:
        """Cut the plate's data window out of the canvas; estimate the foreground if wanted."""
        where = plate.header.data_window.inside(canvas)
        alpha = estimate.alpha[0, 0][where].cpu().numpy()
        foreground = None
        if "foreground" in self._options.layers:
            colours, _ = estimate_foreground(frame.light, estimate.alpha)
            light = colours[0][:, where[0], where[1]].permute(1, 2, 0).cpu().numpy()
            foreground = self._foreground(light, alpha, plate)
            clock.lap("foreground")
        return FrameMatte(
            frame=frame.number,
            alpha=alpha,
            trimap=place_trimap(trimap, plate.header),
            confidence=self._confidence(estimate, trimap, plate, where),
            foreground=foreground,
            header=plate.header,
            source=trimap.source,
            fallback=fallback,
            seconds=clock.seconds,
        )

    def _confidence(
        self, estimate: Estimate, trimap: Trimap, plate: Plate, where: tuple[slice, slice]
    ) -> Any:
        """The alpha's confidence, no higher than that of the trimap it was made from."""
        if "confidence" not in self._options.layers:
            return None
        confidence = estimate.confidence[0, 0][where].cpu().numpy()
        return np.minimum(confidence, _carried_confidence(trimap, plate.header))

    def _foreground(self, light: Any, alpha: Any, plate: Plate) -> Any:
        """Straight colours in compositing light to the deliverable in the plate's own space."""
        straight = self._view.in_plate_space(light, plate)
        pixels = rgb(plate)
        # Where nothing is mixed the foreground is the plate itself, to the bit (NaN is no colour).
        straight = np.where((alpha[..., None] == 1) & np.isfinite(pixels), pixels, straight)
        if self._options.foreground == "straight":
            return straight
        return straight * alpha[..., None]


def _carried_confidence(trimap: Trimap, header: PlateHeader) -> npt.NDArray[np.float32]:
    """Of a trimap, over the plate's data window, 0…1; painted and given ones are certain."""
    if trimap.confidence is None:
        shape = header.data_window.height, header.data_window.width
        return np.ones(shape, np.float32)
    carried = Trimap(trimap.confidence, trimap.window)
    return place_trimap(carried, header).astype(np.float32) / np.float32(255)


class _Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def _spool(path: Path, classes: Classes) -> None:
    np.savez(
        path,
        probability=classes.probability.half().cpu().numpy(),
        confidence=classes.confidence.half().cpu().numpy(),
    )


def _unspool(path: Path, like: Classes) -> Classes:
    device = like.probability.device
    with np.load(path) as stored:
        found = Classes(
            torch.from_numpy(stored["probability"]).to(device).float(),
            torch.from_numpy(stored["confidence"]).to(device).float(),
        )
    path.unlink()
    return found
