"""Movies: the right frame however it is asked for, exact levels, and the same plates by value."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from model.errors import InputError
from model.plates.colour import plate_colourspace, resolve
from model.plates.image_files import read_plate
from model.plates.movie_colour import to_rgb
from model.plates.movies import (
    MovieReader,
    extract,
    is_movie,
    movie_frames,
    read_movie_frame,
)

CLIPS = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval" / "no_gt_clips"
COUNT, WIDTH, HEIGHT = 40, 64, 48
LIMITED, FULL = 1, 2


def level(index: int) -> int:
    """The grey of a frame, told apart from its neighbours after any lossy coding."""
    return 16 + (index * 37) % COUNT * 5


def make(path: Path, codec: str, pixels: str, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        if codec.startswith("mpeg"):
            options = {"qmin": "1", "qmax": "2", **options}  # else grey strays by seven codes
        stream.options = options
        for index in range(COUNT):
            grey = np.full((HEIGHT, WIDTH, 3), level(index), np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def planes(name: str, values: tuple[int, int, int], bits: int = 8, **fields) -> av.VideoFrame:
    """A picture of one colour, by its codes."""
    picture = av.VideoFrame(32, 16, name)
    for plane, value in zip(picture.planes, values, strict=True):
        kind = np.dtype("u1") if bits == 8 else np.dtype("<u2")
        plane.update(np.full(plane.buffer_size // kind.itemsize, value, kind).tobytes())
    for field, value in fields.items():
        setattr(picture, field, value)
    return picture


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("b_frames.mp4", "mpeg4", "yuv420p", {"bf": "2", "g": "12"}),
        ("open_gop.mkv", "mpeg2video", "yuv420p", {"bf": "2", "g": "9"}),
        ("intra.mov", "prores_ks", "yuv422p10le", {}),
        ("alpha.mov", "prores_ks", "yuva444p10le", {"profile": "4"}),
        ("lossless.mkv", "ffv1", "yuv444p10le", {}),
        ("motion.avi", "mjpeg", "yuvj420p", {}),
        ("web.webm", "libvpx-vp9", "yuv420p", {"g": "10", "deadline": "realtime"}),
        ("broadcast.mxf", "mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
        ("png.mov", "png", "rgb24", {}),
    ],
)
def test_a_frame_is_the_same_in_any_order(tmp_path, name, codec, pixels, options):
    path = make(tmp_path / name, codec, pixels, **options)
    assert movie_frames(path) == (1, COUNT)
    with MovieReader(path) as reader:
        forward = {frame: reader.read(frame).pixels for frame in range(1, COUNT + 1)}
        order = np.random.default_rng(1).permutation(np.arange(1, COUNT + 1)).tolist()
        for frame in [*order[:20], 40, 1, 2, 3, 3, 2, 40]:
            np.testing.assert_array_equal(reader.read(frame).pixels, forward[frame])
    for frame, picture in forward.items():
        error = abs(float(picture.astype(np.float32).mean()) * 255 - level(frame - 1))
        assert error < 2.5, (frame, error)
    np.testing.assert_array_equal(read_movie_frame(path, 23).pixels, forward[23])


def test_what_a_plate_of_a_movie_says(tmp_path):
    path = make(tmp_path / "a.mov", "prores_ks", "yuv422p10le")
    plate = read_movie_frame(path, 1)
    assert plate.pixels.shape == (HEIGHT, WIDTH, 3) and plate.pixels.dtype == np.float16
    assert plate.header.channels == ("R", "G", "B") and plate.header.path == str(path)
    assert plate.header.metadata["FramesPerSecond"] == (24, 1)
    assert plate_colourspace(plate) == resolve("srgb_rec709_scene")


@pytest.mark.parametrize(
    ("name", "bits", "values", "fields", "expected"),
    [
        ("yuv420p", 8, (16, 128, 128), {"color_range": LIMITED}, (0, 0, 0)),
        ("yuv420p", 8, (235, 128, 128), {"color_range": LIMITED}, (1, 1, 1)),
        ("yuv420p", 8, (126, 128, 128), {}, (110 / 219,) * 3),
        ("yuv420p", 8, (254, 128, 128), {}, (238 / 219,) * 3),  # above white: kept
        ("yuv420p", 8, (1, 128, 128), {}, (-15 / 219,) * 3),
        ("yuv420p", 8, (255, 128, 128), {"color_range": FULL}, (1, 1, 1)),
        ("yuvj420p", 8, (255, 128, 128), {}, (1, 1, 1)),
        ("yuv422p10le", 10, (940, 512, 512), {}, (1, 1, 1)),
        ("yuv444p12le", 12, (3760, 2048, 2048), {}, (1, 1, 1)),
        ("yuv420p10le", 10, (1023, 512, 512), {"color_range": FULL}, (1, 1, 1)),
        # the primaries of BT.601 (75 % bars) and of BT.709, by their published codes
        ("yuv444p", 8, (65, 100, 212), {"colorspace": 6}, (0.75, 0, 0)),
        ("yuv444p", 8, (112, 72, 58), {"colorspace": 6}, (0, 0.75, 0)),
        ("yuv444p", 8, (51, 109, 212), {"colorspace": 1}, (0.75, 0, 0)),
        ("yuv444p", 8, (28, 212, 120), {"colorspace": 1}, (0, 0, 0.75)),
        ("yuv444p", 8, (65, 100, 212), {"colorspace": 2}, (0.75, 0, 0)),  # not HD: BT.601
        ("gbrp", 8, (255, 0, 128), {}, (128 / 255, 1, 0)),
        ("gbrp10le", 10, (1023, 0, 512), {}, (512 / 1023, 1, 0)),
    ],
)
def test_levels_are_those_of_h273(name, bits, values, fields, expected):
    """Codes are whole numbers, so coloured ones are within half a code of what is wanted."""
    found = to_rgb(planes(name, values, bits, **fields))
    assert found.shape == (16, 32, 3) and found.dtype == np.float32
    grey = values[1] == values[2]
    tolerance = 1e-6 if grey or name.startswith("gbr") else 1.2 / 219
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=tolerance)


def test_packed_rgb_is_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    for name in ("rgb24", "bgr24"):
        found = to_rgb(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=name))
        np.testing.assert_array_equal(found, pixels / np.float32(255))
    flat = np.full((16, 32, 3), 128, np.uint8)
    for name in ("rgb555le", "rgb565le"):  # 5 bits are within a code of theirs, and are dithered
        found = to_rgb(av.VideoFrame.from_ndarray(flat, "rgb24").reformat(format=name))
        np.testing.assert_allclose(found, 128 / 255, atol=2 / 31)
    fine = np.random.default_rng(0).integers(0, 65536, (16, 32, 3), np.uint16)
    found = to_rgb(av.VideoFrame.from_ndarray(fine, "rgb48le"))
    np.testing.assert_array_equal(found, fine / np.float32(65535))


def test_a_way_to_store_colour_that_is_not_known_is_told():
    with pytest.raises(ValueError, match=r"H\.273"):
        to_rgb(planes("yuv444p", (65, 100, 212), colorspace=8))


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "kind"),
    [("a.mov", "prores_ks", "yuv422p10le", "half"), ("a.mkv", "ffv1", "rgb48le", "float")],
)
def test_extracted_frames_are_the_same_plates(tmp_path, name, codec, pixels, kind):
    """By value equals by path, to the bit."""
    path = make(tmp_path / name, codec, pixels)
    out = tmp_path / "out"
    out.mkdir()
    files = extract(path, [7, 3, 7], out)
    assert files == {3: out / "a.0003.exr", 7: out / "a.0007.exr"}
    assert sorted(out.iterdir()) == sorted(files.values())
    for frame, file in files.items():
        there, here = read_plate(file), read_movie_frame(path, frame)
        np.testing.assert_array_equal(there.pixels, here.pixels)
        assert there.pixels.dtype == here.pixels.dtype
        assert there.header.pixel_type == here.header.pixel_type == kind
        assert there.header.display_window == here.header.display_window
        assert there.header.metadata["FramesPerSecond"] == (24, 1)
        assert plate_colourspace(there) == plate_colourspace(here)


def test_frames_that_a_movie_lacks(tmp_path):
    path = make(tmp_path / "a.mp4", "mpeg4", "yuv420p")
    for frame in (0, -1, COUNT + 1):
        with pytest.raises(InputError, match="frames 1 to 40") as caught:
            read_movie_frame(path, frame)
        assert caught.value.code == "input.missing_plate" and caught.value.frame == frame


def test_what_is_not_a_movie(tmp_path):
    assert is_movie("a.MOV") and is_movie("b.mkv") and not is_movie("a.exr")
    with pytest.raises(InputError) as caught:
        movie_frames(tmp_path / "none.mov")
    assert caught.value.code == "input.missing_plate"
    (tmp_path / "text.mov").write_text("not a movie")
    # a playlist by another name: FFmpeg would go and read what it lists
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    (tmp_path / "empty.mkv").write_bytes(b"")
    for name in ("text.mov", "list.mp4", "empty.mkv"):
        with pytest.raises(InputError, match=name) as caught:
            movie_frames(tmp_path / name)
        assert caught.value.code == "input.damaged"
    (tmp_path / "a.exr").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        movie_frames(tmp_path / "a.exr")
    assert caught.value.code == "input.unsupported_image"


def test_sound_alone_is_no_clip(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(InputError, match="no pictures"):
        movie_frames(path)


def test_a_movie_cut_short_gives_its_whole_frames_and_tells_of_the_rest(tmp_path):
    path = make(tmp_path / "a.mkv", "ffv1", "yuv444p10le")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with MovieReader(path) as reader:
        assert 1 < reader.last < COUNT
        told = 0
        for frame in range(1, reader.last + 1):
            try:
                grey = float(reader.read(frame).pixels.astype(np.float32).mean()) * 255
            except InputError as error:
                assert error.code == "input.damaged" and error.frame == frame
                told += 1
            else:
                assert abs(grey - level(frame - 1)) < 1
        assert told <= 1


def test_real_clips():
    if not CLIPS.is_dir():
        pytest.skip("no shared data here")
    for path in sorted(CLIPS.iterdir())[:2]:
        with MovieReader(path) as reader:
            middle = (reader.first + reader.last) // 2
            first = reader.read(middle).pixels
            assert reader.read(reader.last).pixels.shape == first.shape
            np.testing.assert_array_equal(reader.read(middle).pixels, first)
            assert first.min() > -0.2 and 0.3 < first.max() < 1.2


def test_extracting_tells_of_each_frame_and_can_be_given_up(tmp_path):
    path = make(tmp_path / "a.mkv", "ffv1", "yuv444p10le")
    told = []
    extract(path, [2, 3], tmp_path, told.append)
    assert [one for one in told if one is not None] == [2, 3]
    assert told[0] is None  # while the movie is opened, too

    def give_up(frame):
        if frame == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(path, [4, 5], tmp_path, give_up)
    assert not (tmp_path / "a.0005.exr").exists()
