"""Parts of HTML reports: line plots over frames, their legends, histograms.

They stand for themselves, in a page or as a file: colours are attributes, not style sheets. All
that is written into them is escaped. In a page, `pages/plots.js` tells the values under the pointer
and hides lines; without it the plots are as they are drawn here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from training.report.svg import BAR, FAINT, GRID, INK, STYLES, rule, svg, text

_LEFT, _RIGHT, _TOP, _FOOT = 60, 20, 10, 24
_TICKS = 4
_WIDTHS = {False: 1.5, True: 2.5}  # of lines


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        name: as it is called in the legend.
        values: one for each x; None, or not finite, is a gap.
        style: index into `STYLES`, taken round.
        shown: False leaves it out until somebody asks for it.
        strong: drawn thicker than the others.
    """

    name: str
    values: Sequence[float | None]
    style: int = 0
    shown: bool = True
    strong: bool = False


def line_plot(
    title: str,
    xs: Sequence[int],
    lines: Sequence[Line],
    *,
    x_label: str = "frame",
    marked: Iterable[int] = (),
    size: tuple[int, int] = (1280, 160),
) -> Markup:
    """A plot over frames, from 0 upwards.

    Args:
        title: told above it.
        xs: frame numbers, rising.
        lines: at least one, each as long as ``xs``.
        x_label: what ``xs`` are.
        marked: those of ``xs`` that get a tick mark below, e.g. frames that pictures are kept of.
        size: of the drawing, units of SVG; it takes the width that there is.

    Returns:
        A ``figure`` that holds its values as JSON in ``data-plot``, for `pages/plots.js`.

    Raises:
        ValueError: a line is not as long as ``xs``, or there is nothing to draw.
    """
    if not xs or not lines or any(len(line.values) != len(xs) for line in lines):
        raise ValueError("a plot wants xs, and lines as long as they are")
    width, height = size
    cleaned = [[_finite(value) for value in line.values] for line in lines]
    seen = [v for line, row in zip(lines, cleaned, strict=True) if line.shown for v in row]
    ticks = nice_ticks(max((v for v in seen if v is not None), default=0.0))
    frame = _Frame(xs[0], xs[-1], ticks[-1], width, height)
    marks = sorted(set(marked))
    data = {
        "xs": list(xs),
        "marked": marks,
        "label": x_label,
        "box": [_LEFT, width - _RIGHT, _TOP, height - _FOOT],
        "lines": [
            {"name": line.name, "values": row, "shown": line.shown}
            for line, row in zip(lines, cleaned, strict=True)
        ],
    }
    parts = [Markup('<g class="grid">'), *(_y_tick(frame, tick) for tick in ticks), Markup("</g>")]
    parts += [_x_tick(frame, x) for x in x_ticks(xs)]
    parts += [_mark(frame, x) for x in marks if xs[0] <= x <= xs[-1]]
    parts.append(text(_LEFT - 22, height - _FOOT + 18, x_label, "end"))
    for place, (line, row) in enumerate(zip(lines, cleaned, strict=True)):
        colour, dash = STYLES[line.style % len(STYLES)]
        parts.append(
            Markup(
                '<path class="line" data-line="{}" d="{}" fill="none" stroke="{}" '
                'stroke-width="{}" stroke-linejoin="round" stroke-linecap="round" '
                'stroke-dasharray="{}"{}/>'
            ).format(
                place,
                _path(frame, xs, row),
                colour,
                _WIDTHS[line.strong],
                dash,
                Markup("") if line.shown else Markup(' display="none"'),
            )
        )
    drawing = svg(size, title, parts)
    return Markup(
        '<figure class="plot" tabindex="0" data-plot="{}"><figcaption>{}</figcaption>{}'
        '<output class="values" aria-live="polite"></output></figure>'
    ).format(json.dumps(data), title, drawing)


def legend(lines: Sequence[Line]) -> Markup:
    """Check boxes, one a line, that show and hide it in every plot of the same section."""
    boxes = []
    for line in lines:
        colour, dash = STYLES[line.style % len(STYLES)]
        boxes.append(
            Markup(
                '<label><input type="checkbox" data-name="{}"{}>'
                '<svg width="26" height="10" aria-hidden="true"><path d="M1 5H25" stroke="{}" '
                'stroke-width="{}" stroke-dasharray="{}"/></svg>{}</label>'
            ).format(
                line.name,
                Markup(" checked") if line.shown else "",
                colour,
                _WIDTHS[line.strong],
                dash,
                line.name,
            )
        )
    return Markup('<div class="legend" role="group" aria-label="lines">{}</div>').format(
        Markup("").join(boxes)
    )


