"""The state directory: lock, spooled files with a quota and a manifest, remembered digests.

What may be removed is what the manifest lists. Files are named by what they hold: ``files`` (plates
and trimaps that came by value) by the sha256 of their bytes, ``trimaps`` by key A, ``mattes`` by
key B; so a file that is there under its name is the right one, whoever made it and when.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from host_plugins.client.errors import CapacityError, SetupError
from host_plugins.client.files import digest
from model.plates.atomic import write_bytes
from model.plates.file_errors import disk_full, keeping

_LOG = logging.getLogger("dvm.spool")

FILES, TRIMAPS, MATTES = "files", "trimaps", "mattes"
# How the spool names files: by 256 bits of what is in them, or of what they were made from.
_OURS = re.compile(r"[0-9a-f]{64}\.")
MANIFEST = "manifest.sqlite"
LOCK = "server.lock"
# What SQLite says of a file that is no database, is a damaged one, or one of other tables.
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
# What SQLite says of a disk that is full, or of a limit on the size of files.
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


def lock_state(state: Path) -> IO[str]:
    """Make the state directory ours until the returned file is closed or the process ends.

    Raises:
        SetupError: ``setup.state_in_use`` naming the other's pid.
        model.errors.EngineError: ``setup.state``, ``capacity.disk_full``: it cannot be written to.
    """
    with keeping(state):
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (state / LOCK).open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise SetupError(
            "setup.state_in_use",
            f"a server with pid {pid} is using the state directory {state}",
            hint="use that server, stop it, or choose another directory with --state",
        ) from error
    except OSError as error:
        file.close()
        raise SetupError(
            "setup.state",
            f"the state directory {state} is on a file system that locks no files "
            f"({error.strerror})",
            hint="choose a directory on a local disk with --state",
        ) from error
    try:
        with keeping(state):
            file.truncate(0)
            # Past the file's buffer: what is left in that would fail once more on closing.
            os.write(file.fileno(), str(os.getpid()).encode("ascii"))
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def _kept(state: Path) -> Iterator[None]:
    """Turns what files and the manifest raise into ``capacity.disk_full`` and ``setup.state``."""
    try:
        with keeping(state):
            yield
    except sqlite3.Error as error:
        if _code(error) in _FULL:
            raise disk_full(state) from error
        raise SetupError(
            "setup.state",
            f"the state directory {state} cannot be used: its {MANIFEST} says {error}",
            hint="see to its permissions and start the server again, which makes a damaged one "
            "anew; or choose another with --state",
        ) from error


class Spool:
    """Files kept between runs, within a quota. Safe to use from several threads."""

    def __init__(self, state: Path, quota_bytes: int):
        """Open the spool, and remove what a killed process left half-written in it.

        Raises:
            SetupError: ``setup.state``.
            model.errors.EngineError: ``setup.state``, ``capacity.disk_full``.
        """
        self.state = state
        self.quota_bytes = quota_bytes
        self._guard = threading.Lock()
        with _kept(state):
            for folder in (FILES, TRIMAPS, MATTES):
                (state / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = _sound_manifest(state / MANIFEST)
            self._look_through()

    def _look_through(self) -> None:
        """Compare the manifest with what is there."""
        with self._manifest() as db:
            spooled = dict(db.execute("SELECT name, bytes FROM spooled").fetchall())
        if not spooled:  # new, and what lies there of an earlier one is to be found by its names
            there = [one for folder in (FILES, TRIMAPS, MATTES) for one in self._ours(folder)]
            self.expect(there)
            spooled = dict.fromkeys(there, 0)
        for folder in (FILES, TRIMAPS, MATTES):
            for left in (self.state / folder).glob(".*.tmp-*"):
                if f"{folder}/{left.name[1:].rpartition('.tmp-')[0]}" in spooled:
                    left.unlink()
        for name, listed in spooled.items():
            path = self.state / name
            found = path.stat().st_size if path.exists() else 0
            if found != listed:
                self._list(name, found)

    def _ours(self, folder: str) -> list[str]:
        """What has a name that only a spool gives."""
        names = (one.name for one in (self.state / folder).iterdir() if one.is_file())
        return [f"{folder}/{name}" for name in names if _OURS.match(name)]

    def close(self) -> None:
        with _kept(self.state):
            self._db.close()

    @contextmanager
    def _manifest(self) -> Iterator[sqlite3.Connection]:
        """The manifest for one transaction of one thread."""
        with self._guard, _kept(self.state), self._db:
            yield self._db

    # Names, relative to the state directory

    @staticmethod
    def file_name(sha256: str, suffix: str) -> str:
        return f"{FILES}/{sha256}{suffix}"

    @staticmethod
    def trimap_name(key: str) -> str:
        return f"{TRIMAPS}/{key}.npz"

    @staticmethod
    def matte_name(key: str, layer: str) -> str:
        return f"{MATTES}/{key}.{layer}.exr"

    def path(self, name: str) -> Path:
        return self.state / name

    def has(self, name: str) -> bool:
        return (self.state / name).is_file()

    # Room

    def used_bytes(self) -> int:
        with self._manifest() as db:
            (total,) = db.execute("SELECT COALESCE(SUM(bytes), 0) FROM spooled").fetchone()
        return int(total)

    def make_room(self, wanted: int, needed: Callable[[], Collection[str]]) -> None:
        """Remove listed files that nobody needs, longest unused first, until there is room.

        Args:
            wanted: bytes to come.
            needed: names that live jobs need; only asked when there is not enough room.

        Raises:
            CapacityError: ``capacity.spool_full`` if that is not enough.
        """
        over = self.used_bytes() + wanted - self.quota_bytes
        if over <= 0:
            return
        keep = needed()
        with self._manifest() as db:
            rows = db.execute("SELECT name, bytes FROM spooled ORDER BY used").fetchall()
        for name, size in rows:
            if over <= 0:
                return
            if name in keep:
                continue
            with self._manifest() as db:
                (self.state / name).unlink(missing_ok=True)
                db.execute("DELETE FROM spooled WHERE name = ?", (name,))
            over -= size
        if over > 0:
            raise CapacityError(
                "capacity.spool_full",
                f"the spool in {self.state} is full: {self.quota_bytes} bytes, all of them in use",
                hint="try again when other shots are done, submit by path, or raise quota_bytes",
            )

    def expect(self, names: Iterable[str]) -> None:
        """List files before they are written: what is not listed would never be removed."""
        now = time.time()
        with self._manifest() as db:
            db.executemany(
                "INSERT INTO spooled VALUES (?, 0, ?)"
                " ON CONFLICT (name) DO UPDATE SET used = excluded.used",
                [(name, now) for name in names],
            )

    def arrived(self, name: str) -> None:
        """Take note of the size of a listed file that has been written."""
        with keeping(self.state):
            size = (self.state / name).stat().st_size
        self._list(name, size)

    def store(
        self, name: str, data: bytes | memoryview, needed: Callable[[], Collection[str]]
    ) -> None:
        """Write a file, durably and in one step, unless it is there already.

        Raises:
            CapacityError: ``capacity.spool_full``.
            model.errors.EngineError: the disk is full or closed to us.
        """
        if self.has(name):
            self.expect([name])
            return
        self.make_room(len(data), needed)
        self.expect([name])
        write_bytes(self.state / name, bytes(data))
        self._list(name, len(data))

    def _list(self, name: str, size: int) -> None:
        with self._manifest() as db:
            db.execute("INSERT OR REPLACE INTO spooled VALUES (?, ?, ?)", (name, size, time.time()))

    # Digests of files elsewhere

    def digest_of(self, path: Path, go_on: Callable[[], object] = lambda: None) -> str:
        """Sha256, in hex, of a file; from memory if its size and time have not changed.

        Args:
            path: of the file.
            go_on: called again and again while it is read; may raise to give it up.

        Raises:
            OSError: it cannot be read.
        """
        stat = path.stat()
        with self._manifest() as db:
            row = db.execute(
                "SELECT bytes, mtime_ns, sha256 FROM digests WHERE path = ?", (str(path),)
            ).fetchone()
        if row and (row[0], row[1]) == (stat.st_size, stat.st_mtime_ns):
            return str(row[2])
        sha256 = digest(path, go_on)
        # A file written within the clock's last tick may change again without a new time.
        if time.time_ns() - stat.st_mtime_ns > 2_000_000_000:
            self.remember(path, stat.st_size, stat.st_mtime_ns, sha256)
        return sha256

    def remember(self, path: Path, size: int, mtime_ns: int, sha256: str) -> None:
        with self._manifest() as db:
            db.execute(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)",
                (str(path), size, mtime_ns, sha256),
            )


def _code(error: sqlite3.Error) -> int:
    """SQLite's own, extended; 0 of errors that only its bindings raise."""
    return int(getattr(error, "sqlite_errorcode", 0))


def _sound_manifest(path: Path) -> sqlite3.Connection:
    """The manifest; a damaged one is set aside, for it can be made anew."""
    try:
        return _open_manifest(path)
    except sqlite3.Error as error:
        if _code(error) & 0xFF not in _DAMAGED:
            raise
        aside = path.with_name(f"{path.name}.damaged")
        _LOG.warning("%s is damaged (%s): it is kept as %s and made anew", path, error, aside.name)
    for end in ("", "-wal", "-shm"):
        part = path.with_name(path.name + end)
        if part.exists():
            part.replace(aside.with_name(aside.name + end))
    return _open_manifest(path)


def _open_manifest(path: Path) -> sqlite3.Connection:
    """The database with its tables, made if need be."""
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        # The journals are the truth; this is an index, and may lose its last second.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        with db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS spooled"
                " (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used REAL NOT NULL)"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY,"
                " bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL)"
            )
        db.execute("SELECT name, bytes, used FROM spooled LIMIT 1")
        db.execute("SELECT path, bytes, mtime_ns, sha256 FROM digests LIMIT 1")
        # Pages that no start reads would fail in the middle of a shot.
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            damage = sqlite3.DatabaseError(found)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
    except BaseException:
        db.close()
        raise
    return db
