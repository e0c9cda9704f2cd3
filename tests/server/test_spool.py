"""The spool by itself: manifest, quota, digests, leftovers."""

from __future__ import annotations

import os
import time

import pytest

from dvm_server.spool import Spool
from host_plugins.client.errors import CapacityError


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
