"""Synthetic clips: the truth is true, the same scene comes again, and statistics are as asked."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from model.exposure import ExposureMap, to_picture
from training.sprites import Sprite
from training.synthesis import HOLD_OUT_SEED, Synthesis, hold_out, main
from training.synthetic.camera import Noise, NoiseRow, compressed, decode_srgb
from training.synthetic.layers import Layer, see
from training.synthetic.motion import (
    KNOT,
    Bending,
    Path,
    Sway,
    Warp,
    flow_of,
    inverted,
    knots,
    mapped,
    spline,
)
from training.synthetic.scene import Cast, SynthesisConfig
from training.synthetic.trimaps import Brush, draw_trimaps, partial_share, snapped, squared_distance

CPU = torch.device("cpu")
LINEAR = np.tile(np.arange(256, dtype=np.float32) / 255, (3, 1))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before)


def texture(size: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def disc(size=200, soft=8.0, seed=1, kind="solid") -> Sprite:
    y, x = np.mgrid[:size, :size]
    alpha = np.clip((0.34 * size - np.hypot(x - size / 2, y - size / 2)) / soft + 0.5, 0, 1)
    codes = (alpha * 255).round().astype(np.uint8)
    return Sprite(f"disc {seed}", kind, np.dstack([texture(size, seed), codes])[None], "still")


def strands(size=260, seed=2) -> Sprite:
    rng = np.random.default_rng(seed)
    alpha = np.zeros((size, size), np.uint8)
    cv2.circle(alpha, (size // 2, size // 2), size // 5, 255, -1, cv2.LINE_AA)
    for _ in range(90):
        root = size * 0.5 + rng.uniform(-0.1, 0.1, 2) * size
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.42) * size
        tip = root + length * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(v * 16) for v in end) for end in (root, tip)]
        cv2.line(alpha, *ends, int(rng.integers(120, 256)), 1, cv2.LINE_AA, 4)
    return Sprite(
        f"strands {seed}", "strands", np.dstack([texture(size, seed), alpha])[None], "still"
    )


def filmed(size=160, frames=5) -> Sprite:
    stills = [disc(size, 6.0 + 4 * i, 3).frames[0] for i in range(frames)]
    return Sprite("filmed", "effect", np.stack(stills), "filmed")


def synthesis(sprites=None, photographs=3, clips=1, **config) -> Synthesis:
    config = SynthesisConfig(**{"height": 96, "width": 128, "frames": 4} | config)
    pictures = [texture(200, 10 + i) for i in range(photographs)]
    moving = [np.stack([texture(160, 20 + i)] * 3) for i in range(clips)]
    return Synthesis(sprites or [disc(), strands(), filmed()], pictures, moving, config, "cpu")


CLEAN = {"noise_share": 0.0, "compression_share": 0.0}


@pytest.mark.parametrize("linear_share", [0.0, 1.0])
@pytest.mark.parametrize("framing", ["close", "whole"])
def test_plate_is_the_composite(linear_share, framing):
    made = synthesis(
        linear_share=linear_share,
        framing=framing,
        occluder_share=0.5,
        pair_share=0.5,
        defocus_share=0.5,
        clutter_share=0.5,
        rolling_share=0.5,
        **CLEAN,
    ).clips(3, 6)
    mixed = made.alpha * made.foreground + (1 - made.alpha) * made.background
    assert torch.allclose(made.light, mixed, atol=1e-6)
    assert made.linear.tolist() == [bool(linear_share)] * 6
    picture = to_picture(made.light, ExposureMap()) if linear_share else made.light
    assert torch.equal(made.picture, picture)
    for plane in (made.light, made.foreground, made.background, made.flow):
        assert plane.isfinite().all()
    assert made.foreground.min() >= 0
    if not linear_share:
        assert made.light.max() <= 1
    assert made.alpha.shape == (6, 4, 1, 96, 128)
    assert made.flow.shape == (6, 4, 2, 96, 128)
    assert set(made.kinds) <= {"solid", "strands", "effect"}


def test_the_same_seed_makes_the_same_clips():
    maker = synthesis()
    first, again = maker.clips(7, 3), synthesis().clips(7, 2)
    for name in ("light", "picture", "alpha", "foreground", "background", "flow", "trimap"):
        assert torch.equal(getattr(first, name)[:2], getattr(again, name)), name
    other = maker.clips(8, 3)
    assert not torch.equal(first.alpha, other.alpha)
    assert not torch.equal(first.alpha[0], first.alpha[1])


def test_trimaps_are_certain_only_where_alpha_is_and_every_frame_has_a_band():
    for framing in ("close", "whole"):
        made = synthesis(framing=framing, occluder_share=0.4).clips(5, 12)
        assert set(made.trimap.unique().tolist()) <= {0.0, 0.5, 1.0}
        known = made.trimap != 0.5
        assert torch.equal(made.trimap[known], made.alpha[known])
        assert ((made.alpha == 0) | (made.alpha >= 0.004)).all()
        assert ((made.alpha == 1) | (made.alpha <= 0.9961)).all()
        mixed = ((made.alpha > 0) & (made.alpha < 1)).flatten(2).sum(2)
        assert int(mixed.min()) > 10


def test_bands_hold_the_share_of_partial_alpha_that_is_asked_for():
    sharp = [disc(soft=3.0), disc(soft=5.0, seed=4), strands()]
    made = synthesis(sharp, occluder_share=0.0, height=144, width=144, frames=2).clips(1, 80)
    shares = partial_share(made.alpha, made.trimap)
    assert 0.25 < float(shares.mean()) < 0.39
    assert float(shares.min()) < 0.25
    assert float(shares.max()) > 0.42


def test_hasty_trimaps_take_in_more_than_what_is_partial():
    sharp = [disc(soft=3.0), strands()]
    size = {"occluder_share": 0.0, "height": 144, "width": 144, "frames": 2}
    drawn, hasty = (synthesis(sharp, hasty_share=s, **size).clips(1, 24) for s in (0.0, 1.0))
    assert (
        partial_share(hasty.alpha, hasty.trimap).mean()
        < 0.7 * partial_share(drawn.alpha, drawn.trimap).mean()
    )


def test_specks_are_unknown_in_all_frames_whatever_is_there():
    size = {"occluder_share": 0.0, "height": 144, "width": 144, "frames": 3}
    sprites = [disc(soft=3.0)]
    drawn, specked = (synthesis(sprites, specks_share=s, **size).clips(1, 6) for s in (0.0, 1.0))
    assert torch.equal(drawn.alpha[0], specked.alpha[0])  # of the first clip nothing else changes
    more = (specked.trimap[0] == 0.5) & (drawn.trimap[0] != 0.5)
    assert 20 < int(more[0].sum()) < 0.4 * more[0].numel()
    brush = Brush(0.3, specks=((10.0, 20.0, 4.0),))
    alpha = torch.zeros(1, 2, 1, 32, 48)
    unknown = draw_trimaps(alpha, [brush]) == 0.5
    assert int(unknown.sum()) == 2 * 49  # a disc of radius 4
    assert bool(unknown[0, :, 0, 20, 6:15].all())


def carried_back(alpha: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Frame t+1's alpha where frame t's content went."""
    height, width = alpha.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    place = torch.stack((x, y), -1) + flow[:-1].permute(0, 2, 3, 1)
    place = (place + 0.5) * 2 / torch.tensor([width, height]) - 1
    seen = functional.grid_sample(alpha[1:], place, align_corners=False)
    edge = torch.tensor([1 - 1 / width, 1 - 1 / height])  # beyond, nothing was seen
    inside = (place.abs() < edge).all(-1, keepdim=True).permute(0, 3, 1, 2)
    return torch.where(inside, seen, alpha[:-1])


