"""Trimaps carried by `trimap_flow`, on material whose truth is known."""

import importlib.util
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.classical.flow import extend
from model.classical.trimap_flow import TrimapFlow, open_network
from model.errors import SetupError
from model.face import Frame
from training.judging.metrics import trimap_quality

EVAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval"


@dataclass(frozen=True)
class Scene:
    """Pictures H×W×3 in 0…1 with their true alphas and trimaps."""

    pictures: list
    alphas: list
    trimaps: list

    def frame(self, i: int, *, painted: bool = False) -> Frame:
        planes = torch.from_numpy(np.ascontiguousarray(self.pictures[i].transpose(2, 0, 1)))[None]
        trimap = torch.from_numpy(self.trimaps[i])[None, None] if painted else None
        return Frame(i, planes, planes, trimap, "display")


def texture(height, width, seed, low, high, grain=6):
    """Smooth random colours between two colours."""
    noise = np.random.default_rng(seed).random((height // grain + 2, width // grain + 2, 3))
    smooth = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.float32(low) + smooth * (np.float32(high) - np.float32(low)), 0, 1)


def scene(count=8, height=180, width=320, speed=4.0, scale=1, soft=1.5) -> Scene:
    """A body that drifts and an arm that swings, over a background that pans the other way."""
    height, width = height * scale, width * scale
    wall = texture(height, 2 * width, 1, (0.05, 0.25, 0.1), (0.35, 0.55, 0.6), 6 * scale)
    cloth = texture(height, width, 2, (0.5, 0.1, 0.1), (0.9, 0.35, 0.3), 8 * scale)
    y, x = np.mgrid[:height, :width].astype(np.float32) / scale
    found = Scene([], [], [])
    for i in range(count):
        cx, cy = 110 + speed * i, 95 + 2 * np.sin(i)
        body = 45 - np.hypot(x - cx, (y - cy) / 1.3)
        angle = 0.2 + 0.08 * i
        along = np.clip((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), 0, 85)
        arm = 9 - np.hypot(x - cx - along * np.cos(angle), y - cy - along * np.sin(angle))
        alpha = np.clip(np.maximum(body, arm) / soft + 0.5, 0, 1).astype(np.float32)
        shift = round((width // 4 + 2 * i) * 1.0) * 1
        behind = wall[:, shift * scale : shift * scale + width]
        move = np.float32([[1, 0, (cx - 110) * scale], [0, 1, (cy - 95) * scale]])
        body_colours = cv2.warpAffine(cloth, move, (width, height), borderMode=cv2.BORDER_REFLECT)
        found.pictures.append(alpha[..., None] * body_colours + (1 - alpha[..., None]) * behind)
        found.alphas.append(alpha)
        found.trimaps.append(trimap_of(alpha, 5 * scale))
    return found


def trimap_of(alpha, radius):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    mixed = ((alpha > 0.02) & (alpha < 0.98)).astype(np.uint8)
    return np.where(cv2.dilate(mixed, disc) > 0, np.float32(0.5), np.float32(alpha > 0.5))


def carry(clip: Scene, key=0, frames=None):
    network = TrimapFlow()
    memory = network.start([clip.frame(key, painted=True)], key)
    found = []
    for i in frames if frames is not None else range(1, len(clip.pictures)):
        memory, classes = network.step(memory, clip.frame(i))
        found.append(classes)
    return found


def levels(classes) -> np.ndarray:
    return np.uint8([0, 128, 255])[classes.probability[0].argmax(0).numpy()]


def test_moving_shapes_keep_their_trimap():
    clip = scene()
    judged = [
        trimap_quality(levels(c), a) for c, a in zip(carry(clip), clip.alphas[1:], strict=True)
    ]
    painted = trimap_quality(np.uint8(clip.trimaps[0] * 255), clip.alphas[0])
    assert np.mean([q.mixed_recall for q in judged]) > 0.97
    assert min(q.mixed_recall for q in judged) > 0.9
    assert max(q.band_width for q in judged) < 1.6 * painted.band_width
    assert max(q.certainly_wrong for q in judged) < 0.2


def test_backward_is_as_good_as_forward():
    clip = scene(6)
    for classes, i in zip(carry(clip, 5, range(4, -1, -1)), range(4, -1, -1), strict=True):
        assert trimap_quality(levels(classes), clip.alphas[i]).mixed_recall > 0.97


def test_a_still_picture_keeps_the_artists_trimap_to_the_pixel():
    clip = scene(1)
    painted = clip.trimaps[0].copy()
    painted[60:80, 230:280] = 0.5  # for a reason only the artist knows
    clip = Scene(clip.pictures * 5, clip.alphas * 5, [painted] * 5)
    for classes in carry(clip):
        assert (levels(classes) == np.uint8([0, 128, 255])[np.int64(painted * 2)]).all()


def test_background_that_is_revealed_becomes_background():
    clip = scene(8, speed=7.0)
    last = levels(carry(clip)[-1])
    revealed = (clip.alphas[0] > 0.98) & (cv2.dilate(clip.alphas[-1], np.ones((25, 25))) < 0.02)
    assert revealed.sum() > 500
    assert (last[revealed] == 0).mean() > 0.95


def test_wide_soft_regions_stay_unknown_when_they_move():
    clip = scene(5, soft=40.0)
    for classes, alpha in zip(carry(clip), clip.alphas[1:], strict=True):
        assert trimap_quality(levels(classes), alpha).mixed_recall > 0.8


def test_unknown_without_foreground_never_becomes_foreground():
    """A puff of smoke has no certain foreground; nothing may be invented."""
    clip = scene(5, soft=60.0)
    puff = [np.where(t > 0, np.float32(0.5), t) for t in clip.trimaps]
    for classes in carry(Scene(clip.pictures, clip.alphas, puff)):
        found = levels(classes)
        assert (found != 255).all()
        assert (found == 128).mean() > 0.5 * (puff[0] == 0.5).mean()


@pytest.mark.parametrize(("value", "level"), [(0.0, 0), (0.5, 128), (1.0, 255)])
def test_trimaps_of_one_class_stay_that_class(value, level):
    clip = scene(3, 60, 80)
    clip = Scene(clip.pictures, clip.alphas, [np.full((60, 80), value, np.float32)] * 3)
    for classes in carry(clip):
        assert (levels(classes) == level).all()


def test_a_trimap_without_unknown_gets_a_band():
    clip = scene(3)
    hard = Scene(clip.pictures, clip.alphas, [np.float32(a > 0.5) for a in clip.alphas])
    quality = trimap_quality(levels(carry(hard)[1]), clip.alphas[2])
    assert quality.mixed_recall > 0.9
    assert quality.certainly_wrong < 0.2


def test_keyframes_tell_edges_from_smoke():
    clip = scene(2, soft=1.5)
    smoke = [np.where(trimap > 0, np.float32(0.5), trimap) for trimap in clip.trimaps]
    hard = [np.float32(alpha > 0.5) for alpha in clip.alphas]
    edges, fog, neither = (
        [Scene(clip.pictures, clip.alphas, trimaps).frame(i, painted=True) for i in (0, 1)]
        for trimaps in (clip.trimaps, smoke, hard)
    )
    network = TrimapFlow()
    assert network.start(edges, 0).softness < 0.4
    assert network.start(fog, 0).softness == 1
    assert network.start(neither, 0).softness == 0
    assert 0.5 < network.start([edges[0], fog[1]], 0).softness < 0.7


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (16, 16), (33, 17), (15, 40)])
def test_any_size(size):
    rng = np.random.default_rng(3)
    pictures = [rng.random((*size, 3)).astype(np.float32) for _ in range(3)]
    trimap = rng.integers(0, 3, size).astype(np.float32) / 2
    clip = Scene(pictures, [], [trimap] * 3)
    for classes in carry(clip):
        assert classes.probability.shape == (1, 3, *size)
        assert torch.isfinite(classes.probability).all()
        assert torch.isfinite(classes.confidence).all()
        assert torch.allclose(classes.probability.sum(1), torch.ones(1, *size))


def test_a_larger_picture_behaves_as_a_smaller_one():
    """Radii scale: the same scene at 640×360 and at 1280×720 gets the same trimap."""
    small, large = scene(3, 360, 640), scene(3, 360, 640, scale=2)
    one, other = (levels(carry(clip)[-1]) for clip in (small, large))
    assert (other[::2, ::2] == one).mean() > 0.99


def test_every_bit_is_the_same_on_any_number_of_threads():
    clip = scene(3, 120, 200)
    threads = cv2.getNumThreads(), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5, 1):
            cv2.setNumThreads(count)
            torch.set_num_threads(count)
            found.append(carry(clip)[-1])
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])
    for other in found[1:]:
        assert torch.equal(other.probability, found[0].probability)
        assert torch.equal(other.confidence, found[0].confidence)


