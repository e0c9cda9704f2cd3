"""What every host plug-in must do, whichever host it is in: one suite, run by each host's tests
with a `Host` of its own, against a live server in a process of its own.

A host's test module does::

    from tests.hosts.contract import *   # the tests
    @pytest.fixture
    def host(...) -> Host: ...

and has the fixtures ``server`` and ``clip`` of `tests.hosts.fixtures`. Python 3.9, pytest and the
client only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from host_plugins.client.errors import SetupError
from host_plugins.client.fake_server import FakeServer, Script
from tests.hosts.serving import Server, make_mattes, read_pictures, wait_for

__all__ = [
    "test_a_clean_plate_is_used",
    "test_a_clip_that_moves_keeps_its_keyframes",
    "test_a_job_that_is_cancelled_keeps_what_is_finished",
    "test_a_missing_plate_is_named",
    "test_a_plate_that_is_damaged_is_named",
    "test_a_server_killed_half_way_loses_nothing",
    "test_a_server_of_another_version_is_said",
    "test_by_value_to_an_address",
    "test_clearing_the_cache_takes_only_what_is_ours_and_unused",
    "test_copies_of_a_node_share_plates",
    "test_everything_is_there_when_a_file_is_opened_again",
    "test_garbage_and_core_mattes_pin_alpha_and_a_missing_one_is_named",
    "test_keyframes_from_files_become_mattes_and_pixels",
    "test_no_keyframe_is_said_at_once",
    "test_no_server_is_said_and_work_goes_on_when_there_is_one",
    "test_propagating_comes_first_and_is_not_done_twice",
    "test_the_host_closes_during_a_job",
]


@dataclass(frozen=True)
class Told:
    """What a person sees of a shot.

    Attributes:
        text: one sentence.
        hint: what to do about it, if it is an error.
        failed: whether it is.
        busy: something goes on.
        done, total: how far it is.
    """

    text: str
    hint: str
    failed: bool
    busy: bool
    done: int = 0
    total: int = 0


class Host(Protocol):
    """A host with the plug-in in it. A *node* is whatever the host calls ours by."""

    def connect_to(self, where: str, *, by_value: bool = False) -> None:
        """Set the server's address or connection file, and whether files travel."""

    def new_node(self, pattern: Path, first: int, last: int) -> Any:
        """A node on a clip whose first plate is at the host's frame 1."""

    def add_keyframe(self, node: Any, plate: int, trimap: Path) -> None: ...

    def keyframes(self, node: Any) -> list[int]:
        """Plates that have one."""

    def set_option(self, node: Any, name: str, value: Any) -> None:
        """``network``, ``foreground`` (bool), ``start`` (the host's frame of the first plate)."""

    def set_guide(self, node: Any, name: str, pattern: Path) -> None:
        """``garbage_matte``, ``core_matte``, ``clean_plate``: one image, or a sequence by its
        pattern, whose first is that of plate 1001."""

    def run(self, node: Any, what: str) -> None:
        """``propagate`` or ``matte``: begin it, as a button does. Errors are told, not raised."""

    def cancel(self, node: Any) -> None: ...

    def told(self, node: Any) -> Told:
        """What is told of it now; lets the host do what it does when it is idle."""

    def doubts(self, node: Any) -> Mapping[int, float]: ...

    def files(self, node: Any, plate: int) -> Mapping[str, Path]:
        """Of each layer that the node shows, the file it reads for a plate."""

    def render(self, node: Any, plate: int, folder: Path) -> Mapping[str, Path]:
        """The node's outputs for a plate as float EXRs: ``Image``, ``Alpha``, ``Trimap``,
        ``Confidence``."""

    def copy(self, node: Any) -> Any:
        """A copy with settings of its own."""

    def save_and_open_again(self, node: Any, folder: Path) -> Any: ...

    def clear_cache(self) -> str:
        """Remove what no node shows; what is told of it."""

    def forget(self, node: Any) -> None:
        """Remove a node."""

    def close(self) -> list[str]:
        """End the plug-in as the host does when it quits; names of threads of ours still alive."""


