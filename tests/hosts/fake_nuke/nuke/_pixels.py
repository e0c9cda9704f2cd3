"""The renderer: what a node shows at a frame and in a view, in plain Python floats.

No colours are converted. A node that this fake cannot render raises NotImplementedError, so that no
test takes a guess for Nuke's picture.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Callable

from nuke import _expressions, _files, _tcl
from nuke._state import state
from nuke._values import known_channels


class Picture:
    """A rendered frame.

    Attributes:
        width, height: of the display window.
        bbox: the data window x0, y0, x1, y1, y downwards from the top of the display window, x1 and
            y1 outside.
        channels: ``rgba.red`` … -> the floats of the data window, row by row, top first.
    """

    def __init__(
        self, width: int, height: int, bbox: tuple[int, int, int, int] | None = None,
        channels: dict[str, list[float]] | None = None,
    ) -> None:  # fmt: skip
        self.width, self.height = width, height
        self.bbox = (0, 0, width, height) if bbox is None else tuple(bbox)
        self.channels = dict(channels or {})

    def at(self, channel: str, x: int, y: int) -> float:
        """One value; y from the top; 0 outside of the data window."""
        x0, y0, x1, y1 = self.bbox
        if channel not in self.channels or not (x0 <= x < x1 and y0 <= y < y1):
            return 0.0
        return self.channels[channel][(y - y0) * (x1 - x0) + x - x0]

    def plane(self, channel: str) -> list[float]:
        """A channel of the data window; zeros if there is none."""
        x0, y0, x1, y1 = self.bbox
        return self.channels.get(channel) or [0.0] * ((x1 - x0) * (y1 - y0))

    def copy(self) -> Picture:
        return Picture(self.width, self.height, self.bbox, self.channels)

    def fitted(self, bbox: tuple[int, int, int, int]) -> Picture:
        """With another data window: zeros where there was nothing."""
        if bbox == self.bbox:
            return self.copy()
        x0, y0, x1, y1 = bbox
        made = Picture(self.width, self.height, bbox)
        for name in self.channels:
            rows = range(y0, y1)
            made.channels[name] = [self.at(name, x, y) for y in rows for x in range(x0, x1)]
        return made


# Looking at a node without rendering for good.


def render(core: Any, frame: float, view: str) -> Picture:
    """What a node shows.

    Raises:
        RuntimeError: a Read misses its file, or the like.
        NotImplementedError: a node beyond this fake.
    """
    if core is None:
        width, height = _script_size()
        return Picture(width, height)
    if "disable" in core.knobs and core.knobs["disable"]._at(0):
        return render(_input(core, 0), frame, view)
    work = _WORK.get(core.class_name)
    if work is None:
        raise NotImplementedError(f"{core.class_name} is not rendered by this fake")
    return work(core, frame, view)


def look(core: Any) -> Picture | None:
    """The picture at the current frame; None where there is none."""
    try:
        return render(core, state.root.knobs["frame"]._raw[0], state.current_view)
    except NotImplementedError:  # is a RuntimeError, and no error of the node
        raise
    except RuntimeError:
        return None


def fails(core: Any) -> bool:
    """Whether the picture at the current frame is an error."""
    return look(core) is None


def size_of(core: Any) -> tuple[int, int]:
    """Width and height of the display window."""
    if core is state.root:
        return _script_size()
    picture = look(core)
    if picture is None:
        return _script_size()
    return picture.width, picture.height


def range_of(core: Any) -> tuple[int, int]:
    """The first and the last frame of what a node shows."""
    if core is None or core is state.root:
        knobs = state.root.knobs
        return int(knobs["first_frame"]._raw[0]), int(knobs["last_frame"]._raw[0])
    if core.class_name == "Read":
        first, last = int(_number(core, "first")), int(_number(core, "last"))
        move = _shift(core, first)
        return first + move, last + move
    if core.class_name in ("Constant", "CheckerBoard2"):
        return 1, 1
    if core.class_name == "FrameRange":
        return int(_number(core, "first_frame")), int(_number(core, "last_frame"))
    if core.class_name == "Group":
        return range_of(_output(core))
    if core.class_name == "Input":
        return range_of(_outside(core))
    above = [one for one in core.inputs if one is not None]
    if not above:
        return range_of(None)
    if core.class_name == "TimeOffset":
        first, last = range_of(above[0])
        move = int(_number(core, "time_offset"))
        return first + move, last + move
    return range_of(above[0])


def _script_size() -> tuple[int, int]:
    found = state.root.knobs["format"]._actual()
    return found._width, found._height


def _number(core: Any, name: str, index: int = 0) -> float:
    return core.knobs[name]._at(index)


def _input(core: Any, index: int) -> Any:
    return core.inputs[index] if index < len(core.inputs) else None


def _above(core: Any, frame: float, view: str, index: int = 0) -> Picture:
    return render(_input(core, index), frame, view)


def _no_mask(core: Any, index: int) -> None:
    if _input(core, index) is not None:
        raise NotImplementedError(f"the mask of {core.class_name} is not in this fake")


# Files.


def _shift(core: Any, first: int) -> int:
    """How far Read's ``start at`` and ``offset`` move its frames."""
    mode, text = core.knobs["frame_mode"]._current(), core.knobs["frame"]._raw.strip()
    if mode == "expression" or not text:
        return 0
    return int(text) - first if mode == "start at" else int(text)


