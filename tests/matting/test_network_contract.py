"""What every registered network must keep to, learned or classical. New ones are picked up by
themselves; one without its weights is reported as skipped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.engine import EngineOptions
from model.exposure import ExposureMap
from model.face import Frame, MattingNetwork, PropagationNetwork
from model.passes import blocks, spans
from model.pipeline import open_engine
from model.plates.plate import Trimap
from model.registry import NETWORKS, open_network
from model.tiles import Seen, estimate_in_tiles
from model.trimap_classes import Classes
from model.view import LightView
from tests.matting.r50_material import narrow_checkpoint

CPU = torch.device("cpu")
VIEW = LightView("", "", ExposureMap(), CPU)


def of_kind(kind):
    return [
        pytest.param(
            one,
            id=one.name,
            marks=()
            if one.available or one.brought
            else pytest.mark.skip(reason=f"{one.weights} is not there"),
        )
        for one in NETWORKS
        if one.kind == kind
    ]


# Of networks that come without weights: a narrow one of random numbers.
BROUGHT: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def brought(tmp_path_factory):
    BROUGHT["st_fam_r50"] = str(narrow_checkpoint(tmp_path_factory.mktemp("brought")))


def opened(entry):
    return open_network(entry, BROUGHT.get(entry.name, ""), CPU)


def engine_of(entry, **options):
    checkpoint = BROUGHT.get(entry.name, "")
    fixed = EngineOptions(network=entry.name, checkpoint=checkpoint, device="cpu", threads=1)
    return open_engine(replace(fixed, **options))


matting_networks = pytest.mark.parametrize("entry", of_kind("matting"))
propagation_networks = pytest.mark.parametrize("entry", of_kind("propagation"))


def frames_of(clip, with_trimaps=True) -> list[Frame]:
    canvas = next(iter(clip.plates.values())).header.display_window
    return [
        VIEW.frame(f, clip.plates[f], canvas, clip.trimaps[f] if with_trimaps else None)
        for f in clip.frames
    ]


def estimate(network, frames, centre, tile=0, precision="float32"):
    seen = [Seen(f, network.prior(f)) for f in frames]
    if network.reach == 0:
        seen, centre = [seen[centre]], 0
    return estimate_in_tiles(network, seen, centre, {}, tile, precision)[0]


def matte_all(entry, clip, wanted_in_order, **options):
    """Mattes of some frames through `ShotMatte`, block by block in the order asked for."""
    engine = engine_of(entry, **options)
    causal = options.get("causal", False)
    found = {}
    for block in wanted_in_order(blocks(clip.frames, causal=causal)):
        for matte in engine.matte(
            block, clip.frames, block.frames, clip.plates.__getitem__, clip.trimaps.__getitem__,
            lambda: False,
        ):  # fmt: skip
            found[matte.frame] = matte
    return found


@matting_networks
def test_has_the_face_of_a_matting_network(entry):
    network = opened(entry)
    assert isinstance(network, MattingNetwork)
    assert network.causal == entry.causal


@matting_networks
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (31, 64), (50, 33)])
def test_any_size_alpha_in_range_certain_exact(entry, size, clip_of):
    clip = clip_of(5, *size)
    network = opened(entry)
    found = estimate(network, frames_of(clip), 2)
    trimap = clip.trimaps[1003].pixels
    for array in (found.alpha, found.confidence):
        assert array.shape == (1, 1, *size)
        assert array.dtype == torch.float32
        assert torch.isfinite(array).all()
        assert array.min() >= 0
        assert array.max() <= 1
    alpha = found.alpha[0, 0].numpy()
    assert (alpha[trimap == 255] == 1).all()
    assert (alpha[trimap == 0] == 0).all()


@matting_networks
def test_whole_equals_tiled_given_the_prior(entry, clip_of):
    clip = clip_of(5, 70, 90)
    network = opened(entry)
    whole = estimate(network, frames_of(clip), 2)
    tiled = estimate(network, frames_of(clip), 2, tile=32)
    assert (whole.alpha - tiled.alpha).abs().max() < 1e-5
    assert (whole.confidence - tiled.confidence).abs().max() < 1e-5


@matting_networks
@pytest.mark.parametrize("causal", [False, True])
def test_one_pass_equals_blocks_in_any_order_to_the_bit(entry, causal, clip_of):
    clip = clip_of(37, 32, 40)
    straight = matte_all(entry, clip, lambda found: found, causal=causal)
    shuffled = matte_all(entry, clip, lambda found: [found[2], found[0], found[1]], causal=causal)
    assert list(straight) == list(clip.frames)
    for number, matte in straight.items():
        assert np.array_equal(matte.alpha, shuffled[number].alpha)


@matting_networks
def test_a_frame_alone_equals_the_frame_in_its_block(entry, clip_of):
    """A resume asks for a block's missing frames only."""
    clip = clip_of(10, 32, 40)
    engine = engine_of(entry)
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, lambda: False
    everything = {m.frame: m for m in engine.matte(block, clip.frames, clip.frames, *sources)}
    (alone,) = engine.matte(block, clip.frames, [1007], *sources)
    assert np.array_equal(alone.alpha, everything[1007].alpha)


@matting_networks
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_is_close_to_float(entry, precision, clip_of):
    frames = frames_of(clip_of(5, 48, 64))
    network = opened(entry)
    exact = estimate(network, frames, 2)
    half = estimate(network, frames, 2, precision=precision)
    assert (exact.alpha - half.alpha).abs().mean() < 0.01


