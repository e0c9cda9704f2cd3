"""Draws the README's pictures of the Nuke node, from the tables that the node is built from.

python docs/nuke/draw.py      write the pictures anew, beside this file
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # run as a file, this finds the package beside docs

from host_plugins.nuke import group, knobs  # noqa: E402
from host_plugins.nuke.knobs import Knob  # noqa: E402

FONT = "DejaVu Sans, Verdana, Geneva, sans-serif"
SIZE = 12
# What a panel shows after some work: an empty one would say little.
EXAMPLES = {
    "dvm_server_told": "Connected: cpu, st_fam_s.",
    "dvm_keyframes": "1001, 1020, 1043",
    "dvm_told": "Trimaps carried to 43 plates; a trimap of plate 1031 would help most.",
    "dvm_doubts_told": "1031 (12%), 1030 (11%), 1032 (9%)",
    "dvm_first": "1001",
    "dvm_last": "1043",
}

BACK, BAR, FIELD, BUTTON = "#323232", "#282828", "#1d1d1d", "#4b4b4b"
EDGE, LINE, TEXT, DIM, BRIGHT, MARK = "#151515", "#555", "#c8c8c8", "#8a8a8a", "#eee", "#d08a2c"


# Drawing


def text_width(text: str, size: float = SIZE, bold: bool = False) -> float:
    """As wide as the widest of the fonts sets it, about; there is no library that measures."""
    wide = sum(
        0.33 if sign in " .,:;'|iljI()[]" else 0.45 if sign in "ftr/-" else
        0.97 if sign in "mwMW%" else 0.70 if sign.isupper() else 0.63
        for sign in text
    )  # fmt: skip
    return size * wide * (1.12 if bold else 1.0)


class Picture:
    """An SVG that is being drawn."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, *, corner: float = 2,
        stroke: str = EDGE,
    ) -> None:  # fmt: skip
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner:g}" '
            f'fill="{fill}" stroke="{stroke}"/>'
        )

    def line(self, *points: tuple[float, float], stroke: str = LINE, width: float = 1) -> None:
        told = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{told}" fill="none" stroke="{stroke}" stroke-width="{width:g}"/>'
        )

    def filled(self, *points: tuple[float, float], fill: str) -> None:
        told = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polygon points="{told}" fill="{fill}"/>')

    def text(
        self, x: float, y: float, text: str, *, fill: str = TEXT, size: float = SIZE,
        anchor: str = "start", bold: bool = False,
    ) -> None:  # fmt: skip
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="{fill}"{weight}>{escape(text)}</text>'
        )

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], stroke: str = "#111"
    ) -> None:
        """A line with its head at the end."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = (dx * dx + dy * dy) ** 0.5
        dx, dy = dx / length, dy / length
        foot = end[0] - 8 * dx, end[1] - 8 * dy
        self.line(start, foot, stroke=stroke, width=1.3)
        left = round(foot[0] - 3.5 * dy, 2), round(foot[1] + 3.5 * dx, 2)
        right = round(foot[0] + 3.5 * dy, 2), round(foot[1] - 3.5 * dx, 2)
        self.filled(end, left, right, fill=stroke)

    def svg(self, width: float, height: float, title: str, back: str = BACK) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="{FONT}">'
        )
        ground = f'<rect width="{width:g}" height="{height:g}" fill="{back}"/>'
        parts = [head, f"<title>{escape(title)}</title>", ground, *self._parts, "</svg>"]
        return "\n".join(parts) + "\n"


# The panel

WIDTH, MARGIN, GAP, HEIGHT, ROW = 680, 12, 8, 20, 27


def tabs() -> dict[str, list[Knob]]:
    """The knobs that are seen, by the title of their tab."""
    found: dict[str, list[Knob]] = {}
    for one in knobs.KNOBS:
        if one.kind == knobs.TAB:
            found[one.label] = []
        elif not one.hidden:
            found[list(found)[-1]].append(one)
    return found


def lines(seen: Iterable[Knob]) -> Iterator[list[Knob]]:
    """The knobs that share a line."""
    line: list[Knob] = []
    for one in seen:
        if line and not one.beside:
            yield line
            line = []
        line.append(one)
    if line:
        yield line


def panel(chosen: str) -> str:
    """A tab of the node's properties."""
    drawn, all_tabs = Picture(), tabs()
    _head(drawn, list(all_tabs), chosen)
    # Labels of a line's first knob stand in a column, and end where its widgets begin.
    column = MARGIN + max(
        text_width(one.label)
        for seen in all_tabs.values()
        for one in seen
        if _labelled_on_the_left(one) and not one.beside
    )
    y = 74.0
    for line in lines(all_tabs[chosen]):
        if line[0].kind == knobs.DIVIDER:
            y += 6
        _line(drawn, line, column + GAP, y)
        y += ROW
    return drawn.svg(WIDTH, y + MARGIN, f"DeepVideoMatte, the tab {chosen}")


