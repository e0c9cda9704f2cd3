"""The spool by itself: manifest, quota, digests, leftovers."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from pathlib import Path

import pytest

from dvm_server.spool import Spool, lock_state
from host_plugins.client.errors import CapacityError, SetupError
from model import errors as model_errors
from tests.full_disk import full_disk


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path, 100)
    yield spool
    spool.close()


def test_store_once_and_find_again(tmp_path, spool):
    name = spool.file_name("a" * 64, ".exr")
    spool.store(name, b"12345", set)
    before = spool.path(name).stat().st_ino
    spool.store(name, b"12345", set)
    assert spool.path(name).stat().st_ino == before
    assert spool.used_bytes() == 5
    again = Spool(tmp_path, 100)
    assert again.has(name) and again.used_bytes() == 5
    again.close()


def test_the_longest_unused_goes_first_and_nothing_that_is_needed(spool):
    for letter in "abc":
        spool.store(f"files/{letter}", b"x" * 30, set)
    spool.expect(["files/a"])  # used again
    spool.store("files/d", b"x" * 30, lambda: {"files/b"})
    assert [spool.has(f"files/{letter}") for letter in "abcd"] == [True, True, False, True]
    with pytest.raises(CapacityError):
        spool.store("files/e", b"x" * 71, lambda: {"files/b"})
    assert spool.has("files/b") and not spool.has("files/e")


def test_what_the_manifest_does_not_list_is_never_removed(spool):
    stranger = spool.path("files/stranger")
    stranger.write_bytes(b"y" * 500)
    spool.store("files/a", b"x" * 90, set)
    spool.store("files/b", b"x" * 90, set)
    assert stranger.exists() and not spool.has("files/a")


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path, spool):
    spool.expect(["mattes/m.exr"])
    half = tmp_path / "mattes" / ".m.exr.tmp-4711"
    half.write_bytes(b"half")
    theirs = tmp_path / "mattes" / ".notes.txt.tmp-1"
    theirs.write_bytes(b"not listed, not ours")
    whole = tmp_path / "mattes" / "m.exr"
    whole.write_bytes(b"whole")  # written, and the server died before it was counted
    again = Spool(tmp_path, 100)
    assert not half.exists() and whole.exists() and theirs.exists()
    assert again.used_bytes() == 5
    again.close()


def test_digests_are_remembered_until_size_or_time_change(tmp_path, spool):
    path = tmp_path / "plate.exr"
    path.write_bytes(b"one")
    old = time.time_ns() - 10_000_000_000
    os.utime(path, ns=(old, old))
    first = spool.digest_of(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(old, old))
    assert spool.digest_of(path) == first  # the shortcut: same size, same time
    os.utime(path, ns=(old + 1, old + 1))
    assert spool.digest_of(path) != first


def test_a_file_written_just_now_is_hashed_each_time(tmp_path, spool):
    path = tmp_path / "plate.exr"
    path.write_bytes(b"one")
    now = path.stat().st_mtime_ns
    first = spool.digest_of(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(now, now))
    assert spool.digest_of(path) != first


def test_a_full_disk_is_told_as_such_and_names_the_state_directory(tmp_path, spool):
    fresh = tmp_path / "fresh"
    for most, act in (
        (0, lambda: lock_state(fresh)),
        (1000, lambda: Spool(fresh, 100)),
        (1000, lambda: spool.expect(["files/a"])),
        (1000, lambda: spool.remember(tmp_path / "plate.exr", 1, 2, "0" * 64)),
    ):
        with full_disk(most), pytest.raises(model_errors.CapacityError) as caught:
            act()
        assert caught.value.code == "capacity.disk_full" and str(tmp_path) in caught.value.message
    spool.expect(["files/a"])  # there is room again


def test_a_state_directory_that_cannot_be_written_to_is_the_wranglers(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for act in (lock_state, lambda state: Spool(state, 100)):
        with pytest.raises(model_errors.SetupError) as caught:
            act(tmp_path / "file")
        assert str(tmp_path / "file") in caught.value.message
    (tmp_path / "manifest.sqlite").mkdir()
    with pytest.raises(SetupError) as caught:
        Spool(tmp_path, 100)
    assert str(tmp_path) in caught.value.message


def _junk(path):
    path.write_bytes(b"junk" * 3000)


def _other_tables(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE spooled (colour TEXT)")


def _torn(path):
    """The header and the first page are sound, those after are not."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


@pytest.mark.parametrize("damage", [_junk, _other_tables, _torn, Path.unlink])
def test_a_damaged_manifest_is_set_aside_and_made_anew(tmp_path, damage, caplog):
    before = Spool(tmp_path, 100)
    old, used, stranger = (f"files/{letter * 64}.exr" for letter in "abx")
    for name in (old, used):
        before.store(name, b"x" * 30, set)
    before.close()
    before.path(stranger).write_bytes(b"y" * 500)
    damage(tmp_path / "manifest.sqlite")
    caplog.set_level("WARNING", "dvm.spool")
    again = Spool(tmp_path, 100)
    assert again.used_bytes() == 60, "what it was an index of"
    assert len(caplog.records) == (damage is not Path.unlink)
    assert (tmp_path / "manifest.sqlite.damaged").exists() == (damage is not Path.unlink)
    again.store("files/c", b"z" * 60, lambda: {used})
    assert [again.has(name) for name in (old, used, stranger)] == [False, True, True]
    again.close()
    with contextlib.closing(Spool(tmp_path, 100)) as third:
        assert third.used_bytes() == 90


def test_a_file_system_without_locks_is_told_apart_from_another_server(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("dvm_server.spool.fcntl.flock", no_locks)
    with pytest.raises(SetupError, match="locks no files") as caught:
        lock_state(tmp_path)
    assert caught.value.code == "setup.state" and "--state" in caught.value.hint