@pytest.mark.parametrize(("speed", "most"), [(1.5, 0.004), (8.0, 0.008)])
def test_flow_carries_alpha_to_the_next_frame(speed, most):
    made = synthesis(
        [disc(soft=14.0), disc(soft=20.0, seed=4)],
        speeds=(speed / 2, speed),
        still_share=0.0,
        shutter=0.0,
        occluder_share=0.0,
        pair_share=0.0,
        defocus_share=0.0,
    ).clips(2, 8)
    assert float(made.flow.norm(dim=2).amax()) > speed / 4
    for alpha, flow in zip(made.alpha, made.flow, strict=True):
        assert not flow[-1].any()
        error = (carried_back(alpha, flow) - alpha[:-1]).abs()
        still = (alpha[1:] - alpha[:-1]).abs()
        assert float(error.mean()) < most
        assert float(error.mean()) <= 0.4 * float(still.mean()) + 1e-3


def wavy(size=(200, 200)) -> Bending:
    return Bending(
        waves=np.array([[0.05, 0.02], [-0.01, 0.06]]),
        shifts=np.array([[3.0, 1.0], [0.5, -2.0]]),
        rates=np.array([0.4, 0.7]),
        phases=np.array([0.3, 1.0]),
        looseness=np.linspace(0.1, 1, 1024).reshape(32, 32).astype(np.float32),
        size=size,
    )