@matting_networks
def test_nan_in_never_nan_out(entry, clip_of):
    def spoil(pixels, i):
        pixels[10:14, 10:14] = np.nan
        pixels[20, 20] = np.inf
        pixels[24, 30:33] = -np.inf, -5.0, 1e4
        return pixels

    clip = clip_of(5, 48, 64, pixels=spoil)
    found = matte_all(entry, clip, lambda b: b, layers=("alpha", "confidence", "foreground"))
    for matte in found.values():
        for array in (matte.alpha, matte.confidence, matte.foreground):
            assert np.isfinite(array).all()


@matting_networks
@pytest.mark.parametrize("value", [0, 128, 255])
def test_trimaps_of_one_class(entry, value, clip_of):
    """All unknown, or nothing unknown, is not an artist's wish but must not end in NaN."""
    clip = clip_of(5, 24, 24)
    trimaps = {f: Trimap(np.full((24, 24), value, np.uint8)) for f in clip.frames}
    clip = type(clip)(clip.plates, trimaps, clip.alphas)
    network = opened(entry)
    found = estimate(network, frames_of(clip), 2)
    assert torch.isfinite(found.alpha).all()
    if value != 128:
        assert (found.alpha == value / 255).all()


@matting_networks
def test_the_matte_is_worth_more_than_its_trimap(entry, clip_of):
    if entry.brought:
        pytest.skip("its weights here are random numbers, and worth nothing")
    clip = clip_of(5, 64, 80)
    found = estimate(opened(entry), frames_of(clip), 2).alpha[0, 0].numpy()
    band = clip.trimaps[1003].pixels == 128
    truth = clip.alphas[1003]
    error = np.square(found - truth)[band].mean()
    assert error < 0.25 * np.square(0.5 - truth)[band].mean()


@propagation_networks
def test_has_the_face_of_a_propagation_network(entry):
    assert isinstance(opened(entry), PropagationNetwork)


def step_through(network, frames, keyframes) -> list[Classes]:
    memory = network.start(keyframes, keyframes[0].number)
    found = []
    for frame in frames:
        memory, classes = network.step(memory, frame)
        found.append(classes)
    return found


@propagation_networks
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (45, 70)])
def test_classes_are_probabilities(entry, size, clip_of):
    clip = clip_of(3, *size)
    keyframe, *_ = frames_of(clip)
    rest = frames_of(clip, with_trimaps=False)[1:]
    for classes in step_through(opened(entry), rest, [keyframe]):
        assert classes.probability.shape == (1, 3, *size)
        assert classes.confidence.shape == (1, 1, *size)
        for array in (classes.probability, classes.confidence):
            assert array.dtype == torch.float32
            assert array.min() >= 0
            assert array.max() <= 1 + 1e-6
        assert torch.allclose(classes.probability.sum(1), torch.ones(1, *size), atol=1e-4)


@propagation_networks
def test_state_is_passed_not_kept(entry, clip_of):
    """Two walks from one memory do not disturb each other, to the bit."""
    clip = clip_of(4, 32, 48)
    keyframe, *_ = frames_of(clip)
    rest = frames_of(clip, with_trimaps=False)[1:]
    network = opened(entry)
    memory = network.start([keyframe], keyframe.number)
    first, once = network.step(memory, rest[0])
    network.step(first, rest[1])
    _, again = network.step(memory, rest[0])
    assert torch.equal(once.probability, again.probability)
    assert torch.equal(once.confidence, again.confidence)


@propagation_networks
@pytest.mark.parametrize("keys", [(1001,), (1008,), (1001, 1008), (1004,)])
def test_spans_are_carried_from_whichever_end_has_a_keyframe(entry, keys, clip_of, tmp_path):
    clip = clip_of(8, 48, 64)
    engine = open_engine(EngineOptions(device="cpu", threads=1))
    trimaps = {k: clip.trimaps[k] for k in keys}
    found = {}
    for i, span in enumerate(spans(clip.frames, keys)):
        scratch = tmp_path / str(i)
        scratch.mkdir()
        sources = clip.plates.__getitem__, clip.header, trimaps
        found.update(engine.propagate(span, *sources, scratch, lambda: False))
        assert not list(scratch.iterdir()), "the waiting half was not cleaned up"
    assert sorted(found) == [f for f in clip.frames if f not in keys]
    for number, trimap in found.items():
        assert trimap.source == "propagated"
        assert set(np.unique(trimap.pixels)) <= {0, 128, 255}
        truth = clip.alphas[number]
        wrong = (trimap.pixels == 255) & (truth < 0.5) | (trimap.pixels == 0) & (truth > 0.5)
        assert wrong.mean() < 0.01, f"frame {number}"
        assert (trimap.pixels == 128).mean() < 0.5


@propagation_networks
def test_nan_in_never_nan_out_of_propagation(entry, clip_of):
    def spoil(pixels, i):
        pixels[5:9, 5:9] = np.nan
        return pixels

    clip = clip_of(3, 32, 48, pixels=spoil)
    keyframe, *_ = frames_of(clip)
    rest = frames_of(clip, with_trimaps=False)[1:]
    for classes in step_through(opened(entry), rest, [keyframe]):
        assert torch.isfinite(classes.probability).all()
