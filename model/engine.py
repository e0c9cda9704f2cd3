"""The face of the engine: what a worker may ask of it. Arrays in, arrays out; torch-free, so that
servers can be tested with an engine that needs no torch.

`model.pipeline:open_engine` is the real one. A factory takes `EngineOptions` and returns an
`Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.passes import Block, Span
from model.plates.holdout import Guides, no_guides
from model.plates.plate import Plate, PlateHeader, Trimap, Window


@dataclass(frozen=True)
class EngineOptions:
    """Options a matte depends on; part of its identity.

    Attributes:
        network: name in the registry; ``""`` = the best one that is installed.
        checkpoint: path of a safetensors file; ``""`` = the shipped one, if the network needs any.
        checkpoint_stamp: `file_stamp` of it when the shot was accepted: a file that is replaced
            under its name is another checkpoint. ``""`` = whatever is there.
        ocio_stamp: the same of the file that ``$OCIO`` names; ``""`` = whatever is there.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        precision: of the matting network: ``float32``, ``float16``, ``bfloat16``, or ``auto``,
            see `model.precision`.
        tile: side of the network's tiles in pixels; 0 = chosen by the engine.
        causal: window t−2 … t instead of t−2 … t+2.
        colourspace: of the plates; ``""`` = from the file.
        composited_in: ``linear``, ``display`` or ``""`` = from the colourspace.
        premultiplied: colours of the plates are multiplied by the plates' own alpha, which counts
            where they are converted.
        foreground: ``premultiplied`` or ``straight``.
        layers: which of alpha, trimap, confidence, foreground are wanted. Without alpha and
            foreground nothing is solved: a matte is then its trimap, and confidence is that of the
            trimap.
        roi: the region (x0, y0, x1, y1), both corners inside, that is matted; None = all.
        threads: CPU threads; 0 = the machine's.
    """

    network: str = ""
    checkpoint: str = ""
    checkpoint_stamp: str = ""
    ocio_stamp: str = ""
    device: str = "auto"
    precision: str = "auto"
    tile: int = 0
    causal: bool = False
    colourspace: str = ""
    composited_in: str = ""
    premultiplied: bool = False
    foreground: str = "premultiplied"
    layers: tuple[str, ...] = ("alpha",)
    roi: tuple[int, int, int, int] | None = None
    threads: int = 0

    @property
    def region(self) -> Window | None:
        """``roi`` as a window."""
        return None if self.roi is None else Window(*self.roi)

    @property
    def solves(self) -> bool:
        """Whether any layer needs alpha."""
        return "alpha" in self.layers or "foreground" in self.layers


@dataclass(frozen=True)
class FrameMatte:
    """The matte of one frame, over the data window of its header.

    Attributes:
        alpha: float32 H×W in 0…1; exactly 0 or 1 where the trimap is certain. None if no layer
            that is wanted needs it.
        trimap: uint8 H×W, the trimap it was made from.
        confidence: float32 H×W in 0…1, or None.
        foreground: float32 or float16 H×W×3, premultiplied or straight as asked, in the plate's
            colourspace; or None.
        header: of the plate; its data window is cut to the region of interest.
        source: of the trimap: painted, propagated or given.
        fallback: what was done differently for want of memory; "" if nothing.
        seconds: wall time by stage, e.g. {"prior": .4, "foreground": .1}; stages of several frames
            overlap, so that a clip takes less than their sum.
    """

    frame: int
    alpha: npt.NDArray[np.float32] | None
    trimap: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32] | None
    foreground: npt.NDArray[np.floating] | None
    header: PlateHeader
    source: str
    fallback: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """One shot's engine. Both methods are generators, check ``cancelled`` between frames and raise
    `Cancelled`. They may be run in another thread than the one that called, and ask for plates and
    trimaps in threads of their own, one question at a time."""

    def describe(self) -> dict[str, object]:
        """What provenance and identity need.

        ``{"engine": "deep-video-matte 0.1.0", "network": "closed_form", "propagation":
        "trimap_flow", "checkpoint": "name sha256" or "", "propagation_checkpoint": the same,
        "device": "cpu", "ocio": digest of the colour config}``
        """
        ...

    def propagate(
        self,
        span: Span,
        plate: Callable[[int], Plate],
        header: Callable[[int], PlateHeader],
        keyframes: Mapping[int, Trimap],
        scratch: Path,
        cancelled: Callable[[], bool],
    ) -> Generator[tuple[int, Trimap], None, None]:
        """Pass A. Yields (frame, trimap with window and confidence) for each of ``span.wanted``,
        in any order.

        ``plate`` may be asked for any frame of the span, more than once, by two threads that come
        from either end; ``scratch`` is an empty folder the engine may fill so that memory does not
        grow with the span.
        """
        ...

    def motion(
        self, frame: int, plate: Plate, neighbours: Sequence[Plate]
    ) -> npt.NDArray[np.float32]:
        """By how many pixels the edge of a shape drawn on a frame is to be widened to either side,
        float32 H×W over the plate's data window. ``neighbours`` are the plates before and after."""
        ...

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
        """Pass B. Yields the mattes of ``wanted`` (a subset of ``block.frames``) in order.

        ``guides`` are what pins alpha at a frame (see `model.plates.holdout`), and its clean plate.
        """
        ...


EngineFactory = Callable[[EngineOptions], Engine]