def _file_frame(core: Any, frame: float) -> float:
    """The number in the file's name for a frame of the script."""
    mode, text = core.knobs["frame_mode"]._current(), core.knobs["frame"]._raw.strip()
    if mode != "expression":
        return frame - _shift(core, int(_number(core, "first")))
    if not text:
        return frame
    found = re.fullmatch(r"frame\s*(?:([-+*])\s*(\d+(?:\.\d+)?))?|(-?\d+)", text)
    if not found:
        raise NotImplementedError(f"a frame expression beyond this fake: {text!r}")
    if found[3]:
        return int(found[3])
    number = float(found[2] or 0)
    return {None: frame, "+": frame + number, "-": frame - number, "*": frame * number}[found[1]]


def _in_range(core: Any, frame: int) -> int | None:
    """The frame after ``before`` and ``after``; None is black."""
    first, last = int(_number(core, "first")), int(_number(core, "last"))
    if first <= frame <= last:
        return frame
    how = core.knobs["before" if frame < first else "after"]._current()
    if how == "black":
        return None
    if how == "hold":
        return min(max(frame, first), last)
    count = last - first + 1
    if how == "loop":
        return first + (frame - first) % count
    back = (frame - first) % max(2 * count - 2, 1)
    return first + (back if back < count else 2 * count - 2 - back)


def file_path(core: Any, view: str) -> str:
    """The path of a Read or a Write, frame number not yet filled in."""
    path = _tcl.with_view(_tcl.evaluate(core.knobs["file"]._raw, core), view)
    folder = state.root.knobs["project_directory"]._evaluated()
    if path and folder and not Path(path).is_absolute():
        path = posixpath.join(folder, path)
    return path


def _read(core: Any, frame: float, view: str) -> Picture:
    path = file_path(core, view)
    if not path:
        raise RuntimeError(f"{core.name()}: no file is set")
    wanted = _in_range(core, int(_file_frame(core, frame)))
    if wanted is None:
        return _black(core, path)
    file = _tcl.with_frame(path, wanted)
    if not Path(file).exists():
        how = core.knobs["on_error"]._current()
        if how == "black":
            return _black(core, path)
        if how == "nearest frame":
            near = [one for one in _frames(core) if Path(_tcl.with_frame(path, one)).exists()]
            if near:
                return _read_file(
                    _tcl.with_frame(path, min(near, key=lambda one: abs(one - wanted)))
                )
        if how == "checkerboard":
            raise NotImplementedError("on_error checkerboard is not in this fake")
        raise RuntimeError(f"{core.name()}: {file}: No such file or directory")
    return _read_file(file)


def _frames(core: Any) -> range:
    return range(int(_number(core, "first")), int(_number(core, "last")) + 1)


def _black(core: Any, path: str) -> Picture:
    """Black of the size that the other frames have."""
    for one in _frames(core):
        if Path(_tcl.with_frame(path, one)).exists():
            other = _read_file(_tcl.with_frame(path, one))
            black = Picture(other.width, other.height)
            black.channels = {name: black.plane("") for name in other.channels}
            return black
    found = core.knobs["format"]._actual()
    return Picture(found._width, found._height)