def test_memory_does_not_grow():
    clip = scene(6, 90, 160)
    network = TrimapFlow()
    memory = network.start([clip.frame(0, painted=True), clip.frame(5, painted=True)], 0)
    start = held_bytes(memory)
    for i in range(1, 5):
        memory, _ = network.step(memory, clip.frame(i))
        assert held_bytes(memory) <= start


def held_bytes(value) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(held_bytes(one) for one in value)
    if is_dataclass(value):
        return sum(held_bytes(getattr(value, field.name)) for field in fields(value))
    return 0


def test_confidence_falls_on_the_way_and_most_where_the_trimap_is_wrong():
    clip = scene(8, speed=9.0)
    carried = carry(clip)
    means = [float(classes.confidence.mean()) for classes in carried]
    assert means == sorted(means, reverse=True)
    assert means[0] < 1
    last, alpha = levels(carried[-1]), clip.alphas[-1]
    sure = carried[-1].confidence[0, 0].numpy()
    edge = (last == 128) & (alpha > 0.02) & (alpha < 0.98)
    assert sure[edge].mean() < sure[last == 0].mean()


def test_both_keyframes_teach_their_colours():
    """Colours that only the far keyframe shows count from the start."""
    clip = scene(6)
    network = TrimapFlow()
    near, far = (clip.frame(i, painted=True) for i in (0, 5))
    one, both = network.start([near], 0), network.start([near, far], 0)
    assert not np.array_equal(one.wholes[0], both.wholes[0])
    assert np.array_equal(one.state.alpha, both.state.alpha)
    assert np.array_equal(
        network.start([near, far], 5).state.alpha, network.start([far], 5).state.alpha
    )


