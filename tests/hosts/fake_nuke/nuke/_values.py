"""Small value classes of the host: formats, frame ranges, layers, contexts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nuke._state import host, host_class, state


@host_class
class Format:
    """Size, picture area (x, y, r, t) and pixel aspect, with a name when it is registered."""

    def __init__(
        self, width: int, height: int, x: int = 0, y: int = 0, r: int = 0, t: int = 0,
        pixelAspect: float = 1.0,
    ) -> None:  # fmt: skip
        self._width, self._height = int(width), int(height)
        self._area = (int(x), int(y), int(r) or int(width), int(t) or int(height))
        self._aspect, self._name = float(pixelAspect), None

    def _key(self) -> tuple[Any, ...]:
        return (self._width, self._height, self._area, self._aspect)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _to_text(self) -> str:
        area = " ".join(str(one) for one in self._area)
        text = f"{self._width} {self._height} {area} {self._aspect:g}"
        return f"{text} {self._name}" if self._name else text

    @staticmethod
    def _from_text(text: str) -> Format:
        """From ``w h [x y r t] pixel_aspect [name]``."""
        words = text.split()
        numbers = []
        while words and re.fullmatch(r"-?\d+(\.\d+)?", words[0]):
            numbers.append(float(words.pop(0)))
        if len(numbers) not in (2, 3, 6, 7):
            raise RuntimeError(f"bad format: {text!r}")
        area = numbers[2:6] if len(numbers) >= 6 else (0, 0, numbers[0], numbers[1])
        aspect = numbers[-1] if len(numbers) in (3, 7) else 1.0
        made = Format.__init__.__wrapped__  # not a host call of its own
        new = Format.__new__(Format)
        made(new, numbers[0], numbers[1], *area, aspect)
        new._name = words[0] if words else None
        return new

    def add(self, name: str) -> Format:
        self._name = name
        state.formats = [one for one in state.formats if one._name != name] + [self]
        return self

    def width(self) -> int:
        return self._width

    def height(self) -> int:
        return self._height

    def x(self) -> int:
        return self._area[0]

    def y(self) -> int:
        return self._area[1]

    def r(self) -> int:
        return self._area[2]

    def t(self) -> int:
        return self._area[3]

    def pixelAspect(self) -> float:
        return self._aspect

    def name(self) -> str | None:
        return self._name

    def setName(self, name: str) -> None:
        self._name = name


def named_format(text: str) -> Format:
    """A registered format by its name, else one from its numbers."""
    for one in state.formats:
        if one._name == text:
            return one
    return Format._from_text(text)


@host
def addFormat(s: str) -> Format:
    """Register ``w h [x y r t] pixel_aspect name``."""
    new = Format._from_text(s)
    if new._name is None:
        raise RuntimeError("a format needs a name")
    state.formats = [one for one in state.formats if one._name != new._name] + [new]
    return new


@host
def formats() -> list[Format]:
    return list(state.formats)


@host_class
class FrameRange:
    """``FrameRange('1-10x2')`` or ``FrameRange(first, last, increment)``."""

    def __init__(self, *args: Any) -> None:
        if len(args) == 1 and isinstance(args[0], str):
            found = re.fullmatch(r"\s*(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?\s*", args[0])
            if not found:
                raise ValueError(f"not a frame range: {args[0]!r}")
            first = int(found[1])
            self._parts = (first, int(found[2] or first), int(found[3] or 1))
        elif len(args) in (2, 3):
            self._parts = (int(args[0]), int(args[1]), int(args[2]) if len(args) == 3 else 1)
        else:
            raise TypeError("FrameRange takes a string, or first, last and increment")

    def _list(self) -> list[int]:
        first, last, step = self._parts
        return list(range(first, last + 1, step))

    def first(self) -> int:
        return self._parts[0]

    def last(self) -> int:
        return self._parts[1]

    def increment(self) -> int:
        return self._parts[2]

    def frames(self) -> int:
        return len(self._list())

    def minFrame(self) -> int:
        return self._parts[0]

    def maxFrame(self) -> int:
        return self._parts[1]

    def getFrame(self, n: int) -> int:
        return self._list()[n]

    def isInRange(self, n: int) -> bool:
        return n in self._list()

    def __iter__(self) -> Iterator[int]:
        return iter(self._list())

    def __str__(self) -> str:
        first, last, step = self._parts
        text = str(first) if first == last else f"{first}-{last}"
        return text if step == 1 else f"{text}x{step}"


@host_class
class FrameRanges:
    """``FrameRanges('1-10x2 20')`` or a list of texts or of `FrameRange`."""

    def __init__(self, *args: Any) -> None:
        self._ranges: list[FrameRange] = []
        for one in args:
            many = one.split() if isinstance(one, str) else one
            many = [many] if isinstance(many, FrameRange) else many
            for each in many:
                self._ranges.append(each if isinstance(each, FrameRange) else FrameRange(each))

    def add(self, r: FrameRange) -> None:
        self._ranges.append(r)

    def clear(self) -> None:
        self._ranges = []

    def size(self) -> int:
        return len(self._ranges)

    def minFrame(self) -> int:
        return min(one._parts[0] for one in self._ranges)

    def maxFrame(self) -> int:
        return max(one._parts[1] for one in self._ranges)

    def toFrameList(self) -> list[int]:
        return [frame for one in self._ranges for frame in one._list()]

    def __iter__(self) -> Iterator[FrameRange]:
        return iter(list(self._ranges))

    def __str__(self) -> str:
        return " ".join(str(one) for one in self._ranges)


@host_class
class Info:
    """A box, y up: what ``node.bbox()`` gives."""

    def __init__(self, x: int, y: int, w: int, h: int) -> None:
        self._box = (x, y, w, h)

    def x(self) -> int:
        return self._box[0]

    def y(self) -> int:
        return self._box[1]

    def w(self) -> int:
        return self._box[2]

    def h(self) -> int:
        return self._box[3]


@host_class
class Layer:
    """Making one adds its channels to the script."""

    def __init__(self, name: str, channels: list[str] | None = None) -> None:
        self._name = name
        add_layer(name, list(channels or []))

    def name(self) -> str:
        return self._name

    def channels(self) -> list[str]:
        return list(state.layers[self._name])

    def visible(self) -> bool:
        return True


def add_layer(name: str, channels: list[str]) -> None:
    """Add channels to the script's layers; those that are there already stay."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"not a layer name: {name!r}")
    known = state.layers.setdefault(name, [])
    for channel in channels:
        full = channel if "." in channel else f"{name}.{channel}"
        if full.split(".")[0] != name:
            raise ValueError(f"channel {channel!r} is not of layer {name!r}")
        if full not in known:
            known.append(full)


