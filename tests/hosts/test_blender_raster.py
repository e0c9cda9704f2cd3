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
    """The pixels of a region, whose runs must be ascending, apart and none of them empty."""
    for row in region:
        edges = [x for run in row for x in run]
        assert edges == sorted(set(edges))
    return {(y, x) for y, row in enumerate(region) for a, b in row for x in range(a, b)}


def region_of(found, width, height):
    rows = []
    for y in range(height):
        row = [(x, x + 1) for x in range(width) if (y, x) in found]
        rows.append(raster._merged(row))
    return tuple(rows)


def assert_one_sentence(error):
    """What hosts put into a line of their own: no full stop, no second line, and a hint."""
    for text in (error.message, error.hint):
        assert text and "\n" not in text and ". " not in text and not text.endswith(".")


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
    found = len(pixels(rasterise([Layer((circle(0.5, 0.5, radius),))], 1600, 1200)))
    cut = radius > 0.375  # beyond the picture, above and below
    wanted = math.pi * (1600 * radius) ** 2
    if cut:
        half, r = 600, 1600 * radius
        wanted -= 2 * (r * r * math.acos(half / r) - half * math.sqrt(r * r - half * half))
    assert abs(found / wanted - 1) < 0.005


def off_chord(place, begin, end):
    """Distance of a place from a chord, in pixels."""
    (x, y), (u, v) = place, (end[0] - begin[0], end[1] - begin[1])
    x, y = x - begin[0], y - begin[1]
    share = min(max((x * u + y * v) / (u * u + v * v), 0), 1) if u or v else 0
    return math.hypot(x - share * u, y - share * v)


@pytest.mark.parametrize("side", [96, 1920, 16384])
def test_chords_are_a_tenth_of_a_pixel_off_their_curve_at_most(side):
    """Also on a curve across the whole picture, with its handles beyond the opposite side."""
    curve = [(0, 0), (1.2 * side, 0.9 * side), (-0.2 * side, 0.9 * side), (side, 0)]
    chords = [*raster._curve(*curve), curve[3]]
    parts = len(chords) - 1
    worst = 0
    for i in range(parts):
        for j in range(1, 8):
            t = (i + j / 8) / parts
            weights = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3
            place = [sum(w * p[axis] for w, p in zip(weights, curve)) for axis in (0, 1)]
            worst = max(worst, off_chord(place, chords[i], chords[i + 1]))
    assert worst <= 0.1


def test_any_polygon_is_filled_even_odd_where_centres_are_inside():
    """Against a ray from each centre; corners lie on whole pixels, also beyond the picture."""
    hypothesis = pytest.importorskip("hypothesis")
    given, some = hypothesis.given, hypothesis.strategies
    places = some.lists(some.tuples(some.integers(-4, 20), some.integers(-4, 20)), min_size=3)

    @hypothesis.settings(max_examples=100, deadline=None)
    @given(places, some.integers(4, 16), some.integers(4, 16))
    def check(corners, width, height):
        side = max(width, height)
        left, below = (side - width) / 2, (side - height) / 2
        shape = polygon(*(((x + left) / side, (height - y + below) / side) for x, y in corners))
        found = pixels(rasterise([Layer((shape,))], width, height))
        edges = list(zip(corners, [*corners[1:], corners[0]]))
        for y in range(height):
            for x in range(width):
                centre = x + 0.5, y + 0.5
                if any(off_chord(centre, a, b) < 1e-6 for a, b in edges):
                    continue  # on an edge: either is right
                odd = False
                for (ax, ay), (bx, by) in edges:
                    if (ay > centre[1]) != (by > centre[1]):
                        odd ^= centre[0] < ax + (centre[1] - ay) * (bx - ax) / (by - ay)
                assert ((y, x) in found) == odd

    check()


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


@pytest.mark.parametrize("holes", [False, True])
def test_where_outlines_of_a_layer_overlap(holes):
    """Measured in 3.4, 4.2 and 5.0: inside, or outside with Fill Holes, for one within the other.
    (What Blender fills where outlines cross, with holes, differs from version to version.)"""
    outer, inner = square(0.2, 0.8), square(0.4, 0.6)
    found = pixels(rasterise([Layer((outer, inner), holes=holes)], 100, 100))
    assert len(found) == (3200 if holes else 3600)
    assert ((50, 50) in found) != holes


def test_an_inverted_layer_is_all_else():
    found = pixels(rasterise([Layer((square(0.2, 0.6),), invert=True)], 30, 20))
    inside = pixels(rasterise([Layer((square(0.2, 0.6),))], 30, 20))
    assert found == {(y, x) for y in range(20) for x in range(30)} - inside


