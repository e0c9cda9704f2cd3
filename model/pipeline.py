"""The two passes over a shot: `ShotMatte` has trimaps carried along a span, by `model.carry`, and
mattes a block.

Both are generators that hold a window's worth of frames, so memory does not grow with the shot.
Their stages overlap: frames are read and brought to the device while the network is at work on an
earlier one, and mattes leave it while it is at work on the next (`model.ahead`).
What a matte depends on is set down in `model.passes`; nothing else is kept between frames.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.ahead import ahead
from model.canvas import canvas_of, region_canvas
from model.carry import carry_trimaps
from model.checkpoint import read_record, sha256_of_file, shared_out
from model.classical import clean_plate
from model.classical.coarse_to_fine import coarseness
from model.classical.edge_motion import edge_motion
from model.classical.foreground import estimate_foreground
from model.device_memory import device_full, needed_and_free
from model.engine import EngineOptions, FrameMatte
from model.errors import Cancelled, CapacityError, InputError, SetupError
from model.exposure import ExposureMap
from model.face import Estimate, Frame, MattingNetwork, PropagationNetwork
from model.passes import Block, Span, window
from model.plates import colour
from model.plates.holdout import Guides, Limits, no_guides
from model.plates.image_files import rgb
from model.plates.known import Known, known_of
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.region import cut, matte_header
from model.plates.same_files import file_stamp
from model.plates.trimap import place_trimap
from model.precision import resolved
from model.registry import checkpoint_path, find, open_network
from model.tiles import Seen, estimate_in_tiles
from model.transfers import Download, Upload
from model.view import LightView

# What is solved around a region of interest: so many pixels, or this share of the wider side, which
# is more. The answer of a network hardly reaches farther, though it could.
_MARGIN = 64
_MARGIN_SHARE = 16

ENGINE_VERSION = "12"  # raised when pixels change for the same input; part of every key


def open_engine(options: EngineOptions) -> ShotMatte:
    """Open the networks that the options name, on the device that they name.

    Raises:
        SetupError: unknown network or device, missing, unreadable or replaced checkpoint.
    """
    device = choose_device(options.device)
    _require_same(options)
    options = replace(options, precision=resolved(options.precision, device))
    if options.threads:
        torch.set_num_threads(options.threads)
    matting = find(options.network, "matting")
    propagation = find(matting.companion, "propagation")
    own, carrying = shared_out(options.checkpoint, matting.name, propagation.name)
    network = open_network(matting, own, device)
    path = checkpoint_path(matting, own)
    carries = checkpoint_path(propagation, carrying)
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
        "precision": options.precision,
    }
    return ShotMatte(
        network,
        open_network(propagation, carrying, device),
        LightView(
            options.colourspace,
            options.composited_in,
            exposure,
            device,
            ocio_stamp=options.ocio_stamp,
            premultiplied=options.premultiplied,
        ),
        options,
        description,
    )


def _require_same(options: EngineOptions) -> None:
    """See that checkpoint and colour config are the files that the shot's keys are made from."""
    colour.require_config(options.ocio_stamp)
    stamp = options.checkpoint_stamp
    if stamp and file_stamp(options.checkpoint) not in (stamp, ""):
        raise SetupError(
            "setup.checkpoint_changed",
            f"the checkpoint {options.checkpoint} has been replaced since the shot was accepted",
            hint="submit the shot again: its mattes are made anew with the checkpoint of now",
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


@dataclass(frozen=True)
class _Read:
    """A frame's window, read: the plates of ``around`` lie on ``canvas``.

    Attributes:
        plate, known: of the frame itself.
        header: of the matte.
        new: those frames of the window that the window before it did not have on this canvas.
        seconds: by stage, so far.
    """

    number: int
    around: tuple[int, ...]
    plate: Plate
    known: Known
    header: PlateHeader
    canvas: Window
    new: Mapping[int, Frame]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class _Solved:
    """An estimate on its way from the device; over the plate's data window."""

    read: _Read
    alpha: Download
    confidence: Download | None
    colours: Download | None
    fallback: str
    seconds: Mapping[str, float]


class ShotMatte:
    """One shot's engine on one device: the `model.engine.Engine` that a worker drives.

    Holds networks and options but no frames: each call gets what it reads and yields what it made.

    Attributes:
        overlaps: False makes `matte` do one thing after the other, so that its stages can be timed.
    """

    def __init__(
        self,
        matting: MattingNetwork,
        propagation: PropagationNetwork,
        view: LightView,
        options: EngineOptions,
        description: Mapping[str, object],
    ):
        self.overlaps = True
        self._matting = matting
        self._propagation = propagation
        self._view = view
        self._options = options
        self._description = dict(description)

    def describe(self) -> dict[str, object]:
        return dict(self._description)

    def motion(
        self, frame: int, plate: Plate, neighbours: Sequence[Plate]
    ) -> npt.NDArray[np.float32]:
        """How much wider the edge of a shape drawn on a frame is for what moves there."""
        canvas = canvas_of((frame, one.header) for one in (plate, *neighbours))
        looks = [self._view.frame(frame, one, canvas).picture for one in (plate, *neighbours)]
        wide = edge_motion(looks[0], looks[1:])
        rows, columns = plate.header.data_window.inside(canvas)
        return np.ascontiguousarray(wide[rows, columns])

    def propagate(
        self,
        span: Span,
        plate: Callable[[int], Plate],
        header: Callable[[int], PlateHeader],
        keyframes: Mapping[int, Trimap],
        scratch: Path,
        cancelled: Callable[[], bool],
    ) -> Generator[tuple[int, Trimap], None, None]:
        """Pass A; see `model.carry`."""
        yield from carry_trimaps(
            self._propagation, self._view, span, plate, header, keyframes, scratch, cancelled
        )

    def matte(
        self,
        block: Block,
        shot_frames: Sequence[int],
        wanted: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
        guides: Callable[[int], Guides] = no_guides,
    ) -> Generator[FrameMatte, None, None]:
        """Pass B: each wanted frame from its window of neighbours."""
        if not self._options.solves:
            yield from self._trimaps(block, wanted, plate, trimap, cancelled, guides)
            return
        asked = set(wanted)
        numbers = [f for f in block.frames if f in asked]
        windows = self._windows(numbers, shot_frames, plate, trimap, cancelled, guides)
        if self.overlaps:
            windows = ahead(windows, name="view")
        with closing(windows):
            solved = self._solved(windows, cancelled)
            if self.overlaps:
                solved = ahead(solved, name="solve")
            with closing(solved):
                for one in solved:
                    if cancelled():  # though the stages before have run ahead
                        raise Cancelled(frame=one.read.number)
                    yield self._deliver(one)

    def _windows(
        self,
        numbers: Sequence[int],
        shot_frames: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
        guides: Callable[[int], Guides],
    ) -> Generator[_Read, None, None]:
        """The first stage: what each frame's window needs is read and brought to the device."""
        upload = Upload(self._view.device)
        seen: set[tuple[int, Window]] = set()
        known: dict[int, Known] = {}
        for number in numbers:
            clock = _Clock()
            around = self._around(shot_frames, number)
            plates = {f: plate(f) for f in dict.fromkeys(around)}
            clock.lap("read")
            header = matte_header(plates[number].header, self._options.region, number)
            whole = canvas_of((f, p.header) for f, p in plates.items())
            known = {f: one for f, one in known.items() if f in plates}
            for f in plates:
                if cancelled():
                    raise Cancelled(frame=number)
                if f not in known:
                    known[f] = known_of(f, trimap(f), plates[f].header, guides(f))
                    self._check_solvable(f, known[f].trimap)
            canvas = self._canvas(whole, plates, known)
            clock.lap("read")
            new: dict[int, Frame] = {}
            for f in plates:
                if cancelled():
                    raise Cancelled(frame=number)
                if (f, canvas) in seen:
                    continue
                own = known[f].trimap
                pixels = whole.width * whole.height if canvas != whole else 0
                view = partial(self._view.frame, whole_pixels=pixels, clean=guides(f).clean)
                with device_full(f, self._view.device):
                    new[f] = upload(partial(view, f, plates[f], canvas, own))
                clock.lap("view")
            seen = {key for key in seen if key[0] in plates} | {(f, canvas) for f in plates}
            yield _Read(
                number, around, plates[number], known[number], header, canvas, new, clock.seconds
            )

    def _canvas(
        self, whole: Window, plates: Mapping[int, Plate], known: Mapping[int, Known]
    ) -> Window:
        """What of the canvas is solved."""
        roi = self._options.region
        if roi is None:
            return whole
        square = coarseness(whole.width * whole.height)
        margin = max(_MARGIN, max(whole.width, whole.height) // _MARGIN_SHARE)
        trimaps = ((p.header, place_trimap(known[f].trimap, p.header)) for f, p in plates.items())
        step = math.lcm(square, self._matting.multiple)
        return region_canvas(whole, roi, trimaps, margin, step)

    def _solved(
        self, windows: Iterator[_Read], cancelled: Callable[[], bool]
    ) -> Generator[_Solved, None, None]:
        """The second stage: priors of frames that are new to the window, then the network."""
        solved: dict[tuple[int, Window], Seen] = {}
        features: dict[tuple[int, Any], Any] = {}
        canvas = None
        for read in windows:
            clock = _Clock(read.seconds)
            solved = {key: seen for key, seen in solved.items() if key[0] in read.around}
            if read.canvas != canvas:  # another may have the same size, and lie elsewhere
                features.clear()
            features = {key: kept for key, kept in features.items() if key[0] in read.around}
            canvas = read.canvas
            for f, frame in read.new.items():
                if cancelled():
                    raise Cancelled(frame=read.number)
                solved[f, read.canvas] = Seen(frame, self._prior(frame))
                clock.lap("prior")
            centre = len(read.around) - 1 if self._looks_back else len(read.around) // 2
            estimate, fallback = estimate_in_tiles(
                self._matting,
                [solved[f, read.canvas] for f in read.around],
                centre,
                features,
                self._options.tile,
                self._options.precision,
            )
            clock.lap("network")
            frame = solved[read.number, read.canvas].frame
            yield self._on_its_way(read, frame, estimate, fallback, clock)

    def _on_its_way(
        self, read: _Read, frame: Frame, estimate: Estimate, fallback: str, clock: _Clock
    ) -> _Solved:
        """Cut the matte's data window out of the canvas, and begin to bring it here."""
        rows, columns = read.header.data_window.inside(read.canvas)
        with device_full(frame.number, self._view.device):
            colours = confidence = None
            if frame.background is not None:
                estimate = clean_plate.refined(frame, estimate)
                clock.lap("clean plate")
            if read.known.limits is not None:
                _limit(estimate.alpha[0, 0], read.known.limits, read.plate.header, read.canvas)
            if "foreground" in self._options.layers:
                behind = clean_plate.matched(frame) or ()
                light, _ = estimate_foreground(
                    frame.light, estimate.alpha, estimate.confidence, *behind
                )
                colours = Download(light[0, :, rows, columns].permute(1, 2, 0))
                clock.lap("foreground")
            if "confidence" in self._options.layers:
                confidence = Download(estimate.confidence[0, 0, rows, columns])
            alpha = Download(estimate.alpha[0, 0, rows, columns])
        return _Solved(read, alpha, confidence, colours, fallback, clock.seconds)

    def _trimaps(
        self,
        block: Block,
        wanted: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
        guides: Callable[[int], Guides],
    ) -> Generator[FrameMatte, None, None]:
        """Pass B where only trimaps are asked for: each is laid over its plate, nothing is solved.

        That is how an artist looks at what pass A carried, before any matte is worth its time.
        """
        asked = set(wanted)
        for number in (f for f in block.frames if f in asked):
            if cancelled():
                raise Cancelled(frame=number)
            clock = _Clock()
            header = plate(number).header
            own = matte_header(header, self._options.region, number)
            clock.lap("read")
            known = known_of(number, trimap(number), header, guides(number))
            yield FrameMatte(
                frame=number,
                alpha=None,
                trimap=cut(known.placed(header), header, own),
                confidence=cut(known.confidence(header), header, own),
                foreground=None,
                header=own,
                source=known.trimap.source,
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
            told = needed_and_free(error, frame.light.device)
            raise CapacityError(
                "capacity.memory",
                f"the unknown region of frame {frame.number} is too large for the memory there is"
                + (f": {told}" if told else ""),
                frame=frame.number,
                hint="paint a tighter trimap, or use a machine with more memory",
            ) from error

    def _around(self, shot_frames: Sequence[int], number: int) -> tuple[int, ...]:
        if self._matting.reach == 0:
            return (number,)
        return window(shot_frames, number, causal=self._looks_back)

    @property
    def _looks_back(self) -> bool:
        return self._options.causal or self._matting.causal

    def _deliver(self, solved: _Solved) -> FrameMatte:
        """The third stage: a matte in the plate's own windows and colours, off the device."""
        clock = _Clock(solved.seconds)
        plate, known, header = solved.read.plate, solved.read.known, solved.read.header
        alpha = solved.alpha.array()
        foreground = confidence = None
        if solved.colours is not None:
            own = Plate(cut(plate.pixels, plate.header, header), header)
            foreground = self._foreground(solved.colours.array(), alpha, own)
            clock.lap("foreground")
        if solved.confidence is not None:
            # No higher than that of the trimap the alpha was made from.
            carried = cut(known.confidence(plate.header), plate.header, header)
            confidence = np.minimum(solved.confidence.array(), carried)
        placed = cut(known.placed(plate.header), plate.header, header)
        clock.lap("deliver")
        return FrameMatte(
            frame=solved.read.number,
            alpha=alpha,
            trimap=placed,
            confidence=confidence,
            foreground=foreground,
            header=header,
            source=known.trimap.source,
            fallback=solved.fallback,
            seconds=clock.seconds,
        )

    def _foreground(self, light: Any, alpha: Any, plate: Plate) -> Any:
        """Straight colours in compositing light to the deliverable in the plate's own space."""
        straight = self._view.in_plate_space(light, plate)
        pixels = rgb(plate)
        # Where nothing is mixed the foreground is the plate itself, to the bit (NaN is no colour).
        straight = np.where((alpha[..., None] == 1) & np.isfinite(pixels), pixels, straight)
        if self._options.foreground == "straight":
            return straight
        return straight * alpha[..., None]


def _limit(alpha: torch.Tensor, limits: Limits, header: PlateHeader, canvas: Window) -> None:
    """Bring H×W alpha over a canvas within its limits, which lie over a plate's data window."""
    part = header.data_window.intersection(canvas)
    if part is None:
        return
    rows, columns = part.inside(header.data_window)
    bounds = (limits.least[rows, columns], limits.most[rows, columns])
    least, most = (torch.from_numpy(np.ascontiguousarray(one)).to(alpha.device) for one in bounds)
    there = alpha[part.inside(canvas)]
    there.copy_(there.clamp(least, most))


class _Clock:
    """Wall time by stage, on top of that of earlier stages."""

    def __init__(self, seconds: Mapping[str, float] = {}) -> None:
        self.seconds = dict(seconds)
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