def finish(host: Host, node: Any, seconds: float = 40.0) -> Told:
    """Until nothing goes on."""
    seen: list[Told | None] = [None]

    def idle() -> bool:
        seen[0] = host.told(node)
        return not seen[0].busy

    wait_for(idle, seconds, lambda: str(seen[0]))
    assert seen[0] is not None
    return seen[0]


def started(host: Host, clip: Path, frames: int = 6) -> Any:
    """A node on the clip with keyframes at both ends."""
    node = host.new_node(clip, 1001, 1000 + frames)
    for plate in (1001, 1000 + frames):
        host.add_keyframe(node, plate, clip.parent / f"key.{plate}.png")
    return node


def is_a_sentence(text: str) -> bool:
    return bool(text) and "\n" not in text and len(text) < 400 and "Traceback" not in text


def test_keyframes_from_files_become_mattes_and_pixels(host, server, clip, tmp_path):
    node = started(host, clip)
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    for plate in (1001, 1003, 1006):
        files = host.files(node, plate)
        assert {"alpha", "trimap", "confidence"} <= set(files)
        out = host.render(node, plate, tmp_path / "out")
        read = read_pictures(*files.values(), *out.values(), clip.parent / f"plate.{plate}.exr")
        alpha = read[str(files["alpha"])][2]
        assert set(alpha) > {0.0, 1.0} or plate != 1001
        assert near(first_channel(read[str(out["Alpha"])]), alpha)
        assert near(first_channel(read[str(out["Trimap"])]), read[str(files["trimap"])][2])
        assert near(first_channel(read[str(out["Confidence"])]), read[str(files["confidence"])][2])
        colours = read[str(files["foreground"])] if "foreground" in files else None
        colours = colours or read[str(clip.parent / f"plate.{plate}.exr")]
        image = read[str(out["Image"])]
        for channel in range(3):
            wanted = [c * a for c, a in zip(colours[2][channel :: colours[1][2]], alpha)]
            assert near(image[2][channel :: image[1][2]], wanted)


def test_propagating_comes_first_and_is_not_done_twice(host, server, clip):
    node = started(host, clip)
    host.run(node, "propagate")
    assert not finish(host, node).failed
    files = host.files(node, 1003)
    assert files["trimap"].is_file() and "alpha" not in files
    doubts = host.doubts(node)
    assert set(doubts) == {1002, 1003, 1004, 1005} and all(0 <= d <= 1 for d in doubts.values())
    carried = events(server, "trimap")
    assert carried == 4
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert host.files(node, 1003)["alpha"].is_file()
    assert events(server, "trimap") == carried


def test_garbage_and_core_mattes_pin_alpha_and_a_missing_one_is_named(host, server, clip):
    node = started(host, clip)
    garbage, core = make_mattes(clip.parent)
    host.run(node, "matte")
    assert not finish(host, node).failed
    carried = events(server, "trimap")
    before = alphas(host, node)
    host.set_guide(node, "garbage_matte", garbage)
    host.set_guide(node, "core_matte", core)
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    pinned = {0.0: 0, 1.0: 0, None: 0}
    for plate, alpha in alphas(host, node).items():
        for i, (was, now) in enumerate(zip(before[plate], alpha)):
            column, row = i % 64, i // 64
            wanted = 0.0 if column < 0.4 * 64 else 1.0 if row < 24 else None
            assert now == wanted or wanted is None
            pinned[wanted] += now != was or (wanted is None and 0 < now < 1)
    assert all(count > 20 for count in pinned.values())
    assert events(server, "trimap") == carried, "trimaps were carried again"
    garbage.with_name("garbage.1004.png").unlink()
    host.run(node, "matte")
    told = finish(host, node)
    assert told.failed and "garbage matte" in told.text and "1004" in told.text
    assert is_a_sentence(told.text) and is_a_sentence(told.hint)