def histogram(
    title: str,
    counts: Sequence[int] | npt.NDArray[np.integer],
    *,
    span: tuple[float, float] = (0.0, 1.0),
    logarithmic: bool = True,
    size: tuple[int, int] = (320, 120),
) -> Markup:
    """Bars over a range of values; each tells its count when the pointer rests on it.

    Args:
        title: told above it.
        counts: of bins of equal width, at least one.
        span: the values that the first bin begins at and the last one ends at.
        logarithmic: heights are log(1 + count): the 0 and 1 of a matte outweigh all between them.
        size: of the drawing, units of SVG.

    Raises:
        ValueError: there are no bins, or a count is negative.
    """
    bins = [int(count) for count in counts]
    if not bins or min(bins) < 0:
        raise ValueError("a histogram wants counts of at least 0")
    width, height = size
    left, foot = 6, 18
    heights = [math.log1p(count) if logarithmic else float(count) for count in bins]
    most, whole = max(heights) or 1.0, max(sum(bins), 1)
    step = (width - 2 * left) / len(bins)
    edges = np.linspace(*span, len(bins) + 1)
    parts = []
    for place, (low, high) in enumerate(pairwise(edges)):
        tall = (height - foot - 4) * heights[place] / most
        parts.append(
            Markup(
                '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="{}">'
                "<title>{}</title></rect>"
            ).format(
                left + place * step,
                height - foot - tall,
                max(step - 0.6, 0.4),
                tall,
                BAR,
                f"{low:.2f}–{high:.2f}: {bins[place]} ({bins[place] / whole:.1%})",
            )
        )
    parts.append(rule(left, height - foot, width - left, height - foot, GRID))
    parts.append(text(left, height - 4, f"{span[0]:g}", "start"))
    parts.append(text(width - left, height - 4, f"{span[1]:g}", "end"))
    return Markup('<figure class="histogram"><figcaption>{}{}</figcaption>{}</figure>').format(
        title, " (heights logarithmic)" if logarithmic else "", svg(size, title, parts)
    )


def nice_ticks(most: float, count: int = _TICKS) -> list[float]:
    """0 and up to ``count`` round numbers above it, the last at least ``most``."""
    if not most > 0:
        return [0.0, 1.0]
    rough = most / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    return [step * i for i in range(math.ceil(most / step - 1e-9) + 1)]


def x_ticks(xs: Sequence[int], count: int = 10) -> list[int]:
    """A few of the frame numbers, evenly spread, with the first one."""
    step = max(math.ceil(len(xs) / count), 1)
    return list(xs[::step])


@dataclass(frozen=True)
class _Frame:
    """Where values lie in the drawing."""

    first: int
    last: int
    top: float
    width: int
    height: int

    def x(self, value: float) -> float:
        span = max(self.last - self.first, 1)
        return _LEFT + (self.width - _LEFT - _RIGHT) * (value - self.first) / span

    def y(self, value: float) -> float:
        return self.height - _FOOT - (self.height - _TOP - _FOOT) * value / self.top


def _path(frame: _Frame, xs: Sequence[int], values: Sequence[float | None]) -> str:
    made, before = [], False
    for place, (x, value) in enumerate(zip(xs, values, strict=True)):
        if value is None:
            before = False
            continue
        made.append(f"{'L' if before else 'M'}{frame.x(x):.2f} {frame.y(value):.2f}")
        alone = not before and (place + 1 == len(xs) or values[place + 1] is None)
        made.append("h0.01" if alone else "")  # a dot, by the round cap
        before = True
    return "".join(made)


def _y_tick(frame: _Frame, value: float) -> Markup:
    y = frame.y(value)
    return rule(_LEFT, y, frame.width - _RIGHT, y, GRID) + text(
        _LEFT - 6, y + 4, f"{value:g}", "end"
    )


def _x_tick(frame: _Frame, value: int) -> Markup:
    x, foot = frame.x(value), frame.height - _FOOT
    return rule(x, foot, x, foot + 4, FAINT) + text(x, foot + 18, str(value), "middle")


def _mark(frame: _Frame, value: int) -> Markup:
    x, y = frame.x(value), frame.height - _FOOT
    return Markup('<path d="M{:.1f} {:.1f}l-4 7h8z" fill="{}"><title>{}</title></path>').format(
        x, y, INK, f"pictures of frame {value}"
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
