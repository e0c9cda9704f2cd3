"""`dvm bench`, small: what the tables need is there, and the measurements see what is planted."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from dvm_server import units
from dvm_server.bench import by_path, free_engine, memory, networks, pipeline, scaling
from dvm_server.bench.clip import UNKNOWN, write_clip
from dvm_server.decoder import Decoder
from model.engine import EngineOptions
from model.plates.trimap import read_trimap
from model.registry import NETWORKS
from model.view import LightView

SMALL = ("--size", "96x54", "--frames", "3", "--network", "closed_form", "--device", "cpu")


def test_every_part_and_its_table(dvm, tmp_path):
    ran = dvm(
        "bench", "networks", "pipeline", "server", "scaling", *SMALL, "--threads", "1",
        "--length", "3", "--length", "20", "--json", tmp_path / "bench.json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "bench.json").read_text())
    assert {"cpu", "gpu", "cores", "threads", "load", "torch", "commit"} <= set(told["machine"])
    assert {one["network"] for one in told["networks"]["rows"]} == {"closed_form"}
    assert [one["network"] for one in told["pipeline"]["rows"]] == ["free", "closed_form"]
    for row in told["pipeline"]["rows"]:
        assert row["alone"][row["slowest"]] == max(row["alone"].values()) > 0
        assert row["ratio"] == pytest.approx(row["wall"] / row["alone"][row["slowest"]])
        assert row["processor"] > 0 and row["processor_alone"] > 0
    for row in told["server"]["rows"]:
        assert row["steady"] == pytest.approx(row["server_s"] / row["in_process_s"])
        assert row["whole_server_s"] > row["start_s"] + row["first_accept_s"]
        assert row["whole_in_process_s"] > row["open_engine_s"] > 0
    assert [bool(row["carried_s"]) for row in told["server"]["rows"]] == [False, True]
    lengths = told["scaling"]["memory"]
    assert [one["frames"] for one in lengths["rows"]] == [3, 20]
    assert all(one["bytes"] > 250e6 for one in lengths["rows"])  # torch is in a child: its worker
    assert lengths["ratio"] < 1.2
    assert len(told["scaling"]["unknown"]) == len(scaling.SHARES)
    for word in ("networks", "| free |", "| closed_form |", "in process", "20 frames", "unknown"):
        assert word in ran.out or word == "networks", ran.out


def test_every_network_that_is_here(dvm, tmp_path):
    """In the types asked for; trimaps are carried in float32 alone."""
    small = ("--size", "96x54", "--device", "cpu", "--threads", "1")
    types = ("--precision", "float32", "--precision", "bfloat16")
    ran = dvm("bench", "networks", *small, *types, "--json", tmp_path / "bench.json")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "bench.json").read_text())["networks"]
    there = {one.name: one.kind for one in NETWORKS if one.available}
    found = [(row["network"], row["precision"]) for row in told["rows"]]
    assert found == [
        (name, precision)
        for name, kind in there.items()
        for precision in (("float32", "bfloat16") if kind == "matting" else ("float32",))
    ]
    for row in told["rows"]:
        assert row["cold_s"] >= 0.5 * (row["prior_s"] + row["network_s"]) > 0
        assert abs(row["unknown"] - networks.UNKNOWN) < 0.03
        assert row["peak_mb"] is None or row["peak_mb"] >= 0
    left_out = " ".join(told["left_out"])
    assert all(one.name in left_out for one in NETWORKS if not one.available)


def test_operators(dvm, tmp_path):
    ran = dvm("bench", "ops", *SMALL, "--threads", "1", "--json", tmp_path / "ops.json")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "ops.json").read_text())["ops"]
    assert all(row["ours_ms"] > 0 and row["torchvision_ms"] > 0 for row in told["rows"])
    assert told["rows"][0]["layer"] in ran.out


def slowed(monkeypatch, owner, name, seconds):
    before = getattr(owner, name)

    def after(*positional, **named):
        time.sleep(seconds)
        return before(*positional, **named)

    monkeypatch.setattr(owner, name, after)


PLACES = {
    "decode": (Decoder, "plate"),
    "view": (LightView, "frame"),
    "solve": (free_engine.Free, "decode"),
    "deliver": (by_path.ShotMatte, "_deliver"),
    "write": (units, "write_matte"),
}


@pytest.fixture
def clip(tmp_path):
    options = EngineOptions(device="cpu", threads=1)
    return by_path.Clip(tmp_path, (48, 27), 12, by_path.FREE, options)


@pytest.mark.parametrize("stage", ["decode", "view", "solve", "write"])
def test_a_planted_sleep_is_the_slowest_stage(stage, clip, monkeypatch):
    slowed(monkeypatch, *PLACES[stage], 0.04)
    found = pipeline.row(clip, 1)
    assert found["slowest"] == stage, found
    assert found["alone"][stage] >= 12 * 0.04
    assert found["wall"] >= 12 * 0.04


def test_stages_that_wait_wait_together(clip, monkeypatch):
    for stage in ("decode", "solve", "write"):
        slowed(monkeypatch, *PLACES[stage], 0.06)
    found = pipeline.row(clip, 1)
    # Each block reads three plates before anything can be solved, and writes after the last.
    assert found["wall"] < 0.75 * sum(found["alone"].values()), found


def test_peak_memory_is_that_of_the_call():
    def call():
        np.ones(50_000_000, np.uint8)

    peak = memory.peak_bytes(call, networks.torch.device("cpu"))
    assert peak is None or 45e6 < peak < 70e6


def test_the_clip_has_the_share_of_unknown_pixels_it_says(tmp_path):
    for size in ((96, 54), (640, 360)):
        files = write_clip(tmp_path / str(size), *size, 3)
        assert list(files) == [1, 2, 3]
        for path in files.values():
            pixels = read_trimap(path).pixels
            assert abs((pixels == 128).mean() - UNKNOWN) < 0.02
            assert set(np.unique(pixels)) == {0, 128, 255}


@pytest.mark.parametrize("share", scaling.SHARES)
def test_pictures_have_the_share_of_unknown_pixels_they_say(share):
    frame = networks.picture((480, 270), 0, share)
    assert abs(float((frame.trimap == 0.5).float().mean()) - share) < 0.02
    assert {0.0, 1.0} <= set(frame.trimap.unique().tolist())


@pytest.mark.parametrize("wrong", [("--size", "large"), ("everything",), ("--precision", "int8")])
def test_what_cannot_be_measured(dvm, wrong):
    assert dvm("bench", *wrong).code == 2


@pytest.fixture
def nothing_is_measured(monkeypatch):
    def measured(*some, **more):
        pytest.fail("something was measured")

    monkeypatch.setattr(networks, "measure", measured)
    monkeypatch.setattr(pipeline, "measure", measured)


@pytest.mark.parametrize(
    ("parts", "network", "told"),
    [
        (["networks"], "nope", "'nope'"),
        (["networks", "pipeline"], "trimap_flow", "'trimap_flow'"),
        (["networks"], "st_fam_r50", "st_fam_r50 comes without weights"),
        (["networks"], "st_fam_r50 --checkpoint none.safetensors", "none.safetensors"),
    ],
)
def test_a_network_that_is_named_is_measured_or_refused(
    dvm, nothing_is_measured, parts, network, told
):
    ran = dvm("bench", *parts, "--device", "cpu", "--network", *network.split())
    assert ran.code == 20 and told in ran.sentence()


def test_a_checkpoint_that_is_not_there_is_told_of_first(dvm, nothing_is_measured):
    ran = dvm("bench", "networks", "--device", "cpu", "--checkpoint", "none.safetensors")
    assert ran.code == 20 and "none.safetensors" in ran.sentence()


@pytest.mark.parametrize("name", ["no/bench.json", ".", "file/bench.json"])
def test_figures_that_cannot_be_written_are_not_measured(dvm, nothing_is_measured, tmp_path, name):
    (tmp_path / "file").write_text("")
    ran = dvm("bench", "networks", "--device", "cpu", "--json", tmp_path / name)
    assert ran.code == 10 and str(tmp_path) in ran.sentence()
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_memory_that_a_starting_process_seems_to_have_does_not_count(monkeypatch):
    held = iter([100, 100, 250, 100, 120, 120, 110, 260])
    over = threading.Event()

    def resident(pid):
        found = next(held, None)
        if found is None:
            over.set()
        return found or 0

    monkeypatch.setattr(memory, "_SAMPLE_SECONDS", 0.001)
    monkeypatch.setattr(memory, "_family", lambda pid: [pid])
    monkeypatch.setattr(memory, "_resident", resident)
    with memory.Watch(1) as watch:  # which looks once by itself, before
        assert over.wait(20)
    assert watch.most == 120
