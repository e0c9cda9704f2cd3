"""Mask shapes to trimaps, against pixels counted one by one."""

from __future__ import annotations

import math
import random
import zlib

import pytest

from host_plugins.blender import raster
from host_plugins.blender.raster import Layer, Spline, grown, inverted, rasterise, shrunk, united
from host_plugins.client.errors import InputError


def polygon(*places, closed=True, fill=True):
    return Spline(tuple((p, p, p) for p in places), closed, fill)


def square(low, high):
    return polygon((low, low), (high, low), (high, high), (low, high))


def circle(x, y, radius):
    bend = 0.5522847498 * radius
    corners = ((1, 0), (0, 1), (-1, 0), (0, -1))
    return Spline(
        tuple(
            (
                (x + radius * u + bend * v, y + radius * v - bend * u),
                (x + radius * u, y + radius * v),
                (x + radius * u - bend * v, y + radius * v + bend * u),
            )
            for u, v in corners
        )
    )


def pixels(region):
    return {(y, x) for y, row in enumerate(region) for a, b in row for x in range(a, b)}


def region_of(found, width, height):
    rows = []
    for y in range(height):
        row = [(x, x + 1) for x in range(width) if (y, x) in found]
        rows.append(raster._merged(row))
    return tuple(rows)


def test_the_square_that_was_measured_in_blender():
    """0.3 … 0.7 at 128×96 covers rows 22–73 and columns 38–89; portrait is the same, turned."""
    found = pixels(rasterise([Layer((square(0.3, 0.7),))], 128, 96))
    assert found == {(y, x) for y in range(22, 74) for x in range(38, 90)}
    turned = pixels(rasterise([Layer((square(0.3, 0.7),))], 96, 128))
    assert turned == {(x, y) for y, x in found}


def test_y_goes_upwards():
    low = polygon((0.1, 0.0), (0.9, 0.0), (0.9, 0.25), (0.1, 0.25))
    rows = {y for y, _ in pixels(rasterise([Layer((low,))], 40, 40))}
    assert rows == set(range(30, 40))


@pytest.mark.parametrize("radius", [0.05, 0.2, 0.4])
def test_a_circle_of_curves_has_its_area(radius):
    found = len(pixels(rasterise([Layer((circle(0.5, 0.5, radius),))], 400, 300)))
    cut = radius > 0.375  # beyond the picture, above and below
    wanted = math.pi * (400 * radius) ** 2
    if cut:
        half, r = 150, 400 * radius
        wanted -= 2 * (r * r * math.acos(half / r) - half * math.sqrt(r * r - half * half))
    assert abs(found / wanted - 1) < 0.01


def test_where_an_outline_crosses_itself_the_middle_is_outside():
    star = [
        (0.5 + 0.4 * math.sin(4 * math.pi * i / 5), 0.5 + 0.4 * math.cos(4 * math.pi * i / 5))
        for i in range(5)
    ]
    found = pixels(rasterise([Layer((polygon(*star),))], 100, 100))
    assert (50, 50) not in found and (20, 50) in found


def test_open_outlines_and_unfilled_ones_enclose_nothing():
    shapes = (
        square(0.3, 0.5),
        polygon((0.6, 0.6), (0.9, 0.6), (0.9, 0.9), closed=False),
        polygon((0.0, 0.0), (0.2, 0.0), (0.2, 0.2), fill=False),
    )
    both = pixels(rasterise([Layer(shapes)], 50, 50))
    assert both == pixels(rasterise([Layer(shapes[:1])], 50, 50))


@pytest.mark.parametrize(
    ("blend", "wanted"),
    [
        ("MERGE_ADD", lambda a, b: a | b),
        ("LIGHTEN", lambda a, b: a | b),
        ("MERGE_SUBTRACT", lambda a, b: a - b),
        ("SUBTRACT", lambda a, b: a - b),
        ("MUL", lambda a, b: a & b),
        ("DARKEN", lambda a, b: a & b),
        ("DIFFERENCE", lambda a, b: a ^ b),
        ("REPLACE", lambda a, b: b),
    ],
)
def test_layers_go_together_as_blenders_do(blend, wanted):
    one, other = square(0.2, 0.6), square(0.4, 0.9)
    alone = [pixels(rasterise([Layer((s,))], 60, 60)) for s in (one, other)]
    found = rasterise([Layer((one,)), Layer((other,), blend=blend)], 60, 60)
    assert pixels(found) == wanted(*alone)