def test_the_background_behind_moves_as_the_background_around_it():
    vectors = np.zeros((40, 60, 2), np.float32)
    vectors[..., 0] = np.linspace(2, 3, 60)
    vectors[10:30, 20:40] = -9
    known = np.ones((40, 60), np.float32)
    known[10:30, 20:40] = 0
    filled = extend(vectors, known)
    assert np.abs(filled[..., 0] - np.linspace(2, 3, 60)).max() < 0.4
    assert np.array_equal(filled[known == 1], vectors[known == 1])
    assert (extend(vectors, np.zeros_like(known)) == 0).all()


def test_nonsense_is_refused():
    clip, other = scene(2, 60, 80), scene(1, 60, 90)
    network = open_network(None, torch.device("cpu"))
    with pytest.raises(ValueError, match="at least one keyframe"):
        network.start([], 0)
    with pytest.raises(ValueError, match="keyframe 0 has no trimap"):
        network.start([clip.frame(0)], 0)
    memory = network.start([clip.frame(0, painted=True)], 0)
    with pytest.raises(ValueError, match="frame 0 is 90×60, its keyframe 80×60"):
        network.step(memory, other.frame(0))
    with pytest.raises(SetupError, match="learns nothing"):
        open_network("some.safetensors", torch.device("cpu"))


@pytest.mark.parametrize("name", ["clip_dancer_A_pan_stream", "clip_dancer_B_video_bg"])
def test_real_clips_reach_what_is_demanded_and_beat_chained_flow(name):
    if not (EVAL / name).is_dir():
        pytest.skip("the shared evaluation clips are not here")
    place = Path(__file__).parents[1] / "benchmarks" / "propagation.py"
    spec = importlib.util.spec_from_file_location("propagation_benchmark", place)
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    try:
        spec.loader.exec_module(benchmark)
        clip = benchmark.read_clip(EVAL / name, 12)
        ours, flow = (
            [trimap_quality(t, clip.alphas[i]) for i, t in carried.items()]
            for carried in (benchmark.trimap_flow(clip, (0,)), benchmark.chained(clip, (0,)))
        )
    finally:
        del sys.modules[spec.name]

    def mean(judged, what):
        return np.mean([getattr(quality, what) for quality in judged])

    assert mean(ours, "mixed_recall") > max(0.97, mean(flow, "mixed_recall") - 0.002)
    assert mean(ours, "band_width") < min(4.0, mean(flow, "band_width"))
    assert mean(ours, "certainly_wrong") < 0.02
