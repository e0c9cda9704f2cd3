"""Windows, canvas, light, foreground and memory fallbacks of `ShotMatte`."""

from dataclasses import dataclass, replace
from threading import Event
from threading import enumerate as threads
from weakref import WeakSet

import numpy as np
import pytest
import torch

from model.canvas import canvas_of
from model.checkpoint import sha256_of_file
from model.engine import EngineOptions
from model.errors import Cancelled, CapacityError, InputError, SetupError
from model.exposure import ExposureMap, to_picture
from model.face import Estimate
from model.passes import blocks, spans
from model.pipeline import ShotMatte, open_engine
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.same_files import file_stamp
from model.registry import WEIGHTS_FOLDER
from model.tiles import Seen, estimate_in_tiles, tiles
from model.view import LightView

NEVER = lambda: False  # noqa: E731
CONFIG = """ocio_profile_version: 2
roles: {{default: plain, scene_linear: lin_rec709, aces_interchange: lin_rec709}}
displays: {{monitor: [!<View> {{name: plain, colorspace: plain}}]}}
colorspaces:
  - !<ColorSpace> {{name: lin_rec709, isdata: false, encoding: scene-linear}}
  - !<ColorSpace>
    name: srgb_rec709_scene
    isdata: false
    to_scene_reference: !<ExponentWithLinearTransform> {{gamma: {gamma}, offset: 0.055}}
  - !<ColorSpace> {{name: plain, isdata: true}}
"""
VIEW = LightView("", "", ExposureMap(), torch.device("cpu"))


@dataclass(frozen=True)
class Recorder:
    """A matting network that answers which frames it was shown; reach 2, a halo, a multiple."""

    needs_both: bool = False
    causal: bool = False
    tiles_itself: bool = False
    reach: int = 2
    halo: int = 4
    multiple: int = 8

    def prior(self, frame):
        return Estimate(torch.full_like(frame.trimap, 0.5), torch.ones_like(frame.trimap))

    def encode(self, frame, prior):
        assert frame.light.shape[-1] % self.multiple == 0
        assert frame.light.shape[-2] % self.multiple == 0
        return frame, prior

    def decode(self, window, centre, side=0):
        numbers = [frame.number for frame, _ in window]
        weight = sum((i + 1) * (n % 100) for i, n in enumerate(numbers))
        # A box blur whose reach is the halo: tiles without one would show.
        light = torch.nn.functional.avg_pool2d(window[centre][0].light, 9, 1, 4)
        alpha = (light.mean(1, keepdim=True) * 0.1 + weight / 1e4).clamp(0, 1)
        return Estimate(alpha, torch.ones_like(alpha))


class NoPropagation:
    def starts(self, keyframes, origins):
        raise AssertionError("not asked for")

    step = starts


def engine_with(network, **options):
    return ShotMatte(network, NoPropagation(), VIEW, EngineOptions(**options), {})


def test_a_learned_network_sees_the_window_of_the_contract(clip_of):
    clip = clip_of(20, 40, 44)
    seen = []

    class Watch(Recorder):
        def decode(self, window, centre, side=0):
            seen.append(([frame.number for frame, _ in window], centre))
            return super().decode(window, centre)

    shuffled = []
    for order in (1, -1):
        engine = engine_with(Watch())
        found = {}
        for block in blocks(clip.frames)[::order]:
            sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
            for matte in engine.matte(block, clip.frames, block.frames, *sources):
                found[matte.frame] = matte.alpha
        shuffled.append(found)
    assert seen[0] == ([1001, 1001, 1001, 1002, 1003], 2)
    assert seen[16] == ([1015, 1016, 1017, 1018, 1019], 2)
    for number in clip.frames:
        assert np.array_equal(shuffled[0][number], shuffled[1][number])


@pytest.mark.parametrize("tile", [8, 24, 32, 40])
def test_tiles_with_a_halo_equal_the_whole(tile, clip_of):
    clip = clip_of(5, 67, 85)
    canvas = clip.plates[1001].header.display_window
    network = Recorder()
    around = []
    for f in clip.frames:
        frame = VIEW.frame(f, clip.plates[f], canvas, clip.trimaps[f])
        around.append(Seen(frame, network.prior(frame)))
    whole, _ = estimate_in_tiles(network, around, 2, {}, 0, "float32")
    tiled, _ = estimate_in_tiles(network, around, 2, {}, tile, "float32")
    assert torch.allclose(whole.alpha, tiled.alpha, atol=1e-6)


