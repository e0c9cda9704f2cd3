"""Real material: what is read, what is left out, what is said of files that cannot be read."""

import cv2
import numpy as np
import pytest

from model.errors import InputError
from tests.train.composing import movie
from training.material import HELD_OUT, SKIPPED, Material, read_material


@pytest.fixture(autouse=True)
def one_thread():
    cv2.setNumThreads(1)


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def cutout(size=80, radius=30, garbage=0):
    """BGRA: an orange disc, alpha soft over two pixels, anything where alpha is 0."""
    y, x = np.mgrid[:size, :size]
    alpha = np.clip((radius - np.hypot(x - size / 2, y - size / 2)) / 2 + 0.5, 0, 1)
    picture = np.full((size, size, 4), garbage, np.uint8)
    picture[alpha > 0, :3] = (20, 120, 230)
    picture[..., 3] = np.rint(alpha * 255)
    return picture


def keyed(folder, there, size=(90, 120)):
    """Footage of a red square with a green rim, in the frames that are named."""
    colours, alphas = [], []
    for present in there:
        alpha = np.zeros((*size, 3), np.uint8)
        colour = np.full((*size, 3), 128, np.uint8)
        if present:
            colour[28:62, 38:72] = (60, 200, 60)
            colour[32:58, 42:68] = (200, 60, 60)
            alpha[28:62, 38:72] = 128
            alpha[32:58, 42:68] = 255
        colours.append(colour)
        alphas.append(alpha)
    movie(folder / "fgr.mp4", colours)
    movie(folder / "pha.mp4", alphas)


def said(folder, split="train"):
    with pytest.raises(InputError) as caught:
        read_material(folder, split)
    assert caught.value.hint
    return caught.value.code, caught.value.message


# What is read


def test_without_a_folder_there_is_nothing():
    assert read_material(None, "train") == Material((), (), ())


def test_a_folder_is_read_by_what_it_holds(tmp_path):
    save(tmp_path / "fg_cutouts" / "tuxpaint_pear.png", cutout())
    save(tmp_path / "fg_cutouts" / "puff.png", cutout())
    save(tmp_path / "bg_photos" / "one.jpg", np.full((50, 70, 3), (10, 20, 200), np.uint8))
    movie(tmp_path / "clips" / "walk.mp4", [np.full((60, 80, 3), (200, 30, 30), np.uint8)] * 9)
    found = read_material(tmp_path, "train")
    assert [(s.name, s.kind, s.motion) for s in found.sprites] == [
        ("cutout puff", "effect", "still"),
        ("cutout tuxpaint_pear", "cutout", "still"),
    ]
    (photograph,), (clip,) = found.photographs, found.clips
    assert photograph.shape == (50, 70, 3)
    assert photograph[20, 20].tolist() == pytest.approx(
        [200, 20, 10], abs=4
    )  # RGB, not OpenCV's order
    assert clip.shape == (9, 60, 80, 3) and clip.dtype == np.uint8
    assert clip[4, 20, 20].tolist() == pytest.approx([200, 30, 30], abs=12)


@pytest.mark.parametrize("garbage", [0, 255])
def test_cutouts_are_cropped_and_their_colour_goes_on(tmp_path, garbage):
    save(tmp_path / "fg_cutouts" / "tuxpaint_pear.png", cutout(200, 30, garbage))
    (sprite,) = read_material(tmp_path, "train").sprites
    assert sprite.frames.dtype == np.uint8
    assert max(sprite.frames.shape[1:3]) < 72
    assert np.abs(sprite.frames[..., :3].astype(int) - (230, 120, 20)).max() <= 4
    assert sprite.frames[..., 3].max() == 255 and sprite.frames[0, 0, :, 3].max() == 0


def test_large_pictures_are_made_smaller(tmp_path):
    save(tmp_path / "fg_cutouts" / "tuxpaint_pear.png", cutout(1500, 700))
    save(tmp_path / "bg_photos" / "one.png", np.zeros((600, 2000, 3), np.uint8))
    found = read_material(tmp_path, "train")
    assert 800 < max(found.sprites[0].frames.shape) <= 1024
    assert found.photographs[0].shape == (270, 900, 3)


def test_a_sheet_of_hair_gives_its_pieces_and_no_copies(tmp_path):
    large, small = cutout(160, 60), cutout(90, 35)
    sheet = np.zeros((160, 520, 4), np.uint8)
    sheet[:, :160] = sheet[:, 180:340] = large
    sheet[20:110, 400:490] = small
    sheet[150:153, 500:503] = 255  # a speck
    save(tmp_path / "fg_cutouts" / "hair_made.png", sheet)
    found = read_material(tmp_path, "train").sprites
    assert [s.name for s in found] == ["cutout hair_made 0", "cutout hair_made 1"]
    assert [round(float((s.frames[..., 3] / 255).sum()), -1) for s in found] == pytest.approx(
        [np.pi * 60**2, np.pi * 35**2], rel=0.02
    )


def test_a_sheet_of_an_effect_becomes_its_frames(tmp_path):
    sheet = np.zeros((80, 120, 4), np.uint8)
    for number in range(6):
        y, x = number // 3 * 40, number % 3 * 40
        sheet[y + 5 : y + 35, x + 5 : x + 35] = (90, 90, 90, 40 * (number + 1))
    save(tmp_path / "fg_video" / "puffs" / "sheet_3x2_40px_LA.png", sheet)
    (sprite,) = read_material(tmp_path, "train").sprites
    assert (sprite.kind, sprite.motion, sprite.frames.shape) == ("smoke", "filmed", (6, 40, 40, 4))
    assert sprite.frames[:, 20, 20, 3].tolist() == [40, 80, 120, 160, 200, 240]


