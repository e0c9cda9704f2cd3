"""Writing image files: exact pixels, whole files or none, what is carried over and what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import CapacityError, InputError
from model.plates.atomic import new_file, temporary_path
from model.plates.channels import Picture
from model.plates.compression import LOSSLESS, LOSSY, check_compression
from model.plates.image_files import read_plate, write_image
from model.plates.plate import PlateHeader, Window

ROOT = Path(__file__).parents[2]


def read_back(path: Path) -> np.ndarray:
    """Past our reader, on purpose."""
    source = oiio.ImageInput.open(str(path))
    assert source, oiio.geterror()
    pixels = source.read_image(0, 0, 0, source.spec().nchannels, oiio.UNKNOWN)
    assert pixels is not None, source.geterror()
    return pixels


def attributes_of(path: Path) -> dict[str, tuple[str, object]]:
    spec = oiio.ImageInput.open(str(path)).spec()
    return {one.name: (str(one.type), one.value) for one in spec.extra_attribs}


def header_of(height: int, width: int, **fields) -> PlateHeader:
    window = Window.of_size(width, height, -3, 4)
    defaults = {"data_window": window, "display_window": Window(0, 0, 9, 9)}
    return PlateHeader(("R", "G", "B"), **{**defaults, **fields})


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    view=st.sampled_from(["plain", "fortran", "strided", "backwards", "three", "transposed"]),
)
def test_two_dimensional_arrays_are_written_right(tmp_path_factory, height, width, view):
    """OpenImageIO takes the row stride of an H×W array for its pixel stride, and reads on."""
    values = np.random.default_rng(height * 41 + width).random((height, width), np.float32)
    given_pixels = {
        "plain": lambda: values,
        "fortran": lambda: np.asfortranarray(values),
        "strided": lambda: np.repeat(values, 2, axis=1)[:, ::2],
        "backwards": lambda: np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1],
        "three": lambda: values[:, :, None],
        "transposed": lambda: np.ascontiguousarray(values.T).T,
    }[view]()
    path = tmp_path_factory.mktemp("two") / "a.exr"
    write_image(path, given_pixels, ["A"], pixel_type="float")
    np.testing.assert_array_equal(read_back(path), values[:, :, None])


def test_the_wrong_shape_is_our_mistake_and_writes_nothing(tmp_path):
    path = tmp_path / "a.exr"
    for pixels, channels in (
        (np.zeros((4, 5), np.float32), "RGB"),
        (np.zeros((4, 5, 2), np.float32), "RGB"),
        (np.zeros(20, np.float32), "A"),
        (np.zeros((0, 5, 1), np.float32), "A"),
        (np.zeros((4, 5), np.uint8), "A"),
    ):
        with pytest.raises(ValueError):
            write_image(path, pixels, list(channels))
    with pytest.raises(ValueError):
        write_image(path, np.zeros((4, 5), np.float32), ["A"], header=header_of(4, 6))
    assert list(tmp_path.iterdir()) == []


def test_zero_and_one_are_exact_in_half(tmp_path):
    alpha = np.random.default_rng(1).random((31, 57), np.float32)
    alpha[:10], alpha[20:] = 0, 1
    write_image(tmp_path / "a.exr", alpha, ["A"])
    back = read_back(tmp_path / "a.exr")[:, :, 0]
    assert back.dtype == np.float16
    assert (back[:10] == 0).all() and (back[20:] == 1).all()
    assert np.abs(back - alpha).max() <= 2.0**-12


def test_what_half_cannot_hold_is_made_finite(tmp_path):
    values = np.array([[np.nan, 70000.0, -1e9, np.inf, -np.inf, 65504.0]], np.float32)
    write_image(tmp_path / "a.exr", values, ["A"])
    expected = [0, 65504, -65504, 65504, -65504, 65504]
    np.testing.assert_array_equal(read_back(tmp_path / "a.exr")[0, :, 0], expected)
    write_image(tmp_path / "b.exr", values, ["A"], pixel_type="float")
    assert np.isfinite(read_back(tmp_path / "b.exr")).all()
    write_image(tmp_path / "c.png", values, ["Y"], pixel_type="uint8")
    np.testing.assert_array_equal(read_back(tmp_path / "c.png")[0, :, 0], [0, 255, 0, 255, 0, 255])


def test_windows_aspect_and_metadata_are_the_plate_s(tmp_path):
    metadata = {
        "smpte:TimeCode": (18880518, 0),
        "FramesPerSecond": (24000, 1001),
        "Copyright": "the owner",
        "DateTime": "2026:01:02 03:04:05",
        "worldToCamera": tuple(float(i) for i in range(16)),
        "cameraModel": "Alexa 35",
        "isoSpeed": 800.0,
        "originalDataWindow": (0, 0, 99, 99),
        "input/frames": (1001, 1100),
    }
    types = {"worldToCamera": "matrix", "originalDataWindow": "box2i"}
    header = header_of(5, 6, pixel_aspect=2.0, metadata=metadata, metadata_types=types)
    write_image(tmp_path / "a.exr", np.ones((5, 6), np.float32), ["A"], header=header)
    back = attributes_of(tmp_path / "a.exr")
    for name, value in metadata.items():
        assert back[name][1] == value, name
    assert back["smpte:TimeCode"][0] == "timecode"
    assert back["FramesPerSecond"][0] == "rational"
    assert back["worldToCamera"][0] == "matrix"
    assert back["PixelAspectRatio"][1] == 2.0
    spec = oiio.ImageInput.open(str(tmp_path / "a.exr")).spec()
    assert (spec.x, spec.y, spec.width, spec.height) == (-3, 4, 6, 5)
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 10, 10)
    raw = (tmp_path / "a.exr").read_bytes()
    for name in (b"timeCode\0timecode", b"capDate\0string", b"owner\0string"):
        assert name in raw  # the names that other programs look for


def test_what_no_longer_holds_is_dropped(tmp_path):
    stale = {
        "nuke/node_hash": "9f2c",
        "cryptomatte/abc/manifest": "{}",
        "openexr:dwaCompressionLevel": 45.0,
        "compression": "dwaa",
        "chunkCount": 5,
        "Software": "Nuke",
        "preview": "x",
        "thumbnail_width": 3,
        "multiView": ("left", "right"),
        "dvm:key": "of another matte",
        "acesImageContainerFlag": 1,
        "some/sha256": "00",
        "tiff:Compression": 1,
        "oiio:ColorSpace": "ACEScg",
        "ICCProfile:device_class": "x",
        "chromaticities": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
        "colorInteropID": "lin_ap1_scene",
    }
    header = header_of(5, 6, metadata={**stale, "kept": "yes"})
    write_image(tmp_path / "a.exr", np.ones((5, 6), np.float32), ["A"], header=header)
    back = attributes_of(tmp_path / "a.exr")
    assert back["kept"][1] == "yes"
    assert back["compression"][1] == "zip"
    assert set(stale) & set(back) == {"compression"}
    # with a picture in the plate's colours, what is said of colours is still true
    three = np.ones((5, 6, 3), np.float32)
    write_image(tmp_path / "b.exr", three, "RGB", header=header)
    back = attributes_of(tmp_path / "b.exr")
    assert back["colorInteropID"][1] == "lin_ap1_scene"
    assert len(back["chromaticities"][1]) == 8
    write_image(
        tmp_path / "c.exr", three, "RGB", header=header, attributes={"chromaticities": None}
    )
    assert "chromaticities" not in attributes_of(tmp_path / "c.exr")


def test_our_attributes_are_written_and_no_date_is_made_up(tmp_path):
    ours = {"dvm:key": "abc", "dvm:seed": 3, "dvm:share": 0.5, "dvm:range": (1, 2)}
    for name in ("a.exr", "b.exr"):
        write_image(tmp_path / name, np.ones((5, 6), np.float32), ["A"], attributes=ours)
    back = attributes_of(tmp_path / "a.exr")
    assert {name: back[name][1] for name in ours} == ours
    assert "DateTime" not in back
    assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()


NAMES = ("A", "matte.A", "mask", "matte.alpha", "Y", "matte.R", "trimap.Y", "RY", "confidence.B")


@pytest.mark.parametrize("kind", ["half", "float"])
@pytest.mark.parametrize("compression", LOSSLESS + LOSSY)
def test_what_is_let_through_leaves_mattes_exact(tmp_path, compression, kind):
    """Measured, and so is that nothing is refused that would have been exact."""
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.sin(np.arange(70) / 9), np.cos(np.arange(90) / 7)) / 4 + 0.5
    values = (smooth + 0.05 * rng.random((70, 90))).astype(np.float32)
    values = values.astype(np.float16).astype(np.float32) if kind == "half" else values
    for name in NAMES:
        path = tmp_path / "a.exr"
        spec = oiio.ImageSpec(90, 70, 1, kind)
        spec.channelnames = (name,)
        spec.attribute("compression", compression)
        target = oiio.ImageOutput.create("openexr")
        assert target.open(str(path), spec) and target.write_image(values[:, :, None])
        target.close()
        assert attributes_of(path)["compression"][1] == compression
        exact = bool((read_back(path)[:, :, 0] == values).all())
        refused = False
        try:
            check_compression(compression, [name], kind)
        except InputError as error:
            assert error.code == "input.lossy_compression" and name in error.message
            refused = True
        assert refused != exact, (compression, name, kind)


def test_colours_may_be_lossy(tmp_path):
    write_image(tmp_path / "a.exr", np.ones((8, 8, 3)), "RGB", compression="dwaa")
    assert attributes_of(tmp_path / "a.exr")["compression"][1] == "dwaa"
    check_compression("dwaa", ["foreground.R", "foreground.G", "foreground.B", "A", "trimap.A"])


@pytest.mark.parametrize("name", ["htj2k", "lzw", "ZIP", "", "zip:9"])
def test_unknown_compressions_are_refused(tmp_path, name):
    """OpenImageIO would silently write ZIP."""
    with pytest.raises(InputError) as caught:
        write_image(tmp_path / "a.exr", np.ones((8, 8)), ["A"], compression=name)
    assert caught.value.code == "input.unknown_compression"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.exr"
    write_image(path, np.zeros((8, 8)), ["A"])
    before = path.read_bytes()

    class Broken:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def write_image(self, pixels):
            return False

    create = oiio.ImageOutput.create
    monkeypatch.setattr(oiio.ImageOutput, "create", lambda name: Broken(create(name)))
    with pytest.raises(InputError) as caught:
        write_image(path, np.ones((8, 8)), ["A"])
    assert caught.value.code == "input.output_unwritable"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/a.exr", "file/a.exr", "folder.exr", "a.jpg", "a"])
def test_places_that_cannot_be_written_to(tmp_path, place):
    (tmp_path / "file").write_text("a file where a folder should be")
    (tmp_path / "folder.exr").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        write_image(tmp_path / place, np.ones((8, 8)), ["A"])
    assert caught.value.code == "input.output_unwritable" and caught.value.hint
    assert str(tmp_path) in caught.value.message
    assert sorted(tmp_path.iterdir()) == before


FULL = """
import json, resource, signal, sys
import numpy as np
from model.errors import CapacityError
from model.plates.image_files import write_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write_image(sys.argv[1], np.random.default_rng(0).random((200, 200)), ["A"])
except CapacityError as error:
    print(json.dumps([error.code, error.message, error.hint]))
