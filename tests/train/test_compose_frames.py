"""The pixels of composed clips: exact alphas, straight colour, composites to the code, sizes."""

import numpy as np
import pytest

from model.errors import InputError
from tests.train.composing import (
    FG_COLOUR,
    background,
    disc,
    flat,
    footage,
    movie,
    noise,
    save,
    still,
)
from training.composing.composer import Composer, clip_seed, plan_clip
from training.composing.layout_frames import alpha_of, numbered_pictures, open_frames, read_picture
from training.composing.selection import Request, select


def composer(root, **asked):
    """Of the only clip of a layout."""
    (clip,) = select(Request(root, per_foreground=1)).clips
    return Composer(clip.pair, clip.sources, asked.pop("seed", 7), **asked)


def require_composite(frame):
    """v is the composite of what is written, at most half a code away."""
    most = np.iinfo(frame.a.dtype).max
    alpha = frame.a[..., None] / most
    exact = alpha * frame.f + (1 - alpha) * frame.b
    assert abs(exact - frame.v).max() <= 0.5 + 1e-9


def test_an_image_walks_over_its_background(tmp_path):
    still(tmp_path, "a.png", disc(60, 60))
    background(tmp_path, "0000", frames=4, size=(120, 90))
    made = composer(tmp_path)
    assert made.plan.frames == 4
    assert made.plan.size == (72, 72)
    frames = [made.frame(index) for index in range(4)]
    for frame in frames:
        require_composite(frame)
        assert frame.v.shape == (72, 72, 3)
        assert frame.a.min() == 0 and frame.a.max() == 255
        there = frame.a > 0
        # straight, and nothing of the white that the file holds where alpha is 0
        assert abs(frame.f[there].astype(int) - FG_COLOUR).max() <= 3
        solid = frame.a == 255
        assert (frame.v[solid] == frame.f[solid]).all()
        assert (frame.v[~there] == frame.b[~there]).all()
        assert 0.1 < solid.mean() < 0.5
    # 0.9 of the area at first
    area = (frames[0].a / 255).sum() / (disc(60, 60) / 255).sum()
    assert area == pytest.approx(0.81, abs=0.01)
    assert (frames[0].a != frames[3].a).any()


def test_the_middle_of_the_foreground_is_where_the_walk_is(tmp_path):
    still(tmp_path, "a.png", disc(60, 60))
    background(tmp_path, "0000", frames=60, size=(120, 90))
    made = composer(tmp_path)
    for index in (0, 30, 59):
        alpha = made.frame(index).a.astype(float)
        y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]]
        pose = made._poses[index]
        # the disc is half a pixel off the middle of its picture
        assert abs((x * alpha).sum() / alpha.sum() - pose.x) < 0.8
        assert abs((y * alpha).sum() / alpha.sum() - pose.y) < 0.8


def test_footage_stays_in_the_middle_and_keeps_its_codes(tmp_path):
    footage(tmp_path, "0000", frames=3)
    background(tmp_path, "0000", frames=9, size=(90, 90))
    made = composer(tmp_path)
    assert (made.plan.frames, made.plan.size, made.plan.legs) == (3, (48, 36), ())
    for index in range(3):
        frame = made.frame(index)
        require_composite(frame)
        alpha = np.roll(disc(), index, 1)
        assert (frame.a[3:33, 4:44] == alpha).all()
        assert (frame.f[3:33, 4:44] == flat(alpha)).all()
        assert frame.a.sum() == alpha.sum()


def test_sixteen_bits_stay_sixteen_bits(tmp_path):
    still(tmp_path, "a.png", disc(60, 60, soft=20, bits=16))
    background(tmp_path, "0000", frames=2, size=(120, 90))
    made = composer(tmp_path)
    frame = made.frame(1)
    assert frame.a.dtype == np.uint16 and frame.v.dtype == np.uint8
    assert frame.a.min() == 0 and frame.a.max() == 65535
    assert len(np.unique(frame.a)) > 256
    require_composite(frame)
    # deep colour makes deep composites
    save(tmp_path / "fg/image/train/fg/a.png", flat(disc(60, 60)).astype(np.uint16) * 257)
    deep = composer(tmp_path).frame(1)
    assert deep.v.dtype == deep.f.dtype == deep.b.dtype == np.uint16
    assert (deep.b == frame.b.astype(np.uint16) * 257).all()
    require_composite(deep)


def test_blur_is_of_the_background_alone(tmp_path):
    still(tmp_path, "a.png", disc(60, 60))
    background(tmp_path, "0000", frames=1, size=(120, 90))
    sharp, soft = (composer(tmp_path, bg_blur=blur).frame(0) for blur in (False, True))
    assert (sharp.a == soft.a).all() and (sharp.f == soft.f).all()
    change = [np.diff(frame.b.astype(float), axis=1).std() for frame in (sharp, soft)]
    assert change[1] < 0.8 * change[0]
    require_composite(soft)


