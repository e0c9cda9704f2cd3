"""The journal: its form on disk, and what is left of it after a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvm_server import journal
from dvm_server.ledger import Ledger, Sources, frame_event, submitted_event
from host_plugins.client.errors import SetupError
from model.errors import CapacityError
from tests.full_disk import full_disk

GOLDEN = Path(__file__).parents[1] / "golden" / "journal.jsonl"

KEY = "a" * 64
SOURCES = Sources(plates={1001: "b" * 64, 1002: "c" * 64}, trimaps={1001: "d" * 64})
EVENTS = (
    submitted_event("Bürgersteig 1", SOURCES),
    {"event": "unit", "kind": "span", "index": 0, "frames": [1001, 1002], "pid": 4711},
    {"event": "trimap", "frame": 1002, "key": "e" * 64},
    frame_event(
        1001,
        KEY,
        {
            "alpha": {
                "path": "/shows/ä/alpha.1001.exr",
                "sha256": "0" * 64,
                "bytes": 1234,
                "mtime_ns": 1760000000123456789,
            }
        },
    ),
    {"event": "done", "code": ""},
)


def test_golden_file():
    """A change here is a new version of the journal: old ones must go on being read."""
    assert b"".join(journal.line(one) for one in EVENTS) == GOLDEN.read_bytes()
    assert journal.parse(GOLDEN.read_bytes()).events == EVENTS


def test_append_and_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    for one in EVENTS:
        journal.append(path, one)
    found = journal.read(path)
    assert found.events == EVENTS and found.dropped == ""
    assert journal.read(tmp_path / "none.jsonl").events == ()


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_tail_that_was_cut_short_is_dropped_and_said_so(tmp_path, cut):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(GOLDEN.read_bytes()[:-cut])
    found = journal.read(path)
    assert found.events == EVENTS[: len(found.events)]
    assert len(found.events) >= 3 and "dropped" in found.dropped
    journal.mend(path, found)
    journal.append(path, EVENTS[-1])
    again = journal.read(path)
    assert again.dropped == "" and again.events == (*found.events, EVENTS[-1])


@pytest.mark.parametrize("place", [0, 12, 40, 100])
def test_a_flipped_bit_ends_the_readable_part(place):
    data = bytearray(GOLDEN.read_bytes())
    start = data.index(b"\n") + 1  # within the second line
    data[start + place] ^= 4
    found = journal.parse(bytes(data))
    assert found.events == EVENTS[:1]
    assert "line 2 is damaged" in found.dropped


def test_ledger_recognises_files_after_a_restart_and_logs_what_was_dropped(tmp_path, caplog):
    ledger = Ledger(tmp_path)
    for one in EVENTS:
        ledger.write("job", one)
    with ledger.path("job").open("ab") as file:
        file.write(b'{"crc32":"00000000","event":{"ev')
    with caplog.at_level("WARNING", logger="dvm"):
        again = Ledger(tmp_path)
    record = again.find("0" * 64, "alpha")
    assert record is not None and (record.frame, record.layer, record.key) == (1001, "alpha", KEY)
    assert again.find("1" * 64, "alpha") is None
    assert "cut short" in caplog.text
    assert record.sources.changed_plates(SOURCES) == []
    now = Sources({**SOURCES.plates, 1002: "e" * 64}, {1002: "d" * 64})
    assert record.sources.changed_plates(now) == [1002]
    assert record.sources.changed_trimaps(now) == [1001, 1002]
    assert again.at(Path("/shows/ä/alpha.1001.exr")) is record


@pytest.mark.parametrize("more", [0, 30])
def test_an_event_that_finds_no_room_leaves_the_journal_as_it_was(tmp_path, more):
    ledger = Ledger(tmp_path)
    ledger.write("shot", EVENTS[0])
    path = ledger.path("shot")
    before = path.read_bytes()
    with full_disk(len(before) + more), pytest.raises(CapacityError) as caught:
        ledger.write("shot", EVENTS[1])
    assert str(tmp_path) in caught.value.message
    assert path.read_bytes() == before
    ledger.write("shot", EVENTS[2])
    assert journal.read(path).events == (EVENTS[0], EVENTS[2])


def test_a_journal_that_is_none_is_named(tmp_path):
    path = tmp_path / "jobs" / "shot" / "journal.jsonl"
    path.mkdir(parents=True)
    with pytest.raises(SetupError) as caught:
        Ledger(tmp_path)
    assert str(path) in caught.value.message and caught.value.hint
