"""The real engine, killed half-way and asked again: nothing finished is touched, no bit differs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from model.plates.image_files import write_image
from tests.matting.conftest import make_clip
from tests.server.serving import Clip, RunningServer, begin, made, pixels, stamps, wait_for

COUNT = 18  # two blocks; one span between the keyframes
KEYS = (1001, 1018)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """A soft disc that moves over texture, scene-linear, with HDR values."""
    folder = tmp_path / "clip"
    folder.mkdir()
    painted = make_clip(COUNT, 48, 64)
    clip = Clip(folder, 1001, COUNT)
    for frame, plate in painted.plates.items():
        write_image(clip.plate(frame), plate.pixels, ("R", "G", "B"))
    for frame in KEYS:
        write_image(clip.trimap(frame), painted.trimaps[frame].pixels, ("Y",), pixel_type="uint8")
    return clip


def test_sigkill_in_both_passes_and_submit_again(clip, tmp_path):
    server = RunningServer(tmp_path / "state", {"engine": "model.pipeline:open_engine"})
    shot = clip.shot(KEYS)
    server.start()
    begin(server, shot)
    wait_for(lambda: server.events("unit") != [], 90, why=server.why)
    server.kill()  # in pass A
    server.start()
    begin(server, shot)
    wait_for(lambda: made(clip) >= 3, 90, why=server.why)
    server.kill()  # in pass B
    time.sleep(0.5)  # its worker goes with it
    before = stamps(clip.folder / "out")
    assert 3 <= len(before) < COUNT
    server.start()
    assert server.run(shot).kept == len(before)
    assert server.stop() == 143
    assert stamps(clip.folder / "out").items() >= before.items()
    assert sorted(one["frame"] for one in server.events("frame")) == clip.frames
    units = [(one["kind"], one["index"]) for one in server.events("unit")]
    assert units.count(("span", 0)) == 2
    assert units.count(("block", 0)) == 2
    assert units.count(("block", 1)) == 1
    undisturbed = RunningServer(tmp_path / "fresh", server.settings).start()
    undisturbed.run(clip.shot(KEYS, out="undisturbed"))
    undisturbed.stop()
    for frame in clip.frames:
        ours, other = pixels(clip.out(frame)), pixels(clip.out(frame, "undisturbed"))
        assert np.array_equal(ours, other), frame