def known_channels(text: str) -> list[str]:
    """The channels that a channel knob's text names.

    Raises:
        TypeError: no such layer or channel.
    """
    chosen: list[str] = []
    for word in text.replace(",", " ").split():
        if word.startswith("-"):
            continue
        if word in ("none", "false"):
            continue
        if word == "all":
            chosen += [one for layer in state.layers.values() for one in layer]
        elif word == "rgb":
            chosen += state.layers["rgba"][:3]
        elif word in state.layers:
            chosen += state.layers[word]
        elif word in ("red", "green", "blue", "alpha"):
            chosen.append(f"rgba.{word}")
        elif word in state.layers.get(word.split(".")[0], []):
            chosen.append(word)
        else:
            raise TypeError(f"no such layer or channel: {word!r}")
    return list(dict.fromkeys(chosen))


@host_class
class OutputContext:
    """A frame and a view (1 = the first one, 0 = the default)."""

    def __init__(self) -> None:
        self._frame, self._view = 0.0, 0

    def setFrame(self, frame: float) -> None:
        self._frame = float(frame)

    def frame(self) -> float:
        return self._frame

    def setView(self, view: int) -> None:
        if not isinstance(view, int) or not 0 <= view <= len(view_names()):
            raise TypeError(f"no view {view!r}; views count from 1")
        self._view = view

    def view(self) -> int:
        return self._view

    def viewcount(self) -> int:
        return len(view_names()) + 1

    def viewname(self, n: int) -> str:
        return "default" if n == 0 else view_names()[n - 1]

    def viewshort(self, n: int) -> str:
        return self.viewname(n)[0]

    def viewFromName(self, name: str) -> int:
        return view_names().index(name) + 1 if name in view_names() else -1


def view_names() -> list[str]:
    """The script's views, from the root's knob: one a line, a colour may follow."""
    text = state.root.knobs["views"]._raw
    return [line.split()[0] for line in text.splitlines() if line.strip()]
