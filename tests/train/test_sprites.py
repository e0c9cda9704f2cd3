"""Procedural sprites: exact coverage, straight colour, true sway, and that each looks its kind."""

import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest

from training.material import Material
from training.sprites import KINDS, SHARES, Sprite, grow_sprite, main, sheet, sprite_library
from training.synthetic.locks import Locks
from training.synthetic.painting import (
    SIZE,
    blob,
    canvas,
    draw_ribbons,
    extended,
    filled,
    finished,
    layer,
    over,
    texture,
)


@pytest.fixture(autouse=True)
def one_thread():
    cv2.setNumThreads(1)


def photograph(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


PHOTOGRAPHS = (photograph(1), photograph(2))


@pytest.fixture(scope="module")
def grown() -> dict[str, list[Sprite]]:
    return {kind: [grow_sprite(kind, 40 + i, PHOTOGRAPHS) for i in range(3)] for kind in KINDS}


def partial(sprite: Sprite) -> float:
    """Mixed pixels per pixel of outline."""
    alpha = sprite.frames[0, ..., 3]
    solid = (alpha > 127).astype(np.uint8)
    outline = solid - cv2.erode(solid, np.ones((3, 3), np.uint8))
    return float(((alpha > 12) & (alpha < 243)).sum() / max(outline.sum(), 1))


def holes(alpha: np.ndarray) -> int:
    """Places that the thing lets through, not counting what lies around it."""
    clear = np.pad(alpha < 60, 1, constant_values=True).astype(np.uint8)
    return int(cv2.connectedComponents(clear, connectivity=4)[0]) - 2


# Painting


@pytest.mark.parametrize("width", [1.0, 1.7, 3.0, 6.5])
@pytest.mark.parametrize("turn", [0.0, 0.31, 0.785, 1.4])
def test_a_ribbon_covers_its_length_times_its_width(width, turn):
    way = np.array([np.cos(turn), np.sin(turn)])
    lines = (SIZE / 2 + way * np.linspace(-150, 150, 9)[:, None])[None]
    into = canvas()
    draw_ribbons(into, lines, np.full((1, 9), width), np.full((1, 8, 3), 200.0))
    colour, alpha = layer(into)
    assert alpha.sum() / 300 == pytest.approx(width, abs=0.22)
    # The line's middle lies where it was asked to lie.
    y, x = np.mgrid[:SIZE, :SIZE]
    assert (alpha[..., 0] * x).sum() / alpha.sum() == pytest.approx(SIZE / 2, abs=0.1)
    assert (alpha[..., 0] * y).sum() / alpha.sum() == pytest.approx(SIZE / 2, abs=0.1)
    straight = (colour / np.maximum(alpha, 1e-6))[alpha[..., 0] > 0.3]
    assert np.abs(straight - 200).max() < 5


def test_later_ribbons_lie_over_earlier_ones():
    lines = np.array([[[200.0, 320], [440, 320]], [[320.0, 200], [320, 440]]])
    into = canvas()
    colours = np.array([[[250.0, 0, 0]], [[0, 250.0, 0]]])
    draw_ribbons(into, lines, np.full((2, 2), 20.0), colours)
    colour, alpha = layer(into)
    assert alpha[320, 320] == 1
    assert colour[320, 320] == pytest.approx([0, 250, 0], abs=1)
    assert colour[320, 240] == pytest.approx([250, 0, 0], abs=1)


def test_over_is_the_over_operator():
    upper = np.full((2, 2, 3), 60.0), np.full((2, 2, 1), 0.6)
    lower = np.full((2, 2, 3), 50.0), np.full((2, 2, 1), 0.5)
    colour, alpha = over(upper, lower)
    assert alpha == pytest.approx(np.full((2, 2, 1), 0.8))
    assert colour == pytest.approx(np.full((2, 2, 3), 80.0))  # straight 100, all along
    frame = finished((np.tile(colour, (8, 8, 1)), np.tile(alpha, (8, 8, 1))))
    assert frame[3, 3].tolist() == [100, 100, 100, 204]


def test_colour_goes_on_beyond_the_edge():
    y, x = np.mgrid[:200, :300]
    alpha = np.clip(40 - np.hypot(x - 150, y - 100) + 0.5, 0, 1)
    colour = np.zeros((200, 300, 3), np.uint8)
    colour[alpha > 0] = (200, 90, 30)  # black around it, as cut-outs are stored
    found = extended(colour, np.rint(alpha * 255).astype(np.uint8))
    assert np.abs(found.astype(int) - (200, 90, 30)).max() <= 3


def test_nearer_colour_goes_on_before_farther():
    alpha = np.zeros((120, 240), np.uint8)
    alpha[50:70, 20:40] = alpha[50:70, 200:220] = 255
    colour = np.zeros((120, 240, 3), np.uint8)
    colour[:, :120], colour[:, 120:] = (250, 0, 0), (0, 0, 250)
    colour[alpha == 0] = 0
    found = extended(colour, alpha)
    assert found[60, 60, 0] > 180 > 80 > found[60, 60, 2]
    assert found[60, 180, 2] > 180 > 80 > found[60, 180, 0]


def test_coverage_of_a_disc_is_its_area():
    outline = blob(np.random.default_rng(0), 100, 0)
    area = cv2.contourArea(outline.astype(np.float32))
    assert filled(outline).sum() / 255 == pytest.approx(area, rel=0.01)


def test_textures_come_from_photographs():
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 0] = 180
    found = [texture(np.random.default_rng(i), [red], 64) for i in range(20)]
    red_alone = sum(bool((t[..., 1:] < 1).all() and (t[..., 0] > 60).all()) for t in found)
    assert 11 <= red_alone < 20  # the others are made


