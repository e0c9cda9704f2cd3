"""`make demo`, on a corner of the sample so that it ends in seconds: the real server, by value."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from host_plugins.client.shot import load
from model.plates.image_files import read_header, read_plate, write_image
from model.plates.trimap import read_trimap
from model.review import read_layer
from tests.server.serving import REPOSITORY
from training.judging import metrics

STRANDS = REPOSITORY / "samples" / "strands"
CORNER = (slice(130, 220), slice(210, 330))
FRAMES = (1009, 1010, 1011, 1012)


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", REPOSITORY / "samples" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo"] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["demo"]


@pytest.fixture(scope="module")
def corner(tmp_path_factory) -> Path:
    """A corner of the sample's last four frames, as a sample of its own."""
    folder = tmp_path_factory.mktemp("corner")
    for frame in FRAMES:
        plate = read_plate(STRANDS / f"plate.{frame}.exr")
        write_image(folder / f"plate.{frame}.exr", plate.pixels[CORNER], ("R", "G", "B"))
        truth = read_layer(STRANDS / f"truth.{frame}.exr", "alpha")
        write_image(folder / f"truth.{frame}.exr", truth[CORNER], ("A",))
    trimap = read_trimap(STRANDS / "trimap.1012.png").pixels[CORNER]
    write_image(folder / "trimap.1012.png", trimap, ("Y",), pixel_type="uint8")
    content = json.loads((STRANDS / "shot.json").read_text())
    content["frames"] = [[FRAMES[0], FRAMES[-1], 1]]
    content["keyframes"] = [{"frame": 1012, "trimap": "trimap.1012.png"}]
    (folder / "shot.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def matted(demo, corner, tmp_path_factory):
    """Shot, summary, frames read back, and the contact sheet's path."""
    out, state = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("state")
    shot, summary = demo.matte_sample(corner, out, state)
    sheet = out / "contact-sheet.png"
    return shot, summary, demo.review(shot, sheet), sheet


def test_every_frame_came_back(matted):
    shot, summary, frames, sheet = matted
    assert (summary.frames, summary.computed, summary.kept) == (4, 4, 0)
    assert [one.frame for one in frames] == list(FRAMES)
    out = Path(shot.outputs.pattern).parent
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"alpha.{frame}.exr" for frame in FRAMES),
        "contact-sheet.png",
    ]
    assert read_header(sheet).data_window.height > 4 * 180


def test_certain_pixels_are_exact(matted):
    for one in matted[2]:
        assert (one.alpha[one.trimap == 0] == 0).all()
        assert (one.alpha[one.trimap == 255] == 1).all()
        assert 0.05 < (one.trimap == 128).mean() < 0.95


def test_it_is_a_matte(demo, corner, matted):
    """Below the error of no solver at all, which is half wherever the trimap does not know; far
    below where the trimap is an artist's."""
    frames = matted[2]
    share = []
    for one in frames:
        truth = read_layer(corner / f"truth.{one.frame}.exr", "alpha")[..., 0]
        unknown = metrics.unknown_region(one.trimap)
        half = metrics.mse(np.full_like(truth, 0.5), truth, unknown)
        share.append(metrics.mse(one.alpha, truth, unknown) / half)
    assert share[FRAMES.index(1012)] < 0.35, share
    assert max(share) < 0.6, share
    scores = demo.score(frames, corner)
    assert scores.mad[0] > 0 and scores.dtssd[0] > 0


def test_the_sample_is_what_its_readme_says():
    shot = load(STRANDS / "shot.json")
    assert shot.numbers() == tuple(range(1001, 1013))
    brightest = 0.0
    for frame in shot.numbers():
        plate = read_plate(STRANDS / f"plate.{frame}.exr")
        assert plate.pixels.shape == (360, 640, 3)
        brightest = max(brightest, float(plate.pixels.max()))
        truth = read_layer(STRANDS / f"truth.{frame}.exr", "alpha")[..., 0]
        assert 0.05 < ((truth > 0.02) & (truth < 0.98)).mean() < 0.15
        trimap = STRANDS / f"trimap.{frame}.png"
        if trimap.exists():
            quality = metrics.trimap_quality(read_trimap(trimap).pixels, truth)
            assert quality.mixed_recall == 1 and quality.certainly_wrong == 0
    assert 4 < brightest < 5
    assert [one.frame for one in shot.keyframes] == [1001, 1012]
    everything = sum(path.stat().st_size for path in STRANDS.iterdir())
    assert everything <= 3_000_000
