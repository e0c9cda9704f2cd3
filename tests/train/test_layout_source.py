"""Clips composed while training goes on are the clips that `dvm-train compose` writes."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch

from model.errors import InputError, SetupError
from tests.train.composing import (
    background,
    disc,
    footage,
    layout,
    movie,
    noise,
    require_bare,
    save,
    still,
)
from training.composing import layout_frames
from training.composing.run import compose_set
from training.composing.selection import Request, select
from training.sources import open_source


def opened(root, **options):
    return open_source({"kind": "layout", "folder": str(root), **options})


def test_frames_are_those_of_the_composed_files_to_the_code(tmp_path):
    root = layout(tmp_path / "root")
    still(root, "deep.png", disc(50, 50, soft=20, bits=16))
    movie(root / "bg/train/0009.mp4", [noise(48, 64, seed) for seed in range(7)])
    asked = {"seed": 11, "per_foreground": 2, "bg_blur": True}
    request = Request(root, **asked)
    compose_set(request, select(request), tmp_path / "out", lambda line: None)
    files = open_source({"kind": "composed", "folder": str(tmp_path / "out")})
    made = opened(root, **asked)
    assert list(made.names) == list(files.names) and len(made.names) == 8
    for name in reversed(made.names):
        assert made.length(name) == files.length(name)
        last = made.length(name) - 1
        for frames in ([last], [1, 2], [last, 0, last]):
            ours, theirs = made.read(name, frames), files.read(name, frames)
            for part in ("light", "alpha", "foreground", "background"):
                assert torch.equal(getattr(ours, part), getattr(theirs, part))
            assert ours.trimap is None and ours.linear is False


def test_a_window_reads_its_own_frames_alone(tmp_path, monkeypatch):
    root = tmp_path
    footage(root, "0000", frames=40)
    background(root, "0000", frames=40)
    source = opened(root)
    (name,) = source.names
    assert source.length(name) == 40
    read = []
    real = layout_frames.read_picture
    monkeypatch.setattr(layout_frames, "read_picture", lambda path: read.append(path) or real(path))
    source.read(name, [20, 21, 22])
    assert len(read) == 9
    source.read(name, [22])
    assert len(read) == 9


def test_it_travels_to_other_processes_without_what_is_open(tmp_path):
    root = layout(tmp_path / "root")
    source = opened(root)
    name = source.names[0]
    before = source.read(name, [1])
    there = pickle.loads(pickle.dumps(source))
    assert there._open == {} and source._open
    assert torch.equal(there.read(name, [1]).light, before.light)
    assert there.described == source.described


def test_few_clips_stay_open(tmp_path):
    source = opened(layout(tmp_path / "root"), per_foreground=3)
    for name in source.names:
        source.read(name, [0])
    assert list(source._open) == list(source.names[-3:])


def test_a_record_tells_what_was_composed(tmp_path):
    root = layout(tmp_path / "root")
    one, same, other = (opened(root, seed=seed).described for seed in (1, 1, 2))
    assert one == same != other
    assert (one["folder"], one["phase"], one["clips"], one["skipped"]) == ("root", "train", 9, 0)


def test_options_select_as_the_command_does(tmp_path):
    root = layout(tmp_path / "root")
    (tmp_path / "pairs.txt").write_text("image+a+b.png+0000\nvideo+0000+0002+hard\n")
    listed = {"pairs": str(tmp_path / "pairs.txt")}
    assert len(opened(root, **listed).names) == 2
    assert opened(root, classes=["hard"], **listed).names == (
        "video_0000_0002~" + tag(root, listed),
    )
    assert len(opened(root, image_only=True, max_size_from_image=2).names) == 2
    assert all(one.startswith("video_") for one in opened(root, video_only=True).names)


def tag(root, listed):
    (name,) = opened(root, video_only=True, **listed).names
    return name.rpartition("~")[2]


def test_what_is_missing_is_told_at_once_or_left_out(tmp_path):
    root = layout(tmp_path / "root")
    (root / "fg/image/train/alpha/a+b.png").unlink()
    with pytest.raises(InputError, match=r"3 pairs cannot be composed: .*is not there"):
        opened(root, per_foreground=3)
    source = opened(root, per_foreground=3, skip_missing=True)
    assert len(source.names) == 6 and source.described["skipped"] == 3


def test_frames_that_are_missing_are_told_by_listing_when_the_source_is_opened(tmp_path):
    root = layout(tmp_path / "root")
    footage(root, "0001")
    (root / "fg/video/train/0000/a/00005.png").unlink()
    (root / "fg/video/train/0001/f/00002.png").unlink()
    (root / "bg/train/0002/0003.png").unlink()
    with pytest.raises(InputError) as caught:
        opened(root, per_foreground=3)
    said = caught.value.message
    assert "8 pairs cannot be composed" in said  # 3 of 0000, 3 of 0001, 2 stills over 0002
    assert f"0002: {root / 'bg/train/0002'} goes from 0 to 6 and lacks 3" in said
    left = opened(root, per_foreground=3, skip_missing=True)
    assert len(left.names) == 4 and left.described["skipped"] == 8
    footage(root, "0000")
    (root / "fg/video/train/0000/a/00005.png").unlink()
    with pytest.raises(InputError, match="0000/f has 6 frames and its alpha a 5"):
        opened(root, video_only=True, per_foreground=1)


def test_halves_that_do_not_match_are_told_when_they_are_opened(tmp_path):
    root = tmp_path
    footage(root, "0000")
    background(root, "0000")
    source = opened(root)
    for index in range(6):
        save(root / f"fg/video/train/0000/a/{index:05d}.png", disc(20, 20))
    with pytest.raises(InputError, match="is 40×30 and its alpha 20×20"):
        source.read(source.names[0], [0])


def test_frames_that_there_are_not(tmp_path):
    source = opened(layout(tmp_path / "root"))
    with pytest.raises(InputError, match="has 5 frames, and frame 5, from 0"):
        source.read(next(one for one in source.names if "_0000" in one), [5])


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 3},
        {"seed": "three"},
        {"bg_blur": 1},
        {"classes": ["huge"]},
        {"image_only": True, "video_only": True},
    ],
)
def test_what_a_recipe_may_not_say(tmp_path, options):
    with pytest.raises(SetupError, match="the recipe's"):
        opened(layout(tmp_path / "root"), **options)


def test_folders_of_pictures_need_neither_openimageio_nor_movies_nor_typer(tmp_path):
    layout(tmp_path)
    require_bare("layout", tmp_path, "s.read(s.names[0], [0]).light.ndim == 4")


def test_movies_where_they_cannot_be_read_ask_for_the_packages(tmp_path, monkeypatch):
    still(tmp_path, "a.png")
    movie(tmp_path / "bg/train/0000.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2)
    source = opened(tmp_path)
    monkeypatch.setitem(sys.modules, "model.plates.movies", None)
    with pytest.raises(SetupError, match=r"0000\.mp4 is a movie, and a package"):
        source.length("image_a_0000")
