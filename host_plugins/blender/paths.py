"""Paths that a shot keeps: as they are stored, mostly from the .blend on, and where that was.

Blender rewrites its own relative paths when a file is saved into another folder, and not those of
add-ons; nor can anything be rewritten when a file is moved, or a node appended to another file. So
each path ``name`` has a second one, ``name_at``, absolute, for when the first leads nowhere.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from . import adapter

OF_SHOT = ("garbage_matte", "core_matte", "clean_plate", "checkpoint", "rendered")


def note(name: str):
    """For a property: what Blender calls when it is set, which notes where it leads now."""

    def set_at(holder, _) -> None:
        path = adapter.absolute(getattr(holder, name), holder.id_data)
        setattr(holder, f"{name}_at", path if Path(path).is_absolute() else "")

    return set_at


def find(holder, name: str) -> str:
    """Where a path leads, absolute: from the .blend if that is there, else where it led when it was
    set; "" if there is none.

    Args:
        holder: a shot or one of its keyframes.
        name: of the property.
    """
    path = adapter.absolute(getattr(holder, name), holder.id_data)
    before = getattr(holder, f"{name}_at")
    return before if path and not _is_there(path) and _is_there(before) else path


def lost(holder, name: str) -> str:
    """Of a path that leads nowhere, for a sentence: where to, and where it led when it was set."""
    path, before = find(holder, name), getattr(holder, f"{name}_at")
    return path if before in ("", path) else f"{path}, formerly {before}"


def settle() -> None:
    """Another file, or another place of it: have all paths lead from there, as far as they do."""
    for tree in adapter.shot_trees():
        if adapter.is_editable(tree):
            for holder, name in _all(tree):
                path = find(holder, name)
                if getattr(holder, name).startswith("//") and _is_there(path):
                    setattr(holder, name, adapter.stored(path))  # and thereby notes it


def _all(tree) -> Iterator[tuple]:
    for name in OF_SHOT:
        yield tree.dvm, name
    for keyframe in tree.dvm.keyframes:
        yield keyframe, "path"


def _is_there(path: str) -> bool:
    """A file, a folder, or one file at least of a pattern."""
    if not path or Path(path).exists():
        return bool(path)
    name = Path(path).name
    return "#" in name and any(Path(path).parent.glob(re.sub("#+", "*", glob.escape(name))))