def test_where_only_trimaps_are_asked_for_nothing_is_solved(clip_of):
    clip = clip_of(20, 40, 44)

    class Untouched(Recorder):
        def prior(self, frame):
            raise AssertionError("solved")

    carried = np.full((40, 44), 200, np.uint8)
    trimaps = dict(clip.trimaps)
    trimaps[1003] = Trimap(trimaps[1003].pixels, trimaps[1003].window, "propagated", carried)
    read = []

    def plate(number):
        read.append(number)
        return clip.plates[number]

    engine = engine_with(Untouched(), layers=("trimap", "confidence"))
    block = blocks(clip.frames)[0]
    found = list(engine.matte(block, clip.frames, [1002, 1003], plate, trimaps.get, NEVER))
    assert [one.frame for one in found] == read == [1002, 1003]  # and no neighbour is read
    assert all(one.alpha is None and one.foreground is None for one in found)
    for one in found:
        assert np.array_equal(one.trimap, clip.trimaps[one.frame].pixels)
    assert (found[0].confidence == 1).all()
    assert np.allclose(found[1].confidence, 200 / 255)


def test_features_are_computed_once_a_frame(clip_of):
    clip = clip_of(8, 32, 32)
    calls = []

    class Count(Recorder):
        def encode(self, frame, prior):
            calls.append(frame.number)
            return super().encode(frame, prior)

    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    list(engine_with(Count()).matte(block, clip.frames, block.frames, *sources))
    assert calls == list(clip.frames)


def test_frames_are_read_and_delivered_while_the_network_is_at_work(clip_of):
    clip = clip_of(8, 24, 24)
    read, taken = {f: Event() for f in clip.frames}, Event()

    class Slow(Recorder):
        def decode(self, window, centre, side=0):
            number = window[centre][0].number
            if number == 1002:  # its window ends with 1004
                assert read[1005].wait(20)
            if number == 1004:
                assert taken.wait(20)
            return super().decode(window, centre)

    def plate(number):
        read[number].set()
        return clip.plates[number]

    (block,) = blocks(clip.frames)
    sources = plate, clip.trimaps.__getitem__, NEVER
    for matte in engine_with(Slow()).matte(block, clip.frames, block.frames, *sources):
        if matte.frame == 1003:
            taken.set()


def test_a_window_and_a_few_frames_are_held_however_long_the_clip(clip_of):
    clip = clip_of(36, 24, 64)
    alive, most, furthest = WeakSet(), [], [0]

    class Held:
        """A plate that can be counted."""

        def __init__(self, plate):
            self.pixels, self.header = plate.pixels, plate.header

    class Watch(Recorder):
        def decode(self, window, centre, side=0):
            most.append(len(alive))
            return super().decode(window, centre)

    def plate(number):
        furthest[0] = max(furthest[0], number)
        if number not in near:
            near[number] = Held(clip.plates[number])
            alive.add(near[number])
        for old in sorted(near)[:-6]:
            del near[old]
        return near[number]

    for block in blocks(clip.frames):
        near = {}
        sources = plate, clip.trimaps.__getitem__, NEVER
        for m in engine_with(Watch()).matte(block, clip.frames, block.frames, *sources):
            # Two after it, one frame solved, one read, one being read.
            assert furthest[0] <= m.frame + 5
    assert len(most) > 30 and max(most) <= 10


def test_no_thread_is_left_after_an_error_a_cancel_or_a_close(clip_of):
    clip = clip_of(8, 24, 24)
    (block,) = blocks(clip.frames)

    def plate(number):
        if number == 1006:
            raise InputError("input.damaged", "spoiled", frame=number)
        return clip.plates[number]

    def mattes(cancelled=NEVER, plate=clip.plates.__getitem__):
        sources = plate, clip.trimaps.__getitem__, cancelled
        return engine_with(Recorder()).matte(block, clip.frames, block.frames, *sources)

    done = []
    with pytest.raises(InputError, match="spoiled"):
        for m in mattes(plate=plate):
            done.append(m.frame)
    assert done == [1001, 1002, 1003]  # all whose window does not hold it
    with pytest.raises(Cancelled):
        list(mattes(cancelled=lambda: True))
    some = mattes()
    next(some)
    some.close()
    assert not [one.name for one in threads() if one.name.startswith(("view", "solve"))]