# Sprites


@pytest.mark.parametrize("kind", KINDS)
def test_sprites_are_whole(kind, grown):
    for sprite in grown[kind]:
        frames = sprite.frames
        assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 4
        assert min(frames.shape[1:3]) > 60 and max(frames.shape[1:3]) <= SIZE
        assert sprite.motion == ("filmed" if len(frames) > 1 else "still")
        assert sprite.kind == kind
        alpha = frames[..., 3]
        # Only feet may be cut off: nothing else ends at a straight line that is no edge.
        assert max(alpha[:, 0].max(), alpha[:, :, 0].max(), alpha[:, :, -1].max()) < 130
        assert (alpha > 12).mean() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_no_fringe_is_darker_than_what_it_belongs_to(kind, grown):
    for sprite in grown[kind]:
        frame = sprite.frames[0].astype(np.float32)
        light, alpha = frame[..., :3].sum(2), frame[..., 3]
        sure = light[alpha > 0.8 * alpha.max()]
        rim = (alpha == 0) & (cv2.dilate(alpha, np.ones((25, 25))) > 40)
        assert light[rim].mean() > 0.45 * np.quantile(sure, 0.2)
        # Black is nowhere beyond the edge unless the thing itself is black there.
        seen = (alpha > 40).astype(np.float32)
        near = cv2.blur(light * seen, (31, 31)) / np.maximum(cv2.blur(seen, (31, 31)), 1e-3)
        odd = rim & (light < 12) & (near > 160)
        assert odd.sum() < 0.02 * rim.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_grows_the_same_sprite(kind):
    first, again, other = (grow_sprite(kind, seed, PHOTOGRAPHS) for seed in (7, 7, 8))
    assert first.name == again.name != other.name
    assert np.array_equal(first.frames, again.frames)
    assert first.frames.shape != other.frames.shape or (first.frames != other.frames).any()


@pytest.mark.parametrize("kind", KINDS)
def test_sprites_need_no_photographs(kind):
    assert (grow_sprite(kind, 3, ()).frames[..., 3] > 100).any()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="not 'beard'"):
        grow_sprite("beard", 0, ())


def test_kinds_differ_in_what_is_mixed(grown):
    share = {kind: np.mean([partial(s) for s in grown[kind]]) for kind in KINDS}
    assert share["solid"] < 2.5  # sharp, but for the few out of focus
    assert 1.0 < share["strands"] < 12 and 1.0 < share["fur"] < 12
    assert share["cloth"] > 15 and share["smoke"] > 15


def test_fur_is_mixed_in_a_wide_band_around_a_solid_body(grown):
    widths = []
    for sprite in grown["fur"]:
        alpha = sprite.frames[0, ..., 3]
        body = cv2.morphologyEx((alpha > 242).astype(np.uint8), cv2.MORPH_OPEN, np.ones((15, 15)))
        assert body.sum() > 0.2 * (alpha > 12).sum()
        out = cv2.distanceTransform(1 - body, cv2.DIST_L2, 5)
        widths.append(np.quantile(out[(alpha > 12) & (alpha < 243) & (body == 0)], 0.9))
    assert 8 < np.median(widths) < 60 and min(widths) > 4