"""


def test_a_full_disk_is_a_matter_of_capacity(tmp_path):
    """A limit on the size of files stands in for the disk: it fails the same writes."""
    path = tmp_path / "a.exr"
    write_image(path, np.zeros((8, 8)), ["A"])
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    code, message, hint = json.loads(done.stdout)
    assert code == "capacity.disk_full" and str(tmp_path) in message and hint
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert not issubclass(CapacityError, InputError)


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.exr", {}),
        ("a.exr", {"compression": "none", "pixel_type": "float"}),
        ("a.exr", {"compression": "dwaa"}),
        ("a.png", {"pixel_type": "uint8"}),
        ("a.tif", {"pixel_type": "uint16"}),
        ("a.tif", {"pixel_type": "float"}),
    ],
)
def test_a_disk_that_is_full_a_few_bytes_early_is_told_as_well(tmp_path, name, options):
    """OpenImageIO says nothing of what is lost when it closes a file, and of a PNG nothing ever."""
    import resource

    path = tmp_path / name
    pixels = np.random.default_rng(0).random((49, 67, 3))
    write_image(path, pixels, "RGB", **options)
    size = path.stat().st_size
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = np.full((49, 67, 3), 0.5)
    write_image(path, before, "RGB", **options)
    kept = path.read_bytes()
    for room in (*range(0, size, 1499), size - 4096, size - 100, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
        try:
            with pytest.raises(CapacityError) as caught:
                write_image(path, pixels, "RGB", **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert caught.value.code == "capacity.disk_full"
        assert path.read_bytes() == kept and list(tmp_path.iterdir()) == [path]
    write_image(path, pixels, "RGB", **options)
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    ("name", "hole"),
    [("a.exr", 0), ("a.png", 0.02), ("a.png", 0.5), ("a.png", 0.99), ("a.tif", 0.5)],
)
def test_a_hole_in_what_was_written_is_found(tmp_path, monkeypatch, name, hole):
    """As where one write failed and those after it did not: of an EXR, that of its table."""

    class Losing:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def open(self, path, spec):
            self.path = Path(path)
            return self.real.open(path, spec)

        def close(self):
            done = self.real.close()
            data = bytearray(self.path.read_bytes())
            at = int(hole * len(data)) or table_of(data, 64)
            data[at : at + 24] = bytes(24)
            self.path.write_bytes(data)
            return done

    create = oiio.ImageOutput.create
    monkeypatch.setattr(oiio.ImageOutput, "create", lambda kind: Losing(create(kind)))
    options = {"compression": "none"} if name == "a.exr" else {"pixel_type": "uint8"}
    with pytest.raises(CapacityError, match="not written whole"):
        write_image(tmp_path / name, np.random.default_rng(1).random((64, 30, 3)), "RGB", **options)
    assert not list(tmp_path.iterdir())


def table_of(data: bytes, rows: int) -> int:
    """Where an EXR's table is: its first place is where it ends."""
    return next(
        at for at in range(len(data)) if data[at : at + 8] == (at + 8 * rows).to_bytes(8, "little")
    )