def test_out_of_memory_falls_back_to_smaller_tiles_once_and_says_so(clip_of, monkeypatch):
    clip = clip_of(5, 300, 300)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    class Hungry(Recorder):
        def encode(self, frame, prior):
            if frame.light.shape[-1] > limit:
                tried.append(frame.light.shape[-1])
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
            return super().encode(frame, prior)

    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    limit, tried = 200, []
    (matte,) = engine_with(Hungry()).matte(block, clip.frames, [1003], *sources)
    assert matte.fallback == "tile 150 for want of memory"
    limit, tried = 0, []
    with pytest.raises(CapacityError) as caught:
        list(engine_with(Hungry()).matte(block, clip.frames, [1003], *sources))
    assert len(tried) == 2 and tried[0] == 304  # the whole frame, padded; then half of it, once
    assert caught.value.code == "capacity.device_memory" and caught.value.frame == 1003
    assert caught.value.message == (
        "frame 1003 does not fit into the device's memory, not even in tiles of 150 pixels: "
        "2.50 GiB more were needed"
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("test"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"),
    ],
)
def test_a_prior_that_needs_too_much_memory_is_named(error, clip_of):
    clip = clip_of(1, 24, 24)

    class Full(Recorder):
        def prior(self, frame):
            raise error

    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    with pytest.raises(CapacityError, match="unknown region of frame 1001"):
        list(engine_with(Full()).matte(block, clip.frames, clip.frames, *sources))


@pytest.mark.parametrize(("value", "missing"), [(0, "foreground"), (255, "background")])
def test_a_painted_trimap_without_a_class_is_named_not_answered_with_zeros(value, missing, clip_of):
    clip = clip_of(2, 24, 24)
    pixels = np.full((24, 24), value, np.uint8)
    pixels[8:16, 8:16] = 128
    engine = open_engine(EngineOptions(network="closed_form", device="cpu", threads=1))
    (block,) = blocks(clip.frames)

    def matte(source):
        trimap = Trimap(pixels, clip.header(1001).data_window, source, path="key.png")
        sources = clip.plates.__getitem__, lambda frame: trimap, NEVER
        return list(engine.matte(block, clip.frames, [1001], *sources))

    with pytest.raises(InputError, match=rf"frame 1001 \(key.png\).*no certain {missing}"):
        matte("painted")
    # A subject may leave the picture: what was carried there is solved as far as it goes.
    (found,) = matte("propagated")
    assert (found.alpha == value / 255).all()


def test_tiles_without_unknown_pixels_are_not_run(clip_of):
    clip = clip_of(1, 64, 128)
    canvas = clip.plates[1001].header.display_window
    ran = []

    class Count(Recorder):
        def encode(self, frame, prior):
            ran.append(tuple(frame.light.shape[-2:]))
            return super().encode(frame, prior)

    pixels = np.zeros((64, 128), np.uint8)
    pixels[4:8, 4:8] = 128
    frame = VIEW.frame(1001, clip.plates[1001], canvas, Trimap(pixels))
    network = Count()
    estimate_in_tiles(network, [Seen(frame, network.prior(frame))], 0, {}, 32, "float32")
    assert len(ran) == 1


def test_features_are_not_those_of_another_canvas_of_the_same_size(clip_of):
    clip = clip_of(8, 48, 64)
    wider = {1001: Window(-6, 0, 63, 47), 1008: Window(0, 0, 69, 47)}
    plates = {}
    for f, plate in clip.plates.items():
        window = wider.get(f, plate.header.data_window)
        pixels = np.pad(plate.pixels, ((0, 0), (max(-window.x0, 0), window.x1 - 63), (0, 0)))
        plates[f] = Plate(pixels, replace(plate.header, data_window=window))

    class Mean(Recorder):
        def decode(self, window, centre, side=0):
            alpha = sum(frame.light.mean(1, keepdim=True) for frame, _ in window) / len(window)
            return Estimate(alpha.clamp(0, 1), torch.ones_like(alpha))

    engine = engine_with(Mean())
    (block,) = blocks(clip.frames)
    sources = plates.__getitem__, clip.trimaps.__getitem__, NEVER
    together = {m.frame: m.alpha for m in engine.matte(block, clip.frames, block.frames, *sources)}
    for number in block.frames:
        (alone,) = engine.matte(block, clip.frames, [number], *sources)
        assert np.array_equal(alone.alpha, together[number]), number