def _labelled_on_the_left(one: Knob) -> bool:
    return one.kind not in (knobs.BUTTON, knobs.BOOLEAN, knobs.DIVIDER)


def _head(drawn: Picture, titles: list[str], chosen: str) -> None:
    drawn.box(0, 0, WIDTH, 30, BAR, corner=0)
    drawn.filled((12, 12), (22, 12), (17, 19), fill=DIM)
    drawn.box(30, 8, 14, 14, "#5a7a3a")
    drawn.box(52, 5, 180, HEIGHT, FIELD)
    drawn.text(58, 19, f"{group.NAME}1", fill=BRIGHT)
    x = float(MARGIN)
    for title in (*titles, "Node"):  # Nuke's own, that each node has
        wide = text_width(title, bold=True) + 20
        shown = title == chosen
        drawn.box(x, 38, wide, 24, BACK if shown else BAR, stroke=LINE if shown else EDGE)
        drawn.text(
            x + wide / 2, 54, title, anchor="middle", fill=BRIGHT if shown else DIM, bold=shown
        )
        x += wide + 2
    drawn.line((MARGIN, 62), (WIDTH - MARGIN, 62))


def _line(drawn: Picture, line: list[Knob], left: float, y: float) -> None:
    base = y + 14
    if line[0].kind == knobs.DIVIDER:
        drawn.text(MARGIN, base, line[0].label, bold=True, fill=BRIGHT)
        begin = MARGIN + text_width(line[0].label, bold=True) + GAP
        drawn.line((begin, y + 10), (WIDTH - MARGIN, y + 10))
        return
    x = left
    for place, one in enumerate(line):
        if _labelled_on_the_left(one) and one.label:
            if place:
                x += GAP + text_width(one.label)
            drawn.text(x - GAP, base, one.label, anchor="end")
        x += _WIDGETS[one.kind](drawn, one, x, y) + GAP
    if x - GAP > WIDTH - MARGIN + 1:
        raise ValueError(f"the line of {line[0].name} is wider than the panel")


def _shown(one: Knob) -> str:
    if one.name in EXAMPLES:
        return EXAMPLES[one.name]
    if isinstance(one.value, (int, float)):
        return f"{one.value:g}"
    return str(one.value or "")


def _told(drawn: Picture, one: Knob, x: float, y: float) -> float:
    drawn.text(x, y + 14, _shown(one), fill=BRIGHT)
    return text_width(_shown(one))


def _field(drawn: Picture, one: Knob, x: float, y: float) -> float:
    wide = WIDTH - MARGIN - x
    if one.kind == knobs.FILE:  # a button that asks for a file
        wide -= HEIGHT + 4
        drawn.box(x + wide + 4, y, HEIGHT, HEIGHT, BUTTON)
        drawn.line(
            (x + wide + 9, y + 14), (x + wide + 9, y + 6), (x + wide + 13, y + 6),
            (x + wide + 14, y + 8), (x + wide + 19, y + 8), (x + wide + 19, y + 14),
            (x + wide + 9, y + 14), stroke=TEXT,
        )  # fmt: skip
    drawn.box(x, y, wide, HEIGHT, BAR if one.fixed else FIELD)
    drawn.text(x + 6, y + 14, _shown(one), fill=DIM if one.fixed else BRIGHT)
    return WIDTH - MARGIN - x


def _number(drawn: Picture, one: Knob, x: float, y: float) -> float:
    wide = 62.0
    drawn.box(x, y, wide, HEIGHT, FIELD)
    drawn.text(x + 6, y + 14, _shown(one), fill=BRIGHT)
    if one.span == (0.0, 0.0):
        return wide
    low, high = one.span
    begin, end = x + wide + 20, WIDTH - MARGIN - 24
    drawn.line((begin, y + 8), (end, y + 8), stroke=DIM)
    steps = 10 if high - low != 3 else 3
    for step in range(steps + 1):
        at = begin + (end - begin) * step / steps
        drawn.line((at, y + 8), (at, y + 12), stroke=DIM)
        if step in (0, steps) or (steps == 10 and step == 5) or steps == 3:
            number = f"{low + (high - low) * step / steps:g}"
            drawn.text(at, y + 22, number, size=9, fill=DIM, anchor="middle")
    assert isinstance(one.value, (int, float))
    at = begin + (end - begin) * (one.value - low) / (high - low)
    drawn.box(at - 3, y + 1, 6, 13, "#9a9a9a")
    return WIDTH - MARGIN - x