def path(**sways) -> Path:
    base = {"x": Sway(60), "y": Sway(45), "turn": Sway(0.4), "zoom": Sway(0.2)} | sways
    return Path(anchor=(90.0, 100.0), stretch=1.1, mirrored=True, **base)


def test_paths_place_their_anchor_and_can_be_undone():
    times = np.array([0.0, 1.5, 4.0])
    moving = path(x=Sway(10, 5, 0.3, 0.5, 1.5), turn=Sway(0, 0.3, 0.2), zoom=Sway(0.1, 0.2, 0.1))
    forth = moving.to_frame(times)
    placed = mapped(forth, np.array([[90.0, 100.0]]))[:, 0]
    assert np.allclose(placed[:, 0], moving.x.at(times))
    assert placed[1, 0] == pytest.approx(10)
    points = np.random.default_rng(1).uniform(-50, 300, (7, 2))
    both = mapped(inverted(forth)[:1], mapped(forth[:1], points)[0])[0]
    assert np.allclose(both, points)


def test_flow_leads_to_the_pixel_that_shows_the_same_place():
    """Also under a bending: the source place seen at a pixel is the one seen where flow leads."""
    moving = path(x=Sway(60, 9, 0.5), turn=Sway(0.4, 0.2, 0.3), zoom=Sway(0.2, 0.1, 0.4))
    times = np.arange(3.0)
    warp = Warp(moving, wavy(), times, 90, 120, CPU)
    flow, places = flow_of(warp), warp.places()
    next_places = places[1:].permute(0, 3, 1, 2)
    found = carried_back(torch.cat((next_places[:1], next_places)), flow).permute(0, 2, 3, 1)
    error = (found - places[:-1]).norm(dim=-1)[:, 20:-20, 30:-30]
    assert float(flow.norm(dim=1).max()) > 3
    assert float(error.max()) < 0.05


def test_splines_carry_straight_lines_exactly_and_sum_to_one():
    basis = spline(75)
    assert np.allclose(basis.sum(1), 1, atol=1e-6)
    places = (np.arange(basis.shape[1]) - 1) * KNOT
    assert np.allclose(basis @ places, np.arange(75), atol=1e-3)
    assert knots(75, 40).shape == (basis.shape[1] * spline(40).shape[1], 2)


