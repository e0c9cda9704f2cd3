"""What is seen of single pixels while a trimap is carried: that it helps, and how it is kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.classical.closed_form import ClosedForm
from model.classical.data_term import DataTerm, joined
from model.classical.hindsight import look_back
from model.classical.hints import hint_of
from model.classical.trimap_flow import TrimapFlow
from model.engine import EngineOptions
from model.errors import Cancelled
from model.exposure import ExposureMap
from model.passes import spans
from model.pipeline import ShotMatte
from model.plates.hint import byte_weights, hint_bytes, placed_hint
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.trimap_classes import Clues
from model.view import LightView
from tests.matting.test_trimap_flow import scene, texture

NEVER = lambda: False  # noqa: E731
COUNT = 8


@given(
    alpha=arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)),
    weight=arrays(np.float32, (3, 4), elements=st.floats(0, 4, width=32)),
)
def test_bytes_and_back(alpha, weight):
    packed = hint_bytes(alpha, weight)
    shown, weighs = packed[0] / np.float32(255), byte_weights()[packed[1]]
    said = weight >= 1e-6
    assert np.all(weighs[~said] == 0)
    assert np.all(np.abs(np.log(weighs[said] / np.minimum(weight[said], 2))) < 0.03)
    assert np.all(np.abs(shown[said] - alpha[said]) <= 0.5 / 255 + 1e-6)
    again = hint_bytes(shown, weighs)
    assert np.array_equal(again, packed)


def test_beyond_the_trimaps_edge_nothing_is_said():
    hint = hint_bytes(np.ones((4, 6), np.float32), np.ones((4, 6), np.float32))
    trimap = Trimap(np.full((4, 6), 128, np.uint8), Window(2, 1, 7, 4), "propagated", hint=hint)
    data = Window(0, 0, 5, 5)
    found = placed_hint(trimap, PlateHeader(("R", "G", "B"), data, Window(0, 0, 9, 9)))
    assert found.shape == (2, 6, 6)
    assert np.array_equal(found[:, 1:5, 2:6], hint[:, :, :4])
    found[:, 1:5, 2:6] = 0
    assert not found.any()
    assert placed_hint(replace(trimap, hint=None), PlateHeader(("R",), data, data)) is None


def test_several_things_told_at_once():
    one = DataTerm(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([3.0, 0.0, 0.0]))
    other = DataTerm(torch.tensor([0.0, 1.0, 0.7]), torch.tensor([1.0, 2.0, 0.0]))
    assert joined() is None and joined(None, one) is one
    both = joined(one, other)
    assert both.alpha.tolist() == pytest.approx([0.75, 1.0, 0.0])
    assert both.weight.tolist() == [4.0, 2.0, 0.0]


def clip_of(made):
    height, width = made.alphas[0].shape
    window = Window.of_size(width, height)
    header = PlateHeader(
        ("R", "G", "B"), window, window, colourspace="srgb_rec709_scene", pixel_type="float"
    )
    plates = [Plate(np.float32(picture), header) for picture in made.pictures]
    trimaps = [
        Trimap(np.where(t == 0.5, 128, t * 255).astype(np.uint8), window) for t in made.trimaps
    ]
    return plates, trimaps


def carried(made, keyframes, tmp_path):
    """Trimaps of the frames between keyframes, as the engine carries them."""
    view = LightView("", "", ExposureMap(), torch.device("cpu"))
    engine = ShotMatte(ClosedForm(), TrimapFlow(), view, EngineOptions(), {})
    plates, trimaps = clip_of(made)
    found = {}
    for span in spans(range(len(plates)), keyframes):
        given_there = {k: trimaps[k] for k in span.keyframes}
        read = plates.__getitem__, lambda n: plates[n].header
        found.update(engine.propagate(span, *read, given_there, tmp_path, NEVER))
    return found, plates, view


def squared_errors(made, found, plates, view, *, hinted):
    """Mean over the unknown pixels of each frame's closed form, all frames together."""
    errors = []
    for number, trimap in found.items():
        trimap = trimap if hinted else replace(trimap, hint=None)
        frame = view.frame(number, plates[number], plates[number].header.display_window, trimap)
        alpha = ClosedForm().prior(frame).alpha[0, 0].numpy()
        errors.append(((alpha - made.alphas[number])[trimap.pixels == 128] ** 2).mean())
    return float(np.mean(errors))


