"""A cache removes what it has listed, and nothing else, whatever stands in its list."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from host_plugins.client import cache as caches
from host_plugins.client.cache import MANIFEST, Cache
from host_plugins.client.errors import CapacityError, InputError

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "mattes")


def fill(cache, shot_id, count=3, size=100, name=""):
    """Files of a shot, written and recorded."""
    folder = cache.for_shot(shot_id, name)
    paths = [folder / f"alpha.{1001 + index}.exr" for index in range(count)]
    for path in paths:
        path.write_bytes(b"x" * size)
    cache.record(shot_id, paths)
    return paths


def manifest(cache):
    return json.loads(cache.manifest.read_text(encoding="utf-8"))


def refused(call):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.code == "input.bad_cache" and caught.value.hint
    assert MANIFEST in caught.value.message
    return caught.value.message


def test_a_shot_gets_a_folder_and_a_place_in_the_list(cache):
    folder = cache.for_shot(A, "strands")
    assert folder == cache.folder / ("a" * 16) and folder.is_dir()
    (entry,) = cache.entries()
    assert (entry.shot_id, entry.name, entry.files, entry.bytes) == (A, "strands", (), 0)
    assert abs(entry.last_used - time.time()) < 60
    assert cache.for_shot(A) == folder and cache.entries()[0].name == "strands"


def test_the_list_as_it_is_on_disk(cache):
    fill(cache, A, count=2, name="strands")
    content = manifest(cache)
    assert content["schema"] == 1
    (entry,) = content["entries"]
    assert abs(entry.pop("last_used") - time.time()) < 60
    assert entry == {
        "shot_id": A,
        "name": "strands",
        "files": ["alpha.1001.exr", "alpha.1002.exr"],
        "bytes": 200,
    }
    assert sorted(one.name for one in cache.folder.iterdir()) == ["a" * 16, MANIFEST]


def test_recording_adds_to_what_is_listed(cache):
    paths = fill(cache, A, count=2)
    more = paths[0].with_name("shot.json")
    more.write_bytes(b"{}")
    cache.record(A, [paths[0], Path("shot.json")])
    assert cache.entries()[0].files == ("alpha.1001.exr", "alpha.1002.exr", "shot.json")
    assert cache.size() == 202


def test_files_may_be_recorded_before_they_are_written(cache):
    folder = cache.for_shot(A)
    path = folder / "alpha.1001.exr"
    cache.record(A, [path])
    assert cache.size() == 0
    path.write_bytes(b"12345")
    cleared = cache.clear()
    assert (cleared.files, cleared.bytes, path.exists()) == (1, 5, False)


def test_clear_removes_files_and_folders(cache):
    paths = fill(cache, A) + fill(cache, B, count=2)
    cleared = cache.clear()
    assert (cleared.files, cleared.bytes, cleared.left, cleared.kept_back) == (5, 500, (), ())
    assert not any(path.exists() for path in paths)
    assert [one.name for one in cache.folder.iterdir()] == [MANIFEST]
    assert cache.entries() == [] and cache.size() == 0
    assert cache.clear().files == 0


def test_a_file_that_is_gone_already_is_not_counted(cache):
    fill(cache, A)[1].unlink()
    cleared = cache.clear()
    assert (cleared.files, cleared.left, cleared.kept_back) == (2, (), ())


@pytest.mark.parametrize("keep", [{A}, {"a" * 16}])
def test_what_is_in_use_stays(cache, keep):
    kept, gone = fill(cache, A), fill(cache, B)
    assert cache.clear(keep).files == 3
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)
    assert [one.shot_id for one in cache.entries()] == [A]


def test_files_of_others_stay_and_are_named(cache):
    paths = fill(cache, A)
    folder = paths[0].parent
    strangers = [folder / "notes.txt", folder / "old" / "alpha.0001.exr", cache.folder / "mine.exr"]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    cleared = cache.clear()
    assert cleared.files == 3 and cleared.left == tuple(strangers[:2])
    assert all(path.read_bytes() == b"theirs" for path in strangers)
    assert not any(path.exists() for path in paths)


def test_a_link_in_place_of_a_file_is_not_ours(cache, tmp_path):
    precious = tmp_path / "plate.exr"
    precious.write_bytes(b"precious")
    path = fill(cache, A)[0]
    path.unlink()
    path.symlink_to(precious)
    cleared = cache.clear()
    assert cleared.files == 2 and cleared.left == (path,)
    assert path.is_symlink() and precious.read_bytes() == b"precious"


def test_a_folder_in_place_of_a_file_is_not_ours(cache):
    path = fill(cache, A)[0]
    path.unlink()
    path.mkdir()
    assert cache.clear().left == (path,) and path.is_dir()


def test_files_in_folders_within_are_removed_with_them(cache):
    folder = cache.for_shot(A)
    path = folder / "left" / "eye" / "alpha.1001.exr"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    cache.record(A, [path])
    assert cache.entries()[0].files == ("left/eye/alpha.1001.exr",)
    assert cache.clear().files == 1 and not folder.exists()


def test_a_file_that_cannot_be_removed_stays_listed_and_is_told(cache, monkeypatch):
    paths = fill(cache, A)
    unlink = Path.unlink

    def in_use(self, *args, **rest):
        if self == paths[1]:
            raise PermissionError(errno.EACCES, "in use", str(self))
        unlink(self, *args, **rest)

    monkeypatch.setattr(Path, "unlink", in_use)
    cleared = cache.clear()
    assert (cleared.files, cleared.left, cleared.kept_back) == (2, (), (paths[1],))
    (entry,) = cache.entries()
    assert (entry.files, entry.bytes) == ((paths[1].name,), 100)
    monkeypatch.undo()
    assert cache.clear().files == 1 and not paths[1].parent.exists()


def test_trim_removes_the_oldest_first_until_the_rest_fits(cache, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(caches.time, "time", lambda: clock[0])
    found = {}
    for shot_id in (A, B, C):
        found[shot_id] = fill(cache, shot_id)
        clock[0] += 1
    cache.for_shot(A)  # used again: now B is the oldest
    assert [one.shot_id for one in cache.entries()] == [B, C, A]
    assert cache.trim(900).files == 0
    cleared = cache.trim(899)
    assert (cleared.files, cleared.bytes) == (3, 300)
    assert [one.shot_id for one in cache.entries()] == [C, A]
    assert not found[B][0].exists() and found[C][0].exists()
    cache.trim(0, keep=[C])
    assert [one.shot_id for one in cache.entries()] == [C] and cache.size() == 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schema": 1}',
        b'{"schema": 2, "entries": []}',
        b'{"schema": true, "entries": []}',
        b'{"schema": 1, "entries": [7]}',
        b'{"schema": 1, "entries": [{"shot_id": "../../etc"}]}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[:30].decode("latin-1"),
)
def test_a_damaged_list_is_told_and_nothing_is_touched(cache, content):
    paths = fill(cache, A)
    cache.manifest.write_bytes(content)
    for call in (
        cache.clear,
        cache.entries,
        lambda: cache.trim(0),
        lambda: cache.for_shot(B),
        lambda: cache.record(A, paths),
    ):
        refused(call)
    assert all(path.exists() for path in paths)
    assert cache.manifest.read_bytes() == content


def entry(**changed):
    return {"shot_id": A, "name": "", "files": [], "bytes": 0, "last_used": 0, **changed}


@pytest.mark.parametrize(
    "wrong",
    [
        entry(shot_id="A" * 64),
        entry(bytes=-1),
        entry(bytes="1"),
        entry(last_used="now"),
        entry(last_used=float("nan")),
        entry(files="alpha.exr"),
        entry(files=[1]),
        entry(name=None),
        entry(files=["../b/alpha.exr"]),
        entry(files=["/etc/passwd"]),
        entry(files=["a/../../x"]),
        entry(files=["C:\\x"]),
        entry(files=["..\\x"]),
        entry(files=["."]),
        entry(files=[""]),
        entry(files=["a//b"]),
        entry(files=["a\0b"]),
    ],
    ids=str,
)
def test_one_wrong_entry_and_nothing_is_removed(cache, wrong):
    paths = fill(cache, B)
    content = manifest(cache)
    content["entries"].append(wrong)
    cache.manifest.write_text(json.dumps(content), encoding="utf-8")
    refused(cache.clear)
    assert all(path.exists() for path in paths)


def test_the_same_shot_twice_is_refused(cache):
    cache.folder.mkdir()
    content = {"schema": 1, "entries": [entry(), entry()]}
    cache.manifest.write_text(json.dumps(content), encoding="utf-8")
    refused(cache.entries)


@pytest.mark.parametrize("shape", ["shot", "within", "another"])
def test_a_link_that_leads_elsewhere_is_refused_before_anything_is_removed(cache, tmp_path, shape):
    others = fill(cache, A)
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    precious = elsewhere / "alpha.1001.exr"
    precious.write_bytes(b"precious")
    home = cache.for_shot(B)
    if shape == "within":
        (home / "v1").mkdir()
        cache.record(B, [home / "v1" / precious.name])
        (home / "v1").rmdir()
        (home / "v1").symlink_to(elsewhere)
    else:
        cache.record(B, [home / precious.name])
        home.rmdir()
        home.symlink_to(elsewhere if shape == "shot" else others[0].parent)
    assert "a link leads" in refused(cache.clear)
    assert precious.read_bytes() == b"precious" and all(path.exists() for path in others)


def test_files_elsewhere_are_not_taken_into_the_list(cache, tmp_path):
    home = cache.for_shot(A)
    other = cache.for_shot(B)
    (home / "out").symlink_to(tmp_path)
    for path in (
        tmp_path / "x.exr",
        other / "x.exr",
        home / ".." / "x.exr",
        home / "out" / "x.exr",
    ):
        assert "outside of the shot's folder" in refused(lambda path=path: cache.record(A, [path]))
    assert cache.entries()[0].files == ()


def test_a_cache_that_is_reached_by_a_link_is_as_good(cache, tmp_path):
    path = fill(cache, A)[0]
    link = tmp_path / "short"
    link.symlink_to(cache.folder)
    linked = Cache(link)
    linked.record(A, [path, link / ("a" * 16) / "alpha.1002.exr"])
    assert len(linked.entries()[0].files) == 3
    assert linked.clear().files == 3 and not path.exists()


def test_only_ids_of_shots_name_folders(cache):
    for wrong in ("", "..", "a" * 63, "../" + "a" * 61, "A" * 64, "a" * 64 + "\n"):
        with pytest.raises(ValueError, match="is not the id of a shot"):
            cache.for_shot(wrong)
    assert not cache.folder.exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        Cache(tmp_path / "file").for_shot(A)
    assert caught.value.code == "input.output_unwritable"
    assert str(tmp_path / "file") in caught.value.message


def test_a_full_disk_leaves_the_list_as_it_was(cache, monkeypatch):
    fill(cache, A)
    before = cache.manifest.read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CapacityError, match="no space left"):
        cache.record(A, [Path("beta.exr")])
    assert cache.manifest.read_bytes() == before
    assert [one.name for one in cache.folder.iterdir() if one.name.startswith(".")] == []


def test_two_hosts_do_not_lose_each_others_shots(cache):
    """Two objects, as two processes have them: each reads the list again before it writes."""
    other = Cache(cache.folder)
    fill(cache, A)
    fill(other, B)
    cache.record(A, [Path("shot.json")])
    assert {one.shot_id for one in cache.entries()} == {A, B}
    other.clear(keep=[B])
    assert {one.shot_id for one in cache.entries()} == {B}


def test_threads_of_one_host_do_not_lose_each_others_files(cache):
    cache.for_shot(A)

    def note(first):
        for number in range(10):
            cache.record(A, [Path(f"{first}.{number}.exr")])

    threads = [threading.Thread(target=note, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.entries()[0].files) == 40
