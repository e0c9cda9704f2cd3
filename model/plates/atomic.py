"""Files that are there whole or not at all: written beside their place, fsynced, renamed."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from model.errors import InputError
from model.plates.file_errors import not_a_file, writing

# What systems say of a file system that has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


def temporary_path(path: Path) -> Path:
    """Where ``path`` is written before it gets its name: in the same folder, hidden."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def new_file(temporary: Path) -> BinaryIO:
    """Open a temporary file that was not there: what a killed process left of that name goes, and a
    link that somebody has laid there is not followed to what it leads to.

    Raises:
        OSError: it cannot be made.
    """
    temporary.unlink(missing_ok=True)
    return temporary.open("xb")


def check_name(path: Path) -> None:
    """Refuse a name that is too long for the file system, with what it gets while it is written.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    try:
        temporary_path(path).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                "input.output_unwritable",
                f"{path} cannot be written: the name is too long",
                hint="give the mattes a shorter name, or another folder",
            ) from error
        # That nothing is there is as it should be; other trouble is told when it is written.


def publish(
    staged: Mapping[Path, Path],
    *,
    ours: Mapping[Path, Collection[str]] | None = None,
    frame: int | None = None,
) -> None:
    """Give temporary files their names, all of them or, if one cannot be renamed, none.

    Args:
        staged: the temporary file of each path, already fsynced.
        ours: sha256 (hex) of files that may be replaced, by path; None = whatever is there.
            Where nothing is there, nothing is ever replaced: a file that comes up at the last
            moment stays.
        frame: for messages.

    Raises:
        InputError: ``input.output_unwritable``; ``input.output_exists`` if a file is there that
            is not ``ours``. All temporary files are gone then.
    """
    done: list[Path] = []
    try:
        # While no file of an earlier run has been replaced yet.
        replaced = {path for path in staged if _may_replace(path, ours, frame)}
        for path, temporary in staged.items():
            with writing(path.parent):
                if ours is None or path in replaced:
                    temporary.replace(path)
                elif not _name_new(temporary, path):
                    raise _not_ours(path, frame)
            done.append(path)
        for folder in {path.parent for path in staged}:
            with writing(folder):
                _sync_folder(folder)
    except BaseException:
        discard(*done, *staged.values())
        raise


def _may_replace(
    path: Path, ours: Mapping[Path, Collection[str]] | None, frame: int | None
) -> bool:
    """Whether a file is there that may be replaced; False if nothing is there."""
    with writing(path.parent):
        try:
            other = not_a_file(path.stat())
        except FileNotFoundError:
            if ours is not None and path.is_symlink():  # a link that leads nowhere is somebody's
                raise _not_ours(path, frame) from None
            return False
        if other:
            raise OSError(errno.EEXIST, f"{path.name} is {other}", str(path))
        if ours is None or hashlib.sha256(path.read_bytes()).hexdigest() in ours.get(path, ()):
            return True
    raise _not_ours(path, frame)


def _name_new(temporary: Path, path: Path) -> bool:
    """Give a temporary file its name unless that is taken; False if it is.

    The system does both in one step: on Windows by renaming, elsewhere by a second name. File
    systems without hard links (exFAT, some network shares) are looked at first and then renamed
    on, so there a file that comes up between the two is replaced.
    """
    if os.name == "nt":
        with suppress(FileExistsError):
            temporary.rename(path)
            return True
        return False
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        # A network file system may have done it, lost its answer and asked again.
        if not path.samefile(temporary):
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            return False
        temporary.replace(path)
        return True
    temporary.unlink()
    return True


def _not_ours(path: Path, frame: int | None) -> InputError:
    return InputError(
        "input.output_exists",
        f"{path} was written by somebody else while the shot was being matted, and stays",
        frame=frame,
        hint="move it away and submit again, add --overwrite to replace it, or choose another "
        "output; finished frames are kept",
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file in one step.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    temporary = temporary_path(path)
    try:
        with writing(path.parent), new_file(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish({path: temporary})
    except BaseException:
        discard(temporary)
        raise


def discard(*paths: Path) -> None:
    """Remove what a failed write left. Trouble with that must not hide what failed."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no handle on a folder to fsync
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