def test_a_clean_plate_is_used(host, server, clip):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert any(0 < a < 1 for a in alphas(host, node)[1003])
    # The engine of these tests takes for background what looks like it: here, everything.
    host.set_guide(node, "clean_plate", clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert all(set(alpha) == {0.0} for alpha in alphas(host, node).values())


def test_no_keyframe_is_said_at_once(host, server, clip):
    node = host.new_node(clip, 1001, 1006)
    host.run(node, "matte")
    told = host.told(node)
    assert told.failed and not told.busy
    assert "keyframe" in told.text and is_a_sentence(told.text) and is_a_sentence(told.hint)
    assert events(server, "submitted") == 0


def test_a_missing_plate_is_named(host, server, clip):
    node = started(host, clip)
    (clip.parent / "plate.1004.exr").unlink()
    host.run(node, "matte")
    told = finish(host, node)
    assert told.failed and "1004" in told.text and is_a_sentence(told.text)
    assert is_a_sentence(told.hint)


def test_a_plate_that_is_damaged_is_named(host, server, clip):
    node = started(host, clip)
    path = clip.parent / "plate.1002.exr"
    path.write_bytes(path.read_bytes()[:40])
    host.run(node, "matte")
    told = finish(host, node)
    assert told.failed and "1002" in told.text and is_a_sentence(told.text)


def test_no_server_is_said_and_work_goes_on_when_there_is_one(host, server, clip):
    node = started(host, clip)
    server.kill()
    server.file.unlink()
    host.run(node, "matte")
    told = finish(host, node)
    assert told.failed and "server" in told.text and is_a_sentence(told.text)
    assert "dvm serve" in told.hint or "Start" in told.hint
    server.start()
    host.run(node, "matte")
    assert not finish(host, node).failed


def test_a_server_killed_half_way_loses_nothing(host, server, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.3")
    host.run(node, "matte")
    wait_for(lambda: host.told(node).done >= 2 and events(server, "frame") >= 2, 30)
    server.kill()
    told = finish(host, node, 60)
    assert told.failed and is_a_sentence(told.text) and is_a_sentence(told.hint)
    made = [host.files(node, p)["alpha"] for p in (1001, 1002)]
    before = [path.stat().st_mtime_ns for path in made]
    server.start()
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert [path.stat().st_mtime_ns for path in made] == before
    assert all(host.files(node, p)["alpha"].is_file() for p in range(1001, 1007))


def test_a_server_of_another_version_is_said(host, clip, tmp_path):
    other = SetupError(
        "setup.protocol",
        "the client speaks protocol 1, this server speaks 2",
        hint="install the plug-in of the server's release",
    )
    state = tmp_path / "other"
    state.mkdir()
    with FakeServer(Script(refuse=other), state=state):
        host.connect_to(str(state / "connection.json"))
        node = started(host, clip)
        host.run(node, "matte")
        told = finish(host, node)
    assert told.failed and "speaks" in told.text and "install" in told.hint


def test_a_job_that_is_cancelled_keeps_what_is_finished(host, server, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.3")
    host.run(node, "matte")
    wait_for(lambda: host.told(node).done >= 1 and events(server, "frame") >= 1, 30)
    host.cancel(node)
    told = finish(host, node)
    assert not told.failed and "cancel" in told.text
    first = host.files(node, 1001)["alpha"]
    before = first.stat().st_mtime_ns
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert first.stat().st_mtime_ns == before
    assert host.files(node, 1006)["alpha"].is_file()


def test_a_clip_that_moves_keeps_its_keyframes(host, server, clip, tmp_path):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    host.set_option(node, "start", 51)
    assert host.keyframes(node) == [1001, 1006]
    out = host.render(node, 1003, tmp_path / "moved")
    path = host.files(node, 1003)["alpha"]
    read = read_pictures(path, out["Alpha"])
    assert near(first_channel(read[str(out["Alpha"])]), read[str(path)][2])


def test_everything_is_there_when_a_file_is_opened_again(host, server, clip, tmp_path):
    node = started(host, clip)
    host.set_option(node, "network", "paint")
    host.run(node, "propagate")
    assert not finish(host, node).failed
    doubts = dict(host.doubts(node))
    host.run(node, "matte")
    assert not finish(host, node).failed
    files = host.files(node, 1003)
    node = host.save_and_open_again(node, tmp_path)
    assert host.keyframes(node) == [1001, 1006]
    assert host.files(node, 1003) == files
    finish(host, node)
    assert host.doubts(node) == pytest.approx(doubts, abs=1e-3)
    out = host.render(node, 1003, tmp_path / "again")
    read = read_pictures(files["alpha"], out["Alpha"])
    assert near(first_channel(read[str(out["Alpha"])]), read[str(files["alpha"])][2])
    computed = events(server, "frame")
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert events(server, "frame") == computed  # nothing is done again


def test_copies_of_a_node_share_plates(host, server, clip):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    computed = events(server, "frame")
    twin = host.copy(node)
    host.run(twin, "matte")
    assert not finish(host, twin).failed
    assert host.files(twin, 1002) == host.files(node, 1002)
    assert events(server, "frame") == computed
    host.add_keyframe(twin, 1003, clip.parent / "key.1003.png")
    assert host.keyframes(node) == [1001, 1006]
    host.run(twin, "matte")
    assert not finish(host, twin).failed
    assert host.files(twin, 1002) != host.files(node, 1002)


def test_clearing_the_cache_takes_only_what_is_ours_and_unused(host, server, clip):
    node, other = started(host, clip), started(host, clip)
    host.add_keyframe(other, 1003, clip.parent / "key.1003.png")
    for one in (node, other):
        host.run(one, "matte")
        assert not finish(host, one).failed
    used, unused = host.files(node, 1002)["alpha"], host.files(other, 1002)["alpha"]
    strange = unused.parent / "notes.txt"
    strange.write_text("mine")
    host.forget(other)
    said = host.clear_cache()
    assert is_a_sentence(said), said
    assert used.is_file() and not unused.exists(), (said, used, unused)
    assert strange.read_text() == "mine"


def test_by_value_to_an_address(host, server, clip, monkeypatch):
    said = json.loads(server.file.read_text())
    monkeypatch.setenv("DVM_SECRET", said["secret"])
    control = said["control"].rsplit(":", 1)[1]
    host.connect_to(f"{said['endpoint']},{control}", by_value=True)
    node = started(host, clip)
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    assert all(host.files(node, p)["alpha"].is_file() for p in range(1001, 1007))
    assert events(server, "frame") == 6
    assert any(server.state.glob("mattes/*.exr")), "the mattes did not travel"


def test_the_host_closes_during_a_job(host, server, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.4")
    host.run(node, "matte")
    wait_for(lambda: host.told(node).busy and events(server, "frame") >= 1, 30)
    assert host.close() == []


def alphas(host: Host, node: Any) -> Mapping[int, list[float]]:
    """Of each plate that is matted, its alpha."""
    files = {plate: host.files(node, plate)["alpha"] for plate in range(1001, 1007)}
    read = read_pictures(*files.values())
    return {plate: read[str(path)][2] for plate, path in files.items()}


def events(server: Server, kind: str) -> int:
    """How many events of a kind the server's journals hold."""
    lines = [
        line for path in server.state.glob("jobs/*/journal.jsonl")
        for line in path.read_text().splitlines()
    ]  # fmt: skip
    return sum(json.loads(line)["event"]["event"] == kind for line in lines if line.endswith("}"))


def first_channel(picture: tuple[list[str], list[int], list[float]]) -> list[float]:
    _, shape, values = picture
    return values[:: shape[2]]


def near(found: list[float], wanted: list[float]) -> bool:
    """Within half precision."""
    assert len(found) == len(wanted)
    return all(abs(a - b) <= 1e-3 * max(1.0, abs(b)) for a, b in zip(found, wanted))
