"""Composed clips as a source: what their files say is what training sees, in the light they say."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.errors import InputError, SetupError
from model.plates.image_files import write_image
from model.plates.plate import PlateHeader, Window
from tests.train.composing import disc, noise, require_bare, save
from training.sources import open_source


def opened(folder, **options):
    return open_source({"kind": "composed", "folder": str(folder), **options})


def clip(folder, name="one", frames=3, parts="vafb", first=0):
    """A clip of PNGs; returns its codes by part."""
    codes = {
        part: [
            np.roll(disc(), index, 1) if part == "a" else noise(30, 40, 10 * index + ord(part))
            for index in range(frames)
        ]
        for part in parts
    }
    for part, pictures in codes.items():
        for index, picture in enumerate(pictures, first):
            save(folder / part / name / f"{index:05d}.png", picture)
    return codes


def test_frames_are_the_files_codes(tmp_path):
    codes = clip(tmp_path)
    clip(tmp_path, "two", frames=5)
    source = opened(tmp_path)
    assert (list(source.names), source.length("one"), source.length("two")) == (
        ["one", "two"],
        3,
        5,
    )
    found = source.read("one", [2, 0, 2])
    assert found.linear is False and found.trimap is None
    for part, tensor in (
        ("v", found.light),
        ("f", found.foreground),
        ("b", found.background),
    ):
        assert tensor.dtype == torch.float32 and tensor.shape == (3, 3, 30, 40)
        for at, index in enumerate((2, 0, 2)):
            read = np.rint(tensor[at].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            assert (read == codes[part][index]).all()
    assert found.alpha.shape == (3, 1, 30, 40)
    assert (found.alpha[1, 0].numpy() == codes["a"][0].astype(np.float32) / 255).all()
    assert set(np.unique(found.alpha)) > {0.0, 1.0}


def test_deep_alphas_trimaps_and_clips_of_two_parts(tmp_path):
    clip(tmp_path, parts="v", frames=1, first=1001)
    deep = disc(soft=20, bits=16)
    save(tmp_path / "a/one/01001.png", deep)
    trimap = np.where(disc() == 0, 0, np.where(disc() == 255, 255, 128)).astype(np.uint8)
    save(tmp_path / "t/one/01001.png", trimap)
    found = opened(tmp_path).read("one", [0])
    assert (found.alpha[0, 0].numpy() == deep.astype(np.float32) / 65535).all()
    assert found.foreground is None and found.background is None
    assert (found.trimap[0, 0].numpy() == np.array([0, 0.5, 1])[trimap.astype(int) // 127]).all()
    save(tmp_path / "t/one/01001.png", np.full((30, 40), 60, np.uint8))
    with pytest.raises(InputError, match="beside 0, 128 and 255"):
        opened(tmp_path).read("one", [0])


def test_linear_exrs_by_manifest_or_by_themselves(tmp_path):
    """Over a data window of their own, values above 1, alpha beside colour or alone."""
    header = PlateHeader(("R", "G", "B"), Window(4, 2, 23, 11), Window.of_size(30, 20))
    light = np.random.default_rng(0).uniform(0, 3, (10, 20, 3)).astype(np.float16)
    alpha = np.random.default_rng(1).uniform(0, 1, (10, 20)).astype(np.float16)
    for part, pixels, channels in (("v", light, "RGB"), ("a", alpha, "A")):
        (tmp_path / part / "shot").mkdir(parents=True)
        for number in (1001, 1002):
            path = tmp_path / part / "shot" / f"{number}.exr"
            write_image(path, pixels, tuple(channels), header=header)
    inside = slice(2, 12), slice(4, 24)
    for text in (None, {"clips": {"shot": {"light": "linear"}}}, {"clips": [], "light": "linear"}):
        if text:
            (tmp_path / "manifest.json").write_text(json.dumps(text))
        found = opened(tmp_path).read("shot", [1])
        assert found.linear is True and found.light.shape == (1, 3, 20, 30)
        read = found.light[0].permute(1, 2, 0).numpy()
        assert (read[inside] == light.astype(np.float32)).all() and read[0].max() == 0
        assert (found.alpha[0, 0].numpy()[inside] == alpha.astype(np.float32)).all()
    # composited in display light although it is stored linear
    (tmp_path / "manifest.json").write_text(
        json.dumps({"clips": [{"name": "shot", "light": "display"}]})
    )
    shown = opened(tmp_path).read("shot", [0])
    assert shown.linear is False
    dark = light.astype(np.float32) * 0 + light.astype(np.float32).clip(0.01, 1)
    expected = 1.055 * dark ** (1 / 2.4) - 0.055
    encoded = shown.light[0].permute(1, 2, 0).numpy()[inside]
    within = (light <= 1) & (light >= 0.01)
    assert abs(encoded - expected)[within].max() < 1e-3


def test_pictures_composited_in_linear_light_are_decoded(tmp_path):
    codes = clip(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"light": "linear", "clips": {}}))
    found = opened(tmp_path).read("one", [0])
    share = codes["v"][0].astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    assert found.linear is True
    assert abs(found.light[0].permute(1, 2, 0).numpy() - linear).max() < 1e-6


def test_premultiplied_foregrounds_of_the_published_tool_become_straight(tmp_path):
    codes = clip(tmp_path)
    alpha = codes["a"][0].astype(np.float32) / 255
    straight = np.full((30, 40, 3), 0.6)
    save(tmp_path / "f/one/00000.png", np.rint(straight * alpha[..., None] * 255).astype(np.uint8))
    as_stored = opened(tmp_path).read("one", [0]).foreground[0].permute(1, 2, 0).numpy()
    found = opened(tmp_path, foreground="premultiplied").read("one", [0])
    divided = found.foreground[0].permute(1, 2, 0).numpy()
    assert abs(as_stored - 0.6)[alpha > 0.3].max() > 0.1
    assert abs(divided - 0.6)[alpha > 0.3].max() < 0.01
    assert divided[alpha == 0].max() == 0


def test_jpegs_of_the_published_tool_are_read(tmp_path):
    for part in "va":
        (tmp_path / part / "one").mkdir(parents=True)
        grey = np.dstack([disc()] * 3)
        assert cv2.imwrite(str(tmp_path / part / "one/00000.jpg"), grey)
    found = opened(tmp_path).read("one", [0])
    assert abs(found.alpha[0, 0].numpy() * 255 - disc()).max() < 40


def broken(folder, how):
    clip(folder)
    if how == "no clips":
        return folder / "nowhere"
    if how == "alpha missing":
        (folder / "a/one").rename(folder / "a/other")
    if how == "alpha shorter":
        (folder / "a/one/00002.png").unlink()
    if how == "gap":
        (folder / "v/one/00001.png").unlink()
    if how == "alpha smaller":
        save(folder / "a/one/00000.png", disc(20, 20))
    if how == "frame smaller":
        save(folder / "v/one/00001.png", noise(20, 20, 1))
    if how == "damaged":
        (folder / "v/one/00001.png").write_bytes(b"nothing")
    if how == "colour for alpha":
        save(folder / "a/one/00001.png", noise(30, 40, 3))
    if how == "manifest":
        (folder / "manifest.json").write_text('{"light": "neon"}')
    return folder


@pytest.mark.parametrize(
    "how, told",
    [
        ("no clips", "holds no clips"),
        ("alpha missing", "one, other is in only one of the folders v and a"),
        ("alpha shorter", "a/one and the frames of .*v/one differ in frame 2"),
        ("gap", "goes from 0 to 2 and lacks 1"),
        ("alpha smaller", "00001.png is 40×30, and 00000.png of the same clip 20×20"),
        ("frame smaller", "00001.png is 20×20, and 00000.png of the same clip 40×30"),
        ("damaged", "00001.png is damaged"),
        ("colour for alpha", "should be an alpha"),
        ("manifest", "says light 'neon' of one"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, how, told):
    with pytest.raises(InputError, match=told) as caught:
        opened(broken(tmp_path, how)).read("one", [0, 1])
    assert caught.value.hint


@pytest.mark.parametrize("part", "afbt")
def test_a_missing_frame_is_found_by_listing_when_the_folder_is_opened(tmp_path, part):
    clip(tmp_path, parts="vafbt")
    (tmp_path / part / "one/00001.png").rename(tmp_path / part / "one/00003.png")
    (tmp_path / part / "one/00000.png").unlink()
    with pytest.raises(InputError, match=rf"{part}/one (goes from 2|and the frames of)"):
        opened(tmp_path)
    (tmp_path / part / "one/00003.png").unlink()
    with pytest.raises(InputError, match=f"{part}/one and the frames of .*v/one differ in frame 0"):
        opened(tmp_path)


def test_all_clips_that_lack_frames_are_told(tmp_path):
    for index in range(8):
        clip(tmp_path, f"clip{index}")
        if index:
            (tmp_path / f"a/clip{index}/00002.png").unlink()
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    said = caught.value.message
    assert said.startswith(f"7 of 8 clips in {tmp_path} cannot be used: {tmp_path / 'a/clip1'} and")
    assert said.count("differ in frame 2") == 5 and said.endswith("| and 2 more")


@pytest.mark.parametrize("barred", ["", "v", "a", "a/one", "f"])
def test_a_folder_that_may_not_be_looked_into_is_one_sentence(tmp_path, monkeypatch, barred):
    clip(tmp_path)
    closed = tmp_path / barred
    for name in ("iterdir", "is_dir", "is_file"):
        real = getattr(Path, name)

        def asked(path, real=real, listing=name == "iterdir"):
            if closed in path.parents or (listing and path == closed):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(Path, name, asked)
    told = f"{closed}.* cannot be (read|listed): Permission denied"
    with pytest.raises(InputError, match=told):
        opened(tmp_path)


def test_all_parts_have_one_size_and_frames_are_there(tmp_path):
    clip(tmp_path)
    for index in range(3):
        save(tmp_path / f"b/one/{index:05d}.png", noise(20, 20, 1))
    with pytest.raises(InputError, match="b/one is 20×20, its clip 40×30"):
        opened(tmp_path).read("one", [0])
    with pytest.raises(InputError, match="has 3 frames, and frame 3, from 0"):
        opened(tmp_path).read("one", [3])


@pytest.mark.parametrize("options", [{"light": "neon"}, {"colour": "red"}])
def test_what_a_recipe_may_not_say(tmp_path, options):
    clip(tmp_path)
    with pytest.raises(SetupError, match="says"):
        opened(tmp_path, **options)


def test_a_record_tells_the_folder_and_its_manifest(tmp_path):
    clip(tmp_path / "set")
    assert opened(tmp_path / "set").described == {"kind": "composed", "folder": "set", "clips": 1}
    (tmp_path / "set/manifest.json").write_text('{"clips": {}}')
    found = opened(tmp_path / "set", light="linear").described
    assert found["manifest_sha256"] == hashlib.sha256(b'{"clips": {}}').hexdigest()
    assert found["light"] == "linear"


def test_pictures_need_neither_openimageio_nor_movies_nor_typer(tmp_path):
    clip(tmp_path)
    require_bare("composed", tmp_path, "s.read('one', [0]).light.shape == (1, 3, 30, 40)")
