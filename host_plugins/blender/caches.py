"""Where mattes are kept, which of them are in use, and which may go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from ..client.cache import Cache
from ..client.plate_files import matte_files
from ..client.shot import Shot, shot_id
from . import adapter, group, preferences, shots


def cache_folder(tree) -> Path:
    """Where mattes go: the preferences' folder, else beside the .blend."""
    chosen = preferences.current().cache
    return Path(adapter.absolute(chosen)) if chosen else shots.home(tree) / "mattes"


def cache_folders() -> list[Path]:
    """All folders that may hold mattes of ours."""
    found = {cache_folder(tree) for tree in adapter.shot_trees()}
    chosen = preferences.current().cache
    if chosen:
        found.add(Path(adapter.absolute(chosen)))
    return sorted(folder for folder in found if folder.is_dir())


def ids_in_use() -> set[str]:
    """Of the shots whose files some node shows; only as much of each as folders are named by."""
    return {
        path.parent.name for tree in adapter.shot_trees() for path in group.shown(tree).values()
    }


def note_files(folder: Path, shot: Shot) -> Cache:
    """List a shot's files in the manifest, be they there yet or not; not for the main thread."""
    cache = Cache(folder)
    own = cache.for_shot(shot_id(shot), shot.name)
    files = [path for n in shot.numbers() for path in matte_files(shot, n).values()]
    cache.record(shot_id(shot), [*files, own / "shot.json"])
    return cache


def clear_caches(folders: Iterable[Path], keep: Collection[str]) -> str:
    """Remove the mattes of shots that are not kept; says what was done. Not for the main thread."""
    removed, left, in_use = 0, [], 0
    for folder in folders:
        cleared = Cache(folder).clear(keep=keep)
        removed += cleared.files
        left += cleared.left
        in_use += len(cleared.kept_back)
    text = f"{removed} files removed"
    if left:
        text += f"; {len(left)} that are not ours stay, e.g. {left[0]}"
    if in_use:
        text += f"; {in_use} could not be removed, and stay listed"
    return text
