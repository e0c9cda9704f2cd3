"""Trimaps out of mask shapes, without a library and without holding Blender's main thread: a region
is rows of runs, so that the work goes with the length of outlines and not with the pixels inside.

Blender renders masks only through a scene, which takes the main thread for longer than an artist
should feel. The shapes are Bezier curves, filled even-odd as Blender's are; a pixel is inside if
its centre is. Feather is not looked at: a trimap's edges are hard.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..client.errors import InputError
from ..client.files import write_atomically

Place = tuple[float, float]
Run = tuple[int, int]
Region = tuple[
    tuple[Run, ...], ...
]  # a row after the other, top first; runs x0 ≤ x < x1, ascending

_FLAT = 0.1  # pixels that a chord may be off its curve
# Of one curve, however far its handles are pulled; within a picture of 16 384 pixels 590 will do.
_MOST_PARTS = 1024


@dataclass(frozen=True)
class Spline:
    """One outline.

    Attributes:
        points: left handle, point, right handle of each, in Blender's mask space: 0…1 over the
            larger side of the picture, centred on the smaller one, y upwards.
        closed: the last point is joined to the first; others enclose nothing.
        fill: it is filled.
    """

    points: tuple[tuple[Place, Place, Place], ...]
    closed: bool = True
    fill: bool = True


@dataclass(frozen=True)
class Layer:
    """Outlines, and how they go with the layers below them.

    Attributes:
        splines: outlines; where they overlap is inside.
        invert: all else is meant.
        blend: Blender's mode.
        holes: where two overlap is outside.
    """

    splines: tuple[Spline, ...]
    invert: bool = False
    blend: str = "MERGE_ADD"
    holes: bool = False


def rasterise(layers: Sequence[Layer], width: int, height: int) -> Region:
    """The pixels inside of some layers.

    Args:
        layers: from the lowest up.
        width, height: of the picture.

    Raises:
        InputError: ``input.empty_mask`` if there is no filled outline; ``input.plate_size``.
    """
    if width < 1 or height < 1:
        raise InputError(
            "input.plate_size", f"a plate of {width}×{height} pixels", hint="check the plate"
        )
    if not any(s.closed and s.fill and s.points for layer in layers for s in layer.splines):
        raise InputError(
            "input.empty_mask",
            "the mask has no closed shape",
            hint="close the outline (Alt C in the Mask Editor)",
        )
    found = empty(height)
    for layer in layers:
        own = empty(height)
        for spline in layer.splines:
            if spline.closed and spline.fill:
                one = _filled(spline, width, height)
                own = _blended(own, one, "DIFFERENCE", width) if layer.holes else united(own, one)
        if layer.invert:
            own = inverted(own, width)
        found = _blended(found, own, layer.blend, width)
    return found


def trimap(
    core: Region, edge: Region | None, width: int, height: int, *, grow: int, shrink: int, band: int
) -> list[bytes]:
    """The trimap, a row of bytes a line, top first: 0, 128, 255.

    Args:
        core: surely foreground.
        edge: all that may be foreground; None = the core, and ``band`` pixels around it.
        width, height: of the picture.
        grow: pixels that the edge is grown by.
        shrink: pixels that the core is shrunk by.
        band: see ``edge``.

    Raises:
        InputError: ``input.no_unknown``.
    """
    inside = shrunk(core, shrink, width)
    outside = grown(core, band, width) if edge is None else united(grown(edge, grow, width), core)
    rows = []
    for may_be, surely in zip(outside, inside):
        row = bytearray(width)
        for x0, x1 in may_be:
            row[x0:x1] = b"\x80" * (x1 - x0)
        for x0, x1 in surely:
            row[x0:x1] = b"\xff" * (x1 - x0)
        rows.append(bytes(row))
    if not any(128 in row for row in rows):
        raise InputError(
            "input.no_unknown",
            "nothing lies between core and edge, so nothing would be matted",
            hint="draw the edge around the core with a gap, or shrink the core",
        )
    return rows


def write_png(path: Path, rows: Sequence[bytes], width: int, height: int) -> None:
    """An 8-bit grey PNG, all of it or nothing.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
    write_atomically(path, data + chunk(b"IEND", b""))


# Regions


def empty(height: int) -> Region:
    return ((),) * height


def inverted(region: Region, width: int) -> Region:
    """All that is not in it."""
    return tuple(_gaps(row, width) for row in region)


def united(one: Region, other: Region) -> Region:
    return tuple(_merged((*a, *b)) if a and b else a or b for a, b in zip(one, other))


