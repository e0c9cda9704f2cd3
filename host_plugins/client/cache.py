"""A folder of mattes that can be made again, with a list of what in it is ours.

Each shot has a folder in it, named by the first 16 letters of the shot's id, and the manifest
``dvm-cache.json`` lists the files. Only what is listed is ever removed: somebody may have put a
file of theirs beside ours, or have named a folder that holds other things.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from . import files
from .errors import InputError

MANIFEST = "dvm-cache.json"
SCHEMA = 1

_FOLDER_LETTERS = 16
_SHOT_ID = re.compile(r"[0-9a-f]{64}\Z")
# Within this process; between processes a manifest is read again before it is written.
_writing = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """What the cache holds of one shot.

    Attributes:
        shot_id: of the shot.
        name: for people; "" if nobody gave one.
        files: names, relative to the shot's folder, with ``/``.
        bytes: of those that were there when they were recorded last.
        last_used: when that was, in seconds since 1970.
    """

    shot_id: str
    name: str = ""
    files: tuple[str, ...] = ()
    bytes: int = 0
    last_used: float = 0.0

    @property
    def folder(self) -> str:
        """Name of the shot's folder."""
        return folder_name(self.shot_id)


@dataclass(frozen=True)
class Cleared:
    """What was removed.

    Attributes:
        files: how many.
        bytes: of those.
        left: files in the shots' folders that are not ours; they were not touched.
        kept_back: files of ours that the system would not remove: in use, or write-protected.
    """

    files: int = 0
    bytes: int = 0
    left: tuple[Path, ...] = ()
    kept_back: tuple[Path, ...] = ()


def folder_name(shot_id: str) -> str:
    """The name of a shot's folder in a cache."""
    return shot_id[:_FOLDER_LETTERS]


class Cache:
    """A cache folder. Nothing is held between calls: any number of hosts may use one folder.

    Args:
        folder: of the cache; need not exist yet.

    Every call raises InputError ``input.bad_cache`` if the manifest cannot be read, is damaged, or
    names a file outside of the cache; nothing is written or removed then.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @property
    def manifest(self) -> Path:
        """The file that lists what is ours."""
        return self.folder / MANIFEST

    def for_shot(self, shot_id: str, name: str = "") -> Path:
        """Make the folder of a shot, and list it.

        Args:
            shot_id: from `shot.shot_id`.
            name: of the shot, for people; "" leaves the one that is there.

        Raises:
            InputError: ``input.output_unwritable``.
            CapacityError: ``capacity.disk_full``.
        """
        path = self.folder / folder_name(_checked(shot_id))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.unwritable(path, error.strerror or str(error)) from error
        self._check_place(shot_id, ())
        self._note(shot_id, lambda entry: replace(entry, name=name or entry.name))
        return path

    def record(self, shot_id: str, paths: Iterable[Path]) -> None:
        """List files as ours, beside those of the shot that are listed already.

        Record them before they are written, too: then they can be cleared though the host or the
        run came to an early end. Sizes are those of the files that are there now.

        Args:
            shot_id: from `shot.shot_id`.
            paths: within the shot's folder; relative ones are relative to it.

        Raises:
            InputError: ``input.bad_cache`` if one lies elsewhere; ``input.output_unwritable``.
            CapacityError: ``capacity.disk_full``.
        """
        home = self.folder / folder_name(_checked(shot_id))
        names = self._names(home, paths)
        self._check_place(shot_id, names)

        def add(entry: Entry) -> Entry:
            listed = tuple(sorted(names.union(entry.files)))
            size = sum(_bytes_of(home / one) for one in listed)
            return replace(entry, files=listed, bytes=size)

        self._note(shot_id, add)

    def entries(self) -> list[Entry]:
        """What is listed, the shot that was used longest ago first."""
        found = self._read().values()
        return sorted(found, key=lambda one: (one.last_used, one.shot_id))

    def size(self) -> int:
        """Bytes of all that is listed, as they were recorded."""
        return sum(one.bytes for one in self.entries())

    def clear(self, keep: Collection[str] = ()) -> Cleared:
        """Remove what is listed, and shots' folders that are empty then.

        Args:
            keep: ids of shots, or names of their folders, that stay.

        Raises:
            InputError: ``input.bad_cache``, before anything is removed.
        """
        return self._remove(_without(self.entries(), keep))

    def trim(self, limit_bytes: int, keep: Collection[str] = ()) -> Cleared:
        """Remove whole shots, those that were used longest ago first, until the rest fits.

        Args:
            limit_bytes: the most that may stay.
            keep: ids of shots, or names of their folders, that stay whatever their size.

        Raises:
            InputError: ``input.bad_cache``, before anything is removed.
        """
        entries = self.entries()
        size = sum(one.bytes for one in entries)
        chosen = []
        for entry in _without(entries, keep):
            if size <= limit_bytes:
                break
            chosen.append(entry)
            size -= entry.bytes
        return self._remove(chosen)

    def _remove(self, entries: Collection[Entry]) -> Cleared:
        # All of them before the first is removed: a manifest that lies once is not believed.
        for entry in entries:
            self._check_place(entry.shot_id, entry.files)
        total = Cleared()
        gone: dict[str, set[str]] = {}
        for entry in entries:
            cleared, removed = _remove_files(self.folder / entry.folder, entry.files)
            gone[entry.shot_id] = removed
            total = Cleared(
                total.files + cleared.files,
                total.bytes + cleared.bytes,
                total.left + cleared.left,
                total.kept_back + cleared.kept_back,
            )
        if gone:
            self._forget(gone)
        return total

    def _forget(self, gone: Mapping[str, Collection[str]]) -> None:
        """Take files off the list; a shot that has none left goes as a whole."""
        with _writing:
            entries = self._read()
            for shot_id, names in gone.items():
                entry = entries.pop(shot_id, None)
                left = tuple(one for one in entry.files if one not in names) if entry else ()
                if entry and left:
                    home = self.folder / entry.folder
                    size = sum(_bytes_of(home / one) for one in left)
                    entries[shot_id] = replace(entry, files=left, bytes=size)
            self._write(entries)

    def _note(self, shot_id: str, change: Callable[[Entry], Entry]) -> None:
        """Change one entry, or a new one, and say that it was used."""
        with _writing:
            entries = self._read()
            entry = change(entries.get(shot_id, Entry(shot_id)))
            entries[shot_id] = replace(entry, last_used=time.time())
            self._write(entries)

    def _read(self) -> dict[str, Entry]:
        try:
            content = json.loads(self.manifest.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._bad(f"cannot be read ({type(error).__name__})") from error
        if not isinstance(content, dict) or type(content.get("schema")) is not int:
            raise self._bad("is not a manifest")
        if content["schema"] != SCHEMA:
            raise self._bad(f"is of schema {content['schema']}, this release reads {SCHEMA}")
        listed = content.get("entries")
        if not isinstance(listed, list):
            raise self._bad("lists no entries")
        entries = {}
        for one in listed:
            entry = _entry(one)
            if entry is None or entry.shot_id in entries:
                raise self._bad(f"has an entry that cannot be right: {str(one)[:80]}")
            for name in entry.files:
                if not _stays_inside(name):
                    raise self._bad(f"names the file {name[:80]!r}, outside of the shot's folder")
            entries[entry.shot_id] = entry
        return entries

    def _write(self, entries: Mapping[str, Entry]) -> None:
        content = {
            "schema": SCHEMA,
            "entries": [
                {
                    "shot_id": one.shot_id,
                    "name": one.name,
                    "files": list(one.files),
                    "bytes": one.bytes,
                    "last_used": one.last_used,
                }
                for one in entries.values()
            ],
        }
        data = json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8")
        files.write_atomically(self.manifest, data)

    def _names(self, home: Path, paths: Iterable[Path]) -> set[str]:
        """Paths relative to the shot's folder, however they get there."""
        base = home.resolve()
        folders: dict[Path, Path] = {}
        names = set()
        for path in paths:
            whole = home / path
            folder = folders.setdefault(whole.parent, whole.parent.resolve())
            try:
                names.add((folder / whole.name).relative_to(base).as_posix())
            except ValueError as error:
                raise self._bad(f"must not list {path}, outside of the shot's folder") from error
        return names

    def _check_place(self, shot_id: str, names: Iterable[str]) -> None:
        """See that a shot's folder, and the folders of its files, are where their names say: no
        link on the way leads elsewhere."""
        home = self.folder / folder_name(shot_id)
        meant = self.folder.resolve() / folder_name(shot_id)
        for inside in {PurePosixPath(), *(PurePosixPath(name).parent for name in names)}:
            if (home / inside).resolve() != meant / inside:
                raise self._bad(f"lists {home / inside}, which a link leads out of the cache")

    def _bad(self, what: str) -> InputError:
        return InputError(
            "input.bad_cache",
            f"the cache's list {self.manifest} {what}",
            hint="move that file away and remove the folders of old mattes yourself",
        )


