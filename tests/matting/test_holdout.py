"""Garbage and core mattes: what is read as one, where it lies, and what it does to alpha."""

import numpy as np
import pytest

from model.engine import EngineOptions
from model.errors import InputError
from model.passes import blocks
from model.pipeline import open_engine
from model.plates.holdout import Guides, limits_of
from model.plates.image_files import write_image
from model.plates.input_mattes import InputMatte, place_input_matte, read_input_matte
from model.plates.plate import PlateHeader, Trimap, Window

NEVER = lambda: False  # noqa: E731
SIZE = (8, 10)


def header(data=None, display=None):
    display = display or Window.of_size(10, 8)
    return PlateHeader(("R", "G", "B"), data or display, display)


def ramp():
    return np.tile(np.linspace(0, 1, 10, dtype=np.float32), (8, 1))


@pytest.mark.parametrize(
    ("channels", "planes"),
    [
        (("A",), lambda r, o: [r]),
        (("Y",), lambda r, o: [r]),
        (("matte.A",), lambda r, o: [r]),
        (("R", "G", "B"), lambda r, o: [r, r, r]),
        (("R", "G", "B", "A"), lambda r, o: [r, r, r, o]),  # an opaque picture
        (("R", "G", "B", "A"), lambda r, o: [o, o, o, r]),  # white with an alpha
        (("R", "G", "B", "A"), lambda r, o: [r, r, r, r]),  # that, premultiplied
        (("R", "G", "B", "A"), lambda r, o: [0.9 * r, 0.2 * o, r, r]),  # a key
    ],
)
def test_the_channel_that_says_something_is_the_matte(channels, planes, tmp_path):
    path = tmp_path / "m.exr"
    write_image(path, np.stack(planes(ramp(), np.ones(SIZE)), -1), channels)
    assert np.allclose(read_input_matte(path).pixels, ramp(), atol=1e-3)


def test_what_is_no_matte_is_refused(tmp_path):
    path = tmp_path / "m.exr"
    r, o = ramp(), np.ones(SIZE)
    write_image(path, np.stack([r, r, r, 1 - r], -1), ("R", "G", "B", "A"))
    with pytest.raises(InputError, match="its picture and its alpha are different"):
        read_input_matte(path)
    write_image(path, np.stack([r, 1 - r, r], -1), ("R", "G", "B"))
    with pytest.raises(InputError, match="coloured and has no alpha"):
        read_input_matte(path)
    write_image(path, np.stack([r, r], -1), ("N.x", "N.z"))
    with pytest.raises(InputError, match="no picture among its channels"):
        read_input_matte(path)
    write_image(path, np.stack([r, r, r, o], -1), ("R", "G", "B", "A"))
    with pytest.raises(InputError, match=r"the garbage matte .*m.exr is 10×8, the plate is 12×8"):
        place_input_matte(
            read_input_matte(path), header(display=Window.of_size(12, 8)), what="the garbage matte"
        )


def test_values_that_are_none_are_cut_off(tmp_path):
    wild = np.full(SIZE, 0.5, np.float32)
    wild[0, :3] = np.nan, 7, -2
    path = tmp_path / "m.exr"
    write_image(path, wild, ("A",), pixel_type="float")
    assert read_input_matte(path).pixels[0, :3].tolist() == [0, 1, 0]


def test_a_matte_is_zero_outside_of_its_bounding_box_but_goes_on_into_overscan():
    frame = Window.of_size(10, 8)
    over = header(Window(-2, -1, 11, 8), frame)
    box = InputMatte(np.ones((3, 10), np.float32), Window(0, 2, 9, 4), frame)
    placed = place_input_matte(box, over)
    assert placed.shape == (10, 14)
    assert (placed[3:6] == 1).all()  # to both sides it reaches the frame's edge, and beyond
    assert (placed[:3] == 0).all() and (placed[6:] == 0).all()
    whole = InputMatte(np.ones(SIZE, np.float32))
    assert (place_input_matte(whole, over) == 1).all()
    away = InputMatte(np.ones((2, 2), np.float32), Window(4, 4, 5, 5), frame)
    assert (place_input_matte(away, header(Window(0, 0, 2, 2), frame)) == 0).all()


