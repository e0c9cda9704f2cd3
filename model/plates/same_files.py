"""Whether paths lead to one file, whatever links are on the way; and one path still to the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

Inode = tuple[int, int]


def file_stamp(path: str) -> str:
    """Size and time of a file, by which it is seen that another one has its name; ``""`` if there
    is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


class RealNames:
    """What paths are called without links. Each folder is looked at once: shots are long."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> tuple[str, Inode | None]:
        """The name that a path has without links, and the file's own number if it is there.

        By the name files are known that are not there yet, by the number those with hard links.
        """
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = os.path.realpath(path.parent)
        name = os.path.join(folder, path.name)  # noqa: PTH118  a Path for each frame is slow
        try:
            found = os.lstat(name)
            if stat.S_ISLNK(found.st_mode):
                name = os.path.realpath(name)
                found = os.stat(name)  # noqa: PTH116
        except OSError:
            return name, None  # nothing is there; if that is wrong, who opens it says why
        # Some network file systems number nothing.
        return name, (found.st_dev, found.st_ino) if found.st_ino else None


class SameFiles:
    """Files that are read, to be looked up by whatever path leads to them.

    Args:
        paths: of the files.
        names: remembers folders.
    """

    def __init__(self, paths: Iterable[Path], names: RealNames):
        self._names = names
        self._by_name: dict[str, Path] = {}
        self._by_inode: dict[Inode, Path] = {}
        for path in paths:
            name, inode = names.of(path)
            self._by_name[name] = path
            if inode is not None:
                self._by_inode[inode] = path

    def find(self, path: Path) -> Path | None:
        """The one of the files that ``path`` leads to, as it was named; None if it is none."""
        name, inode = self._names.of(path)
        found = self._by_name.get(name)
        return self._by_inode.get(inode) if found is None and inode is not None else found


def would_be_overwritten(path: Path, own: Path) -> str:
    """What is said of an output that leads to ``own``, a file that the shot reads."""
    reached = "" if own == path else f", {own},"
    return (
        f"{path} is one of the shot's own plates, trimaps or guides{reached} and would be "
        "overwritten"
    )