def test_keyed_footage_is_split_where_nobody_is_there(tmp_path):
    keyed(tmp_path / "fg_video" / "shot", [0, *[1] * 10, 0, 0, *[1] * 4, 0, *[1] * 12])
    found = read_material(tmp_path, "train").sprites
    assert [(s.name, s.kind, s.motion, len(s.frames)) for s in found] == [
        ("person shot 0", "person", "filmed", 10),
        ("person shot 1", "person", "filmed", 12),  # four frames in a row are too few
    ]
    for sprite in found:
        assert (
            max(np.abs(np.array(sprite.frames.shape[1:3]) - (34 + 2 * 12))) <= 2
        )  # cut to where he is
        assert sprite.frames[3, 29, 29].tolist() == pytest.approx([200, 60, 60, 255], abs=14)
        assert int(sprite.frames[3, 14, 29, 3]) == pytest.approx(128, abs=25)


def test_every_other_run_is_cleaned_of_the_screens_green(tmp_path):
    keyed(tmp_path / "fg_video" / "shot", [*[1] * 9, 0, *[1] * 9])
    delivered, clean = read_material(tmp_path, "train").sprites
    rim = delivered.frames[4, 14, 29, :3].astype(int)
    assert rim[1] > rim[0] + 40
    assert (clean.frames[..., 1] <= clean.frames[..., :3:2].max(-1)).all()
    assert clean.frames[4, 14, 29, :3].tolist() == pytest.approx([200, 60, 60], abs=25)
    assert clean.frames[4, 2, 2, :3].tolist() == pytest.approx([200, 60, 60], abs=25)


def test_long_clips_are_cut_down(tmp_path):
    frames = [np.full((400, 500, 3), n // 2, np.uint8) for n in range(400)]
    movie(tmp_path / "clips" / "long.mp4", frames)
    found = read_material(tmp_path, "train").clips
    assert [c.shape for c in found] == [(60, 360, 450, 3)] * 3
    starts = [float(c[0].mean()) for c in found]
    assert starts == pytest.approx([0, 66, 133], abs=6)
    assert all(c[59].mean() > c[0].mean() + 20 for c in found)


# Splits


def test_splits_share_no_file_and_no_shot(tmp_path):
    for name in ("kodak_01", "kodak_02", "kodak_03"):
        save(tmp_path / "bg_photos" / f"{name}.png", np.full((20, 20, 3), 9, np.uint8))
    for name in ("leaf_photo", "tuxpaint_pear"):
        save(tmp_path / "fg_cutouts" / f"{name}.png", cutout())
    keyed(tmp_path / "fg_video" / "dancer_shot1", [1] * 9)
    keyed(tmp_path / "fg_video" / "dancer_shot3", [1] * 9)
    train, held_out = (read_material(tmp_path, split) for split in ("train", "held_out"))
    assert [s.name for s in train.sprites] == ["cutout tuxpaint_pear", "person dancer_shot1 0"]
    assert [s.name for s in held_out.sprites] == ["cutout leaf_photo", "person dancer_shot3 0"]
    assert (len(train.photographs), len(held_out.photographs)) == (2, 1)


def test_what_is_useless_is_in_neither_split(tmp_path):
    assert not HELD_OUT & SKIPPED
    save(tmp_path / "fg_cutouts" / "rpicster_effect_3.png", cutout())
    for split in ("train", "held_out"):
        assert said(tmp_path, split)[0] == "input.no_material"


def test_there_are_two_splits():
    with pytest.raises(ValueError, match="train or held_out, not 'test'"):
        read_material(None, "test")


# What cannot be read


def test_a_folder_that_is_not_there(tmp_path):
    code, message = said(tmp_path / "gone")
    assert code == "input.no_material" and str(tmp_path / "gone") in message


def test_an_empty_folder(tmp_path):
    code, message = said(tmp_path, "held_out")
    assert code == "input.no_material" and "held_out" in message


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("fg_cutouts/puff.png", "cannot be read as a picture"),
        ("bg_photos/one.jpg", "cannot be read as a picture"),
        ("clips/walk.mp4", "cannot be read as a movie"),
        ("fg_video/shot/fgr.mp4", "cannot be read as a movie"),
        ("fg_video/puffs/sheet_3x2_a.png", "cannot be read as a picture"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, file, what):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing of the kind")
    assert said(tmp_path) == ("input.bad_material", f"{path} {what}")


def test_a_cutout_needs_alpha(tmp_path):
    path = tmp_path / "fg_cutouts" / "puff.png"
    save(path, np.zeros((9, 9, 3), np.uint8))
    assert said(tmp_path) == ("input.bad_material", f"{path} is no 8-bit picture with alpha")
    save(path, np.zeros((9, 9, 4), np.uint8))
    assert said(tmp_path) == ("input.bad_material", f"{path} is transparent everywhere")


def test_colour_and_alpha_of_a_shot_go_together(tmp_path):
    shot = tmp_path / "fg_video" / "shot"
    keyed(shot, [1] * 9)
    movie(shot / "pha.mp4", [np.zeros((90, 120, 3), np.uint8)] * 7)
    assert said(tmp_path)[1] == f"{shot} has 9 frames of colour and 7 of alpha"
    movie(shot / "pha.mp4", [np.zeros((60, 80, 3), np.uint8)] * 9)
    assert said(tmp_path)[1] == f"{shot} has colour and alpha of different sizes"
    (shot / "pha.mp4").unlink()
    assert said(tmp_path)[1] == f"{shot / 'pha.mp4'} cannot be read as a movie"
