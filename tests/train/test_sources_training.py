"""Clips that lie somewhere: how they are cropped, given trimaps, mixed and taught with."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.errors import InputError, SetupError
from tests.train.disc_clips import KIND, OF_DISCS, Discs
from training import sources, train
from training.matting import MattingStage
from training.source_clips import MixedClips, SourceClips, Sources, open_sources
from training.source_crops import (
    Crop,
    Drawing,
    cropped,
    morphology,
)

CPU = torch.device("cpu")
NAMES = ("disc0", "disc1", "disc2")
WHOLE = Crop(32, 32, (32,), 0.0)

RECIPE = f"""
network = "st_fam_s"
stage = "matting"
alone = 0.3
seed = 3
batch = 2
steps = 3
learning_rate = 1e-3
clip_norm = 1.0
ema = 0.5
{OF_DISCS}
[pool]
size = 4
fill = 2
every = 2
start = 1
crop = 32

[judge]
clips = 2
"""


@pytest.fixture(autouse=True)
def discs(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "discs", KIND)


def one_of(**look) -> Sources:
    return Sources((Discs(NAMES, **look),), (1.0,), tuple((0, name) for name in NAMES))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("sides", [(16,), (32,), (64,), (200,)])
def test_a_crop_holds_something_unknown_whatever_its_size(sides):
    frames = one_of().read((0, "disc0"), 0, 4)
    for seed in range(8):
        found = cropped(frames, 2, Crop(32, 32, sides), Drawing("published"), rng(seed))
        assert found.light.shape == (4, 3, 32, 32)
        alpha = found.alpha[2]
        assert ((alpha > 0) & (alpha < 1)).any()
        assert set(found.trimap.unique().tolist()) <= {0, 0.5, 1}
        certain = found.trimap != 0.5
        assert torch.equal(found.alpha[certain], found.trimap[certain])


def test_a_crop_that_is_not_resized_is_exact_in_its_layers():
    frames = one_of().read((0, "disc1"), 0, 4)
    found = cropped(frames, 2, WHOLE, Drawing(), rng(4))
    light = found.alpha * found.foreground + (1 - found.alpha) * found.background
    assert (light - found.light).abs().max() < 2e-3  # alpha within .004 of 0 and 1 is made exact
    places = [
        (y, x)
        for y in range(17)
        for x in range(33)
        if torch.equal(frames.light[..., y : y + 32, x : x + 32], found.light)
    ]
    assert len(places) == 1


def test_a_resized_foreground_is_not_darkened_by_what_lies_outside_of_it():
    frames = one_of().read((0, "disc1"), 0, 1)
    black = torch.where(frames.alpha > 0, frames.foreground, 0.0)
    frames = frames.__class__(**{**vars(frames), "foreground": black})
    found = cropped(frames, 0, Crop(16, 16, (48,), 0.0), Drawing(), rng(1))
    plain = F.interpolate(black[..., 8:56], (16, 16), mode="bicubic", antialias=True)
    edge = (found.alpha > 0.1) & (found.alpha < 0.6)
    least = float(frames.foreground[frames.alpha.expand(-1, 3, -1, -1) > 0].min())
    assert float(found.foreground[edge.expand(-1, 3, -1, -1)].min()) > 0.8 * least
    assert float(plain.min()) < 0.1 * least


def test_a_given_trimap_is_kept_and_certain_only_where_all_of_a_pixel_is():
    frames = one_of(trimaps=True).read((0, "disc0"), 0, 2)
    found = cropped(frames, 0, Crop(24, 24, (48,), 0.0), Drawing("published"), rng(2))
    assert 0 < float((found.trimap == 0.5).float().mean()) < 0.3
    certain = found.trimap != 0.5
    assert torch.equal(found.alpha[certain].round(), found.trimap[certain])
    redrawn = cropped(frames, 0, WHOLE, Drawing("published", redraw=True), rng(2))
    assert (redrawn.trimap == 0.5).sum() > 2 * (frames.trimap[..., :32, :32] == 0.5).sum()


def test_published_trimaps_by_frame_jump_and_by_clip_do_not():
    alpha = torch.zeros(6, 1, 40, 60)
    alpha[..., 30:] = 1
    widths = {}
    for per_frame in (False, True):
        drawing = Drawing("published", per_frame=per_frame)
        trimap = morphology(alpha, drawing, rng(5))
        widths[per_frame] = (trimap == 0.5).sum((1, 2, 3)).tolist()
    assert len(set(widths[False])) == 1
    assert len(set(widths[True])) > 2
    fixed = morphology(alpha, Drawing("published", (3,), (5, 5)), rng(5))
    assert (fixed[0, 0, 20] == 0.5).sum() == 10  # ±5 px


def test_a_clip_too_short_repeats_its_ends():
    found = one_of(frames=3).read((0, "disc0"), -1, 6)
    true = Discs(NAMES).read("disc0", [0, 1, 2]).alpha
    assert torch.equal(found.alpha, true[[0, 0, 1, 2, 2, 2]])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("length", "has 2 frames of foreground where 3 are asked for"),
        ("size", "has background of 63×48 pixels and alpha of 64×48"),
        ("alpha", "has no alpha for frame 0"),
    ],
)
def test_planes_that_do_not_fit_are_named(spoil, said):
    with pytest.raises(InputError, match=f"disc2 {said}"):
        one_of(spoil=spoil).read((0, "disc2"), 0, 3)


def test_clips_are_those_of_their_seed_alone():
    maker = SourceClips(one_of(), 6, WHOLE, Drawing(), CPU)
    three, one = maker.clips(7, 3), maker.clips(7, 1)
    assert torch.equal(three.light[:1], one.light)
    assert not torch.equal(three.light[1], three.light[0])
    assert not torch.equal(maker.clips(8, 1).light, one.light)
    assert three.trimap.shape == (3, 6, 1, 32, 32)


def test_makers_are_mixed_by_their_shares():
    bright = SourceClips(one_of(linear=True), 6, WHOLE, Drawing(), CPU)
    plain = SourceClips(one_of(), 6, WHOLE, Drawing(), CPU)
    found = MixedClips([(0.75, plain), (0.25, bright)]).clips(1, 60)
    assert 8 <= int(found.linear.sum()) <= 22
    assert not len(found.foreground)


def test_several_sources_give_their_shares():
    both = {"kind": "discs", "folder": "discs/2"}
    tables = [{**both, "share": 3}, {**both, "linear": True}]
    found = open_sources({"source": tables})
    assert found.shares == (3, 1)
    assert len(found.entries) == 4
    clips = SourceClips(found, 2, WHOLE, Drawing(), CPU).clips(0, 60)
    assert 8 <= int(clips.linear.sum()) <= 22


@pytest.mark.parametrize(
    ("table", "kind", "said"),
    [
        ({"kind": "discs", "folder": "discs/0"}, InputError, "no clips in discs/0"),
        ({"kind": "disks", "folder": "discs/1"}, SetupError, "'disks'"),
        ({"kind": "discs"}, SetupError, "folder ''"),
        ({"kind": "discs", "folder": "discs/1", "share": 0}, SetupError, "share 0"),
        ("discs/1", SetupError, "no table"),
    ],
)
def test_bad_sources_are_refused(table, kind, said):
    with pytest.raises(kind, match=said):
        open_sources({"source": table})


def go(out, *more) -> int:
    path = out.parent / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    fixed = "--accelerator", "cpu", "--log-every", "1"
    return train.main([str(path), "--out", str(out), *fixed, *more])


def test_the_matting_stage_is_taught_from_a_source_and_resumes_to_the_bit(tmp_path):
    """Nothing is procedural here, so no sprites are grown."""
    assert go(tmp_path / "straight") == 0
    assert go(tmp_path / "broken", "--time-budget", "0s") == 0
    assert go(tmp_path / "broken", "--resume") == 0
    first, second = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)
        for name in ("straight", "broken")
    )
    assert second["step"] == 3
    assert all(torch.equal(one, second["network"][n]) for n, one in first["network"].items())
    record = train.read_record(tmp_path / "straight" / "best.safetensors")
    assert record.training["clips"]["source"] == [{"folder": "discs", "revision": 0}]
    assert "owners of those clips" in record.licence
    assert record.training["held_out"]["MSE prior"] > 0


def test_clips_that_have_changed_end_a_run(tmp_path, capsys, monkeypatch):
    assert go(tmp_path / "run", "--time-budget", "0s") == 0
    monkeypatch.setattr(Discs, "described", property(lambda self: {"folder": "other"}))
    assert go(tmp_path / "run", "--resume") == 20
    assert "not the same any more" in capsys.readouterr().err


def test_a_source_can_be_mixed_with_synthesis(monkeypatch):
    """The sprites' own tests are elsewhere: here another maker stands in for them."""
    standing = SourceClips(one_of(linear=True), 6, Crop(48, 48, (48,)), Drawing(), CPU)
    monkeypatch.setattr("training.matting.sprite_library", lambda *_: ())
    monkeypatch.setattr("training.matting.Synthesis", lambda *_: standing)
    recipe = tomllib.loads(RECIPE) | {"synthesis_share": 0.5, "batch": 16}
    recipe["pool"] = {"size": 16, "fill": 16, "start": 1, "crop": 32}
    linear = next(MattingStage(recipe, None, CPU).batches(0)).linear
    assert 2 <= int(linear.sum()) <= 14
    alone = next(MattingStage(recipe | {"synthesis_share": 0.0}, None, CPU).batches(0)).linear
    assert not alone.any()
