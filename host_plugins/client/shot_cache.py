"""What of a shot goes into a cache of mattes, and clearing several caches with one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from .cache import Cache
from .plate_files import matte_files
from .shot import Shot, shot_id


def note_files(cache: Path, named: Shot, shots: Iterable[Shot]) -> Cache:
    """List files in the manifest, be they there yet or not; not for the main thread.

    Args:
        cache: its folder.
        named: the shot whose id names the folder in it.
        shots: whose mattes go there; `named` alone, or one of each view.

    Raises:
        InputError: as `Cache.for_shot` and `Cache.record`.
    """
    found = Cache(cache)
    found.for_shot(shot_id(named), named.name)
    files = []
    for shot in shots:
        files += [path for n in shot.numbers() for path in matte_files(shot, n).values()]
        files.append(Path(shot.outputs.pattern).parent / "shot.json")
    found.record(shot_id(named), files)
    return found


def clear_caches(folders: Iterable[Path], keep: Collection[str]) -> str:
    """Remove the mattes of shots that are not kept; says what was done. Not for the main thread."""
    removed, in_use = 0, 0
    left: list[Path] = []
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