def test_the_same_seed_is_the_same_clip_and_another_is_not(tmp_path):
    still(tmp_path, "a.png", disc(60, 60))
    background(tmp_path, "0000", frames=3, size=(200, 150))
    one, same, other = (composer(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert one.plan == same.plan != other.plan
    assert (one.frame(2).v == same.frame(2).v).all()
    assert clip_seed(1, "a") != clip_seed(1, "b") != clip_seed(2, "b")


@pytest.mark.parametrize(
    "kind, foreground, behind, counts, size, fg, bg, frames",
    [
        # shrunk to 1920, background enlarged to cover it, cropped to 1920
        (
            "image",
            (4000, 3000),
            (1280, 720),
            (1, 500),
            (1920, 1440),
            (1920, 1440),
            (2560, 1440),
            60,
        ),
        # a large background is cropped to 1.2 foregrounds
        ("image", (500, 400), (1920, 1080), (1, 40), (600, 480), (500, 400), (1920, 1080), 40),
        ("video", (640, 360), (3840, 2160), (400, 900), (768, 432), (640, 360), (3840, 2160), 150),
        ("video", (1920, 1080), (1920, 1080), (90, 70), (1920, 1080), (1920, 1080), None, 70),
        ("image", (3, 1), (1, 1), (1, 1), (3, 1), (3, 1), (3, 3), 1),
    ],
)
def test_sizes_and_counts_are_the_published_ones(
    kind, foreground, behind, counts, size, fg, bg, frames
):
    for seed in range(5):
        plan = plan_clip(kind, foreground, behind, counts, seed)
        assert (plan.size, plan.foreground, plan.frames) == (size, fg, frames)
        assert plan.background == (bg or behind)
        for at, side, whole in zip(plan.crop, plan.size, plan.background, strict=True):
            assert 0 <= at <= whole - side
    many = {plan_clip(kind, foreground, behind, counts, seed).crop for seed in range(30)}
    assert (len(many) > 1) == (plan.size != plan.background)


def test_a_foreground_that_is_too_large_is_shrunk_by_areas(tmp_path):
    alpha = np.zeros((20, 3840), np.uint8)
    alpha[:, ::2] = 255  # every other column: half of it
    save(tmp_path / "fg/video/train/0000/a/0.png", alpha)
    save(tmp_path / "fg/video/train/0000/f/0.png", flat(alpha))
    background(tmp_path, "0000", frames=1, size=(1920, 10))
    frame = composer(tmp_path).frame(0)
    assert frame.a.shape == (10, 1920)
    assert set(np.unique(frame.a)) <= {127, 128}
    assert abs(frame.f.astype(int) - FG_COLOUR).max() <= 1


def test_movies_are_read_in_order_and_at_random(tmp_path):
    frames = [np.full((32, 48, 3), 20 * index + 10, np.uint8) for index in range(8)]
    movie(tmp_path / "m.mp4", frames)
    source = open_frames(tmp_path / "m.mp4")
    assert (source.count, source.bits) == (8, 8)
    for index in (0, 1, 5, 2, 7):
        assert abs(source.read(index).astype(int) - frames[index]).max() <= 4
    source.close()


def test_an_alpha_is_the_alpha_of_its_picture_or_its_grey(tmp_path):
    alpha = disc()
    coloured = noise(30, 40, 1)
    assert (alpha_of(alpha, tmp_path) == alpha).all()
    assert (alpha_of(np.dstack([alpha] * 3), tmp_path) == alpha).all()
    assert (alpha_of(np.dstack([coloured, alpha]), tmp_path) == alpha).all()
    opaque = np.full_like(alpha, 255)
    assert (alpha_of(np.dstack([alpha, alpha, alpha, opaque]), tmp_path) == alpha).all()
    with pytest.raises(InputError, match="should be an alpha and is a picture in colour"):
        alpha_of(coloured, tmp_path)


def test_what_is_no_frame_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        read_picture(tmp_path / "x.png")
    for data in (b"", b"\x89PNG\r\n\x1a\n nothing else"):
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(InputError, match="is damaged, or no picture"):
            read_picture(tmp_path / "x.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="holds no numbered pictures"):
        open_frames(tmp_path / "folder")
    for number in (3, 4, 6):
        save(tmp_path / f"folder/f.{number:04d}.png", disc())
    with pytest.raises(InputError, match="goes from 3 to 6 and lacks 5"):
        numbered_pictures(tmp_path / "folder")
    save(tmp_path / "folder/f.0005.png", disc(20, 20))
    source = open_frames(tmp_path / "folder")
    source.read(0)
    with pytest.raises(InputError, match="20×20 in 8 bit, the first picture beside it 40×30"):
        source.read(2)