_NAMES = {"R": "rgba.red", "G": "rgba.green", "B": "rgba.blue", "A": "rgba.alpha", "Z": "depth.Z"}
_SHORT = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}


def _read_file(path: str) -> Picture:
    try:
        found = _files.read(path)
    except RuntimeError as error:
        raise RuntimeError(f"{path}: {error}") from error
    channels: dict[str, list[float]] = {}
    for name, plane in found["channels"].items():
        if name in ("Y", "I"):
            for one in ("red", "green", "blue"):
                channels[f"rgba.{one}"] = plane
        elif name in _NAMES:
            channels[_NAMES[name]] = plane
        elif "." in name:
            layer, _, last = name.rpartition(".")
            layer = layer.replace(".", "_")
            channels[f"{layer}.{_SHORT.get(last, last)}"] = plane
        else:
            channels[f"other.{name}"] = plane
    for name in channels:
        known = state.layers.setdefault(name.split(".")[0], [])
        if name not in known:
            known.append(name)
    return Picture(found["width"], found["height"], tuple(found["bbox"]), channels)


def file_channel(name: str) -> str:
    """The name that an EXR gives to a channel."""
    return {nuke: short for short, nuke in _NAMES.items()}.get(name, name)


# Nodes that change channels one by one.


def _union(one: Any, other: Any) -> tuple[int, int, int, int]:
    return (
        min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]),
    )  # fmt: skip


def _chosen(core: Any, picture: Picture, knob: str = "channels") -> list[str]:
    return [one for one in known_channels(core.knobs[knob]._raw) if one in picture.channels]


def _place(channel: str) -> int:
    """Which of a colour knob's four numbers is a channel's."""
    layer = state.layers.get(channel.split(".")[0], [])
    return min(layer.index(channel), 3) if channel in layer else 0


def _each(work: Callable[[Any, Picture, str], list[float]]) -> Callable[..., Picture]:
    def run(core: Any, frame: float, view: str) -> Picture:
        _no_mask(core, 1)
        picture = _above(core, frame, view)
        made = picture.copy()
        mix = _number(core, "mix") if "mix" in core.knobs else 1.0
        for channel in _chosen(core, picture):
            new = work(core, picture, channel)
            old = picture.channels[channel]
            made.channels[channel] = (
                new if mix == 1 else [a + (b - a) * mix for a, b in zip(old, new)]
            )
        return made

    return run


def _grade(core: Any, picture: Picture, channel: str) -> list[float]:
    def knob(name: str) -> float:
        return _number(core, name, _place(channel))

    if _number(core, "reverse"):
        raise NotImplementedError("Grade reverse is not in this fake")
    low, high = knob("blackpoint"), knob("whitepoint")
    gain = knob("multiply") * (knob("white") - knob("black")) / ((high - low) or 1e-30)
    lift = knob("add") + knob("black") - gain * low
    gamma = knob("gamma")
    made = [one * gain + lift for one in picture.channels[channel]]
    if gamma != 1:
        made = [one ** (1 / gamma) if one > 0 else one for one in made]
    if _number(core, "black_clamp"):
        made = [max(one, 0.0) for one in made]
    if _number(core, "white_clamp"):
        made = [min(one, 1.0) for one in made]
    return made


def _neighbours(
    picture: Picture, channel: str, radii: tuple[int, int], choose: Callable[[list[float]], float]
) -> list[float]:
    """A filter of a rectangle, first along the rows, then along the columns."""
    plane, width = picture.channels[channel], picture.bbox[2] - picture.bbox[0]
    rows = [plane[at : at + width] for at in range(0, len(plane), width or 1)]
    for radius in radii:
        if radius:
            rows = [
                [choose(row[max(at - radius, 0) : at + radius + 1]) for at in range(len(row))]
                for row in rows
            ]
        rows = [list(column) for column in zip(*rows)]
    return [one for row in rows for one in row]