def test_a_moving_edge_is_the_mean_of_its_places():
    """A hard edge that travels 8 px in an open shutter is a ramp 8 px long; colour stays."""
    picture = np.zeros((64, 200, 4), np.uint8)
    picture[:, :, 0] = 200
    picture[:, :100, 3] = 255
    still = {"y": Sway(31.5), "turn": Sway(0), "zoom": Sway(0)}
    moving = Path((99.5, 31.5), Sway(60, 80 / 1e-3, 1e-4), **still)  # 8 px a frame
    layer = Layer((0,), moving, None, LINEAR, shutter=1.0, most=16)
    assert layer.exposures(64, 120) == 7
    seen = see(torch.from_numpy(picture)[None], layer, 64, 120)
    alpha = seen.alpha[0, 0, 32]
    # 60.5 is the edge's middle at time 0.
    ramp = ((60.5 + 4 - (torch.arange(120) + 0.5)) / 8).clamp(0, 1)
    assert float((alpha - ramp).abs().max()) < 0.13
    assert float((alpha - ramp).mean().abs()) < 1e-3
    colour = seen.colour / seen.weight
    assert torch.allclose(colour[0, 0], torch.full((64, 120), 200 / 255), atol=1e-5)
    standing = replace(layer, path=replace(moving, x=Sway(60)))
    assert standing.exposures(64, 120) == 1


def test_defocus_and_halving_keep_colour_apart_from_coverage():
    """Red over transparent green: the green never shows, however soft the edge."""
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[:, :64] = (255, 0, 0, 255)
    picture[:, 64:] = (0, 255, 0, 0)
    flat = Path((63.5, 63.5), Sway(31.5), Sway(31.5), Sway(0.2), Sway(np.log(0.5)))
    for disc_blur in (False, True):
        layer = Layer((0, 0), flat, None, LINEAR, defocus=3.0, disc=disc_blur)
        seen = see(torch.from_numpy(picture)[None], layer, 64, 64)
        strong = seen.alpha > 0.2
        green = (seen.colour / seen.weight)[:, 1:2][strong]
        assert float(green.max()) < 0.01
        assert float(seen.alpha.mean()) == pytest.approx(0.5, abs=0.02)
        assert bool(((seen.alpha > 0.1) & (seen.alpha < 0.9)).any())


def test_a_filmed_sprite_shows_its_frames_in_turn():
    cast = Cast([filmed(frames=3)], [], [], SynthesisConfig(frames=7))
    for i in range(5):
        frames = cast.scene(np.random.default_rng(i)).foregrounds[0].layer.frames
        steps = np.abs(np.diff(frames))
        assert set(steps.tolist()) == {1}
        assert max(frames) == 2


def test_an_occluder_takes_from_alpha_and_adds_to_the_background():
    solid = disc(soft=2.0)
    maker = synthesis([solid], occluder_share=1.0, pair_share=0.0, linear_share=1.0, **CLEAN)
    found = 0
    for i in range(6):
        scene = maker._cast.scene(np.random.default_rng((1, i)))
        if scene.occluder is None:
            continue
        scene = replace(scene, clutter=None, rolling=None)
        found += 1
        _, _, alpha, *_, behind, _ = maker._show(scene)
        _, _, bare, *_, plain, _ = maker._show(replace(scene, occluder=None))
        front = maker._see(scene.occluder)
        assert torch.allclose(alpha, bare * (1 - front.alpha), atol=0.006)
        covered = (front.alpha == 1).expand_as(behind)
        shown = front.colour / front.weight
        assert torch.allclose(behind[covered], shown[covered], atol=1e-5)
        away = ((front.alpha == 0) & (bare < 0.99)).expand_as(behind)
        assert torch.allclose(behind[away], plain[away], rtol=1e-3, atol=1e-5)
    assert found >= 2


def test_clutter_and_rolling_light_leave_alpha_alone():
    maker = synthesis(linear_share=1.0, clutter_share=1.0, rolling_share=1.0, **CLEAN)
    scene = maker._cast.scene(np.random.default_rng(2))
    assert scene.clutter is not None
    assert scene.rolling is not None
    _, _, alpha, before, behind, flow = maker._show(scene)
    bare = replace(scene, clutter=None, rolling=None)
    _, _, same, plain, empty, also = maker._show(bare)
    assert torch.equal(alpha, same)
    assert torch.equal(flow, also)
    assert not torch.allclose(behind, empty, atol=0.01)
    gains = torch.full_like(alpha, 1.0)
    if scene.rolling.before:
        gains = maker._gains(scene.rolling.gains)
    assert torch.allclose(before, plain * gains)
    assert float(gains.min()) > 0


