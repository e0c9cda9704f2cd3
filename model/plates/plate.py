"""A plate: pixels with the windows, aspect, metadata and colourspace they came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels, inclusive at both ends as in the EXR header, origin top left."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def of_size(cls, width: int, height: int, x: int = 0, y: int = 0) -> Window:
        return cls(x, y, x + width - 1, y + height - 1)

    @property
    def width(self) -> int:
        return self.x1 - self.x0 + 1

    @property
    def height(self) -> int:
        return self.y1 - self.y0 + 1

    def union(self, other: Window) -> Window:
        return Window(
            min(self.x0, other.x0),
            min(self.y0, other.y0),
            max(self.x1, other.x1),
            max(self.y1, other.y1),
        )

    def intersection(self, other: Window) -> Window | None:
        """What both have; None if they do not meet."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Window(x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None

    def grown(self, pixels: int) -> Window:
        """Wider by so many pixels on every side."""
        return Window(self.x0 - pixels, self.y0 - pixels, self.x1 + pixels, self.y1 + pixels)

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """Rows and columns of this window in an array over ``outer``, which must contain it."""
        x, y = self.x0 - outer.x0, self.y0 - outer.y0
        if x < 0 or y < 0 or self.x1 > outer.x1 or self.y1 > outer.y1:
            raise ValueError(f"{self} is not inside {outer}")
        return slice(y, y + self.height), slice(x, x + self.width)


@dataclass(frozen=True)
class PlateHeader:
    """All of a plate but its pixels.

    Attributes:
        channels: names in file order, e.g. ``("R", "G", "B")``.
        data_window: the pixels that exist.
        display_window: the picture's frame; may be smaller, larger or elsewhere.
        metadata: attributes as read, by their OpenImageIO names.
        colourspace: an OCIO name, or ``""`` when the file does not say.
        path: where it came from, for messages.
        pixel_type: how the file stores its pixels: ``half``, ``float``, ``uint8``, ``uint16`` …;
            ``""`` if unknown.
        metadata_types: OpenImageIO's type of each attribute (``timecode``, ``rational`` …), so
            that it can be written again as what it was.
    """

    channels: tuple[str, ...]
    data_window: Window
    display_window: Window
    pixel_aspect: float = 1.0
    metadata: Mapping[str, object] = field(default_factory=dict)
    colourspace: str = ""
    path: str = ""
    pixel_type: str = ""
    metadata_types: Mapping[str, str] = field(default_factory=dict)

    def window_of_size(self, width: int, height: int) -> Window | None:
        """Where pixels without a window of their own lie: on the display window if it has their
        size, else on the data window if it has that size, else nowhere."""
        for one in (self.display_window, self.data_window):
            if (one.width, one.height) == (width, height):
                return one
        return None

    def to_json(self) -> dict[str, object]:
        """Plain lists, strings and numbers, for a pipe between processes."""
        return {
            "channels": list(self.channels),
            "data_window": list(astuple(self.data_window)),
            "display_window": list(astuple(self.display_window)),
            "pixel_aspect": self.pixel_aspect,
            "metadata": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.metadata.items()
            },
            "colourspace": self.colourspace,
            "path": self.path,
            "pixel_type": self.pixel_type,
            "metadata_types": dict(self.metadata_types),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> PlateHeader:
        """What `to_json` made. Lists in the metadata come back as tuples."""
        return cls(
            channels=tuple(plain["channels"]),
            data_window=Window(*plain["data_window"]),
            display_window=Window(*plain["display_window"]),
            pixel_aspect=plain["pixel_aspect"],
            metadata={
                name: tuple(value) if isinstance(value, list) else value
                for name, value in plain["metadata"].items()
            },
            colourspace=plain["colourspace"],
            path=plain["path"],
            pixel_type=plain["pixel_type"],
            metadata_types=dict(plain["metadata_types"]),
        )


@dataclass(frozen=True)
class Plate:
    """One source frame. ``pixels``: float16 or float32, H×W×C over the data window, unclamped."""

    pixels: npt.NDArray[np.floating]
    header: PlateHeader


@dataclass(frozen=True)
class Trimap:
    """A trimap as painted, given or propagated.

    Attributes:
        pixels: uint8 H×W, 0 background, 128 unknown, 255 foreground.
        window: where it lies; ``None`` when the file has no windows of its own (PNG, JPEG …).
        source: ``painted``, ``propagated`` or ``given``.
        confidence: uint8 H×W, 255 = sure; ``None`` for painted and given ones.
        path: of its file, for messages; ``""`` for propagated ones.
        hint: uint8 2×H×W, what was seen of single pixels while it was carried, see
            `model.plates.hint`; ``None`` for painted and given ones.
        frame_window: the display window that came with the file; ``None`` as ``window``, and for
            propagated ones.
    """

    pixels: npt.NDArray[np.uint8]
    window: Window | None = None
    source: str = "painted"
    confidence: npt.NDArray[np.uint8] | None = None
    path: str = ""
    hint: npt.NDArray[np.uint8] | None = None
    frame_window: Window | None = None