@pytest.mark.parametrize(
    ("blend", "wanted"),
    [
        ("MERGE_ADD", lambda below, rest: below | rest),
        ("MERGE_SUBTRACT", lambda below, rest: below - rest),
        ("DARKEN", lambda below, rest: below & rest),
        ("DIFFERENCE", lambda below, rest: below ^ rest),
    ],
)
def test_a_layer_is_inverted_before_it_meets_those_below(blend, wanted):
    """The other way about, all that the layers have in common would be turned over too."""
    one, other = square(0.2, 0.6), square(0.4, 0.9)
    below, own = (pixels(rasterise([Layer((s,))], 60, 60)) for s in (one, other))
    rest = {(y, x) for y in range(60) for x in range(60)} - own
    found = rasterise([Layer((one,)), Layer((other,), invert=True, blend=blend)], 60, 60)
    assert pixels(found) == wanted(below, rest)


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


def test_any_region_grows_and_shrinks_by_any_disc():
    hypothesis = pytest.importorskip("hypothesis")
    given, some = hypothesis.given, hypothesis.strategies
    width, height = 9, 7
    everywhere = {(y, x) for y in range(height) for x in range(width)}
    radii = some.integers(1, 12) | some.floats(0.1, 12)

    @hypothesis.settings(max_examples=100, deadline=None)
    @given(some.sets(some.sampled_from(sorted(everywhere))), radii)
    def check(inside, radius):
        def near(places):
            return {
                (y, x) for y, x in everywhere
                if any((y - v) ** 2 + (x - u) ** 2 <= radius * radius for v, u in places)
            }  # fmt: skip

        region = region_of(inside, width, height)
        assert pixels(grown(region, radius, width)) == near(inside)
        assert pixels(shrunk(region, radius, width)) == everywhere - near(everywhere - inside)

    check()


def test_nothing_shrinks_away_from_the_border():
    core = rasterise([Layer((polygon((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))], 40, 40)
    assert pixels(shrunk(core, 6, 40)) == {(y, x) for y in range(40) for x in range(14)}


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0)])
def test_a_plate_without_a_size_is_said(width, height):
    with pytest.raises(InputError) as caught:
        rasterise([Layer((square(0.3, 0.7),))], width, height)
    assert caught.value.code == "input.plate_size" and caught.value.hint


def test_a_trimap_has_its_widths_in_pixels():
    core = rasterise([Layer((square(0.4, 0.6),))], 100, 100)  # 40 … 59
    edge = rasterise([Layer((square(0.3, 0.7),))], 100, 100)  # 30 … 69
    rows = raster.trimap(core, edge, 100, 100, grow=0, shrink=0, band=0)
    assert rows[50] == bytes([0] * 30 + [128] * 10 + [255] * 20 + [128] * 10 + [0] * 30)
    rows = raster.trimap(core, edge, 100, 100, grow=4, shrink=3, band=0)
    assert rows[50] == bytes([0] * 26 + [128] * 17 + [255] * 14 + [128] * 17 + [0] * 26)
    rows = raster.trimap(core, None, 100, 100, grow=0, shrink=2, band=7)
    assert rows[50] == bytes([0] * 33 + [128] * 9 + [255] * 16 + [128] * 9 + [0] * 33)


def test_what_is_shrunk_off_a_core_beyond_its_edge_stays_unknown():
    """An artist may draw the edge across the core; what was core cannot become background."""
    core = rasterise([Layer((square(0.2, 0.6),))], 50, 50)  # 10 … 29
    edge = rasterise([Layer((square(0.4, 0.8),))], 50, 50)  # 20 … 39
    rows = raster.trimap(core, edge, 50, 50, grow=0, shrink=2, band=0)
    # Rows downwards: the core is 20 … 39 there, the edge 10 … 29.
    assert rows[25] == bytes([0] * 10 + [128] * 2 + [255] * 16 + [128] * 12 + [0] * 10)
    assert rows[35] == bytes([0] * 10 + [128] * 2 + [255] * 16 + [128] * 2 + [0] * 20)


def test_nothing_unknown_is_said():
    core = rasterise([Layer((square(0.4, 0.6),))], 50, 50)
    with pytest.raises(InputError) as caught:
        raster.trimap(core, core, 50, 50, grow=0, shrink=0, band=0)
    assert caught.value.code == "input.no_unknown"
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("shapes", [(), (polygon((0.1, 0.1), (0.5, 0.5), closed=False),)])
def test_a_mask_without_a_closed_shape_is_said(shapes):
    with pytest.raises(InputError) as caught:
        rasterise([Layer(shapes)], 50, 50)
    assert caught.value.code == "input.empty_mask"
    assert_one_sentence(caught.value)


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