def _checkbox(drawn: Picture, one: Knob, x: float, y: float) -> float:
    drawn.box(x, y + 3, 14, 14, FIELD, stroke=LINE)
    if one.value:
        drawn.line((x + 3, y + 10), (x + 6, y + 14), (x + 11, y + 5), stroke=MARK, width=2)
    drawn.text(x + 20, y + 14, one.label)
    return 20 + text_width(one.label) + GAP


def _choice(drawn: Picture, one: Knob, x: float, y: float) -> float:
    wide = max(text_width(item) for item in one.items) + 34
    drawn.box(x, y, wide, HEIGHT, BUTTON)
    drawn.text(x + 8, y + 14, _shown(one), fill=BRIGHT)
    at = x + wide - 16
    drawn.filled((at, y + 8), (at + 8, y + 8), (at + 4, y + 13), fill=TEXT)
    return wide + GAP


def _button(drawn: Picture, one: Knob, x: float, y: float) -> float:
    wide = text_width(one.label) + 18
    drawn.box(x, y, wide, HEIGHT, BUTTON)
    drawn.text(x + wide / 2, y + 14, one.label, fill=BRIGHT, anchor="middle")
    return wide - 3


_WIDGETS = {
    knobs.TEXT: _told, knobs.STRING: _field, knobs.FILE: _field, knobs.INT: _number,
    knobs.DOUBLE: _number, knobs.BOOLEAN: _checkbox, knobs.CHOICE: _choice, knobs.BUTTON: _button,
}  # fmt: skip


# The node in a script

_NODE = (124, 28)
# Name in the graph: what it says, its colour, where its middle is.
GRAPH: Mapping[str, tuple[str, str, tuple[int, int]]] = {
    "read": ("Read1  (plates)", "#b9a98a", (210, 50)),
    "roto": ("Roto1", "#7f9c6b", (420, 120)),
    "matte": (f"{group.NAME}1", "#5a7a3a", (210, 200)),
    "behind": ("Read2  (background)", "#b9a98a", (480, 282)),
    "merge": ("Merge1 (over)", "#5b7da8", (210, 282)),
    "write": ("Write1", "#a8a03c", (210, 360)),
}


def graph() -> str:
    """The node, what is connected to it, and what it is connected to."""
    drawn = Picture()
    for above, below, side, label in (
        ("read", "matte", -30, "Source"),
        ("roto", "matte", 30, "Trimap"),
        ("matte", "merge", 0, "A"),
        ("merge", "write", 0, ""),
    ):
        (x, y), (to_x, to_y) = GRAPH[above][2], GRAPH[below][2]
        start = (x + (side if above == "read" else 0), y + _NODE[1] / 2)
        end = (to_x + side, to_y - _NODE[1] / 2)
        drawn.arrow(start, end)
        drawn.text(end[0] - 8, end[1] - 8, label, size=10, anchor="end")
    # The Roto has the format of what it is connected to.
    drawn.line((GRAPH["read"][2][0] + 62, 50), (420, 50), stroke="#111", width=1.3)
    drawn.arrow((420, 50), (420, 106))
    drawn.text(428, 98, "bg", size=10)
    drawn.arrow((418, 282), (272, 282))
    drawn.text(282, 275, "B", size=10)
    for text, colour, (x, y) in GRAPH.values():
        wide = max(_NODE[0], text_width(text, 11) + 18)
        drawn.box(x - wide / 2, y - 14, wide, 28, colour, corner=5)
        drawn.text(x, y + 4, text, size=11, anchor="middle", fill="#0c0c0c")
    return drawn.svg(640, 390, "The node in a script", back="#3a3a3a")


# The node's inside

