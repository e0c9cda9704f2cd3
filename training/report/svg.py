"""What drawings of reports are made of: colours, rules, texts, the `svg` element.

Colours are attributes, not style sheets, so that a drawing stands for itself, in a page or as a
file. All that is written into one is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

INK, FAINT, GRID, PAPER, BAR = "#d8d8d8", "#9a9a9a", "#484848", "#303030", "#a8a8a8"
# Colours that most colour-blind people can tell apart (M. Okabe, K. Ito, "Color Universal Design",
# 2008), lightened for a dark page; dashes tell lines apart without colour.
STYLES: tuple[tuple[str, str], ...] = (
    ("#f0f0f0", "none"),
    ("#56b4e9", "none"),
    ("#e69f00", "none"),
    ("#2fc79a", "none"),
    ("#d98cba", "none"),
    ("#f0e442", "6 3"),
    ("#ff7f50", "6 3"),
    ("#7f9cff", "2 3"),
    ("#c0c0c0", "2 3"),
)


def rule(x0: float, y0: float, x1: float, y1: float, colour: str) -> Markup:
    """A thin straight line."""
    return Markup('<path d="M{:.1f} {:.1f}L{:.1f} {:.1f}" stroke="{}"/>').format(
        x0, y0, x1, y1, colour
    )


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = FAINT) -> Markup:
    """Small letters; ``anchor``: start, middle or end of them lies at x. y: their base line."""
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" fill="{}" font-family="sans-serif" font-size="11" '
        'text-anchor="{}">{}</text>'
    ).format(x, y, colour, anchor, words)


def svg(
    size: tuple[int, int], title: str, parts: Iterable[Markup], *, natural: bool = False
) -> Markup:
    """An `svg` element.

    Args:
        size: width and height, in its own units.
        title: what it shows, for those who cannot see it.
        parts: drawn in this order.
        natural: a unit is a pixel; else it takes the width that there is.
    """
    fixed = Markup(' width="{}" height="{}"').format(*size) if natural else Markup("")
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}"{} role="img" '
        'aria-label="{}">{}</svg>'
    ).format(*size, fixed, title, Markup("").join(parts))


def beside(
    drawings: Sequence[Markup], size: tuple[int, int], title: str, across: int = 4
) -> Markup:
    """One drawing of several, in rows, each of ``size``, on a dark ground."""
    columns = min(max(len(drawings), 1), across)
    whole = columns * size[0], math.ceil(len(drawings) / columns) * size[1]
    placed = [
        Markup('<g transform="translate({} {})">{}</g>').format(
            place % columns * size[0], place // columns * size[1], drawing
        )
        for place, drawing in enumerate(drawings)
    ]
    ground = Markup('<rect width="100%" height="100%" fill="{}"/>').format(PAPER)
    return svg(whole, title, [ground, *placed], natural=True)
