"""A span carried from both ends: one after the other or both at once, and what waits meanwhile."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import carry
from model.blend import blend
from model.classical.closed_form import ClosedForm
from model.classical.data_term import DataTerm
from model.classical.trimap_flow import TrimapFlow
from model.engine import EngineOptions
from model.errors import Cancelled, CapacityError, SetupError
from model.exposure import ExposureMap
from model.passes import spans
from model.pipeline import ShotMatte
from model.plates import hint
from model.trimap_classes import Classes, Clues
from model.view import LightView
from model.waiting import Waiting, spool_trimap
from tests.full_disk import full_disk
from tests.matting.test_hints import clip_of
from tests.matting.test_trimap_flow import scene

COUNT = 7
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def propagated(tmp_path, cancelled=lambda: False, count=COUNT):
    plates, trimaps = clip_of(scene(count))
    view = LightView("", "", ExposureMap(), CPU)
    engine = ShotMatte(ClosedForm(), TrimapFlow(), view, EngineOptions(), {})
    (span,) = spans(range(count), (0, count - 1))
    keyframes = {i: trimaps[i] for i in (0, count - 1)}
    return engine.propagate(
        span, plates.__getitem__, lambda n: plates[n].header, keyframes, tmp_path, cancelled
    )


@pytest.fixture
def at_once(monkeypatch):
    """As beside a CUDA device."""
    in_turns = carry._in_turns
    monkeypatch.setattr(carry, "_in_turns", lambda *ways: in_turns(*ways[:2], CUDA))


@pytest.mark.parametrize("count", [3, 4, COUNT])
def test_both_ways_at_once_find_the_same(tmp_path, request, count):
    right = dict(propagated(tmp_path, count=count))
    request.getfixturevalue("at_once")
    found = dict(propagated(tmp_path, count=count))
    assert sorted(found) == sorted(right) == list(range(1, count - 1))
    for number, trimap in found.items():
        # What waits is rounded to halves, and another way may wait.
        assert (trimap.pixels != right[number].pixels).mean() < 1e-3
        assert np.abs(np.float32(trimap.confidence) - right[number].confidence).max() <= 1
        assert np.abs(np.float32(trimap.hint) - right[number].hint).mean() < 0.5
    assert not list(tmp_path.iterdir())


def test_frames_come_from_where_the_ways_meet(tmp_path, at_once):
    assert [number for number, _ in propagated(tmp_path)] == [3, 4, 2, 5, 1]


def test_a_cancel_is_heard_on_both_ways(tmp_path, at_once):
    told = []
    with pytest.raises(Cancelled):
        for number, _ in propagated(tmp_path, lambda: len(told) == 1):
            told.append(number)
    assert 1 <= len(told) < COUNT - 2


def an_answer(seed=0, added=True):
    g = torch.Generator().manual_seed(seed)
    planes = torch.rand(1, 4, 6, 9, generator=g)
    light = torch.rand(6, 9, 3, generator=g).numpy() * 1e6
    flow = torch.rand(6, 9, 2, generator=g).numpy()
    clues = Clues(light, light, flow[..., 0].copy(), flow, -flow)
    more = torch.randn(1, 4, 6, 9, generator=g) if added else None
    return Classes(planes, 12, 18, more, clues)


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("clues", [True, False])
@pytest.mark.parametrize("room", [0, 1 << 20])
def test_what_waits_is_kept_as_halves_in_memory_or_in_files(
    tmp_path, monkeypatch, added, clues, room
):
    monkeypatch.setattr(Waiting, "_room", room)
    waiting = Waiting(tmp_path, CPU)
    given = an_answer(added=added)
    given = given if clues else replace(given, clues=None)
    waiting.put(3, given)
    assert 3 in waiting and 4 not in waiting
    assert len(list(tmp_path.iterdir())) == (0 if room else 1)
    found = waiting.take(3, given)
    assert 3 not in waiting and not list(tmp_path.iterdir())
    assert torch.equal(found.carried, given.carried.half().float())
    assert (found.height, found.width) == (12, 18)
    if added:
        assert torch.equal(found.added, given.added.half().float())
    else:
        assert found.added is None
    if clues:
        assert np.array_equal(found.clues.back, np.float32(np.float16(given.clues.back)))
        assert found.clues.light.max() == 65504, "no infinities"
    else:
        assert found.clues is None
    assert blend(found, given, 0.5)[0].shape == (12, 18)


def test_memory_does_not_grow_with_the_span(tmp_path, monkeypatch):
    one = an_answer()
    planes = [one.carried, one.added, *map(torch.tensor, vars(one.clues).values())]
    size = sum(plane.nbytes // 2 for plane in planes)
    monkeypatch.setattr(Waiting, "_room", 2 * size)
    waiting = Waiting(tmp_path, CPU)
    for number in range(5):
        waiting.put(number, an_answer(number))
    assert len(waiting._held) == 2 and len(list(tmp_path.iterdir())) == 3
    for number in range(5):
        right = an_answer(number).carried.half().float()
        assert torch.equal(waiting.take(number, one).carried, right)


def test_a_disk_too_full_for_what_waits_is_told_as_such(tmp_path):
    with full_disk(100), pytest.raises(CapacityError) as caught:
        Waiting(tmp_path, CPU).put(3, an_answer())
    assert str(tmp_path) in caught.value.message
    answer = an_answer()
    classes = np.zeros((12, 18), np.uint8)
    with full_disk(100), pytest.raises(CapacityError):
        spool_trimap(tmp_path / "4.npz", (classes, classes), answer.clues)
    with pytest.raises(SetupError) as caught:
        Waiting(tmp_path / "gone", CPU).put(3, answer)
    assert str(tmp_path / "gone") in caught.value.message


def test_weights_have_the_bytes_that_their_bounds_say():
    weight = np.exp(np.random.default_rng(0).uniform(-18, 2, (40, 50))).astype(np.float32)
    weight[0] = 0
    alpha = np.random.default_rng(1).random((40, 50), np.float32)
    given = DataTerm(*(torch.from_numpy(x)[None, None] for x in (alpha, weight)))
    right = hint.hint_bytes(alpha, weight)
    assert (carry._packed(given) == right).all()
    counts = torch.bucketize(given.weight[0, 0], torch.from_numpy(hint.weight_bounds()), right=True)
    assert (counts.numpy() == right[1]).all()


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_what_waits_on_a_disk_that_is_full_is_a_matter_of_capacity(tmp_path):
    import resource

    waiting = Waiting(tmp_path, CPU)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, unlimited[1]))
    try:
        with pytest.raises(CapacityError, match=f"no space left to write in {tmp_path}"):
            waiting.put(3, an_answer())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert 3 not in waiting and not list(tmp_path.iterdir())
