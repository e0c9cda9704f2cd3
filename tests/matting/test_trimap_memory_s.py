"""`trimap_memory_s` by itself; with its weights in place the contract suite picks it up too."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointRecord, save_checkpoint
from model.classical.trimap_flow import TrimapFlow
from model.errors import SetupError
from model.exposure import ExposureMap
from model.face import Frame, PropagationNetwork, StepsAhead
from model.networks.memory_guess import CLASSES, CONFIDENCE, HELD, keyframe_guess
from model.networks.memory_read import KEY, VALUE, Kept, MemoryRead
from model.networks.trimap_memory_s import (
    NAME,
    RECENT,
    Answer,
    TrimapMemoryS,
    _without_cracks,
    open_network,
)
from model.registry import find
from model.view import LightView

CPU = torch.device("cpu")
VIEW = LightView("", "", ExposureMap(), CPU)


def frames_of(clip, *, painted=False) -> list[Frame]:
    canvas = next(iter(clip.plates.values())).header.display_window
    return [
        VIEW.frame(f, clip.plates[f], canvas, clip.trimaps[f] if painted else None)
        for f in clip.frames
    ]


def opened(folder, *, trained=False, **config):
    """Opened from a checkpoint file; ``trained`` if its head answers something."""
    torch.manual_seed(3)
    network = TrimapMemoryS(**config)
    if trained:
        torch.nn.init.normal_(network.decoder.head.weight, std=0.3)
    path = folder / "weights.safetensors"
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    save_checkpoint(path, tensors, CheckpointRecord(NAME, network.config))
    return open_network(str(path), CPU)


def walk(network, keyframes, frames):
    memory, found = network.start(keyframes, keyframes[0].number), []
    for frame in frames:
        memory, classes = network.step(memory, frame)
        found.append(classes)
    return memory, found


def test_is_registered_before_trimap_flow_and_small():
    entry = find(NAME, "propagation")
    assert entry.weights == "trimap_memory_s.safetensors"
    assert sum(p.numel() for p in TrimapMemoryS().parameters()) < 1.2e6


def test_needs_a_checkpoint_of_its_own(tmp_path):
    with pytest.raises(SetupError, match="has to be given a checkpoint") as none:
        open_network(None, CPU)
    assert none.value.code == "setup.no_checkpoint"
    save_checkpoint(tmp_path / "other.safetensors", {}, CheckpointRecord("st_fam_s"))
    with pytest.raises(SetupError, match="holds st_fam_s") as other:
        open_network(str(tmp_path / "other.safetensors"), CPU)
    assert other.value.code == "setup.other_checkpoint"
    save_checkpoint(tmp_path / "bad.safetensors", {}, CheckpointRecord(NAME))
    with pytest.raises(SetupError, match="do not fit") as unfit:
        open_network(str(tmp_path / "bad.safetensors"), CPU)
    assert unfit.value.code == "setup.other_checkpoint"


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (45, 70), (400, 700)])
def test_untrained_it_answers_trimap_flow(size, clip_of, tmp_path):
    clip = clip_of(3, *size)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path, look=(8, 8, 8, 8), guess=(8, 8, 8))
    assert isinstance(network, PropagationNetwork)
    _, ours = walk(network, [keyframe], frames)
    _, theirs = walk(TrimapFlow(), [keyframe], frames)
    for mine, prior in zip(ours, theirs, strict=True):
        assert mine.probability.shape == (1, 3, *size)
        assert torch.equal(mine.probability.argmax(1), prior.probability.argmax(1))
        assert (mine.confidence - prior.confidence).abs().max() < 2e-4


def test_trained_it_answers_probabilities_and_is_deterministic(clip_of, tmp_path):
    clip = clip_of(5, 45, 70)
    painted, frames = frames_of(clip, painted=True), frames_of(clip)
    network = opened(tmp_path, trained=True)
    keyframes = [painted[0], painted[-1]]
    memory, found = walk(network, keyframes, frames[1:-1])
    assert len(memory.pinned) == 2
    assert len(memory.recent) == RECENT
    _, again = walk(network, keyframes, frames[1:-1])
    for classes, same in zip(found, again, strict=True):
        assert torch.allclose(classes.probability.sum(1), torch.ones(1, 45, 70), atol=1e-5)
        assert classes.probability.dtype == classes.confidence.dtype == torch.float32
        assert 0 <= classes.confidence.min() <= classes.confidence.max() <= 1
        assert torch.equal(classes.probability, same.probability)
        assert torch.equal(classes.confidence, same.confidence)
    _, alone = walk(network, keyframes[:1], frames[1:-1])
    assert not torch.equal(found[0].probability, alone[0].probability), "a keyframe was not read"


def test_a_step_leaves_the_memory_given_as_it_is(clip_of, tmp_path):
    clip = clip_of(4, 32, 48)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path, trained=True)
    memory = network.start([keyframe], keyframe.number)
    first, once = network.step(memory, frames[0])
    network.step(first, frames[1])
    _, again = network.step(memory, frames[0])
    assert torch.equal(once.probability, again.probability)
    assert torch.equal(once.confidence, again.confidence)


def test_steps_that_go_ahead_are_the_same_steps(clip_of, tmp_path):
    clip = clip_of(6, 45, 70)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path, trained=True)
    assert isinstance(network, StepsAhead) and isinstance(TrimapFlow(), StepsAhead)
    _, right = walk(network, [keyframe], frames)
    found = list(network.steps(network.start([keyframe], keyframe.number), iter(frames)))
    assert len(found) == len(right) == 5
    for one, other in zip(found, right, strict=True):
        assert torch.equal(one.probability, other.probability)
        assert torch.equal(one.confidence, other.confidence)
        for name, plane in vars(one.clues).items():
            assert np.array_equal(plane, getattr(other.clues, name)), name


def test_steps_end_with_their_frames_and_when_nobody_wants_more(clip_of, tmp_path):
    clip = clip_of(4, 32, 48)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path)
    memory = network.start([keyframe], keyframe.number)
    ended = []

    def broken():
        try:
            yield frames[0]
            yield frames[1]
            raise OSError("the disk is gone")
        finally:
            ended.append(True)

    carried = network.steps(memory, broken())
    next(carried), next(carried)
    with pytest.raises(OSError, match="the disk is gone"):
        next(carried)
    carried = network.steps(memory, broken())
    next(carried)
    carried.close()
    assert len(ended) == 2
    assert not [one.name for one in threading.enumerate() if one.name.startswith("flow")]


def test_caution_widens_but_never_narrows(clip_of, tmp_path):
    clip = clip_of(4, 45, 70)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    bold = walk(opened(tmp_path, trained=True), [keyframe], frames[:1])[1][0]
    careful = walk(opened(tmp_path, trained=True, caution=2.0), [keyframe], frames[:1])[1][0]
    unknown = [c.probability.argmax(1) == 1 for c in (bold, careful)]
    assert (unknown[0] <= unknown[1]).all()


def test_restraint_narrows_but_never_widens(clip_of, tmp_path):
    clip = clip_of(4, 45, 70)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    free = walk(opened(tmp_path, trained=True), [keyframe], frames[:1])[1][0]
    kept = walk(opened(tmp_path, trained=True, restraint=2.0), [keyframe], frames[:1])[1][0]
    unknown = [c.probability.argmax(1) == 1 for c in (free, kept)]
    assert (unknown[1] <= unknown[0]).all()


def test_the_softer_the_bands_the_likelier_the_unknown(clip_of, tmp_path):
    clip = clip_of(4, 45, 70)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path, trained=True)
    begin = network.start([keyframe], keyframe.number)
    unknown, kept = [], []
    for softness in (0.0, 0.25, 0.3, 0.6, 1.0):
        memory = replace(begin, flow=replace(begin.flow, softness=softness))
        after, classes = network.step(memory, frames[0])
        unknown.append(classes.probability.argmax(1) == 1)
        kept.append(after.recent[-1].value)
    assert torch.equal(unknown[0], unknown[1]), "hard is hard"
    for harder, softer in pairwise(unknown[1:]):
        assert (harder <= softer).all() and harder.sum() < softer.sum()
    assert all(torch.equal(kept[0], one) for one in kept), "it is remembered"


def told(unknown, held=None, answered=True):
    """What the network hands out where its answer has the unknown of a mask and background beside,
    over a guess of background alone."""
    guess = torch.zeros(1, 7, *unknown.shape)
    guess[:, CLASSES.start] = 1
    if held is not None:
        guess[:, HELD] = held
    classes = torch.zeros(1, 3, *unknown.shape)
    if answered:
        classes[:, 0] = 1
        classes[0, 1] = 9.0 * unknown
    answer = Answer(classes, torch.zeros(1, 1, *unknown.shape))
    logits, _ = _without_cracks(answer, guess).over(guess[:, CLASSES], guess[:, CONFIDENCE])
    return logits.argmax(1)[0]


def test_a_crack_between_two_unknowns_is_closed_and_a_gap_is_not():
    unknown = torch.zeros(16, 32, dtype=torch.bool)
    unknown[:, 4:10] = unknown[:, 11:14] = unknown[:, 16:20] = unknown[:, 23:26] = True
    closed = unknown.clone()
    closed[:, [10, 14, 15]] = True  # Three pixels, and what lies outside, stay.
    assert torch.equal(told(unknown) == 1, closed)
    held = torch.zeros(16, 32)
    held[:8] = 1
    closed[:8] = unknown[:8]
    assert torch.equal(told(unknown, held) == 1, closed), "a keyframe's own was closed"
    assert (told(unknown, answered=False) == 0).all()


def test_where_a_keyframe_holds_it_can_be_doubted_but_not_narrowed(tmp_path):
    network = opened(tmp_path, trained=True).network
    picture, trimap = torch.rand(1, 3, 32, 48), torch.rand(1, 1, 32, 48).mul(3).floor() / 2
    guess = keyframe_guess(trimap)
    guess[:, HELD, :, :20] = 0
    look = network.look(picture)
    kept = network.keep(look, picture, guess)
    answer = network.answer(look, picture, guess, [kept], [kept])
    held = answer.classes[..., 20:]
    assert (held[:, [0, 2]] == 0).all()
    assert (held[:, 1] >= 0).all()
    assert (held[:, 1] > 0).any()
    assert (answer.classes[..., :20] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_close_to_float(dtype, clip_of, tmp_path):
    clip = clip_of(3, 45, 70)
    keyframe, frames = frames_of(clip, painted=True)[0], frames_of(clip)[1:]
    network = opened(tmp_path, trained=True)
    _, exact = walk(network, [keyframe], frames)
    with torch.autocast("cpu", dtype=dtype):
        _, half = walk(network, [keyframe], frames)
    for one, other in zip(exact, half, strict=True):
        assert other.probability.dtype == torch.float32
        assert (one.probability - other.probability).abs().mean() < 0.02


def test_a_frame_remembered_twice_counts_once():
    torch.manual_seed(0)
    key, kept = (
        torch.randn(2, KEY, 4, 5),
        Kept(torch.randn(2, KEY, 4, 5), torch.randn(2, VALUE, 4, 5)),
    )
    for local in (False, True):
        read = MemoryRead(local)
        assert torch.allclose(read(key, [kept]), read(key, [kept, kept]), atol=1e-5)


def test_reading_finds_what_looks_alike_and_says_when_nothing_does():
    rng = np.random.default_rng(1)
    keys = torch.from_numpy(rng.standard_normal((1, KEY, 6, 7)).astype(np.float32))
    values = torch.from_numpy(rng.standard_normal((1, VALUE, 6, 7)).astype(np.float32))
    read = MemoryRead(local=False)
    with torch.no_grad():
        read.sharpness.fill_(4.0)
        read.empty.fill_(20.0)
    moved = keys.roll((2, 3), (2, 3))
    found = read(moved, [Kept(keys, values)])
    assert torch.allclose(found[:, :VALUE], values.roll((2, 3), (2, 3)), atol=1e-3)
    assert (found[:, VALUE] > 0.999).all()
    strange = torch.from_numpy(rng.standard_normal((1, KEY, 6, 7)).astype(np.float32))
    with torch.no_grad():
        read.empty.fill_(45.0)
    assert (read(strange, [Kept(keys, values)])[:, VALUE] < 0.01).all()


def test_frames_gone_by_are_read_near_by():
    """All places look alike: what is read is what was there, smeared."""
    read = MemoryRead(local=True)
    with torch.no_grad():
        read.pull.fill_(np.log(2.0))
        read.empty.fill_(-20.0)
    key, value = torch.ones(1, KEY, 9, 12), torch.zeros(1, VALUE, 9, 12)
    value[0, 0, 4, 7] = 1
    found = read(key, [Kept(key, value)])[0, 0]
    assert found.argmax() == 4 * 12 + 7
    assert found[0, 0] < 1e-6
