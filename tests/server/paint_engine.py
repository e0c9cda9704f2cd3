"""An engine without torch for server tests: quick, exact, and dependent on all it should depend on.

Alpha is 0 and 1 where the trimap is certain; where it is unknown it is the mean of the window's
plates, folded into 0…1, so that a wrong neighbour shows. A propagated trimap is that of the nearest
keyframe with unknown wherever the span's plates are bright, so that a wrong span shows too; where
it is unknown it is the less sure the further that keyframe is.

`EngineOptions.network` doubles as a script: words of the form ``name=value``: ``slow=0.1`` seconds
a frame, ``once=PATH`` kill the worker the first time (PATH marks it), ``always`` kill it each time,
``broken`` raise what no engine should, ``span_slow=0.1``; ``open_slow=0.1`` seconds to open it,
``open_dies=PATH`` kill the worker then (PATH marks that it is at it).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from model.engine import EngineOptions, FrameMatte
from model.errors import Cancelled, SetupError
from model.passes import Block, Span, window
from model.plates.holdout import Guides, no_guides
from model.plates.known import known_of
from model.plates.plate import Plate, PlateHeader, Trimap
from model.plates.region import cut, matte_header
from model.plates.trimap import place_trimap

SCRIPT = ("slow", "span_slow", "once", "always", "broken", "open_slow", "open_dies")


def open_engine(options: EngineOptions) -> PaintEngine:
    script = dict(word.partition("=")[::2] for word in options.network.split())
    if set(script) - {"paint", *SCRIPT}:
        raise SetupError(
            "setup.unknown_network",
            f"there is no matting network called {options.network!r}",
            hint="use one of: paint",
        )
    if "open_dies" in script:
        Path(script["open_dies"]).touch()
    time.sleep(float(script.get("open_slow", 0)))
    if "open_dies" in script:
        os.kill(os.getpid(), signal.SIGKILL)
    if options.checkpoint and not Path(options.checkpoint).is_file():
        raise SetupError(
            "setup.no_checkpoint",
            f"the checkpoint {options.checkpoint} is not there",
            hint="check the path",
        )
    return PaintEngine(options, script, _digest(options.checkpoint))


def _digest(checkpoint: str) -> str:
    return sha256(Path(checkpoint).read_bytes()).hexdigest() if checkpoint else ""


def open_broken(options: EngineOptions) -> PaintEngine:
    raise RuntimeError("this engine never opens")


class PaintEngine:
    def __init__(self, options: EngineOptions, script: Mapping[str, str], checkpoint: str):
        self._options = options
        self._checkpoint = checkpoint
        self._script = script

    def describe(self) -> dict[str, object]:
        return {
            "engine": "paint 1",
            "network": self._options.network or "paint",
            "propagation": "paint",
            "checkpoint": self._checkpoint,
            "device": self._options.device,
            "ocio": "",
            "threads": self._options.threads,
        }

    def motion(self, frame: int, plate: Plate, neighbours: Sequence[Plate]) -> np.ndarray:
        """A pixel for each neighbour, and another where they are bright."""
        bright = [_grey(one).mean() > 2 for one in neighbours]
        return np.full(plate.pixels.shape[:2], len(neighbours) + sum(bright), np.float32)

    def propagate(
        self,
        span: Span,
        plate: Callable[[int], Plate],
        header: Callable[[int], PlateHeader],
        keyframes: Mapping[int, Trimap],
        scratch: Path,
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[int, Trimap]]:
        total = np.mean([_grey(plate(frame)) for frame in span.frames], axis=0)
        for frame in span.wanted:
            self._act(frame, cancelled, "span_")
            nearest = min(span.keyframes, key=lambda key: abs(key - frame))
            pixels = place_trimap(keyframes[nearest], plate(frame).header).copy()
            pixels[total > 0.75] = 128
            sure = np.where(pixels == 128, 255 - min(9 * abs(nearest - frame), 255), 255)
            sure = sure.astype(np.uint8)
            yield frame, Trimap(pixels, plate(frame).header.data_window, "propagated", sure)

    def matte(
        self,
        block: Block,
        shot_frames: Sequence[int],
        wanted: Sequence[int],
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        cancelled: Callable[[], bool],
        guides: Callable[[int], Guides] = no_guides,
    ) -> Iterator[FrameMatte]:
        for frame in wanted:
            self._act(frame, cancelled)
            around = window(shot_frames, frame, causal=self._options.causal)
            mixed = np.mean([_grey(plate(f)) for f in around], axis=0) % 1.0
            unknown = [self._known(f, plate, trimap, guides) == 128 for f in around]
            mixed = np.float32(0.9) * mixed + np.float32(0.1) * np.mean(unknown, axis=0)
            own = self._known(frame, plate, trimap, guides)
            alpha = np.where(own == 128, mixed, own / np.float32(255)).astype(np.float32)
            foreground = None
            if "foreground" in self._options.layers:
                foreground = plate(frame).pixels[:, :, :3].astype(np.float32) * alpha[:, :, None]
            whole = plate(frame).header
            header = matte_header(whole, self._options.region, frame)
            yield FrameMatte(
                frame=frame,
                alpha=cut(alpha.clip(0, 1), whole, header),
                trimap=cut(own, whole, header),
                confidence=cut(np.ones_like(alpha), whole, header),
                foreground=None if foreground is None else cut(foreground, whole, header),
                header=header,
                source=trimap(frame).source,
            )

    def _known(
        self,
        frame: int,
        plate: Callable[[int], Plate],
        trimap: Callable[[int], Trimap],
        guides: Callable[[int], Guides],
    ) -> np.ndarray:
        """The pinned trimap; background too where a clean plate is what the plate is."""
        header, guide = plate(frame).header, guides(frame)
        own = known_of(frame, trimap(frame), header, guide).placed(header)
        if guide.clean is not None:
            own = np.where(_grey(guide.clean) == _grey(plate(frame)), np.uint8(0), own)
        return own

    def _act(self, frame: int, cancelled: Callable[[], bool], prefix: str = "") -> None:
        """Follow the script for one frame."""
        if not prefix and "always" in self._script:
            os.kill(os.getpid(), signal.SIGKILL)
        marker = Path(self._script.get("once", ""))
        if not prefix and "once" in self._script and not marker.exists():
            marker.write_text(str(frame))
            os.kill(os.getpid(), signal.SIGKILL)
        if not prefix and "broken" in self._script:
            raise KeyError("a fault of the engine")
        time.sleep(float(self._script.get(prefix + "slow", 0)))
        if cancelled():
            raise Cancelled(frame=frame)


def _grey(plate: Plate) -> np.ndarray:
    return np.nan_to_num(plate.pixels[:, :, 0].astype(np.float32))