def test_data_windows_that_change_share_a_canvas_and_come_back(clip_of):
    """An autocrop: each plate has a data window of its own, partly outside of the display."""
    clip = clip_of(5, 48, 64)
    display = Window.of_size(64, 48)
    crops = {1001: Window(0, 0, 63, 47), 1003: Window(-6, -4, 50, 40), 1004: Window(5, 7, 69, 50)}
    plates = {}
    for f, plate in clip.plates.items():
        window = crops.get(f, display)
        full = np.zeros((70, 90, 3), np.float32)
        full[10:58, 10:74] = plate.pixels
        rows = slice(window.y0 + 10, window.y1 + 11)
        pixels = full[rows, window.x0 + 10 : window.x1 + 11]
        plates[f] = Plate(pixels, PlateHeader(("R", "G", "B"), window, display, 2.0))
    engine = open_engine(EngineOptions(device="cpu", threads=1))
    (block,) = blocks(clip.frames)
    trimap = clip.trimaps.__getitem__
    for m in engine.matte(block, clip.frames, clip.frames, plates.__getitem__, trimap, NEVER):
        window = plates[m.frame].header.data_window
        assert m.alpha.shape == (window.height, window.width)
        assert m.header.data_window == window
        placed = m.trimap
        assert (m.alpha[placed == 255] == 1).all()
        assert (m.alpha[placed == 0] == 0).all()


def test_plates_of_another_size_are_named():
    header = PlateHeader(("R",), Window.of_size(64, 48), Window.of_size(64, 48), path="a.1.exr")
    other = PlateHeader(("R",), Window.of_size(32, 24), Window.of_size(32, 24), path="a.7.exr")
    with pytest.raises(InputError, match=r"frame 7 \(a.7.exr\) is 32×24 where frame 1 is 64×48"):
        canvas_of([(1, header), (7, other)])


def test_windows_too_large_for_any_device_are_named():
    far = Window.of_size(65536, 65536)
    header = PlateHeader(("R",), Window.of_size(4, 4), far, path="huge.exr")
    with pytest.raises(InputError, match=r"huge.exr.*65536×65536"):
        canvas_of([(1, header)])


@pytest.mark.parametrize("kind", ["premultiplied", "straight"])
def test_the_foreground_is_the_plate_to_the_bit_where_alpha_is_one(kind, clip_of):
    clip = clip_of(1, 48, 64)
    engine = open_engine(
        EngineOptions(device="cpu", layers=("alpha", "foreground"), foreground=kind, threads=1)
    )
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    (matte,) = engine.matte(block, clip.frames, clip.frames, *sources)
    whole = matte.alpha == 1
    assert whole.any()
    assert np.array_equal(matte.foreground[whole], clip.plates[1001].pixels[whole])
    if kind == "premultiplied":
        assert (matte.foreground[matte.alpha == 0] == 0).all()
    assert matte.confidence is None, "it was not asked for"


def test_cancel_is_seen_between_frames(clip_of, tmp_path):
    clip = clip_of(6, 24, 24)
    engine = open_engine(EngineOptions(device="cpu", threads=1))
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__
    done = []
    with pytest.raises(Cancelled):
        for m in engine.matte(block, clip.frames, clip.frames, *sources, lambda: len(done) == 2):
            done.append(m.frame)
    assert done == [1001, 1002]
    (span,) = spans(clip.frames, [1001])
    with pytest.raises(Cancelled):
        keyframes = {1001: clip.trimaps[1001]}
        list(engine.propagate(span, sources[0], clip.header, keyframes, tmp_path, lambda: True))


def test_the_description_names_the_checkpoints_of_both_passes():
    said = open_engine(EngineOptions(network="st_fam_s", device="cpu", threads=1)).describe()
    carries = WEIGHTS_FOLDER / "trimap_memory_s.safetensors"
    assert said["propagation"] == "trimap_memory_s"
    assert said["propagation_checkpoint"] == f"{carries.name} {sha256_of_file(carries)}"
    assert str(said["checkpoint"]).startswith("st_fam_s.safetensors ")
    said = open_engine(EngineOptions(network="closed_form", device="cpu", threads=1)).describe()
    assert said["propagation_checkpoint"] == ""


def test_a_checkpoint_that_was_replaced_since_is_not_opened(tmp_path):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes((WEIGHTS_FOLDER / "st_fam_s.safetensors").read_bytes())
    named = {"network": "st_fam_s", "checkpoint": str(weights), "device": "cpu"}
    open_engine(EngineOptions(**named, checkpoint_stamp=file_stamp(str(weights))))
    stamp = file_stamp(str(weights))
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(SetupError, match="has been replaced since") as caught:
        open_engine(EngineOptions(**named, checkpoint_stamp=stamp))
    assert caught.value.code == "setup.checkpoint_changed"