def test_speeds_spread_from_still_to_fast():
    cast = Cast([disc()], [texture(200, 1)], [], SynthesisConfig(pair_share=0, occluder_share=0))
    speeds = []
    for i in range(150):
        layer = cast.scene(np.random.default_rng(i)).foregrounds[0].layer
        places = layer.path.to_frame(layer.times())
        places = mapped(places, np.array([layer.path.anchor]))[:, 0]
        speeds.append(np.linalg.norm(np.diff(places, axis=0), axis=1).mean())
    speeds = np.array(speeds)
    assert (speeds < 0.3).mean() > 0.15
    assert 0.3 < np.median(speeds) < 2.5
    assert 8 < speeds.max() < 16
    assert (speeds > 5).mean() < 0.3


def test_noise_has_the_variance_that_is_said():
    row = NoiseRow(3 * 128 * 128, CPU)
    noise = Noise(shot=1e-3, read=0.01, soft=False, starts=(0.1, 0.7))
    light = torch.full((2, 3, 128, 128), 0.5)
    grain = row.add(light, noise, linear=True) - light
    assert float(grain.var()) == pytest.approx(0.5e-3 + 1e-4, rel=0.03)
    assert abs(float((grain[0] * grain[1]).mean())) < 1e-5
    soft = row.add(light, replace(noise, soft=True), linear=True) - light
    assert float(soft.var()) == pytest.approx(0.5e-3 + 1e-4, rel=0.05)
    display = row.add(light, noise, linear=False)
    assert float((decode_srgb(display) - decode_srgb(light)).mean().abs()) < 1e-3


def test_compression_blocks_and_worsens_with_lower_quality():
    rng = np.random.default_rng(4)
    coarse = torch.from_numpy(rng.random((1, 3, 12, 15), dtype=np.float32))
    picture = functional.interpolate(coarse, (90, 110), mode="bilinear", align_corners=False)
    flat = torch.full_like(picture, 0.4)
    assert float((compressed(flat, 90, True) - flat).abs().max()) < 0.01
    errors = [
        float((compressed(picture, q, False) - picture).square().mean()) for q in (95, 60, 15)
    ]
    assert errors[0] < errors[1] < errors[2]
    assert errors[0] < 1e-4
    assert compressed(picture, 60, True).shape == picture.shape