def test_strands_are_thin(grown):
    for sprite in grown["strands"]:
        alpha = sprite.frames[0, ..., 3]
        there = (alpha > 60).astype(np.uint8)
        thin = there - cv2.morphologyEx(there, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        assert thin.sum() > 1500  # pixels of what is nowhere five wide
        assert (alpha > 250).sum() > 6000  # and something solid they belong to


def test_lace_has_holes_and_threads_that_cover(grown):
    for sprite in grown["lace"]:
        alpha = sprite.frames[0, ..., 3]
        assert holes(alpha) > 40
        assert np.quantile(alpha[alpha > 12], 0.6) > 200


def test_cloth_lets_through_everywhere_but_at_its_hem():
    for seed in range(6):
        alpha = grow_sprite("cloth", seed, ()).frames[0, ..., 3] / 255
        inside = cv2.erode((alpha > 0.05).astype(np.uint8), np.ones((31, 31))) > 0
        assert np.quantile(alpha[inside], 0.99) < 0.98 and alpha[inside].min() > 0.08
        assert alpha[inside].std() > 0.01  # folds


def test_smoke_is_often_nowhere_certain():
    sprites = [grow_sprite("smoke", seed, ()) for seed in range(14)]
    most = [int(s.frames[0, ..., 3].max()) for s in sprites]
    assert 3 <= sum(m < 243 for m in most) <= 11
    for sprite in sprites:
        alpha = sprite.frames[0, ..., 3]
        assert ((alpha > 5) & (alpha < 250)).sum() > 0.2 * (alpha > 5).sum()
        assert np.abs(np.diff(alpha.astype(int), axis=1)).max() < 160  # soft


# Sway


def test_tips_sway_with_the_square_of_how_far_along_they_are():
    lines = np.zeros((2, 5, 2))
    lines[..., 1] = np.linspace(0, 100, 5)
    locks = Locks(lines, np.ones((2, 5)), np.zeros((2, 4, 3)), np.array([0.0, 1.0]))
    moved = locks.swayed(1.0, np.array([10.0, 0.0]), 0.5).lines - lines
    assert np.array_equal(moved[:, 0], np.zeros((2, 2)))
    assert moved[:, 2, 0] == pytest.approx(moved[:, 4, 0] / 4)
    assert 0 < abs(moved[:, 4, 0]).max() <= 13
    assert (moved[..., 1] == 0).all()


@pytest.mark.parametrize("kind", ["strands", "fur"])
def test_filmed_sprites_move_a_little_every_frame(kind):
    filmed = next(
        s for s in (grow_sprite(kind, seed, ()) for seed in range(20)) if s.motion == "filmed"
    )
    alpha = filmed.frames[..., 3].astype(float)
    assert len(alpha) == 8
    there = (alpha[0] > 12).sum()
    steps = [np.abs(b - a).sum() / 255 / there for a, b in pairwise(alpha)]
    assert min(steps) > 0.0005 and max(steps) < 0.35
    body = (alpha.min(0) > 250).sum()
    assert body > 0.3 * there  # what they grow on stays


# Library


def test_a_library_holds_every_kind_by_its_share_and_then_the_material():
    own = Sprite("cutout x", "cutout", np.zeros((1, 9, 9, 4), np.uint8), "still")
    material = Material((own,), PHOTOGRAPHS)
    found = sprite_library(material, 8, 7, 1)  # seeds of which few move: those take longest
    names = [sprite.name for sprite in found]
    assert len(set(names)) == len(names)
    assert {sprite.kind for sprite in found} == {*SHARES, "cutout"}
    assert found[-1] is own
    assert 7 <= len(found) - 1 <= 9
    assert sum(s.kind in ("solid", "curves", "lace") for s in found) >= 3
    # Several processes grow what one grows.
    together = sprite_library(material, 8, 7, 2)
    assert [s.name for s in together] == names
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(found, together, strict=True))


def test_clumps_come_when_asked_for_and_leave_the_others_as_they_are(monkeypatch):
    monkeypatch.setattr("training.sprites.grow_sprite", lambda kind, seed, _: (kind, seed))
    plain, more = (
        sprite_library(Material((), PHOTOGRAPHS), 5, 7, 1, clumps=count) for count in (0, 2)
    )
    assert more == (*plain, ("clumps", 5), ("clumps", 6))
    assert {kind for kind, _ in plain} == set(SHARES)


def test_most_of_a_clump_is_opaque():
    for seed in range(4):
        alpha = grow_sprite("clumps", seed, PHOTOGRAPHS).frames[0, ..., 3] / 255
        assert (alpha > 0.95).sum() > 0.5 * (alpha > 0.05).sum()


def test_a_sheet_shows_colour_over_a_checker_and_alpha(tmp_path, grown):
    picture = sheet([grown["solid"][0], grown["fur"][0], grown["lace"][0]], 2, 100)
    assert picture.shape == (200, 400, 3)
    main(["--out", str(tmp_path / "s.png"), "--kind", "solid", "--count", "2"])
    assert cv2.imread(str(tmp_path / "s.png")).shape == (320, 3840, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x.png", "--material", "/no/such"], "no folder of material at /no/such"),
        (["--out", "/no/such/x.png", "--kind", "solid", "--count", "1"], "cannot be written"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, said):
    with pytest.raises(SystemExit, match=said):
        main(arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_a_sheet_that_does_not_fit_on_the_disk_is_told(tmp_path):
    import resource

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, unlimited[1]))
    try:
        with pytest.raises(SystemExit, match="no space left"):
            main(["--out", str(tmp_path / "s.png"), "--kind", "solid", "--count", "1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert not list(tmp_path.iterdir())


def test_real_sprites_need_a_folder(capsys):
    with pytest.raises(SystemExit):
        main(["--out", "x.png", "--real"])
    assert "--material" in capsys.readouterr().err