def test_limits_pin_where_they_are_one_and_bound_where_they_are_soft():
    core = InputMatte(ramp()[:, ::-1].copy())
    limits = limits_of(Guides(garbage=InputMatte(ramp()), core=core), header())
    assert np.allclose(limits.most, 1 - ramp())
    assert (limits.least <= limits.most).all()  # the garbage matte wins
    trimap = Trimap(np.full(SIZE, 128, np.uint8), None, "propagated", np.full(SIZE, 9, np.uint8))
    pinned = limits.pinned(trimap, header())
    assert (pinned.pixels[:, 0] == 255).all() and (pinned.pixels[:, -1] == 0).all()
    assert (pinned.pixels[:, 1:-1] == 128).all()
    assert set(np.unique(pinned.confidence[:, (0, -1)])) == {255}
    assert set(np.unique(pinned.confidence[:, 1:-1])) == {9}
    assert limits_of(Guides(), header()) is None
    certain = np.full(SIZE, 255, np.uint8)
    assert (limits.loosened(certain)[:, 1:-1] == 128).all()


def matted(clip, guide, **options):
    engine = open_engine(EngineOptions(device="cpu", threads=1, network="closed_form", **options))
    (block,) = blocks(clip.frames)
    trimap = clip.trimaps.__getitem__
    plate = clip.plates.__getitem__
    return list(engine.matte(block, clip.frames, clip.frames, plate, trimap, NEVER, guide))


def test_alpha_is_pinned_and_limited_and_the_foreground_follows(clip_of):
    clip = clip_of(2, 48, 64)
    garbage = np.zeros((48, 64), np.float32)
    garbage[:, :20] = 1
    garbage[:, 20:24] = 0.5
    core = np.zeros((48, 64), np.float32)
    core[:4, 60:] = 1
    core[4:8, 60:] = 0.25
    guides = Guides(InputMatte(garbage), InputMatte(core))
    layers = ("alpha", "trimap", "confidence", "foreground")
    free = matted(clip, lambda f: Guides(), layers=layers)
    held = matted(clip, lambda f: guides, layers=layers)
    for before, after in zip(free, held, strict=True):
        assert before.alpha[:, :20].max() > 0.5  # there was something to be thrown away
        assert (after.alpha[:, :20] == 0).all() and (after.foreground[:, :20] == 0).all()
        assert (after.trimap[:, :20] == 0).all() and (after.confidence[:, :20] == 1).all()
        assert after.alpha[:, 20:24].max() == 0.5
        plate = clip.plates[after.frame].pixels
        assert (after.alpha[:4, 60:] == 1).all()
        assert np.array_equal(after.foreground[:4, 60:], plate[:4, 60:])
        assert (after.alpha[4:8, 60:] == 0.25).all()
        assert (after.alpha[after.trimap == 0] == 0).all()
        assert (after.alpha[after.trimap == 255] == 1).all()
        far = np.s_[:, 40:56]
        assert np.abs(after.alpha[far] - before.alpha[far]).max() < 0.02


def test_what_is_pinned_need_not_be_solved(clip_of, monkeypatch):
    clip = clip_of(1, 48, 64)
    unknown = []
    engine = open_engine(EngineOptions(device="cpu", threads=1, network="closed_form"))
    prior = engine._matting.prior
    monkeypatch.setattr(
        engine._matting,
        "prior",
        lambda frame: (unknown.append(int((frame.trimap == 0.5).sum())), prior(frame))[1],
    )
    garbage = Guides(InputMatte(np.ones((48, 64), np.float32)))
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    for guide in (Guides(), garbage):
        list(engine.matte(block, clip.frames, clip.frames, *sources, lambda f, g=guide: g))
    assert unknown[0] > 100 and unknown[1] == 0


def test_a_painted_trimap_without_a_class_may_get_it_from_a_guide(clip_of):
    clip = clip_of(1, 24, 24)
    pixels = np.full((24, 24), 128, np.uint8)
    pixels[:4] = 0
    core = np.zeros((24, 24), np.float32)
    core[12:16] = 1
    clip.trimaps[1001] = Trimap(pixels, source="painted")
    with pytest.raises(InputError, match="no certain foreground"):
        matted(clip, lambda f: Guides())
    (found,) = matted(clip, lambda f: Guides(core=InputMatte(core)))
    assert (found.alpha[12:16] == 1).all()