def test_distances_are_euclid():
    rng = np.random.default_rng(3)
    seeds = rng.random((2, 40, 50)) < 0.004
    seeds[1] = False
    found = squared_distance(torch.from_numpy(seeds), 9)
    away = cv2.distanceTransform((~seeds[0]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = away <= 9
    assert np.allclose(found[0].sqrt().numpy()[near], away[near], atol=1e-3)
    assert bool((found[0].numpy()[~near] > 81).all())
    assert bool((found[1] > 81).all())


def test_a_brush_may_be_narrower_on_one_side_and_keeps_its_radius():
    ramp = ((torch.arange(96) - 45) / 6).clamp(0, 1)
    alpha = snapped(ramp.expand(1, 2, 1, 64, 96).contiguous())
    even, narrow, blobs = (
        Brush(0.3),
        Brush(0.3, inside=0.4),
        Brush(0.3, blobs=np.pad(np.ones((1, 9), np.float32), ((3, 3), (0, 0)))),
    )
    trimap = draw_trimaps(alpha, [even])
    line = trimap[0, 0, 0, 30]
    below, above = int((line == 0).sum()), int((line == 1).sum())
    assert abs((46 - below) - (above_mixed(above))) <= 1
    assert torch.equal(trimap[0, 0], trimap[0, 1])
    assert float(partial_share(alpha, trimap)) == pytest.approx(0.3, abs=0.05)
    line = draw_trimaps(alpha, [narrow])[0, 0, 0, 30]
    assert 46 - int((line == 0).sum()) > above_mixed(int((line == 1).sum()))
    bands = (draw_trimaps(alpha, [blobs])[0, 0, 0] == 0.5).sum(1)
    assert int(bands.max()) > int(bands.min())


def above_mixed(certain: int) -> int:
    """How wide the margin is over foreground, whose mixed pixels end at 50."""
    return 96 - 51 - certain


def test_gaps_no_stroke_fits_into_are_unknown():
    """Two soft bars, 10 px apart: painted as one by a broad brush, and as two by a fine one."""
    x = torch.arange(120)
    alpha = torch.where((x - 40).abs() <= 2, 0.5, 0.0) + torch.where((x - 55).abs() <= 2, 0.5, 0.0)
    alpha = alpha.expand(2, 1, 1, 40, 120).contiguous()
    trimap = draw_trimaps(alpha, [Brush(0.7), Brush(0.7, stroke=6.0)])
    middle = trimap[:, 0, 0, 20]
    assert float(middle[0, 47]) == 0
    assert bool((middle[1, 38:58] == 0.5).all())
    assert bool((middle[:, :30] == 0).all())


def test_a_hard_edge_is_unknown_though_nothing_is_mixed():
    alpha = (torch.arange(40) > 19).float().expand(1, 1, 1, 32, 40).contiguous()
    trimap = draw_trimaps(alpha, [Brush(0.3)])
    assert bool((trimap[..., 19:21] == 0.5).all())


def test_without_photographs_backgrounds_are_made():
    made = synthesis(photographs=0, clips=0, **CLEAN).clips(1, 3)
    assert float(made.background.flatten(1).std(1).min()) > 0


def test_one_frame_is_a_still():
    made = synthesis(frames=1).clips(1, 2)
    assert made.alpha.shape[1] == 1
    assert not made.flow.any()


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="framing"):
        SynthesisConfig(framing="tight")
    with pytest.raises(ValueError, match="speeds"):
        SynthesisConfig(speeds=(0.0, 3.0))
    full = np.full((1, 64, 64, 4), 255, np.uint8)
    with pytest.raises(ValueError, match="'wall' has no edge"):
        synthesis([Sprite("wall", "solid", full, "still")])
    with pytest.raises(ValueError, match="uint8"):
        synthesis([Sprite("wall", "solid", full.astype(np.float32), "still")])
    with pytest.raises(ValueError, match="photograph"):
        Cast([disc()], [full], [], SynthesisConfig())
    with pytest.raises(ValueError, match="matting or propagation"):
        next(hold_out("other", None))
    with pytest.raises(ValueError, match="at least one clip"):
        synthesis().clips(1, 0)


def test_the_hold_out_is_always_the_same(monkeypatch):
    asked = []

    def library(material, seed, count, workers):
        asked.append((seed, count))
        return disc(), strands(), disc(seed=9, kind="person")

    monkeypatch.setattr("training.synthesis.sprite_library", library)
    first, again = (next(hold_out("matting", None)) for _ in range(2))
    assert first.light.shape == (1, 6, 3, 256, 320)
    assert torch.equal(first.light, again.light)
    moving = next(hold_out("propagation", None))
    assert moving.light.shape == (1, 24, 3, 272, 480)
    assert float(moving.flow[:, :-1].norm(dim=2).mean()) > 0.3
    assert ((moving.alpha > 0) & (moving.alpha < 1)).flatten(2).any(2).all()
    assert moving.kinds[0] != "person"
    assert asked == [(HOLD_OUT_SEED, 64)] * 3


def test_run_as_a_module_it_draws_a_sheet(tmp_path):
    main(["--out", str(tmp_path / "sheet.png"), "--count", "1", "--sprites", "2", "--frames", "2"])
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (320, 8 * 320, 3)
    assert sheet.std() > 10