_CELL = (122, 58)
_CAPTIONS = {
    "What a keyframe takes": (0, 0),
    "What was matted, and its edge": (4, 0),
    "The picture": (6, 0),
    "What else there is to look at": (1.75, 13),
}
# Column and row of each node.
PLACES: Mapping[str, tuple[float, float]] = {
    "Trimap": (1.5, 1), "dvm_key_channel": (1.5, 2),
    "dvm_later": (0, 3), "dvm_earlier": (3, 4),
    "dvm_wide": (1, 4), "dvm_narrow": (2, 4), "dvm_widest": (1, 5), "dvm_narrowest": (2, 5),
    "dvm_edge": (1, 6), "dvm_core": (2, 6), "dvm_band": (1.5, 7), "dvm_keyframe": (1.5, 8),
    group.reader("alpha"): (4.5, 1), "dvm_clip": (4.5, 2), "dvm_shrunk": (4.5, 3),
    "dvm_blurred": (4.5, 4), "dvm_inverted": (3.6, 5), "dvm_matte_edge": (4.5, 6),
    "Source": (6, 4), group.reader("foreground"): (7, 4), "dvm_own_colours": (7, 5),
    "dvm_colours": (6, 6), "dvm_with_alpha": (6, 7), "dvm_multiplied": (7, 8), "dvm_image": (6, 9),
    "dvm_alpha_layer": (7, 10), "dvm_own_alpha": (7, 11), "dvm_alpha_place": (6, 12),
    group.reader("trimap"): (8, 12), "dvm_trimap_layer": (7, 13),
    group.reader("confidence"): (8, 13), "dvm_confidence_layer": (7, 14), "dvm_all_layers": (6, 15),
    "dvm_ready": (6, 16),
    "dvm_painted": (0.5, 14), "dvm_show_painted": (0.5, 15),
    "dvm_carried": (1.75, 14), "dvm_show_trimap": (1.75, 15),
    "dvm_show_confidence": (2.95, 15), "dvm_show_alpha": (4.7, 15),
    "dvm_shown": (4, 17.5), "Output1": (4, 18.5),
}  # fmt: skip
# Inputs that are named at the node, where a line would cross half of the picture.
NAMED = {
    ("dvm_keyframe", "dvm_key_channel"), ("dvm_own_alpha", "Source"), ("dvm_ready", "Source"),
    ("dvm_painted", "Source"), ("dvm_carried", "Source"), ("dvm_carried", group.reader("trimap")),
    ("dvm_show_confidence", "Source"), ("dvm_show_confidence", group.reader("confidence")),
    ("dvm_show_alpha", "Source"), ("dvm_show_alpha", "dvm_matte_edge"),
}  # fmt: skip
_COLOURS = {
    "Read": "#b9a98a", "Input": "#9a8fb0", "Output": "#9a8fb0", "Switch": "#8f8f8f",
    "Copy": "#8b75a8", "Merge2": "#5b7da8", "FilterErode": "#b07a4a", "Blur": "#b07a4a",
    "Grade": "#6fa0c0", "Invert": "#6fa0c0", "Expression": "#6fa0c0", "Premult": "#5b7da8",
    "TimeOffset": "#a5784f",
}  # fmt: skip


def inside() -> str:
    """The nodes that the Group is made of."""
    drawn = Picture()
    for caption, (column, row) in _CAPTIONS.items():
        x, y = _middle((column, row))
        drawn.text(x - 52, y + 4, caption, bold=True, fill=BRIGHT)
    for one in group.NODES:
        # One line, where both inputs are the same node; from left to right, that few lines cross.
        inputs = sorted(dict.fromkeys(one.inputs), key=lambda above: PLACES[above][0])
        for place, above in enumerate(inputs):
            x, y = _middle(PLACES[one.name])
            end = (x + (place - (len(inputs) - 1) / 2) * min(56, 96 / len(inputs)), y - 19)
            if (one.name, above) in NAMED:
                _name_input(drawn, above, end, place, len(inputs))
            else:
                over = _middle(PLACES[above])
                drawn.arrow((over[0], over[1] + 19), end)
    for one in group.NODES:
        x, y = _middle(PLACES[one.name])
        drawn.box(x - 53, y - 19, 106, 38, _COLOURS[one.kind], corner=4)
        said = [_plain(one.name), one.kind, ", ".join(_followed(one))]
        for text, at in zip(said, (-6, 4, 14), strict=True):
            size = 10 if at == -6 else 8.5
            drawn.text(
                x, y + at + (0 if said[2] else 5), text, size=size, anchor="middle", fill="#0c0c0c",
                bold=at == -6,
            )  # fmt: skip
    return drawn.svg(9 * _CELL[0], 19.7 * _CELL[1], "Inside of the node", back="#3a3a3a")


def _middle(place: tuple[float, float]) -> tuple[float, float]:
    return 62 + place[0] * _CELL[0], 30 + place[1] * _CELL[1]


def _plain(name: str) -> str:
    return name.removeprefix("dvm_").replace("_", " ")


def _followed(one: group.Inner) -> list[str]:
    """The Group's knobs that a node follows."""
    return [
        f"{value.partition('parent.')[2].removeprefix('dvm_')}" for value in one.follows.values()
    ]


def _name_input(
    drawn: Picture, above: str, end: tuple[float, float], place: int, count: int
) -> None:
    drawn.arrow((end[0], end[1] - 13), end)
    side = 0 if count == 1 else -8 if place == 0 else 8
    anchor = "middle" if count == 1 else "end" if place == 0 else "start"
    drawn.text(end[0] + side, end[1] - 7, _plain(above), size=8.5, anchor=anchor)


def pictures() -> dict[str, str]:
    """Each picture's text by the name of its file."""
    first, second = tabs()
    return {
        "knobs.svg": panel(first),
        "settings.svg": panel(second),
        "graph.svg": graph(),
        "inside.svg": inside(),
    }


if __name__ == "__main__":
    for name, text in pictures().items():
        (HERE / name).write_text(text, encoding="utf-8")
