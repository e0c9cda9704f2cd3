"""Real material, where it is there: what comes back fits over the plate, pixel for pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_plugins.client.connection import CONNECTION_FILE
from model.plates.image_files import read_header, read_plate, write_image
from model.plates.plate import PlateHeader, Window
from model.plates.trimap import place_trimap, read_trimap
from model.review import read_layer, read_review_frame
from tests.server.serving import header
from training.judging import metrics

DANCER = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval" / "exr_linear_dancer"
FRAMES = (1001, 1002, 1003)
CARRIED = {
    "FramesPerSecond": (24000, 1001),
    "smpte:TimeCode": (1193046, 0),
    "Copyright": "the show",
    "cameraFirmwareVersion": "7.1",
}

pytestmark = pytest.mark.skipif(not DANCER.is_dir(), reason="shared data is not here")


@pytest.fixture(scope="module")
def plates(tmp_path_factory) -> Path:
    """The dancer as an autocropping comp would write it: another data window each frame, which
    reaches out of the picture at the bottom; anamorphic; with metadata, some of it stale soon."""
    folder = tmp_path_factory.mktemp("dancer")
    for frame in FRAMES:
        plate = read_plate(DANCER / f"comp.{frame}.exr")
        tight = read_header(DANCER / f"fg_premult.{frame}.exr").data_window
        window = Window(tight.x0 - 24, max(tight.y0 - 8, 0), tight.x1 + 24, 359 + 6)
        inside = Window(window.x0, window.y0, window.x1, 359)
        pixels = plate.pixels[inside.inside(plate.header.data_window)]
        pixels = np.concatenate([pixels, np.repeat(pixels[-1:], 6, 0)])
        made = PlateHeader(
            ("R", "G", "B"), window, plate.header.display_window, 2.0, pixel_type="half"
        )
        attributes = {**CARRIED, "nuke/node_hash": "abc"}
        write_image(
            folder / f"plate.{frame}.exr",
            pixels,
            ("R", "G", "B"),
            header=made,
            attributes=attributes,
        )
    return folder


@pytest.fixture(scope="module")
def mattes(plates, engine_server, dvm) -> Path:
    """Keyframes at both ends, the frame between propagated."""
    ends = [t for f in FRAMES[::2] for t in ("--trimap", f"{f}:{DANCER / f'trimap.{f}.png'}")]
    out = plates / "out" / "alpha.####.exr"
    ran = dvm(
        "matte", plates / "plate.####.exr", "--out", out, "--outputs", "alpha,trimap", *ends,
        "--server", engine_server.state / CONNECTION_FILE,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return plates / "out"


def test_windows_aspect_and_metadata_are_the_plates(plates, mattes):
    windows = set()
    for frame in FRAMES:
        plate, matte = header(plates / f"plate.{frame}.exr"), header(mattes / f"alpha.{frame}.exr")
        assert matte.data_window == plate.data_window
        assert matte.display_window == plate.display_window == Window(0, 0, 639, 359)
        assert matte.pixel_aspect == plate.pixel_aspect == 2.0
        for name in CARRIED:
            assert matte.metadata[name] == plate.metadata[name], name
        assert "nuke/node_hash" not in matte.metadata
        assert matte.metadata["dvm:composited_in"] == "linear"
        assert matte.pixel_type == "half"
        windows.add(matte.data_window)
    assert len(windows) == len(FRAMES), "the data window was to change with the frame"


def test_certain_pixels_are_exact_in_half(plates, mattes):
    for frame in FRAMES:
        path = mattes / f"alpha.{frame}.exr"
        alpha, trimap = read_layer(path, "alpha")[..., 0], read_layer(path, "trimap")[..., 0]
        assert set(np.unique(trimap)) == {0.0, 0.5, 1.0}
        assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 1] == 1).all()
        if frame in FRAMES[::2]:
            painted = read_trimap(DANCER / f"trimap.{frame}.png")
            placed = place_trimap(painted, read_header(plates / f"plate.{frame}.exr"))
            np.testing.assert_array_equal(np.rint(trimap * 2), np.rint(placed / 127.5))


def test_it_is_a_matte(plates, mattes):
    for frame in FRAMES:
        read = read_review_frame(
            frame, plates / f"plate.{frame}.exr", mattes / "alpha.####.exr", ("alpha", "trimap")
        )
        window = read_header(plates / f"plate.{frame}.exr").data_window
        truth = _truth(frame)[_common(window).inside(Window(0, 0, 639, 359))]
        rows, columns = _common(window).inside(window)
        region = metrics.unknown_region(read.trimap[rows, columns])
        error = metrics.mse(read.alpha[rows, columns], truth, region)
        nothing = metrics.mse(np.full_like(truth, 0.5), truth, region)
        assert error < 0.35 * nothing, (frame, error, nothing)


def _common(window: Window) -> Window:
    """What of it lies in the picture, where the truth is known."""
    return Window(window.x0, window.y0, window.x1, 359)


def _truth(frame: int) -> np.ndarray:
    """The true alpha over the display window."""
    held = read_plate(DANCER / f"fg_premult.{frame}.exr")
    full = np.zeros((360, 640), np.float32)
    full[held.header.data_window.inside(Window(0, 0, 639, 359))] = held.pixels[..., 3]
    return full