def grown(region: Region, radius: float, width: int) -> Region:
    """With all pixels at most ``radius`` pixels from one of it, centre to centre."""
    if radius <= 0:
        return region
    reach = math.floor(radius)
    wider = [math.isqrt(int(radius * radius - dy * dy)) for dy in range(reach + 1)]
    found = []
    for y in range(len(region)):
        runs = []
        for dy in range(-reach, reach + 1):
            if 0 <= y + dy < len(region):
                by = wider[abs(dy)]
                for x0, x1 in region[y + dy]:
                    runs.append((max(x0 - by, 0), min(x1 + by, width)))
        found.append(_merged(runs))
    return tuple(found)


def shrunk(region: Region, radius: float, width: int) -> Region:
    """Without all pixels at most ``radius`` pixels from one that is not in it. What lies beyond the
    picture is not known not to be in it, so nothing shrinks away from the border."""
    return inverted(grown(inverted(region, width), radius, width), width)


def _merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Ascending, those that touch made one."""
    found: list[Run] = []
    for x0, x1 in sorted(runs):
        if found and x0 <= found[-1][1]:
            if x1 > found[-1][1]:
                found[-1] = (found[-1][0], x1)
        elif x0 < x1:
            found.append((x0, x1))
    return tuple(found)


def _gaps(row: tuple[Run, ...], width: int) -> tuple[Run, ...]:
    edges = [0, *(x for run in row for x in run), width]
    return tuple(
        (edges[i], edges[i + 1]) for i in range(0, len(edges), 2) if edges[i] < edges[i + 1]
    )


def _blended(below: Region, own: Region, blend: str, width: int) -> Region:
    """Of hard regions Blender's modes are set operations."""
    if blend in ("MERGE_SUBTRACT", "SUBTRACT"):
        return _met(below, inverted(own, width), width)
    if blend in ("MUL", "DARKEN"):
        return _met(below, own, width)
    if blend == "REPLACE":
        return own
    if blend == "DIFFERENCE":
        only = _met(below, inverted(own, width), width)
        return united(only, _met(own, inverted(below, width), width))
    return united(below, own)


def _met(one: Region, other: Region, width: int) -> Region:
    """What is in both."""
    return inverted(united(inverted(one, width), inverted(other, width)), width)


# Outlines


def _filled(spline: Spline, width: int, height: int) -> Region:
    """Even-odd, by where each row's middle crosses the outline."""
    outline = _outline(spline, width, height)
    crossings: list[list[float]] = [[] for _ in range(height)]
    for (ax, ay), (bx, by) in zip(outline, [*outline[1:], outline[0]]):
        if ay == by:
            continue
        slope = (bx - ax) / (by - ay)
        top, bottom = (ay, by) if ay < by else (by, ay)
        for y in range(max(math.ceil(top - 0.5), 0), min(math.ceil(bottom - 0.5), height)):
            crossings[y].append(ax + (y + 0.5 - ay) * slope)
    return tuple(_runs(sorted(row), width) for row in crossings)


def _runs(crossings: list[float], width: int) -> tuple[Run, ...]:
    def clamped(x: float) -> int:
        return min(max(math.ceil(x - 0.5), 0), width)

    pairs = zip(crossings[::2], crossings[1::2])
    return _merged((clamped(a), clamped(b)) for a, b in pairs)


def _outline(spline: Spline, width: int, height: int) -> list[Place]:
    """A polygon in pixels, y downwards, from the top left corner."""
    side = max(width, height)

    def pixel(place: Place) -> Place:
        x, y = place
        return x * side - (side - width) / 2, height - (y * side - (side - height) / 2)

    points = [(pixel(a), pixel(b), pixel(c)) for a, b, c in spline.points]
    found: list[Place] = []
    for (_, begin, leaving), (arriving, end, _) in zip(points, [*points[1:], points[0]]):
        found += _curve(begin, leaving, arriving, end)
    return found


def _curve(a: Place, b: Place, c: Place, d: Place) -> list[Place]:
    """A cubic Bezier curve as chords, without its end; error at most `_FLAT`.

    A chord over 1/n of the curve is off by at most max|B″|/(8·n²), and |B″| is at most 6 times the
    largest second difference of the control points.
    """
    most = max(
        math.hypot(a[0] - 2 * b[0] + c[0], a[1] - 2 * b[1] + c[1]),
        math.hypot(b[0] - 2 * c[0] + d[0], b[1] - 2 * c[1] + d[1]),
    )
    parts = min(max(math.ceil(math.sqrt(6 * most / (8 * _FLAT))), 1), _MOST_PARTS)
    found = []
    for i in range(parts):
        t = i / parts
        s = 1 - t
        w = s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t
        found.append(
            (
                w[0] * a[0] + w[1] * b[0] + w[2] * c[0] + w[3] * d[0],
                w[0] * a[1] + w[1] * b[1] + w[2] * c[1] + w[3] * d[1],
            )
        )
    return found