@pytest.mark.parametrize(
    ("keyframes", "most"), [((0,), 0.6), ((COUNT - 1,), 0.7), ((0, COUNT - 1), 0.5)]
)
def test_mattes_of_carried_trimaps_gain_by_what_was_seen(keyframes, most, tmp_path):
    """An arm no wider than two bands, whose trimap is unknown right through."""
    made = scene(COUNT)
    found = carried(made, keyframes, tmp_path)
    with_it = squared_errors(made, *found, hinted=True)
    assert with_it < most * squared_errors(made, *found, hinted=False)
    for trimap in found[0].values():
        assert trimap.hint.dtype == np.uint8 and trimap.hint.shape == (2, *trimap.pixels.shape)
        assert not trimap.hint[1][trimap.pixels != 128].any()
        assert (trimap.hint[1] > 0)[trimap.pixels == 128].mean() > 0.05


def test_a_background_that_is_never_the_same_says_little(tmp_path):
    made = scene(COUNT)
    height, width = made.alphas[0].shape
    walls = [
        texture(height, width, 50 + i, (0.05, 0.25, 0.1), (0.35, 0.55, 0.6)) for i in range(COUNT)
    ]
    for i, alpha in enumerate(made.alphas):
        still = made.pictures[i] * (alpha[..., None] == 1)
        made.pictures[i] = np.where(
            alpha[..., None] == 1,
            still,
            alpha[..., None] * [0.7, 0.2, 0.2] + (1 - alpha[..., None]) * walls[i],
        ).astype(np.float32)
    found = carried(made, (0,), tmp_path)
    with_it = squared_errors(made, *found, hinted=True)
    assert with_it < 1.05 * squared_errors(made, *found, hinted=False)


def clues_on_the_way(made, view, plates):
    """Of `trimap_flow`, carried from the first frame."""
    window = plates[0].header.display_window
    frames = [view.frame(n, plate, window) for n, plate in enumerate(plates)]
    network = TrimapFlow()
    memory = network.start([view.frame(0, plates[0], window, clip_of(made)[1][0])], 0)
    found = {}
    for frame in frames[1:]:
        memory, classes = network.step(memory, frame)
        found[frame.number] = classes.clues
    return found


def test_frames_after_show_what_is_behind(tmp_path):
    """From one keyframe trimaps are carried one way; on the way back each frame learns of the
    background that those after it have shown."""
    made = scene(COUNT)
    trimaps, plates, view = carried(made, (0,), tmp_path)
    there = clues_on_the_way(made, view, plates)
    memory, shares = None, []
    for number in range(COUNT - 1, 0, -1):
        memory, clues = look_back(memory, there[number], trimaps[number].pixels)
        shares.append(float((clues.known > 0.2)[trimaps[number].pixels == 128].mean()))
        wall = (made.alphas[number] == 0) & (clues.known > 0.5)
        assert not wall.any() or np.abs(clues.background - clues.light)[wall].mean() < 0.05
    assert shares[0] == 0 and shares[1] > 0 and max(shares) > 0.2


def test_trimaps_come_before_the_last_frame_is_reached(tmp_path, monkeypatch):
    """A span of any length waits for so many frames alone, and the same hints come of it where they
    are all that is known."""
    monkeypatch.setattr("model.carry._AT_ONCE", 2)
    monkeypatch.setattr("model.classical.trimap_flow._MATCHED_AT_ONCE", 1)
    monkeypatch.setattr("model.carry._AHEAD", 3)
    made = scene(COUNT + 2)
    plates, trimaps = clip_of(made)
    view = LightView("", "", ExposureMap(), torch.device("cpu"))
    engine = ShotMatte(ClosedForm(), TrimapFlow(), view, EngineOptions(), {})
    read, order = [], []

    def plate(number):
        read.append(number)
        return plates[number]

    (span,) = spans(range(COUNT + 2), (0,))
    sources = plate, lambda n: plates[n].header, {0: trimaps[0]}, tmp_path, NEVER
    for number, trimap in engine.propagate(span, *sources):
        if not order:
            assert max(read) < COUNT + 1, "all of the span was read"
        order.append(number)
        assert trimap.hint is not None
        assert len(list(tmp_path.iterdir())) <= 5
    assert order == [2, 1, 4, 3, 6, 5, 9, 8, 7]
    assert not list(tmp_path.iterdir())


