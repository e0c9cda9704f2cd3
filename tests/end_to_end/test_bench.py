"""`dvm bench`, small: every stage is timed, and memory is that of the whole family of processes."""

from __future__ import annotations

import json

import numpy as np

from dvm_server.bench import STAGES, UNKNOWN, resident_bytes
from dvm_server.bench_clip import write_clip
from model.plates.trimap import read_trimap
from model.registry import NETWORKS


def test_stages(dvm, tmp_path):
    ran = dvm(
        "bench", "--size", "96x54", "--frames", "3", "--no-memory", "--device", "cpu",
        "--json", tmp_path / "bench.json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "bench.json").read_text())
    seconds = told["seconds_per_frame"]["96x54"]
    assert tuple(seconds) == STAGES
    assert all(one > 0 for one in seconds.values()), seconds
    rows = [line.split("|")[1].strip() for line in ran.out.splitlines() if line.startswith("| ")]
    assert tuple(rows[1 : len(STAGES) + 1]) == STAGES
    assert f"With {told['network']} and {told['propagation']}, 15% of each frame" in ran.out
    learned = [one for one in NETWORKS if one.weights]
    assert [one["network"] for one in told["networks"]] == [one.name for one in learned]
    assert rows[len(STAGES) + 2 :] == [one.name for one in learned]
    for one, entry in zip(told["networks"], learned, strict=True):
        # Half precision: two bytes a number, and a header.
        assert entry.available == (one["bytes"] > 2 * one["parameters"] > 0)


def test_the_clip_has_the_share_of_unknown_pixels_it_says(tmp_path):
    for size in ((96, 54), (640, 360)):
        files = write_clip(tmp_path / str(size), *size, 3)
        assert list(files) == [1, 2, 3]
        for path in files.values():
            pixels = read_trimap(path).pixels
            assert abs((pixels == 128).mean() - UNKNOWN) < 0.02
            assert set(np.unique(pixels)) == {0, 128, 255}


def test_a_size_that_is_none(dvm):
    assert dvm("bench", "--size", "large").code == 2


def test_memory_counts_the_worker():
    """The server alone holds no torch; its worker does."""
    assert resident_bytes(3, "cpu", lambda _: None) > 250e6