def test_a_colour_config_that_is_edited_under_way_stops_the_shot(clip_of, tmp_path, monkeypatch):
    config = tmp_path / "show.ocio"
    config.write_text(CONFIG.format(gamma=2.4))
    monkeypatch.setenv("OCIO", str(config))
    stamp = file_stamp(str(config))
    named = {"network": "closed_form", "device": "cpu", "threads": 1, "ocio_stamp": stamp}
    engine, clip = open_engine(EngineOptions(**named)), clip_of(8, 24, 24)
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    made = engine.matte(block, clip.frames, clip.frames, *sources)
    next(made)
    # In one step, as editors save: the engine reads ahead, and half a config is another error.
    edited = tmp_path / "edited.ocio"
    edited.write_text(CONFIG.format(gamma=2.0) + "# edited\n")
    edited.replace(config)
    with pytest.raises(SetupError, match="was changed while the shot") as caught:
        list(made)
    assert caught.value.code == "setup.ocio_changed"
    with pytest.raises(SetupError, match="was changed while the shot"):
        open_engine(EngineOptions(**named))
    assert open_engine(EngineOptions(**named | {"ocio_stamp": file_stamp(str(config))}))


@pytest.mark.parametrize("premultiplied", [False, True])
def test_premultiplied_plates_are_divided_by_their_alpha_before_they_are_converted(premultiplied):
    window = Window(0, 0, 1, 0)
    header = PlateHeader(("R", "G", "B", "A"), window, window, colourspace="srgb_rec709_scene")
    half, flare = (0.4, 0.4, 0.4, 0.5), (0.4, 0.4, 0.4, 0.0)
    plate = Plate(np.array([[half, flare]], np.float32), header)
    view = replace(VIEW, composited_in="linear", premultiplied=premultiplied)
    seen = view.frame(1, plate, window).light[0, 0, 0].tolist()
    half, flare = (0.5 * linear(0.8) if premultiplied else linear(0.4)), linear(0.4)
    assert seen == pytest.approx([half, flare], abs=1e-4)


@pytest.mark.parametrize(
    ("space", "light"), [("lin_rec709_scene", "display"), ("srgb_rec709_scene", "linear")]
)
def test_colours_of_premultiplied_plates_come_back_as_they_went(space, light):
    window = Window(0, 0, 2, 0)
    header = PlateHeader(("R", "G", "B", "A"), window, window, colourspace=space)
    pixels = np.array([[(0.2, 0.3, 0.1, 0.4), (0.5, 0.4, 0.9, 1), (0.1, 0.2, 0.3, 0)]], np.float32)
    plate = Plate(pixels, header)
    view = replace(VIEW, composited_in=light, premultiplied=True)
    seen = view.frame(1, plate, window).light[0].permute(1, 2, 0).numpy()
    assert np.abs(seen - pixels[..., :3]).max() > 0.05
    np.testing.assert_allclose(view.in_plate_space(seen, plate), pixels[..., :3], atol=1e-4)


def linear(value):
    """sRGB's curve."""
    return ((value + 0.055) / 1.055) ** 2.4


def test_the_exposure_map_bends_and_never_clips():
    light = torch.tensor([-1.0, 0.0, 0.18, 0.5, 0.8, 1.0, 2.0, 4.0])
    shown = to_picture(light, ExposureMap())
    assert shown[0] == shown[1] == 0
    assert abs(float(shown[2]) - 0.4614) < 1e-3
    assert (shown[1:].diff() > 0).all()
    assert shown[-1] <= 1
    assert float(to_picture(torch.tensor([1e4]), ExposureMap())) == pytest.approx(1)


def test_tiles_cover_the_frame_once_and_carry_a_halo():
    whole = Window.of_size(100, 70)
    covered = np.zeros((70, 100), int)
    for inner, outer in tiles(whole, 30, Recorder()):
        covered[inner.inside(whole)] += 1
        assert outer.x0 == max(inner.x0 - 8, 0)
        assert outer.y1 == min(inner.y1 + 8, 69)
        assert (inner.x0 % 8, inner.y0 % 8) == (0, 0)
    assert (covered == 1).all()
    assert list(tiles(whole, 0, Recorder())) == [(whole, whole)]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"network": "no_such"}, "setup.unknown_network"),
        ({"device": "cuda:99"}, "setup.device"),
        ({"device": "toaster"}, "setup.device"),
        ({"checkpoint": "not/there.safetensors"}, "setup.no_checkpoint"),
    ],
)
def test_what_cannot_be_opened_says_so(options, code):
    with pytest.raises(SetupError) as caught:
        open_engine(EngineOptions(**options))
    assert caught.value.code == code
    assert caught.value.hint