def _checked(shot_id: str) -> str:
    if not _SHOT_ID.match(shot_id):
        raise ValueError(f"{shot_id!r} is not the id of a shot")
    return shot_id


def _without(entries: Iterable[Entry], keep: Collection[str]) -> list[Entry]:
    kept = {folder_name(one) for one in keep}
    return [one for one in entries if one.folder not in kept]


def _entry(content: Any) -> Entry | None:
    """An entry of the manifest; None if it is none."""
    if not isinstance(content, dict):
        return None
    shot_id, name, size = content.get("shot_id"), content.get("name", ""), content.get("bytes", 0)
    names, used = content.get("files", []), content.get("last_used", 0.0)
    if not isinstance(shot_id, str) or not _SHOT_ID.match(shot_id) or not isinstance(name, str):
        return None
    if type(size) is not int or size < 0:
        return None
    if type(used) not in (int, float) or not math.isfinite(used):
        return None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        return None
    return Entry(shot_id, name, tuple(names), size, float(used))


def _stays_inside(name: str) -> bool:
    """Whether a name can only mean a file within the folder it is relative to, on any system."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")


def _remove_files(home: Path, names: Collection[str]) -> tuple[Cleared, set[str]]:
    """Remove files of one shot, and its folder if nothing else is in it.

    Returns:
        What was done, and the names that are gone, or never were there.
    """
    count = size = 0
    gone: set[str] = set()
    kept_back: list[Path] = []
    for name in names:
        path = home / name
        if path.is_symlink() or path.is_dir():
            gone.add(name)  # we write neither, so it is somebody's by now: among those left
            continue
        try:
            bytes_of = path.stat().st_size
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            gone.add(name)
        except OSError:
            kept_back.append(path)  # stays listed, and is told
        else:
            gone.add(name)
            count += 1
            size += bytes_of
    folders = {home, *(home / one for name in names for one in PurePosixPath(name).parents)}
    for folder in sorted(folders, reverse=True):  # the innermost first
        try:
            if _is_empty(folder):
                folder.rmdir()
        except OSError:
            kept_back.append(folder)
    left = [
        one
        for one in sorted(home.rglob("*"))
        if (one.is_symlink() or not one.is_dir() or _is_empty(one)) and one not in kept_back
    ]
    return Cleared(count, size, tuple(left), tuple(kept_back)), gone


def _is_empty(folder: Path) -> bool:
    """Whether it is a folder, itself and not by a link, with nothing in it."""
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _bytes_of(path: Path) -> int:
    """Of a file; 0 if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