def _erode(core: Any, picture: Picture, channel: str) -> list[float]:
    size = (_number(core, "size", 0), _number(core, "size", 1))
    choose = min if size[0] >= 0 else max
    radii = (round(abs(size[0])), round(abs(size[1])))
    return _neighbours(picture, channel, radii, choose)


def _dilate(core: Any, picture: Picture, channel: str) -> list[float]:
    size = (_number(core, "size", 0), _number(core, "size", 1))
    choose = max if size[0] >= 0 else min
    radii = (round(abs(size[0])), round(abs(size[1])))
    return _neighbours(picture, channel, radii, choose)


def _blur(core: Any, picture: Picture, channel: str) -> list[float]:
    radii = tuple(int(-(-max(_number(core, "size", one), 0) // 2)) for one in (0, 1))
    return _neighbours(picture, channel, radii, lambda near: sum(near) / len(near))


def _invert(core: Any, picture: Picture, channel: str) -> list[float]:
    made = [1 - one for one in picture.channels[channel]]
    return [min(max(one, 0.0), 1.0) for one in made] if _number(core, "clamp") else made


def _multiply(core: Any, picture: Picture, channel: str) -> list[float]:
    by = _number(core, "value", _place(channel))
    return [one * by for one in picture.channels[channel]]


def _clamp(core: Any, picture: Picture, channel: str) -> list[float]:
    made = picture.channels[channel]
    if _number(core, "minimum_enable"):
        low = _number(core, "minimum", _place(channel))
        made = [max(one, low) for one in made]
    if _number(core, "maximum_enable"):
        high = _number(core, "maximum", _place(channel))
        made = [min(one, high) for one in made]
    return made


def _premult(core: Any, frame: float, view: str) -> Picture:
    picture = _above(core, frame, view)
    by = picture.plane(known_channels(core.knobs["alpha"]._raw)[0])
    made = picture.copy()
    for channel in _chosen(core, picture):
        if core.class_name == "Premult":
            made.channels[channel] = [a * b for a, b in zip(picture.channels[channel], by)]
        else:
            plane = picture.channels[channel]
            made.channels[channel] = [a / b if b else a for a, b in zip(plane, by)]
    return made


# Nodes that bring pictures together.


def _copy(core: Any, frame: float, view: str) -> Picture:
    _no_mask(core, 2)
    below, above = _above(core, frame, view, 0), _above(core, frame, view, 1)
    if _input(core, 0) is None:
        below = Picture(above.width, above.height, above.bbox)
    bbox = _union(below.bbox, above.bbox)
    below, above = below.fitted(bbox), above.fitted(bbox)
    for channel in known_channels(core.knobs["channels"]._raw):
        below.channels[channel] = above.plane(channel)
    for index in range(4):
        sources = known_channels(core.knobs[f"from{index}"]._raw)
        targets = known_channels(core.knobs[f"to{index}"]._raw)
        for source, target in zip(sources, targets):
            below.channels[target] = above.plane(source)
    return below


_MERGE: dict[str, Callable[[float, float, float, float], float]] = {
    "over": lambda a, b, x, y: a + b * (1 - x),
    "under": lambda a, b, x, y: a * (1 - y) + b,
    "max": lambda a, b, x, y: max(a, b),
    "min": lambda a, b, x, y: min(a, b),
    "average": lambda a, b, x, y: (a + b) / 2,
    "plus": lambda a, b, x, y: a + b,
    "minus": lambda a, b, x, y: a - b,
    "from": lambda a, b, x, y: b - a,
    "difference": lambda a, b, x, y: abs(a - b),
    "copy": lambda a, b, x, y: a,
    "multiply": lambda a, b, x, y: b if a < 0 and b < 0 else a * b,
    "mask": lambda a, b, x, y: b * x,
    "stencil": lambda a, b, x, y: b * (1 - x),
    "in": lambda a, b, x, y: a * y,
    "out": lambda a, b, x, y: a * (1 - y),
    "screen": lambda a, b, x, y: a + b - a * b,
    "union": lambda a, b, x, y: a + b - a * b,
}


def _merge(core: Any, frame: float, view: str) -> Picture:
    _no_mask(core, 2)
    knobs = core.knobs
    below, above = _above(core, frame, view, 0), _above(core, frame, view, 1)
    if _input(core, 0) is None:
        below = Picture(above.width, above.height, above.bbox)
    bbox = _union(below.bbox, above.bbox)
    below, above = below.fitted(bbox), above.fitted(bbox)
    single = core.class_name == "ChannelMerge"
    a_names = known_channels(knobs["A" if single else "Achannels"]._raw)
    b_names = known_channels(knobs["B" if single else "Bchannels"]._raw)
    operation = knobs["operation"]._current()
    if operation not in _MERGE:
        raise NotImplementedError(f"merging by {operation} is not in this fake")
    work, mix = _MERGE[operation], _number(core, "mix")
    a_alpha, b_alpha = above.plane(a_names[-1]), below.plane(b_names[-1])
    made = below.copy()
    for a_name, b_name, name in zip(a_names, b_names, known_channels(knobs["output"]._raw)):
        a_plane, b_plane = above.plane(a_name), below.plane(b_name)
        joined = [work(*four) for four in zip(a_plane, b_plane, a_alpha, b_alpha)]
        if mix != 1:
            joined = [b + (one - b) * mix for one, b in zip(joined, below.plane(name))]
        made.channels[name] = joined
    return made


def _switch(core: Any, frame: float, view: str) -> Picture:
    which = int(_number(core, "which"))
    return _above(core, frame, view, min(max(which, 0), max(len(core.inputs) - 1, 0)))


def _join_views(core: Any, frame: float, view: str) -> Picture:
    from nuke._values import view_names

    return _above(core, frame, view, view_names().index(view))


# Groups.


def _output(core: Any) -> Any:
    found = [one for one in core.children if one.class_name == "Output"]
    if not found:
        raise RuntimeError(f"{core.name()}: no Output node inside")
    return found[-1]


def _outside(core: Any) -> Any:
    """What feeds the group where an Input node stands for it."""
    inputs = [one for one in core.group.children if one.class_name == "Input"]
    # Sorting keeps the order of making where numbers are the same.
    inputs.sort(key=lambda one: one.knobs["number"]._raw[0])
    return _input(core.group, inputs.index(core))


# Time, windows, channels.


def _time_offset(core: Any, frame: float, view: str) -> Picture:
    if _number(core, "reverse_input"):
        raise NotImplementedError("TimeOffset reverse_input is not in this fake")
    return _above(core, frame - _number(core, "time_offset"), view)


def _crop(core: Any, frame: float, view: str) -> Picture:
    picture = _above(core, frame, view)
    box = [round(_number(core, "box", index)) for index in range(4)]
    if not any(box):
        box = [0, 0, picture.width, picture.height]
    x0, x1 = box[0], box[2]
    y0, y1 = picture.height - box[3], picture.height - box[1]
    cut = picture.fitted(
        (
            max(picture.bbox[0], x0), max(picture.bbox[1], y0),
            max(min(picture.bbox[2], x1), max(picture.bbox[0], x0)),
            max(min(picture.bbox[3], y1), max(picture.bbox[1], y0)),
        )
    )  # fmt: skip
    if _number(core, "reformat"):
        a, b, c, d = cut.bbox
        cut = Picture(x1 - x0, y1 - y0, (a - x0, b - y0, c - x0, d - y0), cut.channels)
    return cut


def _constant(core: Any, frame: float, view: str) -> Picture:
    found = core.knobs["format"]._actual()
    picture = Picture(found._width, found._height)
    for channel in known_channels(core.knobs["channels"]._raw):
        value = _number(core, "color", _place(channel))
        picture.channels[channel] = [value] * (picture.width * picture.height)
    return picture


def _checkerboard(core: Any, frame: float, view: str) -> Picture:
    found = core.knobs["format"]._actual()
    picture = Picture(found._width, found._height)
    size = max(int(_number(core, "boxsize")), 1)
    places = [(x, y) for y in range(picture.height) for x in range(picture.width)]
    for index, channel in enumerate(state.layers["rgba"][:3]):
        colours = [_number(core, "color0", index), _number(core, "color1", index)]
        picture.channels[channel] = [colours[(x // size + y // size) % 2] for x, y in places]
    picture.channels["rgba.alpha"] = [1.0] * len(places)
    return picture


def _masks(core: Any) -> list[str]:
    names = ("channels", "channels2", "channels3", "channels4")
    return [one for name in names for one in known_channels(core.knobs[name]._raw)]


def _remove(core: Any, frame: float, view: str) -> Picture:
    picture, named = _above(core, frame, view).copy(), _masks(core)
    keep = core.knobs["operation"]._current() == "keep"
    picture.channels = {
        name: plane for name, plane in picture.channels.items() if (name in named) == keep
    }
    return picture


def _add_channels(core: Any, frame: float, view: str) -> Picture:
    picture = _above(core, frame, view).copy()
    count = len(picture.plane(""))
    for name in _masks(core):
        picture.channels.setdefault(name, [_number(core, "color", _place(name))] * count)
    return picture


def _reformat(core: Any, frame: float, view: str) -> Picture:
    picture = _above(core, frame, view)
    found = core.knobs["format"]._actual()
    if core.knobs["type"]._current() != "to format" or (
        (found._width, found._height) != (picture.width, picture.height)
    ):
        raise NotImplementedError("Reformat to another size is not in this fake")
    return picture


def _black_outside(core: Any, frame: float, view: str) -> Picture:
    return _above(core, frame, view)


_LETTERS = {"r": "rgba.red", "g": "rgba.green", "b": "rgba.blue", "a": "rgba.alpha"}
_LETTERS.update({f"{one.split('.')[1]}": one for one in _LETTERS.values()})


def _expression(core: Any, frame: float, view: str) -> Picture:
    from nuke._knobs import expression_value

    picture = _above(core, frame, view)
    made = picture.copy()
    x0, y0, x1, _ = picture.bbox
    width = (x1 - x0) or 1
    fixed: dict[str, float] = {"frame": frame, "pi": 3.141592653589793}
    for index in range(4):
        text = _tcl.evaluate(core.knobs[f"expr{index}"]._raw, core).strip()
        if not text:
            continue
        term = _expressions.parse(text)

        def named(name: str, at: int) -> float:
            if name in ("x", "y"):
                column, row = x0 + at % width, y0 + at // width
                return column if name == "x" else picture.height - 1 - row
            if name.startswith("parent."):
                if name not in fixed:
                    fixed[name] = expression_value(name, core)
                return fixed[name]
            if name in fixed:
                return fixed[name]
            channel = _LETTERS.get(name, name)
            if channel in picture.channels:
                return picture.channels[channel][at]
            if not known_channels(channel):
                raise RuntimeError(f"{core.name()}: no such channel: {name}")
            return 0.0

        count = len(picture.plane(""))
        plane = [term(lambda name, at=at: named(name, at)) for at in range(count)]
        for channel in known_channels(core.knobs[f"channel{index}"]._raw):
            made.channels[channel] = plane
    return made


_WORK: dict[str, Callable[[Any, float, str], Picture]] = {
    "Read": _read,
    "Copy": _copy,
    "Switch": _switch,
    "Grade": _each(_grade),
    "FilterErode": _each(_erode),
    "Dilate": _each(_dilate),
    "Blur": _each(_blur),
    "Invert": _each(_invert),
    "Multiply": _each(_multiply),
    "Clamp": _each(_clamp),
    "Premult": _premult,
    "Unpremult": _premult,
    "Merge2": _merge,
    "ChannelMerge": _merge,
    "TimeOffset": _time_offset,
    "FrameHold": lambda core, frame, view: _above(core, _number(core, "firstFrame"), view),
    "Crop": _crop,
    "Constant": _constant,
    "CheckerBoard2": _checkerboard,
    "Remove": _remove,
    "AddChannels": _add_channels,
    "Reformat": _reformat,
    "BlackOutside": _black_outside,
    "Expression": _expression,
    "OneView": lambda core, frame, view: _above(core, frame, core.knobs["view"]._current()),
    "JoinViews": _join_views,
    "Group": lambda core, frame, view: render(_output(core), frame, view),
    "Input": lambda core, frame, view: render(_outside(core), frame, view),
}
for _name in ("Output", "Write", "NoOp", "Dot", "FrameRange", "Viewer", "Roto"):
    _WORK[_name] = _above
