"""Where mattes are kept, which of them are in use, and which may go."""

from __future__ import annotations

from pathlib import Path

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