def test_png_and_tiff_in_8_and_16_bit(tmp_path):
    steps = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_image(tmp_path / "a.png", steps, ["Y"], pixel_type="uint8")
    np.testing.assert_array_equal(read_back(tmp_path / "a.png")[:, :, 0], steps)
    fine = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    write_image(tmp_path / "a.tif", fine, ["Y"], pixel_type="uint16")
    np.testing.assert_array_equal(read_back(tmp_path / "a.tif")[:, :, 0], fine)
    write_image(tmp_path / "b.png", fine / np.float32(65535), ["Y"], pixel_type="uint16")
    np.testing.assert_array_equal(read_back(tmp_path / "b.png")[:, :, 0], fine)


def test_each_frame_keeps_its_own_data_window(tmp_path):
    """Nuke's autocrop changes it from frame to frame."""
    for frame, window in ((1, Window(2, 3, 7, 8)), (2, Window(-4, 0, 5, 5))):
        header = header_of(6, window.width, data_window=window)
        path = tmp_path / f"a.{frame}.exr"
        write_image(path, np.full((6, window.width, 3), float(frame)), "RGB", header=header)
        plate = read_plate(path, frame=frame)
        assert plate.header.data_window == window
        assert plate.header.display_window == Window(0, 0, 9, 9)


def test_a_link_laid_where_a_file_is_written_is_not_followed(tmp_path):
    other, path = tmp_path / "notes.txt", tmp_path / "a.exr"
    other.write_text("mine")
    temporary_path(path).symlink_to(other)
    write_image(path, np.ones((2, 2), np.float16), ("A",))
    assert other.read_text() == "mine" and not path.is_symlink()
    assert read_plate(path, choose=lambda names, is_id: Picture("", ("A",), (0,))).pixels.all()


def test_a_file_that_is_taken_away_while_it_is_written_is_not_published(tmp_path, monkeypatch):
    path, other = tmp_path / "a.exr", tmp_path / "other.exr"
    write_image(other, np.zeros((2, 2), np.float16), ("A",))

    def swapped(temporary):
        file = new_file(temporary)
        temporary.unlink()
        temporary.hardlink_to(other)
        return file

    monkeypatch.setattr("model.plates.image_files.new_file", swapped)
    with pytest.raises(CapacityError, match="not written whole"):
        write_image(path, np.ones((2, 2), np.float16), ("A",))
    assert not path.exists()