def test_a_cancel_is_heard_on_the_way_back(tmp_path):
    made = scene(COUNT)
    plates, trimaps = clip_of(made)
    view = LightView("", "", ExposureMap(), torch.device("cpu"))
    engine = ShotMatte(ClosedForm(), TrimapFlow(), view, EngineOptions(), {})
    (span,) = spans(range(COUNT), (0,))
    told = []
    sources = plates.__getitem__, lambda n: plates[n].header, {0: trimaps[0]}, tmp_path
    with pytest.raises(Cancelled) as caught:
        for number, _ in engine.propagate(span, *sources, lambda: len(told) == 2):
            told.append(number)
    assert told == [COUNT - 1, COUNT - 2] and caught.value.frame == COUNT - 3


def clues_of(shape, background, known):
    """A plate of 0.9 in its left half and 0.2 in its right one."""
    light = np.full((*shape, 3), 0.2, np.float32)
    light[:, : shape[1] // 2] = 0.9
    still = np.zeros((*shape, 2), np.float32)
    behind, known = np.full_like(light, background), np.full(shape, known, np.float32)
    return Clues(light, behind, known, still, still)


def test_the_direction_that_saw_the_background_last_is_asked():
    """The background is 0.2, as the second direction has it."""
    shape = (40, 60)
    trimap = np.full(shape, 128, np.uint8)
    trimap[:, :10], trimap[:, 50:] = 255, 0
    stale, fresh = clues_of(shape, 0.9, 0.6), clues_of(shape, 0.2, 0.9)
    for directions in ([stale, fresh], [fresh, stale]):
        hint = hint_of(1, trimap, "display", directions)
        assert hint.alpha[0, 0, :, 35:45].max() < 0.05
        assert hint.alpha[0, 0, :, 15:25].min() > 0.95
        assert hint.weight[0, 0, :, 12:48].min() > 0
        assert not hint.weight[0, 0, :, :10].any() and not hint.weight[0, 0, :, 50:].any()


def test_background_seen_long_ago_may_lie_a_little_off():
    """Stripes one pixel off look like something else, if they are said to be where they were."""
    shape, stripes = (40, 60), np.float32(0.3) + 0.2 * (np.arange(60) // 3 % 2)
    trimap = np.full(shape, 128, np.uint8)
    trimap[:, :10], trimap[:, 50:] = 255, 0
    plate = np.broadcast_to(stripes[None, :, None], (*shape, 3)).astype(np.float32)
    plate[:, :10] = 0.9
    clues = clues_of(shape, 0.2, 1.0)
    hints = []
    for age in (0, 20):
        known = np.full(shape, 0.98**age, np.float32)
        known[:, 50:] = 1  # seen in this frame, and so just where it is
        off = np.where(np.arange(60)[None, :, None] < 50, np.roll(plate, 1, 1), plate)
        off[:, :15] = 0.3
        seen = replace(clues, light=plate, background=off, known=known)
        hints.append(hint_of(1, trimap, "display", [seen]))
    wrong = [float((hint.alpha * hint.weight)[..., 15:45].mean()) for hint in hints]
    assert wrong[1] < 0.3 * wrong[0]


def test_nothing_seen_nothing_said():
    trimap = np.full((40, 60), 128, np.uint8)
    trimap[:, :10], trimap[:, 50:] = 255, 0
    assert hint_of(1, trimap, "display", [clues_of((40, 60), 0.2, 0.0)]) is None


def test_what_all_around_contradict_is_hardly_believed():
    """A pebble that has rolled: one pixel of the plate is no background, the others around are."""
    shape = (40, 60)
    trimap = np.full(shape, 128, np.uint8)
    trimap[:, :10], trimap[:, 50:] = 255, 0
    clues = clues_of(shape, 0.2, 0.95)
    plate = clues.light.copy()
    plate[20, 42] = 0.9
    hint = hint_of(1, trimap, "display", [replace(clues, light=plate)])
    usual = float(hint.weight[0, 0, 10:30, 36:48].median())
    assert hint.alpha[0, 0, 20, 42] > 0.9
    assert hint.weight[0, 0, 20, 42] < 0.6 * hint.weight[0, 0, 20, 20] and usual > 0
