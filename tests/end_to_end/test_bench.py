"""`dvm bench`, small: every stage is timed, and memory is that of the whole family of processes."""

from __future__ import annotations

import json

from dvm_server.bench import STAGES, resident_bytes


def test_stages(dvm, tmp_path):
    ran = dvm(
        "bench", "--size", "96x54", "--frames", "3", "--no-memory", "--device", "cpu",
        "--json", tmp_path / "bench.json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    seconds = json.loads((tmp_path / "bench.json").read_text())["seconds_per_frame"]["96x54"]
    assert tuple(seconds) == STAGES
    assert all(one > 0 for one in seconds.values()), seconds
    rows = [line.split("|")[1].strip() for line in ran.out.splitlines()[2:]]
    assert tuple(rows) == STAGES


def test_a_size_that_is_none(dvm):
    assert dvm("bench", "--size", "large").code == 2


def test_memory_counts_the_worker():
    """The server alone holds no torch; its worker does."""
    assert resident_bytes(3, "cpu", lambda _: None) > 250e6