def test_an_inverted_layer_is_all_else():
    found = pixels(rasterise([Layer((square(0.2, 0.6),), invert=True)], 30, 20))
    inside = pixels(rasterise([Layer((square(0.2, 0.6),))], 30, 20))
    assert found == {(y, x) for y in range(20) for x in range(30)} - inside


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 2.5])
def test_growing_and_shrinking_are_by_a_disc(radius):
    rng = random.Random(int(10 * radius))
    width, height = 37, 23
    everywhere = {(y, x) for y in range(height) for x in range(width)}
    for share in (0.01, 0.1, 0.6):
        some = {p for p in everywhere if rng.random() < share}
        region = region_of(some, width, height)
        near = {
            (y, x) for y, x in everywhere
            if any((y - v) ** 2 + (x - u) ** 2 <= radius * radius for v, u in some)
        }  # fmt: skip
        assert pixels(grown(region, radius, width)) == near
        gone = everywhere - some
        left = {
            (y, x) for y, x in some
            if not any((y - v) ** 2 + (x - u) ** 2 <= radius * radius for v, u in gone)
        }  # fmt: skip
        # A radius of nothing takes nothing away.
        assert pixels(shrunk(region, radius, width)) == (left if radius else some)
        assert pixels(inverted(region, width)) == gone
        others = {p for p in everywhere if rng.random() < share}
        assert pixels(united(region, region_of(others, width, height))) == some | others


def test_a_trimap_has_its_widths_in_pixels():
    core = rasterise([Layer((square(0.4, 0.6),))], 100, 100)  # 40 … 59
    edge = rasterise([Layer((square(0.3, 0.7),))], 100, 100)  # 30 … 69
    rows = raster.trimap(core, edge, 100, 100, grow=0, shrink=0, band=0)
    assert rows[50] == bytes([0] * 30 + [128] * 10 + [255] * 20 + [128] * 10 + [0] * 30)
    rows = raster.trimap(core, edge, 100, 100, grow=4, shrink=3, band=0)
    assert rows[50] == bytes([0] * 26 + [128] * 17 + [255] * 14 + [128] * 17 + [0] * 26)
    rows = raster.trimap(core, None, 100, 100, grow=0, shrink=2, band=7)
    assert rows[50] == bytes([0] * 33 + [128] * 9 + [255] * 16 + [128] * 9 + [0] * 33)


def test_nothing_unknown_is_said():
    core = rasterise([Layer((square(0.4, 0.6),))], 50, 50)
    with pytest.raises(InputError) as caught:
        raster.trimap(core, core, 50, 50, grow=0, shrink=0, band=0)
    assert caught.value.code == "input.no_unknown" and caught.value.hint


@pytest.mark.parametrize("shapes", [(), (polygon((0.1, 0.1), (0.5, 0.5), closed=False),)])
def test_a_mask_without_a_closed_shape_is_said(shapes):
    with pytest.raises(InputError) as caught:
        rasterise([Layer(shapes)], 50, 50)
    assert caught.value.code == "input.empty_mask" and caught.value.hint


def test_a_png_holds_the_rows(tmp_path):
    rows = [bytes(random.Random(y).choices((0, 128, 255), k=33)) for y in range(7)]
    path = tmp_path / "trimap.png"
    raster.write_png(path, rows, 33, 7)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(data[16 + 4 * i : 20 + 4 * i], "big") for i in (0, 1)] == [33, 7]
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    body = data[at + 4 : at + 4 + size]
    check = int.from_bytes(data[at + 4 + size : at + 8 + size], "big")
    assert zlib.crc32(b"IDAT" + body) == check
    assert zlib.decompress(body) == b"".join(b"\0" + row for row in rows)
    assert [p.name for p in tmp_path.iterdir()] == ["trimap.png"]
